//! Asking before something is lost.

use crate::failure::{Failure, note};
use clap::Args;
use std::io::{self, BufRead, IsTerminal, Write};

/// Whether the user has said yes beforehand.
#[derive(Args, Clone, Copy)]
pub(crate) struct Confirm {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Says what will be done; goes on if the user wants that. `deed` is a sentence without its full stop.
    pub(crate) fn ask(self, deed: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::Usage(format!("{deed}; add --yes to do it")));
        }
        note(deed);
        let mut stderr = io::stderr().lock();
        // A closed stderr is a no, because nobody has read the question.
        let asked = write!(stderr, "Go on? [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Failure::Failed("nothing was done".to_owned()))
    }
}
