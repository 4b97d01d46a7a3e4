//! Where rules are: in a running broker, or in the folder of one that does not run.

use crate::{
    client::{Connect, RunningRules},
    failure::Failure,
    folder::Folder,
};
use clap::Args;
use keyway_access::acl::{Rule, RuleFilter};
use keyway_broker::{OfflineRules, OfflineRulesError};
use std::path::PathBuf;

/// The place that is meant.
#[derive(Args)]
pub(super) struct Place {
    /// Folder of a broker that does not run, instead of a running broker
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    connect: Connect,
}

/// The rules, once they are reached.
pub(super) enum Rules {
    Running(Box<RunningRules>),
    Offline(Box<OfflineRules>, Folder),
}

impl Place {
    pub(super) async fn open(&self) -> Result<Rules, Failure> {
        let Some(data) = &self.data else {
            return Ok(Rules::Running(Box::new(RunningRules::connect(&self.connect).await?)));
        };
        let folder = Folder::open(data)?;
        let rules = OfflineRules::open(&folder.world, &folder.store).map_err(failure)?;
        Ok(Rules::Offline(Box::new(rules), folder))
    }
}

impl Rules {
    /// The rules that match, sorted.
    pub(super) async fn list(&self, filter: &RuleFilter) -> Result<Vec<Rule>, Failure> {
        let mut rules = match self {
            Self::Running(rules) => rules.list(filter).await?,
            Self::Offline(rules, _) => rules.list(filter),
        };
        rules.sort_unstable();
        Ok(rules)
    }

    pub(super) async fn add(&self, added: Vec<Rule>) -> Result<(), Failure> {
        match self {
            Self::Running(rules) => rules.add(&added).await,
            Self::Offline(rules, _) => rules.add(added).await.map_err(failure),
        }
    }

    /// Removes the rules that match, and tells which they were.
    pub(super) async fn remove(&self, filter: &RuleFilter) -> Result<Vec<Rule>, Failure> {
        match self {
            Self::Running(rules) => rules.remove(filter).await,
            Self::Offline(rules, _) => rules.remove(filter).await.map_err(failure),
        }
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Running(_) => Ok(()),
            Self::Offline(_, folder) => folder.close(),
        }
    }
}

fn failure(error: OfflineRulesError) -> Failure {
    match error {
        OfflineRulesError::Rule(_) => Failure::Usage(error.to_string()),
        OfflineRulesError::Store(_) => Failure::Failed(error.to_string()),
    }
}
