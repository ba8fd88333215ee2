//! Headers that are looked at: a key is 1 to 255 visible characters, with or without quotes, and a
//! request identifier that is repeated cannot break the answer. The input is lines of `name: value`.

use booking_manager::http::parsers;

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

fn is_visible(text: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(crate) fn run(bytes: &[u8]) {
    let said = parsers::headers(bytes.split(|byte| *byte == b'\n').filter_map(split));
    match &said.key {
        Ok(None) => {}
        Ok(Some(key)) => {
            assert!(is_visible(key, 255), "{key:?} is a key");
            if !key.contains(['"', '\\']) {
                let quoted = format!("\"{key}\"");
                let again = parsers::headers([(&b"idempotency-key"[..], quoted.as_bytes())]);
                assert_eq!(again.key, said.key, "quotes make another key");
            }
        }
        Err(refused) => assert_eq!((refused.status, refused.code), (400, "bad_parameter")),
    }
    if let Some(id) = &said.request_id {
        assert!(is_visible(id, 128), "{id:?} is repeated");
    }
    if let Err(refused) = said.json {
        assert_eq!((refused.status, refused.code), (415, "unsupported_media_type"));
    }
}
