//! Where lines go, and what a closed pipe means: nothing more is wanted, and nothing is wrong.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context as _;
use serde::Serialize;

/// As a writer it takes everything once the pipe is closed, as everywhere here.
impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish().map_err(io::Error::other)
    }
}

/// Lines of text or of JSON for whoever reads standard output, as long as they do.
#[derive(Debug)]
pub struct Output<W> {
    writer: W,
    closed: bool,
    prompt: bool,
}

impl<W: Write> Output<W> {
    /// Writes to `writer`, which should have a buffer.
    pub const fn new(writer: W) -> Self {
        Self { writer, closed: false, prompt: false }
    }

    /// From now on, hands on each line as soon as it is complete: somebody waits for it.
    pub const fn be_prompt(&mut self) {
        self.prompt = true;
    }

    /// Notes that the reader was seen to have gone.
    pub const fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the reader has gone, so that going on is of no use.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes one line.
    ///
    /// # Errors
    /// Any failure but a closed pipe.
    pub fn line(&mut self, text: impl Display) -> anyhow::Result<()> {
        let written = writeln!(self.writer, "{text}");
        let flushed = if self.prompt { self.writer.flush() } else { Ok(()) };
        self.note(written.and(flushed))
    }

    /// Writes one line of JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value).context("cannot be shown as JSON")?;
        self.line(text)
    }

    /// Writes a text that has its own line ends.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn text(&mut self, text: &[u8]) -> anyhow::Result<()> {
        let written = self.writer.write_all(text);
        self.note(written)
    }

    /// Writes what is still in the buffer.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let flushed = self.writer.flush();
        self.note(flushed)
    }

    fn note(&mut self, outcome: io::Result<()>) -> anyhow::Result<()> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed = true,
            other => other.context("cannot write to standard output")?,
        }
        Ok(())
    }
}
