//! `POST /api/bookings` against a bare hyper server, side by side.
//!
//! Both servers have the same runtime shape (as many current-thread runtimes, each with its own
//! listener), get the same requests from the same generator (`wrk`, from Debian's packages) and
//! send answers of the same size; the bare one reads the body and answers a constant. They take
//! turns in slices of one second, so that whatever else the machine does hits both; each slice
//! books distinct seats of a fresh event. The bare server gets a second turn per slice as a
//! control: its ratio to itself says how much of a difference is noise.
//!
//! `cargo bench --bench http [-- --slices 25 --connections 256 --durability commit --threads 1]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time, prints what it found, and may panic when it fails"
)]

mod bare;
mod generator;
mod servers;

use std::time::Instant;

use generator::{Slice, wrk};
use servers::{Booking, Child};

/// Seats of one slice's event: more than a slice can book.
const SEATS: u32 = 250_000;

struct Options {
    slices: usize,
    connections: u32,
    durability: String,
    /// Runtimes of either server.
    threads: usize,
}

fn options() -> Options {
    let mut options = Options {
        slices: 25,
        connections: 256,
        durability: "commit".into(),
        threads: booking_manager::config::http_threads_default(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().expect("each option takes a value");
        match name.as_str() {
            "--slices" => options.slices = value().parse().expect("a number"),
            "--connections" => options.connections = value().parse().expect("a number"),
            "--durability" => options.durability = value(),
            "--threads" => options.threads = value().parse().expect("a number"),
            // Cargo passes it to every bench.
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn column(slices: &[[Slice; 3]], of: impl Fn(&[Slice; 3]) -> f64) -> f64 {
    median(slices.iter().map(of).collect())
}

/// Microseconds that one fdatasync of a freshly written 4 KiB block takes, median of 50.
fn raw_sync_micros(directory: &std::path::Path) -> f64 {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(directory.join("raw")).unwrap();
    file.write_all_at(&vec![0; 64 * 4_096], 0).unwrap();
    file.sync_all().unwrap();
    let sync = |block: u64| {
        file.write_all_at(&[7; 4_096], block * 4_096).unwrap();
        let start = Instant::now();
        file.sync_data().unwrap();
        start.elapsed().as_secs_f64() * 1e6
    };
    median((0..50).map(sync).collect())
}

fn main() {
    if let Some(port_file) = std::env::var_os(bare::PORT_FILE) {
        bare::serve(std::path::Path::new(&port_file));
    }
    let options = options();
    // Beside the build, not in a temporary directory, which may be memory.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let booking = Booking::start(directory.path(), &options.durability, options.threads);
    let bare = Child::start_bare(directory.path(), options.threads);
    let mut slices = Vec::new();
    let mut syncs = Vec::new();
    for number in 0..options.slices + 1 {
        let script = booking.prepare_slice(directory.path(), SEATS);
        let turn = |child: &Child| wrk(child, &script, options.connections);
        let slice = [turn(&booking.child), turn(&bare), turn(&bare)];
        if number == 0 {
            continue; // warm-up
        }
        syncs.push(raw_sync_micros(directory.path()));
        println!(
            "slice {number:2}: booking {:7.0}/s {:5.1} us CPU, bare {:7.0}/s {:5.1} us CPU, control {:7.0}/s",
            slice[0].rate, slice[0].cpu_micros, slice[1].rate, slice[1].cpu_micros, slice[2].rate,
        );
        slices.push(slice);
    }
    println!(
        "durability {}, {} connections, {} slices of 1 s; medians:",
        options.durability, options.connections, options.slices
    );
    println!("  booking / bare       {:.3}", column(&slices, |s| s[0].rate / s[1].rate));
    println!("  bare / bare          {:.3}  (control)", column(&slices, |s| s[2].rate / s[1].rate));
    println!(
        "  server CPU / request {:.1} us against {:.1} us, ratio {:.2}",
        column(&slices, |s| s[0].cpu_micros),
        column(&slices, |s| s[1].cpu_micros),
        column(&slices, |s| s[0].cpu_micros / s[1].cpu_micros),
    );
    println!("  raw fdatasync, 4 KiB {:.0} us", median(syncs));
}
