//! What a client sent, told apart into heads and bodies a second time: hyper does not show all of it.
//!
//! Only heads are kept, and only until they are checked. It follows hyper's reading of where a head
//! and a body end; where that is an error to hyper, the connection ends and nothing here matters.

use memchr::memchr_iter;

use super::wire::{HEARD_BYTES_MAX, IDLE_BYTES_MAX};

/// What is left of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Skip {
    Bytes(u64),
    /// In the line with the size of a chunk, which is this so far.
    ChunkSize(u64),
    /// In an extension after the size.
    ChunkExtension(u64),
    /// In a chunk, or the end of its line.
    Chunk(u64),
    /// In a line of the trailers, with so many bytes so far.
    Trailer(u64),
    /// Behind the carriage return of such a line.
    TrailerEnd(u64),
    /// It cannot be told where it ends: a line of the trailers does not end with a carriage return
    /// and a line feed, which readers take for its end, for a part of it, or for the end of all.
    Lost,
}

impl Skip {
    const NOTHING: Self = Self::Bytes(0);

    /// A body of this length, if any.
    pub(super) fn of(length: Option<u64>) -> Self {
        Self::Bytes(length.unwrap_or(0))
    }

    /// Goes on through `bytes`; returns what is behind the body.
    fn through<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        const LINE_END: u64 = 2;
        while *self != Self::NOTHING {
            if *self == Self::Lost {
                return &[];
            }
            if let Self::Bytes(left) | Self::Chunk(left) = self {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                bytes = &bytes[count..];
                if *self == Self::Chunk(0) {
                    *self = Self::ChunkSize(0);
                } else if bytes.is_empty() {
                    break;
                }
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else {
                break;
            };
            bytes = rest;
            *self = match (*self, *byte) {
                (Self::ChunkSize(0) | Self::ChunkExtension(0), b'\n') => Self::Trailer(0),
                (Self::ChunkSize(size) | Self::ChunkExtension(size), b'\n') => {
                    Self::Chunk(size.saturating_add(LINE_END))
                }
                (Self::ChunkSize(size), byte) => match char::from(byte).to_digit(16) {
                    Some(digit) => {
                        Self::ChunkSize(size.saturating_mul(16).saturating_add(digit.into()))
                    }
                    None => Self::ChunkExtension(size),
                },
                (Self::Trailer(length), b'\r') => Self::TrailerEnd(length),
                (Self::Trailer(_), b'\n') => Self::Lost,
                (Self::Trailer(length), _) => Self::Trailer(length.saturating_add(1)),
                (Self::TrailerEnd(0), b'\n') => Self::NOTHING,
                (Self::TrailerEnd(_), b'\n') => Self::Trailer(0),
                (Self::TrailerEnd(_), _) => Self::Lost,
                (other, _) => other,
            };
        }
        bytes
    }
}

/// Heads that were sent and not checked yet.
#[derive(Debug)]
pub(super) struct Heard {
    bytes: Vec<u8>,
    /// Where the first of them begins.
    start: usize,
    /// What is left of the body before them.
    skip: Skip,
    /// Whether something had to be left out.
    is_cut: bool,
}

impl Default for Heard {
    fn default() -> Self {
        Self { bytes: Vec::new(), start: 0, skip: Skip::NOTHING, is_cut: false }
    }
}

impl Heard {
    /// More came.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let heads = self.skip.through(bytes);
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.len() + heads.len() > HEARD_BYTES_MAX {
            self.is_cut = true;
        }
        if !self.is_cut {
            self.bytes.extend_from_slice(heads);
        }
    }

    /// Whether it cannot be told any more where a head begins.
    pub(super) fn has_lost_track(&self) -> bool {
        self.skip == Skip::Lost
    }

    /// The head to be checked next, as far as it came.
    pub(super) fn head(&self) -> &[u8] {
        let rest = &self.bytes[self.start..];
        let blank = rest.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let rest = &rest[blank..];
        &rest[..head_length(rest).unwrap_or(rest.len())]
    }

    /// Looks at the next head, and goes on behind it and the body that follows it. `None` if it is
    /// not there.
    pub(super) fn take_head<T>(&mut self, body: Skip, look: impl Fn(&[u8]) -> T) -> Option<T> {
        if self.is_cut {
            return None;
        }
        let rest = &self.bytes[self.start..];
        let blank = rest.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let (head, after) = rest[blank..].split_at(head_length(&rest[blank..])?);
        let seen = look(head);
        self.skip = body;
        let left = self.skip.through(after).len();
        self.start = self.bytes.len() - left;
        if left == 0 {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(IDLE_BYTES_MAX);
        }
        Some(seen)
    }
}

/// How long the head is that begins `bytes`, through its empty line.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    for end in memchr_iter(b'\n', bytes) {
        if bytes[line..end].iter().all(|byte| *byte == b'\r') {
            return Some(end + 1);
        }
        line = end + 1;
    }
    None
}

/// Whether `head` has both headers that say how long a body is.
pub(super) fn has_both_lengths(head: &[u8]) -> bool {
    let has = |name: &[u8]| values(head, name).next().is_some();
    has(b"content-length") && has(b"transfer-encoding")
}

/// Whether a line of `head` ends without a carriage return. hyper takes that for the end of a line;
/// somebody before it may not, and would see other headers.
pub(super) fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|line_feed| !head[..line_feed].ends_with(b"\r"))
}

/// Whether `head` announces a body longer than hyper can count, which keeps the last two numbers
/// for itself.
pub(super) fn is_endless(head: &[u8]) -> bool {
    values(head, b"content-length").any(|value| {
        let length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        length.is_some_and(|length| length >= u64::MAX - 1)
    })
}

/// The values of the header `name` in `head`.
fn values<'h>(head: &'h [u8], name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).filter_map(move |line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn two_lengths_are_found_in_a_head() {
        let both = |text: &str| has_both_lengths(text.as_bytes());
        assert!(both(BOTH));
        assert!(both("POST / HTTP/1.1\r\ntransfer-encoding: chunked\nCONTENT-LENGTH: 4\r\n\r\n"));
        assert!(!both("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"));
    }

    #[test]
    fn line_feeds_need_a_carriage_return() {
        assert!(!has_bare_line_feed(BOTH.as_bytes()));
        for bare in ["GET / HTTP/1.1\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\n"] {
            assert!(has_bare_line_feed(bare.as_bytes()), "{bare:?}");
        }
    }

    #[test]
    fn heads_are_told_from_bodies_however_they_are_cut() {
        let chunked = "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let requests = [
            ("GET /a HTTP/1.1\r\n\r\n", Skip::NOTHING, "\r\n"),
            ("POST /b HTTP/1.1\r\nContent-Length: 9\r\n\r\n", Skip::Bytes(9), "a: b\r\n\r\n\n"),
            (
                chunked,
                Skip::ChunkSize(0),
                "A;x=y\r\n0123\r\n\r\n89\r\n1\r\na\r\n00\r\nt: u\r\n\r\n",
            ),
            (chunked, Skip::ChunkSize(0), "0\r\n\r\n"),
            (BOTH, Skip::ChunkSize(0), ""),
        ];
        let sent: String = requests.iter().flat_map(|(head, _, body)| [*head, *body]).collect();
        for step in 1..=sent.len() {
            let mut heard = Heard::default();
            let mut left = requests.iter();
            let mut next = left.next();
            for piece in sent.as_bytes().chunks(step) {
                heard.hear(piece);
                while let Some((head, body, _)) = next
                    && let Some(seen) = heard.take_head(*body, <[u8]>::to_vec)
                {
                    assert_eq!(seen, head.as_bytes(), "in steps of {step}");
                    next = left.next();
                }
            }
            assert_eq!(next, None, "in steps of {step}");
        }
    }

    #[test]
    fn trailers_that_end_in_no_certain_way_are_noticed() {
        for (last, lost) in [
            ("0\r\n\r\n", false),
            ("0\r\na: b\r\n\r\n", false),
            ("0\r\n\n", true),
            ("0\r\na: b\n\r\n", true),
            ("0\r\na: b\r\n\n", true),
            ("0\r\na: b\r\r\n", true),
        ] {
            for step in 1..=last.len() {
                let mut heard = Heard::default();
                heard.hear(BOTH.as_bytes());
                assert_eq!(heard.take_head(Skip::ChunkSize(0), has_both_lengths), Some(true));
                last.as_bytes().chunks(step).for_each(|piece| heard.hear(piece));
                assert_eq!(heard.has_lost_track(), lost, "{last:?} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut heard = Heard::default();
        for _ in 0..100 {
            heard.hear(&[b'a'; 10_000]);
        }
        assert!(heard.bytes.len() <= HEARD_BYTES_MAX);
        assert_eq!(heard.take_head(Skip::NOTHING, has_both_lengths), None);
    }
}
