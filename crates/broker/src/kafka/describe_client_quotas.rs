//! DescribeClientQuotas: which quotas are set.

use super::call::{Call, Refused};
use keyway_access::{
    Operation, Resource,
    quota::{Entity, QuotaKind},
};
use keyway_kafka_wire::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, describe_client_quotas::*,
};
use keyway_record::ErrorCode;
use std::collections::BTreeMap;

/// How a component matches an entity's part.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub(super) fn handle(call: &Call<'_>, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    if !call.may(Operation::DescribeConfigs, Resource::CLUSTER) {
        let message = "quotas are seen by who may describe the cluster's configs".to_owned();
        return refused((ErrorCode::ClusterAuthorizationFailed, message));
    }
    let filter = match Filter::of(&request) {
        Ok(filter) => filter,
        Err(error) => return refused(error),
    };
    let limits = call.node.quotas.limits();
    let found = limits
        .entities()
        .filter(|(entity, _)| filter.takes(entity))
        .map(|(entity, quotas)| entry(entity, quotas));
    DescribeClientQuotasResponse {
        // Empty, not null, as Kafka's.
        error_message: Some(String::new()),
        entries: Some(found.collect()),
        ..Default::default()
    }
}

fn refused((error, message): Refused) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse {
        error_code: error.code(),
        error_message: Some(message),
        entries: None,
        ..Default::default()
    }
}

fn entry(entity: &Entity, quotas: &BTreeMap<QuotaKind, f64>) -> EntryData {
    let part = |(kind, name): (&str, Option<&str>)| EntityData {
        entity_type: kind.to_owned(),
        entity_name: name.map(str::to_owned),
    };
    let value = |(kind, &value): (&QuotaKind, &f64)| ValueData { key: kind.name().to_owned(), value };
    EntryData {
        entity: entity.parts().into_iter().map(part).collect(),
        values: quotas.iter().map(value).collect(),
    }
}

/// Which entities are asked for.
struct Filter<'a> {
    components: BTreeMap<&'a str, Wanted<'a>>,
    /// No part but those that are named.
    strict: bool,
}

#[derive(Clone, Copy)]
enum Wanted<'a> {
    Named(&'a str),
    Default,
    Any,
}

impl<'a> Filter<'a> {
    fn of(request: &'a DescribeClientQuotasRequest) -> Result<Self, Refused> {
        let invalid = |message: String| (ErrorCode::InvalidRequest, message);
        let mut components = BTreeMap::new();
        for component in &request.components {
            let kind = component.entity_type.as_str();
            if !Entity::TYPES.contains(&kind) {
                return Err((ErrorCode::UnsupportedVersion, format!("there are no quotas for {kind:?}")));
            }
            let wanted = match (component.match_type, component.r#match.as_deref()) {
                (EXACT, Some(name)) => Wanted::Named(name),
                (EXACT, None) => return Err(invalid(format!("an exact match of {kind} needs a name"))),
                (DEFAULT, None) => Wanted::Default,
                (ANY, None) => Wanted::Any,
                (DEFAULT | ANY, Some(_)) => {
                    return Err(invalid(format!("only an exact match of {kind} has a name")));
                }
                (other, _) => return Err(invalid(format!("there is no match type {other}"))),
            };
            if components.insert(kind, wanted).is_some() {
                return Err(invalid(format!("{kind} appears more than once in the filter")));
            }
        }
        if components.contains_key("ip") && components.len() > 1 {
            return Err(invalid("a filter of ip cannot be bound to user or client-id".to_owned()));
        }
        Ok(Self { components, strict: request.strict })
    }

    fn takes(&self, entity: &Entity) -> bool {
        let parts = entity.parts();
        if self.strict && parts.len() != self.components.len() {
            return false;
        }
        self.components.iter().all(|(&kind, wanted)| {
            let part = parts.iter().find(|(of, _)| *of == kind);
            part.is_some_and(|&(_, name)| match *wanted {
                Wanted::Named(wanted) => name == Some(wanted),
                Wanted::Default => name.is_none(),
                Wanted::Any => true,
            })
        })
    }
}
