//! The OpenAPI document as a judge: whatever a test asks, the answer must be one that the document
//! has, with these headers, this media type and a body of this shape.
//!
//! It knows as much of JSON Schema as the document uses; a word that it does not know fails the test,
//! so that nothing is taken for checked that is not.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use regex::Regex;
use serde_json::{Map, Value};

use super::reply::Reply;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../src/http/openapi/openapi.json");
    serde_json::from_str(text).expect("the document is JSON")
});

/// Headers that belong to HTTP and CORS, which the document leaves out.
const PLUMBING: [&str; 6] =
    ["content-type", "content-length", "transfer-encoding", "connection", "date", "vary"];
/// Of a list, so many entries are looked at.
const ENTRIES_CHECKED: usize = 50;

/// Fails the test unless the document has this answer to a request for `path`, query included.
#[track_caller]
pub(super) fn assert_documented(method: &str, path: &str, reply: &Reply) {
    if let Err(what) = judge(method, path, reply) {
        panic!("{}: not as documented: {what}\n{} {}", reply.asked, reply.status, reply.text);
    }
}

/// What is wrong with an answer by the document.
pub(crate) fn judge(method: &str, path: &str, reply: &Reply) -> Result<(), String> {
    if method == "OPTIONS" {
        let told = reply.status == 204 && reply.text.is_empty();
        return told.then_some(()).ok_or_else(|| "OPTIONS is answered 204".into());
    }
    let response = response(method, path, reply.status)?;
    check_headers(response, reply)?;
    let has_body = method != "HEAD" && reply.status != 204;
    if has_body { check_body(response, reply) } else { Ok(()) }
}

/// The answer with this status that is documented for what lives at `path`.
fn response(method: &str, path: &str, status: u16) -> Result<&'static Value, String> {
    let components = |name: &str| resolved(&DOCUMENT["components"]["responses"][name]);
    let path = path.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    // A literal path counts before one with an id.
    let found = paths.get(path).or_else(|| {
        let fits = paths.iter().find(|(template, _)| fits(template, path));
        fits.map(|(_, item)| item)
    });
    let verb = if method == "HEAD" { "GET" } else { method }.to_lowercase();
    let response = match found {
        None => components("404-not_found"),
        Some(item) if item[&verb].is_null() => components("405-method_not_allowed"),
        Some(item) => resolved(&item[&verb]["responses"][status.to_string()]),
    };
    if response.is_null() {
        return Err(format!("{status} is not documented for {method} {path}"));
    }
    Ok(response)
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(own, segment)| own == segment || (own.starts_with('{') && !segment.is_empty()))
}

/// What a reference leads to, and everything else as it is.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(target) => {
            let pointer = target.strip_prefix('#').expect("references stay in the document");
            DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{target} leads nowhere"))
        }
        None => value,
    }
}

fn check_headers(response: &'static Value, reply: &Reply) -> Result<(), String> {
    let documented = response["headers"].as_object().expect("headers");
    for name in reply.headers.keys().map(|name| name.as_str()) {
        let known = documented.keys().any(|known| known.eq_ignore_ascii_case(name))
            || PLUMBING.contains(&name)
            || name.starts_with("access-control-");
        if !known {
            return Err(format!("the header {name} is not documented"));
        }
    }
    for (name, header) in documented {
        let header = resolved(header);
        let Some(text) = reply.header(name) else {
            if header["required"] == true {
                return Err(format!("the header {name} is missing"));
            }
            continue;
        };
        // A number where a number is documented.
        let value = match text.parse::<u64>() {
            Ok(number) if header["schema"]["type"] != "string" => number.into(),
            _ => Value::String(text.to_owned()),
        };
        check(&header["schema"], &value, name)?;
    }
    Ok(())
}

fn check_body(response: &'static Value, reply: &Reply) -> Result<(), String> {
    let kind = reply.header("content-type").unwrap_or_default();
    let content = &response["content"][kind];
    if content.is_null() {
        return Err(format!("the media type {kind:?} is not documented"));
    }
    let is_text = content["schema"]["type"] == "string";
    let body = if is_text { Value::String(reply.text.clone()) } else { reply.json.clone() };
    check(&content["schema"], &body, "")
}

/// Checks `value`, which stands at `place`, against a schema.
fn check(schema: &'static Value, value: &Value, place: &str) -> Result<(), String> {
    for (word, said) in schema.as_object().expect("a schema is an object") {
        check_word(word, said, value, place)?;
    }
    Ok(())
}

fn check_word(word: &str, said: &'static Value, value: &Value, place: &str) -> Result<(), String> {
    let fails = |what: String| Err(format!("{place:?} {what}, but is {value}"));
    let parts = || said.as_array().expect("an array of schemas").iter();
    let bound = || said.as_f64().expect("a bound is a number");
    let size = || said.as_u64().map(|size| size as usize).expect("a size is a number");
    match word {
        "description" | "examples" | "default" | "discriminator" => {}
        "$ref" => {
            let target = said.as_str().expect("a reference is text");
            let target = DOCUMENT.pointer(&target[1..]).expect("it leads somewhere");
            return check(target, value, place);
        }
        "type" if !is_of_type(value, said.as_str().expect("a type")) => {
            return fails(format!("must be of type {said}"));
        }
        "const" if value != said => return fails(format!("must be {said}")),
        "enum" if !parts().any(|allowed| allowed == value) => {
            return fails(format!("must be one of {said}"));
        }
        "allOf" => return parts().try_for_each(|part| check(part, value, place)),
        "anyOf" if !parts().any(|part| check(part, value, place).is_ok()) => {
            return fails("fits none of what is documented".into());
        }
        "oneOf" => return check_one_of(parts(), value, place),
        "minimum" if value.as_f64().is_some_and(|number| number < bound()) => {
            return fails(format!("must be at least {said}"));
        }
        "maximum" if value.as_f64().is_some_and(|number| number > bound()) => {
            return fails(format!("must be at most {said}"));
        }
        "minLength" if value.as_str().is_some_and(|text| text.chars().count() < size()) => {
            return fails(format!("must have at least {said} characters"));
        }
        "maxLength" if value.as_str().is_some_and(|text| text.chars().count() > size()) => {
            return fails(format!("must have at most {said} characters"));
        }
        "pattern" if value.as_str().is_some_and(|text| !matches(said, text)) => {
            return fails(format!("must match {said}"));
        }
        // What has a form here has a pattern as well, or is free enough.
        "format" | "type" | "const" | "enum" | "anyOf" | "minimum" | "maximum" | "minLength"
        | "maxLength" | "pattern" => {}
        "items" => {
            let items = value.as_array().into_iter().flatten().take(ENTRIES_CHECKED);
            for (number, item) in items.enumerate() {
                check(said, item, &format!("{place}/{number}"))?;
            }
        }
        "properties" | "patternProperties" | "required" | "dependentRequired" => {
            if let Some(members) = value.as_object() {
                return check_members(word, said, members, place);
            }
        }
        word => panic!("the document says {word}, which nobody checks"),
    }
    Ok(())
}

fn check_one_of(
    parts: impl Iterator<Item = &'static Value>,
    value: &Value,
    place: &str,
) -> Result<(), String> {
    let (mut fitting, mut misfits) = (0, Vec::new());
    for part in parts {
        match check(part, value, place) {
            Ok(()) => fitting += 1,
            Err(what) => misfits.push(what),
        }
    }
    let one = (fitting == 1).then_some(());
    one.ok_or_else(|| format!("{place:?} fits {fitting} of what is documented: {misfits:?}"))
}

fn check_members(
    word: &str,
    said: &'static Value,
    members: &Map<String, Value>,
    place: &str,
) -> Result<(), String> {
    let has = |name: &Value| name.as_str().is_some_and(|name| members.contains_key(name));
    let missing = |names: &'static Value| {
        let missing = names.as_array().expect("names").iter().find(|name| !has(name));
        missing.map_or(Ok(()), |name| Err(format!("{place:?} lacks {name}")))
    };
    if word == "required" {
        return missing(said);
    }
    for (key, part) in said.as_object().expect("members") {
        match word {
            "dependentRequired" if members.contains_key(key) => missing(part)?,
            "properties" => {
                if let Some(member) = members.get(key) {
                    check(part, member, &format!("{place}/{key}"))?;
                }
            }
            "patternProperties" => {
                let pattern = Value::String(key.clone());
                for (name, member) in members.iter().filter(|(name, _)| matches(&pattern, name)) {
                    check(part, member, &format!("{place}/{name}"))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        kind => panic!("{kind} is no type"),
    }
}

fn matches(pattern: &Value, text: &str) -> bool {
    static KNOWN: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let pattern = pattern.as_str().expect("a pattern is text");
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !known.contains_key(pattern) {
        let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        known.insert(pattern.to_owned(), regex);
    }
    known[pattern].is_match(text)
}
