//! The commands around a run with the shim preloaded.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use powercut::{Cut, Metadata, apply, begin};

/// Puts a directory into a state that a cut of the power could have left.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take what is in a directory as durable, and make it ready to be watched.
    Begin {
        /// The directory; the copy and the log go beside it, to the same name with `.powercut`.
        directory: PathBuf,
    },
    /// Cut the power: the process must have ended, however it did.
    Apply {
        /// The directory.
        directory: PathBuf,
        /// Which of the possible states; 0 loses all that is not durable, 1 loses nothing, 2 to 4 are names without
        /// bytes, names with zeros, and bytes without names.
        #[arg(long)]
        seed: u64,
        /// Write the state here and leave the directory as it is, for another seed.
        #[arg(long)]
        into: Option<PathBuf>,
        /// Take any fsync to make all earlier names durable, as ext4 and XFS do; without it only one of the directory does.
        #[arg(long)]
        ordered: bool,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> std::io::Result<String> {
    match command {
        Command::Begin { directory } => begin(&directory).map(|()| format!("{}: ready", directory.display())),
        Command::Apply { directory, seed, into, ordered } => {
            let metadata = if ordered { Metadata::Ordered } else { Metadata::Strict };
            let kept = match into {
                Some(into) => Cut::read(&directory, metadata)?.save(seed, &into)?,
                None => apply(&directory, seed, metadata)?,
            };
            Ok(format!(
                "{}: seed {seed}: of {} pending changes in {} files, {} files lost all and {} some; of {} pending names {} lost{}{}",
                directory.display(),
                kept.changes,
                kept.files,
                kept.files_lost,
                kept.files_torn,
                kept.names,
                kept.names_lost.len(),
                if kept.names_lost.is_empty() { "" } else { ":\n" },
                kept.names_lost.join("\n"),
            ))
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a command has to say")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "what a command complains of")]
fn complain(text: &str) {
    eprintln!("powercut: {text}");
}
