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

/// As [`cpu_nanos`], of several together; `None` if there are none, or one of them is gone.
pub(super) fn cpu_nanos_of(pids: &[u32]) -> Option<u64> {
    let all = || pids.iter().map(|pid| cpu_nanos(*pid)).sum();
    if pids.is_empty() { None } else { all() }
}

/// The processes that this one has begun and that have not ended.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name come the state and the parent.
        let parents = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
        parents.and_then(|pid| pid.parse().ok()) == Some(parent)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_that_is_not_there_has_no_cpu_time() {
        assert!(super::cpu_nanos(std::process::id()).is_some());
        assert_eq!(super::cpu_nanos(u32::MAX), None);
        let own = std::process::id();
        assert!(super::cpu_nanos_of(&[own, own]).is_some());
        assert_eq!(super::cpu_nanos_of(&[own, u32::MAX]), None);
        assert_eq!(super::cpu_nanos_of(&[]), None);
    }
}
