//! The scripts: what is asked of both brokers, one file per subject.

mod access;
mod classic_group;
mod cluster;
mod commits;
mod configs;
mod consumer_group;
mod explicit_transactions;
mod fetch;
mod idempotent;
mod implicit_transactions;
mod offsets;
mod produce;
mod rules;
mod topics;

use std::pin::Pin;

use super::side::Side;

/// A sequence of requests on resources of its own.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) rules: Rules,
    pub(crate) run: for<'a> fn(&'a mut Side<'_>) -> Run<'a>,
}

/// Whether brokers ask access rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rules {
    Off,
    On,
}

/// What a script's steps are is in its side.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

macro_rules! script {
    ($name:literal, $run:path) => {
        script!($name, $run, Rules::Off)
    };
    ($name:literal, $run:path, $rules:expr) => {
        Script { name: $name, rules: $rules, run: |side| Box::pin($run(side)) }
    };
}

/// Every script, in the order in which they run.
pub(crate) static ALL: &[Script] = &[
    script!("cluster", cluster::script),
    script!("access", access::script),
    script!("rules", rules::script, Rules::On),
    script!("topics", topics::script),
    script!("produce", produce::script),
    script!("fetch", fetch::script),
    script!("offsets", offsets::script),
    script!("configs", configs::script),
    script!("commits", commits::script),
    script!("classic-group", classic_group::script),
    script!("consumer-group", consumer_group::script),
    script!("explicit-transactions", explicit_transactions::script),
    script!("implicit-transactions", implicit_transactions::script),
];
