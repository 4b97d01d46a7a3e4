//! `keyway acl explain`.

use super::{
    place::Place,
    words::{self, ResourceArgs},
};
use crate::{
    failure::{Failure, note},
    output::print,
    serve,
};
use clap::Args;
use keyway_access::{
    Operation, Principal,
    acl::{Authorizer, Decision, Permission, RuleFilter, Rules, Subject},
};
use keyway_broker::AuthorizerSettings;
use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

/// Say whether somebody may do something, and which rule decides; exit code 0 for both answers
#[derive(Args)]
pub(super) struct Explain {
    /// Who, as User:NAME
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Principal,

    /// What, such as READ
    #[arg(long, value_parser = words::operation)]
    operation: Operation,

    #[command(flatten)]
    resource: ResourceArgs,

    /// From which address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,

    /// The broker's settings, for super.users and allow.everyone.if.no.acl.found, which no broker tells
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    place: Place,
}

impl Explain {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let resource = self.resource.required()?;
        let settings = self.settings()?;
        let place = self.place.open().await?;
        let listed = place.list(&RuleFilter::ALL).await;
        place.close()?;
        let mut rules = Rules::default();
        for rule in listed? {
            rules.insert(rule);
        }
        let AuthorizerSettings { super_users, without_rule } = settings;
        let authorizer = Authorizer { rules, super_users, without_rule };
        let subject = Subject { principal: &self.principal, address: self.host };
        let explained = authorizer.explain(subject, self.operation, resource);
        let principal = &self.principal;
        print(&format!("{principal}, {} on {resource} from {}: {explained}\n", self.operation, self.host))?;
        if self.config.is_none()
            && !matches!(explained.decision, Decision::Rule(rule) if rule.permission == Permission::Allow)
        {
            note(
                "super.users and allow.everyone.if.no.acl.found were not looked at; add --config FILE for them",
            );
        }
        Ok(())
    }

    fn settings(&self) -> Result<AuthorizerSettings, Failure> {
        let nobody = || AuthorizerSettings { super_users: BTreeSet::new(), without_rule: Permission::Deny };
        let Some(path) = &self.config else { return Ok(nobody()) };
        let settings = serve::settings_in(path)?;
        let read = AuthorizerSettings::read(&settings).map_err(|error| Failure::Usage(error.to_string()))?;
        let off =
            || note("authorizer.class.name is not set there: a broker with these settings follows no rules");
        Ok(read.unwrap_or_else(|| {
            off();
            nobody()
        }))
    }
}
