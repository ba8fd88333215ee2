//! What a bus error in the mapped log says before it ends the process.
//!
//! A store to a mapped page whose block cannot be had (the file was cut by somebody, the device is
//! gone) raises SIGBUS. Nothing can be saved then; but a bare "Bus error" tells nobody which file.
//! The handler finds the address among the rings, writes the segment's name and the offset to
//! standard error, and aborts. An address outside every ring is left to the default action.
//!
//! **Invariant:** the handler only loads atomics and calls `write` and `abort`, which POSIX lists as
//! safe in a signal handler. It allocates nothing, takes no lock, formats by hand.

use std::{
    mem::MaybeUninit,
    ptr,
    sync::{
        Once,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Rings that can be told apart at a time; a process has one, its tests a few.
const RINGS_MAX: usize = 32;

/// Slots of a ring of which the handler knows the segment.
pub(crate) const RING_SLOTS_MAX: usize = 64;

/// One ring. `address` is 0 while the entry is free; it is stored last (Release) and loaded first
/// (Acquire), so that the handler sees the sizes that belong to it.
struct Entry {
    address: AtomicUsize,
    bytes: AtomicU64,
    segment_bytes: AtomicU64,
    bases: [AtomicU64; RING_SLOTS_MAX],
}

/// An entry being filled or emptied.
const BUSY: usize = 1;

static ENTRIES: [Entry; RINGS_MAX] = [const {
    Entry {
        address: AtomicUsize::new(0),
        bytes: AtomicU64::new(0),
        segment_bytes: AtomicU64::new(0),
        bases: [const { AtomicU64::new(0) }; RING_SLOTS_MAX],
    }
}; RINGS_MAX];

/// An entry of the table, given back on drop.
#[derive(Debug)]
pub(crate) struct Watched {
    index: usize,
}

impl Watched {
    /// Notes that slot `slot` now holds the segment that begins at `base`.
    pub(crate) fn set_base(&self, slot: usize, base: u64) {
        if let Some(known) = ENTRIES[self.index].bases.get(slot) {
            known.store(base, Ordering::Relaxed);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        ENTRIES[self.index].address.store(0, Ordering::Release);
    }
}

/// Installs the handler (once per process) and enters a ring. `None` when the table is full: the log
/// works, only the message would be missing.
pub(crate) fn watch(address: usize, bytes: u64, segment_bytes: u64) -> Option<Watched> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    let index = ENTRIES.iter().position(|entry| {
        entry.address.compare_exchange(0, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    })?;
    let entry = &ENTRIES[index];
    entry.bytes.store(bytes, Ordering::Relaxed);
    entry.segment_bytes.store(segment_bytes, Ordering::Relaxed);
    entry.address.store(address, Ordering::Release);
    Some(Watched { index })
}

fn install() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let action = action.as_mut_ptr();
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    // SAFETY: `action` points to a zeroed sigaction of this frame, and all-zero is a valid value.
    let fields = unsafe { &mut *action };
    fields.sa_sigaction = handler as *const () as usize;
    fields.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the mask is a field of the struct above.
    unsafe { libc::sigemptyset(&raw mut fields.sa_mask) };
    // SAFETY: `action` is complete; the handler has the signature that SA_SIGINFO asks for and does
    // only what is allowed in one (see the module). A failure leaves the default action.
    unsafe { libc::sigaction(libc::SIGBUS, action, ptr::null_mut()) };
}

extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let info = unsafe { &*info };
    // SAFETY: `si_addr` is a field that the kernel fills for SIGBUS.
    let address = unsafe { info.si_addr() } as usize;
    let Some((base, offset)) = find(address) else {
        // SAFETY: both calls are async-signal-safe; with the default action back, the access that
        // raised the signal raises it again and ends the process as if there were no handler.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        return;
    };
    let mut line = Line { bytes: [0; 160], length: 0 };
    line.text(b"fatal: bus error in wal-");
    line.hex(base);
    line.text(b".seg at offset ");
    line.decimal(offset);
    line.text(b": the file was shortened or its device failed; aborting\n");
    // SAFETY: `line` holds `length` initialised bytes; `write` is async-signal-safe.
    unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.length) };
    // SAFETY: `abort` is async-signal-safe and does not return.
    unsafe { libc::abort() };
}

/// The segment and the offset in it that an address in a ring stands for.
fn find(address: usize) -> Option<(u64, u64)> {
    for entry in &ENTRIES {
        let start = entry.address.load(Ordering::Acquire);
        let bytes = entry.bytes.load(Ordering::Relaxed);
        if start <= BUSY || address < start {
            continue;
        }
        let offset = (address - start) as u64;
        if offset < bytes {
            let segment_bytes = entry.segment_bytes.load(Ordering::Relaxed).max(1);
            let slot = usize::try_from(offset / segment_bytes).ok()?;
            let base = entry.bases.get(slot).map_or(0, |base| base.load(Ordering::Relaxed));
            return Some((base, offset % segment_bytes));
        }
    }
    None
}

/// A message of bounded length, put together without allocation.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Line {
    fn text(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    fn hex(&mut self, value: u64) {
        for byte in value.to_be_bytes() {
            for digit in [byte >> 4, byte & 15] {
                self.text(&[b"0123456789abcdef"[usize::from(digit)]]);
            }
        }
    }

    fn decimal(&mut self, value: u64) {
        let mut divisor = 1;
        while value / divisor >= 10 {
            divisor *= 10;
        }
        while divisor > 0 {
            let digit = u8::try_from(value / divisor % 10).unwrap_or(0);
            self.text(&[b'0' + digit]);
            divisor /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_segment() {
        // In the kernel's half of the addresses, where no other test's ring can lie.
        const ADDRESS: usize = 0xffff_0000_0000_0000;
        let watched = watch(ADDRESS, 4096, 1024).expect("a free entry");
        watched.set_base(2, 0x4000);
        assert_eq!(find(ADDRESS + 2048 + 5), Some((0x4000, 5)));
        assert_eq!(find(ADDRESS + 4096), None);
        drop(watched);
        assert_eq!(find(ADDRESS + 2048 + 5), None);
    }

    #[test]
    fn numbers_are_written_by_hand() {
        let mut line = Line { bytes: [0; 160], length: 0 };
        line.hex(0xabc);
        line.text(b" ");
        line.decimal(0);
        line.text(b" ");
        line.decimal(10_203);
        assert_eq!(&line.bytes[..line.length], b"0000000000000abc 0 10203");
    }
}
