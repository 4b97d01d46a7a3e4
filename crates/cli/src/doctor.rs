//! `keyway doctor`: what a broker with these options would expose, and what the machine would do to it.

mod certificates;
mod clock;
mod disk;
mod exposure;
mod files;
mod finding;
mod limits;
mod logins;

use crate::{
    failure::Failure,
    output::{Output, Table},
    serve::Serve,
};
use clap::Args;
use finding::Level;

const AFTER_HELP: &str = "\
Takes the options of `keyway serve`, and its file and variables, and starts
nothing. Each line is ok, a warning, or a failure with what to do about it;
exit code 1 if there is a failure.

Examples:
  keyway doctor
  keyway doctor --config server.properties
  keyway doctor --data /var/lib/keyway --output json";

/// Check what a broker would expose: listeners, certificates, logins, files, clock, disk and limits
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Doctor {
    #[command(flatten)]
    serve: Serve,

    /// Columns for people, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Doctor {
    /// Looks at everything and prints what was found.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let node = self.serve.node()?;
        let mut findings = exposure::look(&node);
        findings.extend(certificates::look(&node));
        findings.extend(logins::look(&node));
        findings.extend(files::look(&node));
        findings.extend(clock::look(&node.data));
        findings.extend(disk::look(&node.data));
        findings.extend(limits::look(&node));
        self.output.print_list(&findings, |findings| {
            let mut table = Table::new(&["", "CHECK", "FOUND"]);
            for finding in findings {
                table.row(vec![finding.level.to_string(), finding.check.to_owned(), finding.line()]);
            }
            table
        })?;
        match findings.iter().filter(|finding| finding.level == Level::Fail).count() {
            0 => Ok(()),
            1 => Err(Failure::Failed("1 check failed".into())),
            failed => Err(Failure::Failed(format!("{failed} checks failed"))),
        }
    }
}
