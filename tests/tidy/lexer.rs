//! As much of Rust's lexical structure as the rules need: words and signs, without comments, strings
//! and characters.

/// A word, `::`, or any other single sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The tokens of a source.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(first) = lexer.rest.chars().next() {
        if lexer.skip_comment() || lexer.skip_string() || lexer.skip_character() {
            continue;
        }
        let line = lexer.line;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            lexer.rest.find(|c| !is_word(c)).unwrap_or(lexer.rest.len())
        } else if lexer.rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let text = lexer.take(length);
        if !first.is_whitespace() {
            tokens.push(Token {
                line,
                text: text.to_owned(),
            });
        }
    }
    tokens
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Lexer<'t> {
    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Everything up to and including `end`, or all there is.
    fn take_through(&mut self, from: usize, end: &str) {
        let found = self.rest[from..].find(end);
        self.take(found.map_or(self.rest.len(), |place| from + place + end.len()));
    }

    fn skip_comment(&mut self) -> bool {
        if self.rest.starts_with("//") {
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            return true;
        }
        if !self.rest.starts_with("/*") {
            return false;
        }
        let mut depth = 0;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
            } else if let Some(c) = self.rest.chars().next() {
                self.take(c.len_utf8());
            }
            if depth == 0 || self.rest.is_empty() {
                return true;
            }
        }
    }

    fn skip_string(&mut self) -> bool {
        let unprefixed = self.rest.trim_start_matches(['b', 'c']);
        let prefix = self.rest.len() - unprefixed.len();
        if prefix > 1 {
            return false;
        }
        if unprefixed.starts_with('"') {
            self.take(prefix + 1);
            self.take_through_unescaped('"');
            return true;
        }
        let Some(raw) = unprefixed.strip_prefix('r') else {
            return false;
        };
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if !raw[hashes..].starts_with('"') {
            return false;
        }
        self.take_through(
            prefix + 1 + hashes + 1,
            &format!("\"{}", "#".repeat(hashes)),
        );
        true
    }

    /// A character, not a lifetime: its closing quote comes after one character or an escape.
    fn skip_character(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('\'') else {
            return false;
        };
        let first = inside.chars().next();
        let closes = first.is_some_and(|c| inside[c.len_utf8()..].starts_with('\''));
        if first != Some('\\') && !closes {
            return false;
        }
        self.take(1);
        self.take_through_unescaped('\'');
        true
    }

    fn take_through_unescaped(&mut self, end: char) {
        let mut escaped = false;
        while let Some(c) = self.rest.chars().next() {
            self.take(c.len_utf8());
            if c == end && !escaped {
                return;
            }
            escaped = c == '\\' && !escaped;
        }
    }
}

/// The words of an attribute, of which `tokens` begins with the opening bracket.
pub(crate) fn attribute(tokens: &[Token]) -> Vec<&str> {
    let mut depth = 0;
    let mut words = Vec::new();
    for token in tokens {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            word => words.push(word),
        }
        if depth == 0 {
            break;
        }
    }
    words
}

/// A path, such as `crate::domain::Money`, and its line.
pub(crate) type Path = (usize, Vec<String>);

/// Every path in a source: those of `use` trees unfolded, and those of two or more segments in the code
/// between, where a word alone may be anything.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        if tokens[place].text == "use" {
            place = use_tree(tokens, place + 1, &[], &mut paths);
        } else if is_word(tokens, place) {
            let (path, next) = plain_path(tokens, place);
            if path.len() > 1 {
                paths.push((tokens[place].line, path));
            }
            place = next;
        } else {
            place += 1;
        }
    }
    paths
}

fn is_word(tokens: &[Token], place: usize) -> bool {
    let text = tokens.get(place).map_or("", |token| &token.text);
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is(tokens: &[Token], place: usize, text: &str) -> bool {
    tokens.get(place).is_some_and(|token| token.text == text)
}

fn plain_path(tokens: &[Token], mut place: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[place].text.clone()];
    place += 1;
    while is(tokens, place, "::") && is_word(tokens, place + 1) {
        path.push(tokens[place + 1].text.clone());
        place += 2;
    }
    (path, place)
}

/// Unfolds one tree that begins at `place`; gives the place behind it.
fn use_tree(tokens: &[Token], mut place: usize, prefix: &[String], paths: &mut Vec<Path>) -> usize {
    let line = tokens.get(place).map_or(0, |token| token.line);
    let mut path = prefix.to_vec();
    if is(tokens, place, "::") {
        place += 1;
    }
    if is_word(tokens, place) {
        let (own, next) = plain_path(tokens, place);
        path.extend(own);
        place = next;
        if is(tokens, place, "::") {
            place += 1;
        }
    }
    if is(tokens, place, "{") {
        place += 1;
        while place < tokens.len() && !is(tokens, place, "}") {
            place = use_tree(tokens, place, &path, paths);
            // Whatever a tree left unread (`*`, `as name`, a comma) is between two of them.
            while place < tokens.len() && !is(tokens, place, ",") && !is(tokens, place, "}") {
                place += 1;
            }
            if is(tokens, place, ",") {
                place += 1;
            }
        }
        return place + 1;
    }
    paths.push((line, path));
    place
}
