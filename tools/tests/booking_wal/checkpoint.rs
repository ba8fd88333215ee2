//! Snapshots that are made on demand.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use tempfile::TempDir;

use crate::run::{Run, run};
use crate::story::{self, Story};

fn snapshot(story: &Story) -> Run {
    run(story.path(), &["snapshot"])
}

#[test]
fn without_a_server_it_is_made_of_where_the_log_ends() {
    let story = Story::told();
    story.tear();
    let path = story.path().join(booking_manager::image::snapshot::file_name(story.end));
    let told = snapshot(&story);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let bytes = fs::metadata(&path).unwrap().len();
    let expected = format!(
        "snapshot      DIR/{}
made by       this program: no server runs
exact for     LSN {}
records       10
bytes         {bytes}
state         {}
took          ",
        path.file_name().unwrap().to_str().unwrap(),
        story.end,
        story.state_hash(),
    );
    assert!(told.stdout.starts_with(&expected), "{told:?}");
    assert_eq!(run(story.path(), &["verify"]).code, 0);
    let again = snapshot(&story);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.starts_with("nothing to do"), "{again:?}");

    // One that is damaged is replaced, and what a killed process left of one is in nobody's way.
    Story::flip_file(&path, 100);
    let unfinished = path.with_extension("snap.tmp");
    fs::write(&unfinished, [7; 100]).unwrap();
    assert_eq!(run(story.path(), &["verify"]).code, 1);
    assert_eq!(snapshot(&story).code, 0);
    assert!(!unfinished.exists());
    assert_eq!(run(story.path(), &["verify"]).code, 0);
}

#[test]
fn what_a_server_would_refuse_is_not_made_a_snapshot_of() {
    let story = Story::told();
    story.flip(story.lsns[4].get() + 40);
    let told = snapshot(&story);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.ends_with("no snapshot was made of a log that a server would refuse\n"));
    assert!(
        !story.files().iter().any(|(path, ..)| path.extension().is_some_and(|end| end == "snap"))
    );
    let empty = TempDir::new().unwrap();
    let told = run(empty.path(), &["snapshot"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("there is no log"), "{told:?}");
}

#[test]
fn a_directory_in_use_without_a_socket_is_left_alone() {
    let story = Story::told();
    let log = story::open(story.path());
    // As a server leaves it that was killed: nobody listens.
    drop(UnixListener::bind(story.path().join("admin.sock")).unwrap());
    let told = snapshot(&story);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    assert!(told.stderr.contains("nobody answers at DIR/admin.sock"), "{told:?}");
    assert!(told.stderr.contains("in use by another process"), "{told:?}");
    drop(log);
}

/// What the program makes of a server's answer.
fn answered(answer: &str, arguments: &[&str]) -> Run {
    let story = Story::told();
    let _log = story::open(story.path());
    let listener = UnixListener::bind(story.path().join("admin.sock")).unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
            request
        });
        let told = run(story.path(), arguments);
        assert_eq!(server.join().unwrap(), "snapshot\n");
        told
    })
}

#[test]
fn a_running_server_is_asked() {
    let made = "\"lsn\":123,\"path\":\"/data/snapshot-000000000000007b.snap\",\"bytes\":4,\
                \"records\":5,\"state_hash\":\"00ff\",\"elapsed_ms\":6}\n";
    let told = answered(&format!("{{{made}"), &["snapshot"]);
    let expected = "snapshot      /data/snapshot-000000000000007b.snap
made by       the running server
exact for     LSN 123
records       5
bytes         4
state         00ff
took          6 ms
";
    assert_eq!((told.code, told.stdout.as_str()), (0, expected), "{told:?}");
    let told = answered(&format!("{{{made}"), &["snapshot", "--json"]);
    assert_eq!((told.code, told.stdout), (0, format!("{{\"outcome\":\"made_by_server\",{made}")));
    for (answer, says) in [
        ("{\"error\":\"the disk is full\"}\n", "the server made none: the disk is full"),
        ("", "the server ended without an answer"),
        ("what?\n", "not understood"),
    ] {
        let told = answered(answer, &["snapshot"]);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
        assert!(told.stderr.contains(says), "{told:?}");
    }
}
