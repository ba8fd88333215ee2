//! A program about itself: completions for shells, and manual pages.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

use crate::Status;
use crate::output::Output;

/// Prints a program's completion script for a shell.
///
/// # Errors
/// It cannot be written.
pub fn completions(
    mut command: Command,
    shell: Shell,
    output: &mut Output<impl Write>,
) -> anyhow::Result<Status> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output.text(&script)?;
    Ok(Status::Sound)
}

/// Prints a program's page, or writes all pages into `directory`, which is made if missing.
///
/// # Errors
/// They cannot be written.
pub fn pages(
    command: Command,
    directory: Option<&Path>,
    output: &mut Output<impl Write>,
) -> anyhow::Result<Status> {
    match directory {
        Some(directory) => {
            let refused = || format!("cannot write pages into {}", directory.display());
            fs::create_dir_all(directory).with_context(refused)?;
            clap_mangen::generate_to(command, directory).with_context(refused)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).context("cannot make the page")?;
            output.text(&page)?;
        }
    }
    Ok(Status::Sound)
}
