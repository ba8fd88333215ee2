//! Log lines: where they go and how they look.
//!
//! Lines go to standard error; standard output carries only what `--help` and `--version` were asked
//! for. A line is made in the memory of the thread that logs it and handed to a thread that writes
//! it in one piece, so lines never mix and nobody who serves a request waits for whoever reads the
//! log: when [`LINES_MAX`] of them wait to be written, further ones are dropped. A panic is logged like anything
//! else, with its thread and place, and then ends the process in every build profile: a thread that
//! died in the middle of something must not leave the others to answer for it.
//!
//! Nothing here is on the path of a request: requests are counted (see `stats`), not logged.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flume::{Receiver, Sender};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{LogFormat, LogLevel};

/// How many lines may wait for a slow reader of standard error.
const LINES_MAX: usize = 8_192;
/// How long the end of the process waits for the last lines.
const LAST_LINES_WAIT: Duration = Duration::from_secs(5);

/// Sends log lines to standard error from now on, and panics with them. Dropping what it returns
/// writes the lines that are still waiting, for five seconds at most.
///
/// # Panics
/// When called twice: the process has one log.
pub fn init(level: LogLevel, format: LogFormat) -> WaitingLines {
    let colours = format == LogFormat::Text && std::io::stderr().is_terminal();
    let (queue, rest) = lines(std::io::stderr());
    let lines = subscriber(level, format, colours, move || queue.clone());
    tracing::subscriber::set_global_default(lines).expect("called once, first thing in main");
    std::panic::set_hook(Box::new(move |panic| {
        // Written by this thread itself, since the process ends here.
        let last = subscriber(level, format, colours, std::io::stderr);
        tracing::subscriber::with_default(last, || log_panic(panic));
        std::process::abort();
    }));
    rest
}

/// Where a line waits to be written.
#[derive(Clone)]
struct Queue {
    messages: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Box<[u8]>),
    Stop,
}

impl Write for Queue {
    /// Takes a whole line, which is what the formatter writes at once, or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.messages.try_send(Message::Line(line.into())).is_err() {
            // Relaxed: a count, nothing is read on the strength of it.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that wait to be written; dropping it writes them, as far as five seconds allow.
#[derive(Debug)]
pub struct WaitingLines {
    messages: Sender<Message>,
    written: Receiver<()>,
}

impl Drop for WaitingLines {
    fn drop(&mut self) {
        // Whoever reads the lines may have stopped; then what is left cannot be told.
        if self.messages.send_timeout(Message::Stop, LAST_LINES_WAIT).is_ok() {
            let _ = self.written.recv_timeout(LAST_LINES_WAIT);
        }
    }
}

/// Starts the thread that writes lines to `sink`.
fn lines(mut sink: impl Write + Send + 'static) -> (Queue, WaitingLines) {
    let (messages, waiting) = flume::bounded(LINES_MAX);
    let (done, written) = flume::bounded::<()>(0);
    let dropped = Arc::new(AtomicU64::new(0));
    let lost = Arc::clone(&dropped);
    let write_all = move || {
        for message in waiting {
            let Message::Line(line) = message else { break };
            // A log that cannot be written stops nothing.
            let _ = sink.write_all(&line);
            match lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lines => tracing::warn!(lines, "log lines were dropped: their reader is too slow"),
            }
        }
        drop(done);
    };
    let thread = std::thread::Builder::new().name("log-lines".to_owned());
    thread.spawn(write_all).expect("a process that has just started gets a thread");
    (Queue { messages: messages.clone(), dropped }, WaitingLines { messages, written })
}

fn subscriber<W>(
    level: LogLevel,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => Box::new(layer.json()),
    };
    Box::new(Registry::default().with(layer.with_filter(filter(level))))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("not told");
    let backtrace = Backtrace::capture();
    let name = thread.name().unwrap_or("unnamed");
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread = name, place, panic = message, %backtrace, "panicked");
    } else {
        tracing::error!(thread = name, place, panic = message, "panicked");
    }
}

/// The lines that `act` logs in this thread, at level `info`.
#[cfg(test)]
pub(crate) fn captured(format: LogFormat, act: impl FnOnce()) -> Vec<String> {
    tests::captured_at(LogLevel::Info, format, act)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Keeps each write apart.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub(super) fn captured_at(
        level: LogLevel,
        format: LogFormat,
        act: impl FnOnce(),
    ) -> Vec<String> {
        let writes = Writes::default();
        let kept = writes.clone();
        let subscriber = subscriber(level, format, false, move || kept.clone());
        tracing::subscriber::with_default(subscriber, act);
        let writes = writes.0.lock().unwrap();
        writes.iter().map(|write| String::from_utf8(write.clone()).unwrap()).collect()
    }

    #[test]
    fn each_line_leaves_in_one_write() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let writes = captured_at(LogLevel::Info, format, || {
                tracing::info!(number = 7, text = "two words", "happened");
                tracing::warn!("again");
            });
            assert_eq!(writes.len(), 2, "{writes:?}");
            for write in &writes {
                assert_eq!(write.matches('\n').count(), 1, "{write:?}");
                assert!(write.ends_with('\n'));
            }
        }
    }

    #[test]
    fn json_lines_are_objects_with_the_fields() {
        let lines = captured_at(LogLevel::Info, LogFormat::Json, || {
            tracing::info!(number = 7, text = "a \"quoted\"\nthing", "happened");
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["fields"]["message"], "happened");
        assert_eq!(line["fields"]["number"], 7);
        assert_eq!(line["fields"]["text"], "a \"quoted\"\nthing");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn less_urgent_lines_are_left_out() {
        let all = || {
            tracing::error!("1");
            tracing::warn!("2");
            tracing::info!("3");
            tracing::debug!("4");
            tracing::trace!("5");
        };
        let levels =
            [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        for (place, level) in levels.into_iter().enumerate() {
            assert_eq!(captured_at(level, LogFormat::Text, all).len(), place + 1);
        }
    }

    /// Set for the process that is to panic.
    const PANIC_HERE: &str = "BOOKING_TEST_PANIC_HERE";

    #[test]
    fn a_panic_is_logged_and_ends_the_process() {
        if std::env::var_os(PANIC_HERE).is_some() {
            let _lines = init(LogLevel::Info, LogFormat::Json);
            let thread = std::thread::Builder::new().name("unlucky".to_owned());
            let _ = thread.spawn(|| panic!("on purpose")).unwrap().join();
            // Not reached: the process has ended, whatever the thread was.
            std::process::exit(0);
        }
        let name = "telemetry::tests::a_panic_is_logged_and_ends_the_process";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(PANIC_HERE, "1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), None, "ended by a signal (SIGABRT)");
        let log = String::from_utf8(output.stderr).unwrap();
        let line = log.lines().find(|line| line.contains("on purpose")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["fields"]["thread"], "unlucky");
        assert_eq!(line["fields"]["panic"], "on purpose");
        assert!(line["fields"]["place"].as_str().unwrap().starts_with("src/telemetry.rs:"));
    }

    #[test]
    fn lines_are_written_before_the_end_and_a_stuck_reader_holds_nobody_up() {
        let sink = Writes::default();
        let (mut queue, rest) = lines(sink.clone());
        for line in ["first\n", "second\n"] {
            assert_eq!(queue.write(line.as_bytes()).unwrap(), line.len());
        }
        drop(rest);
        assert_eq!(*sink.0.lock().unwrap(), [b"first\n".to_vec(), b"second\n".to_vec()]);

        let (reader, writer) = io::pipe().unwrap();
        let (mut queue, _rest) = lines(writer);
        // More than a pipe holds: its writer gets stuck in it, so it takes no other line and does
        // not begin to count anew.
        queue.write_all(&vec![b'x'; 4 << 20]).unwrap();
        for _ in 0..2 * LINES_MAX {
            queue.write_all(b"x\n").unwrap();
        }
        let dropped = queue.dropped.load(Ordering::Relaxed);
        let room = 2 * LINES_MAX as u64 - dropped;
        // The first line waits itself until the writer takes it.
        assert!((LINES_MAX as u64 - 1..=LINES_MAX as u64).contains(&room), "{room} lines kept");
        drop(reader);
    }
}
