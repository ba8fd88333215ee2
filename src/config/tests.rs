//! The sources of settings against each other, and every value that must be refused.

use super::*;

fn read(
    arguments: &[&str],
    environment: &[(&str, &str)],
    dotenv: &[(&str, &str)],
) -> Result<Request, Fault> {
    let find = |name: &str| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let dotenv = dotenv.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    resolve(arguments.iter().map(OsString::from), find, &dotenv.collect())
}

fn config(arguments: &[&str], environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Config {
    match read(arguments, environment, dotenv) {
        Ok(Request::Run(config)) => *config,
        other => panic!("no configuration but {other:?}"),
    }
}

fn fault(arguments: &[&str], environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> String {
    match read(arguments, environment, dotenv) {
        Err(fault) => fault.to_string(),
        Ok(request) => panic!("accepted: {request:?}"),
    }
}

fn shown(request: Result<Request, Fault>) -> String {
    match request {
        Ok(Request::Show(text)) => text,
        other => panic!("nothing to show but {other:?}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = config(&[], &[], &[]);
    assert_eq!(config.host.to_string(), "0.0.0.0");
    assert_eq!(config.port, 8080);
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.hold_ttl, Duration::from_secs(600));
    assert_eq!((config.queue_count, config.queue_capacity), (3, 1024));
    assert_eq!(config.durability, Durability::Commit);
    assert_eq!(config.postgres, None);
    assert_eq!(config.environment, Environment::Development);
    assert_eq!((config.log_level, config.log_format), (LogLevel::Info, LogFormat::Text));
    assert_eq!(config.cors, CorsOrigins::Off);
    assert_eq!(config.wal_segment_bytes, 64 << 20);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(config.http_threads, cores.saturating_sub(1).max(1));
    assert_eq!(config.port_file, None);
}

#[test]
fn a_flag_wins_over_the_environment_that_over_dotenv_and_that_over_the_default() {
    let (low, middle) = ([("SERVER_PORT", "1001")], [("SERVER_PORT", "1002")]);
    assert_eq!(config(&[], &[], &low).port, 1001);
    assert_eq!(config(&[], &middle, &low).port, 1002);
    assert_eq!(config(&["--server-port", "1003"], &middle, &low).port, 1003);
    assert_eq!(config(&["--server-port=1003"], &middle, &low).port, 1003);
    let bad = [("SERVER_PORT", "bad")];
    assert_eq!(
        config(&["--server-port=0"], &bad, &bad).port,
        0,
        "what is overridden does not count"
    );
    assert_eq!(config(&[], &middle, &bad).port, 1002);
}

#[test]
fn an_empty_variable_is_unset() {
    assert_eq!(config(&[], &[("SERVER_PORT", "")], &[("SERVER_PORT", "1001")]).port, 1001);
    assert_eq!(config(&[], &[("DB_HOST", "")], &[("DATABASE_URL", "")]).postgres, None);
}

#[test]
fn every_bad_value_is_one_line_with_name_value_source_and_what_is_allowed() {
    let bad = [
        ("SERVER_HOST", "localhost", "IPv4 or IPv6"),
        ("SERVER_PORT", "65536", "from 0 to 65535"),
        ("SERVER_PORT", "-1", "from 0 to 65535"),
        ("SERVER_PORT", "+1", "from 0 to 65535"),
        ("HTTP_THREADS", "0", "from 1 to 256"),
        ("MAX_CONNECTIONS", "0", "from 1 to 1000000"),
        ("MAX_BODY_BYTES", "1023", "from 1024 to 16777216"),
        ("REQUEST_TIMEOUT_SECONDS", "1.5", "from 1 to 3600"),
        ("DRAIN_TIMEOUT_SECONDS", "3601", "from 0 to 3600"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example/", "closing slash"),
        ("CORS_ALLOWED_ORIGINS", "https://A.example", "lower"),
        ("CORS_ALLOWED_ORIGINS", "*,https://a.example", "must be *"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example:0", "must be *"),
        ("DURABILITY", "interval:0", "interval:<milliseconds>"),
        ("WAL_SEGMENT_BYTES", "1000000", "power of two"),
        ("WAL_SEGMENT_BYTES", "524288", "power of two from 1048576"),
        ("WAL_UNSYNCED_BYTES_MAX", "135167", "from 135168"),
        ("HOLD_TTL_SECONDS", "0", "from 1 to 2592000"),
        ("QUEUE_COUNT", "0", "from 1 to 1024"),
        ("QUEUE_CAPACITY", "18446744073709551616", "from 1 to 1048576"),
        ("BOOKINGS_MAX", "0", "from 1 to 4294967296"),
        ("IDEMPOTENCY_KEYS_MAX", "-1", "from 1 to 1073741824"),
        ("DB_PORT", "0", "from 1 to 65535"),
        ("DB_SSL_MODE", "maybe", "disable, prefer"),
        ("ENVIRONMENT", "moon", "production"),
        ("LOG_LEVEL", "loud\nline", "trace"),
        ("LOG_FORMAT", "xml", "text, json"),
    ];
    for (name, value, allowed) in bad {
        let flag = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
        for (line, source) in [
            (fault(&[], &[(name, value)], &[]), "the environment"),
            (fault(&[], &[], &[(name, value)]), ".env"),
            (fault(&[&flag], &[], &[]), "the command line"),
        ] {
            assert_eq!(line.lines().count(), 1, "{line}");
            let start = format!("{name}={value:?} (from {source}): ");
            assert!(line.starts_with(&start), "{line} does not start with {start}");
            assert!(line[start.len()..].contains(allowed), "{line} does not name {allowed}");
        }
    }
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let line = fault(&[], &[("SERVER_PORT", &"9".repeat(5_000))], &[]);
    assert!(line.len() < 250, "{line}");
}

#[test]
fn a_bad_command_line_is_one_line() {
    for (arguments, part) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--server-port"][..], "needs a value"),
        (&["--server-port="][..], "from 0 to 65535"),
        (&["--server-port=1", "--server-port=2"][..], "--server-port"),
        (&["stray"][..], "stray"),
    ] {
        let line = fault(arguments, &[], &[]);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn contradictions_are_refused() {
    let url = ("DATABASE_URL", "postgres://u:hunter2@h/d");
    let line = fault(&[], &[url, ("DB_HOST", "h")], &[]);
    assert!(line.contains("DATABASE_URL and DB_HOST are both set"), "{line}");
    let line = fault(&["--db-password=hunter2"], &[], &[url]);
    assert!(line.contains("DATABASE_URL and DB_PASSWORD are both set"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    let line = fault(&[], &[("DB_HOST", "h"), ("DB_NAME", "d")], &[]);
    assert!(line.starts_with("DB_USER is not set, but DB_HOST is"), "{line}");
}

#[test]
fn secrets_are_masked_everywhere() {
    let url = config(&[], &[("DATABASE_URL", "postgres://u:hunter2@h/d")], &[]);
    let parts = [("DB_HOST", "h"), ("DB_NAME", "d"), ("DB_USER", "u"), ("DB_PASSWORD", "hunter2")];
    let parts = config(&[], &parts, &[]);
    for config in [&url, &parts] {
        assert!(!config.effective().to_string().contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        let password =
            config.postgres.as_ref().and_then(|postgres| postgres.target.password.as_ref());
        assert_eq!(password.unwrap().reveal(), "hunter2");
    }
    let effective = url.effective().to_string();
    assert!(effective.contains("DATABASE_URL=postgres://u:***@h:5432/d?sslmode=prefer"));
    assert!(parts.effective().to_string().contains("DB_PASSWORD=*** DB_SSL_MODE=prefer"));
    let line = fault(&[], &[("DATABASE_URL", "hunter2")], &[]);
    assert!(line.contains("DATABASE_URL") && !line.contains("hunter2"), "{line}");
}

#[test]
fn the_help_names_every_setting_and_no_value_of_the_environment() {
    let help = shown(read(&["--help"], &[("DB_PASSWORD", "hunter2")], &[]));
    let names = flags::variables();
    assert_eq!(names.len(), 34);
    for (variable, flag) in names {
        assert!(help.contains(&format!("[env: {variable}]")), "{variable} is missing:\n{help}");
        assert!(help.contains(&flag), "{flag} is missing:\n{help}");
    }
    for part in ["[default: 8080]", "[default: ./data]", "Exit codes", "one per core"] {
        assert!(help.contains(part), "{part} is missing:\n{help}");
    }
    assert!(!help.contains("hunter2"));
    assert_eq!(shown(read(&["-h"], &[], &[])), help);
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = format!("booking-manager {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(shown(read(&["--version"], &[], &[])), expected);
}

#[test]
fn the_effective_configuration_names_every_setting() {
    let config = config(&["--data-dir", "/tmp/a b"], &[], &[]);
    let mut known: Vec<String> = flags::variables().into_iter().map(|(name, _)| name).collect();
    let mut told: Vec<&str> = config.variables().into_iter().map(|(name, _)| name).collect();
    known.sort_unstable();
    told.sort_unstable();
    assert_eq!(known, told);
    let line = config.effective().to_string();
    assert!(line.starts_with("SERVER_HOST=0.0.0.0 SERVER_PORT=8080 PORT_FILE= "), "{line}");
    assert!(line.contains(" DATA_DIR=\"/tmp/a b\" "), "{line}");
}

#[test]
fn origins_are_told_apart() {
    let origins = |text| config(&[], &[("CORS_ALLOWED_ORIGINS", text)], &[]).cors;
    assert_eq!(origins("*"), CorsOrigins::Any);
    let listed = ["https://a.example", "http://127.0.0.1:3000", "http://[::1]", "http://[::1]:80"];
    let expected = CorsOrigins::Listed(listed.map(str::to_owned).to_vec());
    assert_eq!(origins(&listed.join(" , ")), expected);
}

fn dotenv(text: &[u8]) -> Result<HashMap<String, String>, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    std::fs::write(&path, text).unwrap();
    read_dotenv(&path).map_err(|fault| fault.to_string())
}

#[test]
fn dotenv_is_read_or_refused_in_one_line() {
    let read = dotenv(b"\xEF\xBB\xBFA=1\n# note\n\nexport B='x # y'\nA=2\n").unwrap();
    assert_eq!(read["A"], "1", "the first of a name counts");
    assert_eq!(read["B"], "x # y");
    let line = dotenv(b"A=1\nDB_PASSWORD hunter2\n").unwrap_err();
    assert!(line.contains(".env line 2: must be NAME=value"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    assert!(dotenv(b"A=\xFF\n").unwrap_err().contains("is not UTF-8"));
    let directory = tempfile::tempdir().unwrap();
    assert!(read_dotenv(&directory.path().join("none")).unwrap().is_empty());
    let line = read_dotenv(directory.path()).unwrap_err().to_string();
    assert!(line.contains("cannot be read") && line.lines().count() == 1, "{line}");
}

#[test]
fn the_example_file_is_valid_and_names_every_setting() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example"));
    let example = std::fs::read_to_string(path).unwrap();
    let set = read_dotenv(path).unwrap();
    let pairs: Vec<(&str, &str)> = set.iter().map(|(name, value)| (&**name, &**value)).collect();
    let _ = config(&[], &[], &pairs);
    for (variable, _) in flags::variables() {
        let named = example
            .lines()
            .any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{variable}=")));
        assert!(named, "{variable} is missing");
    }
}
