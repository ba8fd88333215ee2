//! The configuration: from whatever command line, environment and `.env`, it is complete or refused in
//! one line, and no secret is shown. The input is three parts with a line of `--` between them: an
//! argument a line, a variable a line, and the file.

use std::ffi::OsString;
use std::path::Path;

use booking_manager::config::{self, Request};

/// Set where the input sets no password of its own, and never to be seen.
const SECRET: &str = "s3cr3t-that-nobody-writes";

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, "\n--\n");
    let (arguments, environment) = (parts.next(), parts.next());
    let file = parts.next().unwrap_or_default();
    let dotenv = match config::parse_dotenv(Path::new(".env"), file.as_bytes()) {
        Ok(variables) => variables,
        Err(fault) => return check_line(&fault.to_string()),
    };
    let arguments: Vec<&str> = arguments.unwrap_or_default().lines().collect();
    let variables: Vec<(&str, &str)> = environment
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .chain([("DB_PASSWORD", SECRET)])
        .collect();
    let find = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    match config::resolve(arguments.iter().map(OsString::from), find, &dotenv) {
        Ok(Request::Run(config)) => {
            let shown = config.effective().to_string();
            check_line(&shown);
            assert!(!format!("{config:?}").contains(SECRET));
            assert!(config.http_threads > 0 && config.max_connections > 0 && config.queue_count > 0);
            assert!(config.wal_segment_bytes.is_power_of_two());
        }
        Ok(Request::Show(text)) => assert!(!text.contains(SECRET)),
        Err(fault) => check_line(&fault.to_string()),
    }
}

fn check_line(line: &str) {
    assert!(!line.is_empty() && line.chars().all(|c| !c.is_control()), "{line:?} is no line");
    assert!(!line.contains(SECRET), "{line} shows a secret");
}
