//! Runs the program.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What the program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking-load"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Run {
    ended(program().args(arguments).spawn().unwrap())
}

/// Waits for its end.
pub(crate) fn ended(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// What it wrote as JSON; it must have found nothing wrong.
    #[track_caller]
    pub(crate) fn sound(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        let report: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(report["sweep"]["verdict"], "true", "{report}");
        assert_eq!(report["sweep"]["wrongs"], Value::Array(Vec::new()), "{report}");
        report
    }

    /// The things that it found wrong, at least one, and the exit code says so.
    #[track_caller]
    pub(crate) fn wrongs(&self) -> Vec<String> {
        assert_eq!((self.code, self.stderr.as_str()), (1, ""), "{self:?}");
        let report: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(report["sweep"]["verdict"], "wrong", "{report}");
        let wrongs = report["sweep"]["wrongs"].as_array().unwrap().iter();
        let wrongs: Vec<_> = wrongs.map(|wrong| wrong.as_str().unwrap().to_owned()).collect();
        assert!(!wrongs.is_empty(), "{report}");
        wrongs
    }

    /// What it says on standard error when it can do nothing.
    #[track_caller]
    pub(crate) fn unusable(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        &self.stderr
    }
}

/// How many answers of this kind a phase had.
pub(crate) fn answers(phase: &Value, operation: &str, status: u16) -> u64 {
    let answers = phase["answers"].as_array().unwrap().iter();
    answers
        .filter(|answer| answer["operation"] == operation && answer["status"] == status)
        .map(|answer| answer["count"].as_u64().unwrap())
        .sum()
}
