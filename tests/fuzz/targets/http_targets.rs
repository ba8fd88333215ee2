//! Request targets: paths, the ids in them, and queries. What a page leads on to can be asked for, and
//! is what was asked for but going on.

use booking_manager::http::parsers;

/// Beside the path: a limit, a status, an id, and their names.
const QUERY_BYTES_MAX: usize = 128;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(target) = std::str::from_utf8(bytes) else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let Some(plain) = parsers::plain_path(path) {
        assert!(plain.len() <= path.len());
        assert_eq!(parsers::plain_path(&plain).as_deref(), Some(&*plain), "decoded twice");
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "BREW"] {
            if let Err(refused) = parsers::route(method, &plain) {
                assert!(matches!(refused.status, 404 | 405), "{method} {plain}: {refused:?}");
            }
        }
    }
    for text in path.split('/').chain([query]) {
        assert!(parsers::id(text).is_none() || text.len() == 36, "{text:?} is an id");
    }
    let Ok((limit, after)) = parsers::page(query) else { return };
    let Some(last) = after.or_else(|| parsers::id("550e8400-e29b-41d4-a716-446655440000")) else {
        unreachable!("it is an id");
    };
    let next = parsers::next_page(path, query, last);
    assert!(next.len() <= path.len() + QUERY_BYTES_MAX, "{next}");
    let (_, query) = next[path.len()..].split_once('?').unwrap_or_default();
    assert_eq!(parsers::page(query), Ok((limit, Some(last))), "{next}");
}
