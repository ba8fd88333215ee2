//! The state of everything at a moment of the log's life.
//!
//! The answer is exact for one position: every record that ends at or before it is in the state,
//! none behind it. It begins with the newest usable snapshot that is not of a later moment, and so
//! does not notice damage before that. Nothing is guessed: where damage lies between, there is no
//! answer but the damage.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use booking_manager::codec;
use booking_manager::domain::Timestamp;
use booking_manager::image::Image;
use booking_manager::image::snapshot::Snapshot;
use serde::Serialize;
use uuid::Uuid;
use wal::frame::FrameView;
use wal::{Lsn, Reader, SegmentSize};

use crate::fault::{Fault, refused_record};
use crate::filter::position;
use crate::frames::{self, Frames, check_directory, damage_in};
use crate::instant;
use crate::progress::Progress;
use crate::snapshots::{self, Identity};

/// A moment as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// When the log had come to this position.
    Position(u64),
    /// Before the first record that was decided later than this.
    Time(Timestamp),
}

impl FromStr for Moment {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(lsn) = position(text) {
            return Ok(Self::Position(lsn));
        }
        let time = instant::parse(text);
        time.map(Self::Time).context("neither a position nor a time of RFC 3339")
    }
}

/// A state with its place.
#[derive(Debug)]
pub struct State {
    /// What was.
    pub image: Image,
    /// Where.
    pub place: Place,
}

/// For what a state is exact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    /// Of the log.
    pub uuid: Uuid,
    /// Every record before this is in the state, none behind it.
    pub lsn: u64,
    /// The newest time in those records; `None` if there are none.
    pub newest: Option<String>,
    /// How many records that is.
    pub records: u64,
}

/// Finds the state at a moment, or at the end of the log; or the damage that lies before it.
///
/// # Errors
/// The log cannot be read, does not reach to the moment, or no longer tells of it.
pub fn state_at(directory: &Path, moment: Option<Moment>) -> anyhow::Result<Result<State, Fault>> {
    check_directory(directory)?;
    let mut reader = match Reader::open(directory) {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(Fault::from(&damage_in(error)?))),
    };
    let header = reader.segments().first().map(|segment| segment.header);
    let header = header.with_context(|| format!("there is no log in {}", directory.display()))?;
    let log = Identity { uuid: header.uuid, first: header.base, cut: header.prev_end };
    let wanted = |snapshot: &Snapshot| {
        log.reaches_back_to(snapshot.lsn)
            && match moment {
                None => true,
                Some(Moment::Position(lsn)) => snapshot.lsn.get() <= lsn,
                Some(Moment::Time(time)) => snapshot.image.newest() <= time,
            }
    };
    let snapshot = snapshots::newest_usable(directory, log, wanted)?;
    let (image, reached) = match snapshot {
        Some(snapshot) => {
            if let Some(damage) = go_to(&mut reader, snapshot.lsn)? {
                return Ok(Err(damage));
            }
            (snapshot.image, snapshot.lsn)
        }
        None if log.first > Lsn::ZERO => bail!(
            "not known: the log begins at LSN {}, and no usable snapshot is of a moment between \
             that and the one asked for",
            log.first
        ),
        None => (Image::new(), reader.position()),
    };
    let size = header.segment_size;
    let frames = Frames::new(directory, size);
    let journey = Journey { image, reached, moment, size, uuid: log.uuid };
    journey.go(reader, frames)
}

/// Goes to where a snapshot ends, or finds what is damaged.
fn go_to(reader: &mut Reader, lsn: Lsn) -> anyhow::Result<Option<Fault>> {
    match reader.seek(lsn) {
        Ok(()) => Ok(None),
        Err(error) => Ok(Some(Fault::from(&damage_in(error)?))),
    }
}

/// A state on its way to a moment.
struct Journey {
    image: Image,
    /// End of the last frame.
    reached: Lsn,
    moment: Option<Moment>,
    size: SegmentSize,
    uuid: Uuid,
}

impl Journey {
    fn go(
        mut self,
        mut reader: Reader,
        frames: Frames<'_>,
    ) -> anyhow::Result<Result<State, Fault>> {
        let (_, to) = frames::extent(reader.directory());
        let mut progress = Progress::beside_lines("reading", self.reached, to.max(self.reached));
        // What stands behind a position is not even read: it may be damaged.
        while !self.has_reached() {
            let view = match reader.next_frame() {
                Ok(Some(view)) => view,
                Ok(None) => {
                    self.check_reached()?;
                    break;
                }
                Err(error) => return Ok(Err(Fault::from(&damage_in(error)?))),
            };
            progress.reach(view.header.lsn);
            if self.ends_before(&view) {
                break;
            }
            if !view.header.kind.is_internal()
                && let Err(error) = self.image.apply(&view.record())
            {
                return Ok(Err(frames.fault(view.header.lsn, refused_record(&error))));
            }
            self.reached = view.header.end();
        }
        let Self { image, reached, moment, uuid, .. } = self;
        let lsn = match moment {
            Some(Moment::Position(lsn)) => reached.get().min(lsn),
            Some(Moment::Time(_)) | None => reached.get(),
        };
        let newest = (image.records() > 0).then(|| instant::show(image.newest()));
        let place = Place { uuid, lsn, newest, records: image.records() };
        Ok(Ok(State { image, place }))
    }

    fn has_reached(&self) -> bool {
        matches!(self.moment, Some(Moment::Position(lsn)) if self.reached.get() >= lsn)
    }

    /// Whether a frame is none of the moment any more.
    fn ends_before(&self, view: &FrameView<'_>) -> bool {
        match self.moment {
            None => false,
            Some(Moment::Position(lsn)) => view.header.end().get() > lsn,
            Some(Moment::Time(_)) if view.header.kind.is_internal() => false,
            Some(Moment::Time(time)) => {
                // One that does not decode is refused when it is applied.
                let fact = codec::decode_record(&view.record()).ok().flatten();
                fact.is_some_and(|fact| fact.at() > time)
            }
        }
    }

    /// Checks at the end of the log that it has come to the moment.
    fn check_reached(&self) -> anyhow::Result<()> {
        if let Some(Moment::Position(lsn)) = self.moment {
            // A segment's header is behind the last record of the segment before.
            let next = self.size.frame_start(self.size.base_at_or_after(self.reached));
            let reached = lsn <= self.reached.get() || lsn <= next.get() && self.is_full();
            ensure!(reached, "the log ends at LSN {}", self.reached);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.size.base_at_or_after(self.reached) == self.reached
    }
}
