//! Where lines go, and what a closed pipe means: nothing more is wanted, and nothing is wrong.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context as _;
use serde::Serialize;

/// Lines of text or of JSON for whoever reads standard output, as long as they do.
#[derive(Debug)]
pub struct Output<W> {
    writer: W,
    closed: bool,
}

impl<W: Write> Output<W> {
    /// Writes to `writer`, which should have a buffer.
    pub const fn new(writer: W) -> Self {
        Self { writer, closed: false }
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
        self.note(written)
    }

    /// Writes one line of JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value).context("cannot be shown as JSON")?;
        self.line(text)
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
