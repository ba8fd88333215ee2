//! A server that nobody talks to uses next to nothing.

use std::fs;
use std::time::Duration;

use crate::harness::{Settings, observe_for, wait_until};

/// User and system time that a process has used, in clock ticks (10 ms).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let (_, fields) = stat.rsplit_once(')').expect("the command's name in parentheses");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Fields 14 and 15 of proc(5); the first here is field 3.
    let number = |index: usize| fields[index].parse::<u64>().expect("a number");
    number(11) + number(12)
}

#[test]
fn an_idle_server_uses_next_to_no_cpu() {
    const SEGMENT_BYTES: u64 = 1 << 20;
    const LIMIT: Duration = Duration::from_secs(60);
    let server = Settings::new().env("WAL_SEGMENT_BYTES", SEGMENT_BYTES).start();
    server.create_show(100);
    wait_until(LIMIT, "the log is prepared", || {
        server.stats()["wal"]["segments_ahead"].as_u64() >= Some(1)
    });
    let pid = server.pid();
    let used_in = |span: Duration| {
        let before = cpu_ticks(pid);
        observe_for(span);
        cpu_ticks(pid) - before
    };
    wait_until(LIMIT, "the start's work is done", || used_in(Duration::from_secs(1)) == 0);
    let used = used_in(Duration::from_secs(5));
    assert!(used <= 2, "{used} ticks of CPU in 5 idle seconds");
}
