//! The story of one booking.

use crate::liar::lie;
use crate::program::run;
use crate::server::Server;

#[test]
fn a_booking_is_walked_through_its_life_as_often_as_one_likes() {
    let server = Server::start();
    for _ in 0..2 {
        let told = run(&["demo", "--url", &server.url()]);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
        for line in [
            "She holds two of them.",
            "   < 409 {",
            "\"status\":\"confirmed\"",
            "All of it was as it should be.",
        ] {
            assert!(told.stdout.contains(line), "{line:?} in {told:?}");
        }
    }
}

#[test]
fn an_answer_that_should_not_have_come_is_told() {
    let server = Server::start();
    let url = lie(server.port, |line, body| {
        line.contains("/confirm").then(|| body.replace("\"confirmed\"", "\"pending\""))
    });
    let told = run(&["demo", "--url", &url]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.contains("WRONG: it should be confirmed."), "{told:?}");
}
