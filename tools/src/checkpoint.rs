//! `snapshot`: has a running server make one, or makes one where none runs.
//!
//! A snapshot says of everything before its position that it was durable, and a start from it never
//! looks at what is before. So the offline way does what recovery does, in its order: it takes the
//! lock, makes durable what a killed server may have left in memory, reads the medium, and takes the
//! end that recovery would decide on. What is torn behind that end was never acknowledged.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use booking_manager::image::snapshot::{self, Snapshot};
use serde::{Deserialize, Serialize};
use wal::{DirectoryError, LockedDirectory, Lsn, Reader};

use crate::Status;
use crate::arguments::Place;
use crate::fault::{Refusal, shown_path};
use crate::frames::check_directory;
use crate::instant;
use crate::output::Output;
use crate::progress::Progress;
use crate::verdict::{Begun, Summary, Verdict};

/// The server's socket in its data directory.
const SOCKET: &str = "admin.sock";
const REQUEST: &[u8] = b"snapshot\n";
/// More than any answer has.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A snapshot that was made.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    lsn: u64,
    #[serde(serialize_with = "shown_path")]
    path: PathBuf,
    bytes: u64,
    records: u64,
    state_hash: String,
    elapsed_ms: u64,
}

/// What a server answers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Made(Made),
    Failed { error: String },
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    /// By the running server.
    MadeByServer(Made),
    /// By this process.
    Made(Made),
    /// There is one of the very end of the log.
    ThereAlready { lsn: u64 },
    /// A server would refuse the log.
    Refused { damage: Refusal },
}

/// Makes one.
///
/// # Errors
/// The directory is in use and nobody answers, the server could not make one, or the log cannot be
/// read or the file not be written.
pub fn snapshot(place: &Place, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    check_directory(&place.directory)?;
    let outcome = match connect(&place.directory)? {
        Some(stream) => Outcome::MadeByServer(ask(stream)?),
        None => make(&place.directory)?,
    };
    if place.json {
        output.json(&outcome)?;
    } else {
        tell(&outcome, output)?;
    }
    Ok(match outcome {
        Outcome::MadeByServer(_) | Outcome::Made(_) | Outcome::ThereAlready { .. } => Status::Sound,
        Outcome::Refused { .. } => Status::Damaged,
    })
}

/// Connects to the server; `None` if there is none.
fn connect(directory: &Path) -> anyhow::Result<Option<UnixStream>> {
    // By the descriptor of the directory, since the path of a socket has to be short.
    let handle = File::open(directory);
    let handle = handle.with_context(|| format!("cannot open {}", directory.display()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(SOCKET);
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Err(error) => {
            let socket = directory.join(SOCKET);
            Err(error).with_context(|| format!("cannot connect to {}", socket.display()))
        }
    }
}

/// Asks the server, and waits as long as it takes.
fn ask(mut stream: UnixStream) -> anyhow::Result<Made> {
    stream.write_all(REQUEST).context("cannot ask the server")?;
    let mut line = String::new();
    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    answer.read_line(&mut line).context("cannot read the server's answer")?;
    match serde_json::from_str(&line) {
        Ok(Answer::Made(made)) => Ok(made),
        Ok(Answer::Failed { error }) => bail!("the server made none: {error}"),
        Err(_) if line.is_empty() => bail!("the server ended without an answer"),
        Err(error) => Err(error).with_context(|| format!("not understood: {line:?}")),
    }
}

/// Makes one without a server.
fn make(directory: &Path) -> anyhow::Result<Outcome> {
    let lock = match LockedDirectory::acquire(directory) {
        Err(error @ DirectoryError::Locked { .. }) => {
            let unanswered = format!("nobody answers at {}", directory.join(SOCKET).display());
            return Err(anyhow::Error::new(error).context(unanswered));
        }
        lock => lock?,
    };
    let begun_at = instant::now();
    sync_last_epoch(lock.path())?;
    let (verdict, image) = Verdict::with_image(lock.path())?;
    let summary = match verdict {
        Verdict::Fresh => bail!("there is no log in {}", directory.display()),
        Verdict::Refused { damage, .. } => return Ok(Outcome::Refused { damage }),
        Verdict::Sound(summary) => summary,
    };
    let Summary { uuid: log, end: lsn, begun, .. } = summary;
    if begun.is_some_and(|Begun { lsn: newest, .. }| newest == lsn) {
        return Ok(Outcome::ThereAlready { lsn });
    }
    let snapshot = Snapshot { log, lsn: Lsn::new(lsn), image };
    let go_on = || ControlFlow::Continue(());
    // A server that was killed may have left a part of one.
    snapshot::remove_unfinished(directory)?;
    let left_free = left_free(directory)?;
    let waiting = Progress::waiting("writing a snapshot");
    let written = snapshot::write(&lock, &snapshot, instant::now(), left_free, go_on)?;
    drop(waiting);
    let written = written.context("nothing was written")?;
    Ok(Outcome::Made(Made {
        lsn,
        path: directory.join(snapshot::file_name(snapshot.lsn)),
        bytes: written.bytes,
        records: written.records,
        state_hash: written.state_hash.to_string(),
        elapsed_ms: instant::now().millis_since(begun_at),
    }))
}

/// Makes durable what the last server may have left in memory. It must be before the end is decided:
/// a sync that fails may throw away what could not be written, and then the medium, which is read
/// afterwards, has an earlier end. Without it a power cut could take back records whose loss nobody
/// would notice any more, because a start from the snapshot does not look at them.
pub(crate) fn sync_last_epoch(directory: &Path) -> anyhow::Result<()> {
    // What cannot be read is refused by the verdict, with its name.
    let Ok(reader) = Reader::open(directory) else {
        return Ok(());
    };
    let last = reader.segments().last().map(|segment| segment.header.epoch);
    for segment in reader.segments() {
        if Some(segment.header.epoch) == last {
            let synced = File::open(&segment.path).and_then(|file| file.sync_data());
            synced.with_context(|| format!("cannot sync {}", segment.path.display()))?;
        }
    }
    Ok(())
}

/// What a snapshot has to leave of the disk to the server that starts next.
fn left_free(directory: &Path) -> anyhow::Result<u64> {
    let reader = Reader::open(directory)?;
    let size = reader.segments().last().map_or(0, |segment| segment.header.segment_size.get());
    Ok(snapshot::SEGMENTS_LEFT_FREE * size)
}

fn tell(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let (made, by) = match outcome {
        Outcome::MadeByServer(made) => (made, "the running server"),
        Outcome::Made(made) => (made, "this program: no server runs"),
        Outcome::ThereAlready { lsn } => {
            let there = "nothing to do: there is a snapshot of the end of the log, LSN";
            return output.line(format_args!("{there} {lsn}"));
        }
        Outcome::Refused { damage } => {
            output.line(format_args!("damage        {damage}"))?;
            return output.line("no snapshot was made of a log that a server would refuse");
        }
    };
    let Made { lsn, path, bytes, records, state_hash, elapsed_ms } = made;
    output.line(format_args!("snapshot      {}", path.display()))?;
    output.line(format_args!("made by       {by}"))?;
    output.line(format_args!("exact for     LSN {lsn}"))?;
    output.line(format_args!("records       {records}"))?;
    output.line(format_args!("bytes         {bytes}"))?;
    output.line(format_args!("state         {state_hash}"))?;
    output.line(format_args!("took          {elapsed_ms} ms"))
}
