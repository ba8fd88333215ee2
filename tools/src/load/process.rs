//! What a process costs.

use std::fs;

/// CPU time that a process and its threads have taken so far; `None` if there is no such process.
pub(super) fn cpu_nanos(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let nanos_per_tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    Some((user + system) * nanos_per_tick)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_that_is_not_there_has_no_cpu_time() {
        assert!(super::cpu_nanos(std::process::id()).is_some());
        assert_eq!(super::cpu_nanos(u32::MAX), None);
    }
}
