//! The real binary: what it says of its settings, and how it refuses bad ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The binary in an empty directory, with no environment but what a test gives it.
fn booking_manager(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking-manager"));
    command.current_dir(directory).env_clear();
    command
}

fn standard_error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs it; it must refuse with code 2, say why in one line, and have started nothing.
fn refusal(change: impl FnOnce(&mut Command, &Path)) -> String {
    let directory = TempDir::new().unwrap();
    let mut command = booking_manager(directory.path());
    change(&mut command, directory.path());
    let output = command.output().unwrap();
    let line = standard_error(&output);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("booking-manager: ") && line.ends_with('\n'), "{line}");
    assert!(output.stdout.is_empty());
    assert!(!directory.path().join("data").exists(), "the log must not have been touched");
    line
}

#[test]
fn help_lists_every_variable_of_the_contract_with_its_default() {
    let directory = TempDir::new().unwrap();
    let output = booking_manager(directory.path())
        .arg("--help")
        .env("DB_PASSWORD", "hunter2")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for (variable, default) in [
        ("SERVER_HOST", "0.0.0.0"),
        ("SERVER_PORT", "8080"),
        ("DATA_DIR", "./data"),
        ("HOLD_TTL_SECONDS", "600"),
        ("QUEUE_COUNT", "3"),
        ("QUEUE_CAPACITY", "1024"),
        ("DURABILITY", "commit"),
        ("ENVIRONMENT", "development"),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "text"),
        ("MAX_CONNECTIONS", "10000"),
        ("MAX_BODY_BYTES", "65536"),
        ("REQUEST_TIMEOUT_SECONDS", "30"),
        ("DRAIN_TIMEOUT_SECONDS", "15"),
        ("WAL_SEGMENT_BYTES", "67108864"),
        ("WAL_UNSYNCED_BYTES_MAX", "134217728"),
    ] {
        let told = format!("[env: {variable}] [default: {default}]");
        assert!(help.contains(&told), "{told} is not in\n{help}");
    }
    for variable in [
        "PORT_FILE",
        "HTTP_THREADS",
        "CORS_ALLOWED_ORIGINS",
        "DB_HOST",
        "DB_PORT",
        "DB_NAME",
        "DB_USER",
        "DB_PASSWORD",
        "DB_SSL_MODE",
        "DATABASE_URL",
    ] {
        assert!(help.contains(&format!("[env: {variable}]")), "{variable} is not in\n{help}");
    }
    assert!(!help.contains("hunter2"));
}

#[test]
fn the_version_is_told() {
    let directory = TempDir::new().unwrap();
    let output = booking_manager(directory.path()).arg("--version").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let expected = format!("booking-manager {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn bad_values_are_refused_wherever_they_come_from() {
    let line = refusal(|command, _| {
        command.env("SERVER_PORT", "65536");
    });
    let expected = "booking-manager: SERVER_PORT=\"65536\" (from the environment): \
                    must be a whole number from 0 to 65535\n";
    assert_eq!(line, expected);
    let line = refusal(|command, _| {
        command.arg("--queue-count=0");
    });
    assert!(line.contains("QUEUE_COUNT=\"0\" (from the command line): "), "{line}");
    let line = refusal(|_, directory| fs::write(directory.join(".env"), "DURABILITY=x\n").unwrap());
    assert!(line.contains("DURABILITY=\"x\" (from .env): "), "{line}");
    let line = refusal(|command, _| {
        command.arg("--no-such-flag");
    });
    assert!(line.contains("--no-such-flag"), "{line}");
}

#[test]
fn a_file_that_is_no_dotenv_is_refused() {
    let line =
        refusal(|_, directory| fs::write(directory.join(".env"), "LOG_LEVEL info\n").unwrap());
    assert!(line.contains(".env line 1: "), "{line}");
    let line = refusal(|_, directory| fs::create_dir(directory.join(".env")).unwrap());
    assert!(line.contains(".env cannot be read"), "{line}");
}

#[test]
fn a_flag_hides_a_bad_variable_and_a_variable_a_bad_line() {
    let line = refusal(|command, directory| {
        fs::write(directory.join(".env"), "SERVER_PORT=bad\nQUEUE_COUNT=bad\nLOG_LEVEL=bad\n")
            .unwrap();
        command.env("SERVER_PORT", "1").env("QUEUE_COUNT", "bad").arg("--queue-count=1");
    });
    assert!(line.contains("LOG_LEVEL"), "only the one that counts: {line}");
}

#[test]
fn contradictions_and_secrets() {
    let line = refusal(|command, _| {
        command.env("DATABASE_URL", "postgres://u:hunter2@h/d").env("DB_HOST", "h");
    });
    assert!(line.contains("DATABASE_URL and DB_HOST are both set"), "{line}");
    let line = refusal(|command, _| {
        command.env("DATABASE_URL", "hunter2");
    });
    assert!(line.contains("DATABASE_URL") && !line.contains("hunter2"), "{line}");
}

/// Runs it up to a failure that comes after the configuration was taken; gives its log.
fn failure(code: i32, change: impl FnOnce(&mut Command)) -> String {
    let directory = TempDir::new().unwrap();
    let mut command = booking_manager(directory.path());
    command.args(["--server-host=127.0.0.1", "--server-port=0"]);
    change(&mut command);
    let output = command.output().unwrap();
    let log = standard_error(&output);
    assert_eq!(output.status.code(), Some(code), "{log}");
    assert_eq!(log.matches(" ERROR ").count(), 1, "{log}");
    log
}

#[test]
fn the_effective_configuration_is_logged_without_secrets() {
    let log = failure(73, |command| {
        command.env("DATABASE_URL", "postgres://u:hunter2@h/d").env("DATA_DIR", "/proc/none");
    });
    assert!(log.contains("DATABASE_URL=postgres://u:***@h:5432/d?sslmode=prefer"), "{log}");
    assert!(log.contains("SERVER_PORT=0 ") && log.contains("QUEUE_CAPACITY=1024 "), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let log = failure(73, |command| {
        command.env("DATA_DIR", "/proc/none");
    });
    assert!(log.contains("/proc/none"), "{log}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = TempDir::new().unwrap();
    let output = booking_manager(directory.path())
        .args(["--server-host=127.0.0.1", &format!("--server-port={port}")])
        .output()
        .unwrap();
    let log = standard_error(&output);
    assert_eq!(output.status.code(), Some(69), "{log}");
    assert!(log.contains(&format!("SERVER_PORT={port}")), "{log}");
    assert!(!directory.path().join("data").exists(), "the log must not have been touched");
}

#[test]
fn a_port_file_that_cannot_be_written_is_named() {
    let log = failure(73, |command| {
        command.env("PORT_FILE", "/proc/none/port");
    });
    assert!(log.contains("PORT_FILE=/proc/none/port"), "{log}");
}
