//! Kafka's message definitions: facts in, Rust out.
//!
//! `import DIR` reads the JSON definitions that ship in the `kafka-clients` jar (folder `common/message`) and keeps
//! their facts in `crates/kafka-wire/messages`. `generate` turns the facts into `crates/kafka-wire/src/messages`.

pub(crate) mod facts;
mod generate;
mod import;
mod module;
mod rust;
pub(crate) mod versions;

use anyhow::{Context, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What to do with the definitions.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Keep the facts of Kafka's JSON definitions: unpack `common/message` of the kafka-clients jar first.
    Import {
        /// The unpacked folder `common/message`.
        dir: PathBuf,
    },
    /// Write the Rust code of the facts.
    Generate {
        /// Write nothing; fail if the committed code differs.
        #[arg(long)]
        check: bool,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Import { dir } => write(&facts_dir(), &import::import(&dir)?),
        Action::Generate { check: false } => write(&code_dir(), &generate::generate(&facts_dir())?),
        Action::Generate { check: true } => check(),
    }
}

/// A file to be written: its name in its folder, and its text.
type File = (String, String);

fn check() -> anyhow::Result<()> {
    let files = generate::generate(&facts_dir())?;
    for entry in fs::read_dir(code_dir())? {
        let path = entry?.path();
        ensure!(files.iter().any(|(name, _)| path.ends_with(name)), "{} has no facts", path.display());
    }
    for (name, text) in files {
        let path = code_dir().join(name);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        ensure!(committed == text, "{} is not current: run cargo xtask messages generate", path.display());
    }
    Ok(())
}

fn write(dir: &Path, files: &[File]) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, text) in files {
        fs::write(dir.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    println!("{} files in {}", files.len(), dir.display());
    Ok(())
}

pub(crate) fn facts_dir() -> PathBuf {
    kafka_wire().join("messages")
}

fn code_dir() -> PathBuf {
    kafka_wire().join("src/messages")
}

fn kafka_wire() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka-wire")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_messages_are_those_of_the_facts() {
        check().unwrap();
    }

    #[test]
    fn facts_are_read_whole() {
        for entry in fs::read_dir(facts_dir()).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("apis.txt") {
                let text = fs::read_to_string(&path).unwrap();
                assert_eq!(facts::Api::of_text(&text).unwrap().to_text(), text, "{}", path.display());
            }
        }
    }
}
