//! Stand-in for the log while it is being written.
#![allow(missing_docs, clippy::unimplemented, reason = "stand-in")]
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
pub const PAYLOAD_BYTES_MAX: usize = 65_504;
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(u64);
impl Lsn {
    pub const ZERO: Self = Self(0);
    pub const fn new(v: u64) -> Self {
        Self(v)
    }
    pub const fn get(self) -> u64 {
        self.0
    }
}
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Kind(u16);
impl Kind {
    pub const FIRST_FREE: u16 = 16;
    pub const fn new(v: u16) -> Self {
        Self(v)
    }
    pub const fn get(self) -> u16 {
        self.0
    }
}
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RecordType {
    pub kind: Kind,
    pub version: u8,
    pub ignorable: bool,
}
#[derive(Copy, Clone, Debug)]
pub struct Record<'a> {
    pub lsn: Lsn,
    pub end: Lsn,
    pub kind: Kind,
    pub version: u8,
    pub ignorable: bool,
    pub epoch: u32,
    pub payload: &'a [u8],
}
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Durability {
    Commit,
    Interval(Duration),
    Os,
}
impl FromStr for Durability {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        unimplemented!()
    }
}
impl fmt::Display for Durability {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
#[derive(Clone, Debug)]
pub struct Options {
    pub directory: PathBuf,
    pub durability: Durability,
    pub segment_bytes: u64,
    pub segments_ahead: u32,
    pub reserve_bytes: u64,
    pub unsynced_bytes_max: u64,
}
impl Options {
    pub fn new(_: impl Into<PathBuf>) -> Self {
        unimplemented!()
    }
}
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Urgency {
    Take,
    Release,
}
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ReserveError {
    NoRoom,
    TooFarAhead,
    Poisoned,
    Sealed,
    TooLong,
}
#[derive(Debug)]
pub struct Reservation<'a>(std::marker::PhantomData<&'a ()>);
impl Reservation<'_> {
    pub fn lsn(&self) -> Lsn {
        unimplemented!()
    }
    pub fn end(&self) -> Lsn {
        unimplemented!()
    }
    pub fn decided(&mut self) {}
    pub fn commit(self) -> Lsn {
        unimplemented!()
    }
    pub fn void(self) {}
}
#[derive(Clone, Debug)]
pub struct Poison;
impl fmt::Display for Poison {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
#[derive(Clone, Debug)]
pub struct LogStats {}
#[derive(Clone, Debug)]
pub struct RecoveryReport {}
#[derive(Debug)]
pub struct OpenError;
impl fmt::Display for OpenError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
impl std::error::Error for OpenError {}
#[derive(Debug)]
pub struct SealError;
impl fmt::Display for SealError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
impl std::error::Error for SealError {}
#[derive(Debug)]
pub struct Log {}
impl Log {
    pub fn open<E: std::error::Error + Send + Sync + 'static>(
        _: Options,
        _: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        unimplemented!()
    }
    pub fn reserve(
        &self,
        _: RecordType,
        _: Urgency,
        _: &[u8],
    ) -> Result<Reservation<'_>, ReserveError> {
        unimplemented!()
    }
    pub fn reserved(&self) -> Lsn {
        unimplemented!()
    }
    pub fn published(&self) -> Lsn {
        unimplemented!()
    }
    pub fn durable(&self) -> Lsn {
        unimplemented!()
    }
    pub fn answerable(&self) -> Lsn {
        unimplemented!()
    }
    pub fn has_room(&self) -> bool {
        unimplemented!()
    }
    pub fn kick(&self) {}
    pub fn on_progress(&self, _: Box<dyn Fn() + Send + Sync>) {}
    pub fn poisoned(&self) -> Option<Poison> {
        unimplemented!()
    }
    pub fn stats(&self) -> LogStats {
        unimplemented!()
    }
    pub fn durability(&self) -> Durability {
        unimplemented!()
    }
    pub fn epoch(&self) -> u32 {
        unimplemented!()
    }
    pub fn seal(&self) -> Result<Lsn, SealError> {
        unimplemented!()
    }
}
