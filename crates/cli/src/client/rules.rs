//! Access rules of a running broker. `krafka` connects and logs in; the messages are our own, as its types of patterns have
//! other numbers than Kafka's, by which a prefix would be written as a literal name.

use super::{Connect, failure};
use crate::failure::Failure;
use keyway_access::{
    Operation, ResourceType,
    acl::{Pattern, PatternType, Permission, Rule, RuleFilter},
};
use keyway_kafka_wire::{
    ApiKey, Decoder,
    messages::{
        CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, Request, Response,
        create_acls::AclCreation, delete_acls::DeleteAclsFilter,
    },
};
use keyway_record::ErrorCode;
use krafka::{
    __private::{
        network::{BrokerConnection, ConnectionConfig},
        protocol::ApiKey as ClientApi,
    },
    KrafkaError,
};
use std::time::Duration;

/// Kafka's code for any, in filters.
const ANY: i8 = 1;

/// The versions that are spoken: the first with rules as compact messages, and Kafka's newest.
const VERSION_MIN: i16 = 2;
const VERSION_MAX: i16 = 3;

/// A connection to a broker for its rules.
pub(crate) struct RunningRules {
    connection: BrokerConnection,
    connect: Connect,
}

impl RunningRules {
    /// Connects to the first of the brokers that answers, and logs in.
    pub(crate) async fn connect(connect: &Connect) -> Result<Self, Failure> {
        let timeout = Duration::from_secs(connect.timeout);
        let mut config = ConnectionConfig::builder()
            .client_id("keyway-cli")
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .request_timeout(timeout)
            .auth(connect.login.security()?)
            .build()
            .map_err(|error| failure(&error, connect))?;
        config.init_tls().await.map_err(|error| failure(&error, connect))?;
        let mut last = KrafkaError::timeout("connect");
        for broker in connect.brokers.split(',').map(str::trim) {
            match BrokerConnection::connect(broker, config.clone()).await {
                Ok(connection) => return Ok(Self { connection, connect: connect.clone() }),
                Err(error) => last = error,
            }
        }
        Err(failure(&last, connect))
    }

    /// The rules that match.
    pub(crate) async fn list(&self, filter: &RuleFilter) -> Result<Vec<Rule>, Failure> {
        let filter = filter_of(filter);
        let request = Request::DescribeAcls(DescribeAclsRequest {
            resource_type_filter: filter.resource_type_filter,
            resource_name_filter: filter.resource_name_filter,
            pattern_type_filter: filter.pattern_type_filter,
            principal_filter: filter.principal_filter,
            host_filter: filter.host_filter,
            operation: filter.operation,
            permission_type: filter.permission_type,
        });
        let Response::DescribeAcls(told) = self.ask(ClientApi::DescribeAcls, &request).await? else {
            unreachable!("an answer is decoded as that of its request");
        };
        check(told.error_code, told.error_message)?;
        let mut rules = Vec::new();
        for resource in told.resources {
            for acl in resource.acls {
                let pattern = (resource.resource_type, resource.resource_name.clone(), resource.pattern_type);
                rules.push(rule(pattern, acl.principal, acl.host, acl.operation, acl.permission_type)?);
            }
        }
        Ok(rules)
    }

    /// Adds rules; one that is there already stays.
    pub(crate) async fn add(&self, rules: &[Rule]) -> Result<(), Failure> {
        let creation = |rule: &Rule| AclCreation {
            resource_type: rule.pattern.resource_type.code(),
            resource_name: rule.pattern.name.clone(),
            resource_pattern_type: rule.pattern.pattern_type.code(),
            principal: rule.principal.clone(),
            host: rule.host.clone(),
            operation: rule.operation.code(),
            permission_type: rule.permission.code(),
        };
        let creations = rules.iter().map(creation).collect();
        let request = Request::CreateAcls(CreateAclsRequest { creations });
        let Response::CreateAcls(told) = self.ask(ClientApi::CreateAcls, &request).await? else {
            unreachable!("an answer is decoded as that of its request");
        };
        told.results.into_iter().try_for_each(|result| check(result.error_code, result.error_message))
    }

    /// Removes the rules that match, and tells which they were.
    pub(crate) async fn remove(&self, filter: &RuleFilter) -> Result<Vec<Rule>, Failure> {
        let request = Request::DeleteAcls(DeleteAclsRequest { filters: vec![filter_of(filter)] });
        let Response::DeleteAcls(told) = self.ask(ClientApi::DeleteAcls, &request).await? else {
            unreachable!("an answer is decoded as that of its request");
        };
        let mut rules = Vec::new();
        for result in told.filter_results {
            check(result.error_code, result.error_message)?;
            for acl in result.matching_acls {
                check(acl.error_code, acl.error_message)?;
                let pattern = (acl.resource_type, acl.resource_name, acl.pattern_type);
                rules.push(rule(pattern, acl.principal, acl.host, acl.operation, acl.permission_type)?);
            }
        }
        Ok(rules)
    }

    async fn ask(&self, api: ClientApi, request: &Request) -> Result<Response, Failure> {
        let name = request.api_key().name();
        let unreadable = |error: &dyn std::fmt::Display| Failure::Failed(format!("{name}: {error}"));
        let version = self.connection.negotiate_api_version(api, VERSION_MAX, VERSION_MIN);
        let version = version.ok_or_else(|| unreadable(&"the broker does not have this request"))?;
        let mut body = bytes::BytesMut::new();
        request.encode(&mut body, version).map_err(|error| unreadable(&error))?;
        let answer = self.connection.send_request(api, version, |out| {
            out.extend_from_slice(&body);
            Ok(())
        });
        let answer = answer.await.map_err(|error| failure(&error, &self.connect))?;
        let api: ApiKey = request.api_key();
        Response::decode(api, &mut Decoder::new(answer), version).map_err(|error| unreadable(&error))
    }
}

fn filter_of(filter: &RuleFilter) -> DeleteAclsFilter {
    let RuleFilter { resource_type, name, pattern, principal, host, operation, permission } = filter;
    DeleteAclsFilter {
        resource_type_filter: resource_type.map_or(ANY, ResourceType::code),
        resource_name_filter: name.clone(),
        pattern_type_filter: pattern.code(),
        principal_filter: principal.clone(),
        host_filter: host.clone(),
        operation: operation.map_or(ANY, Operation::code),
        permission_type: permission.map_or(ANY, Permission::code),
    }
}

fn rule(
    (resource_type, name, pattern_type): (i8, String, i8),
    principal: String,
    host: String,
    operation: i8,
    permission: i8,
) -> Result<Rule, Failure> {
    let unknown = || Failure::Failed(format!("the broker has a rule about {name} that is not known here"));
    let pattern = Pattern {
        resource_type: ResourceType::from_code(resource_type).ok_or_else(unknown)?,
        pattern_type: PatternType::from_code(pattern_type).ok_or_else(unknown)?,
        name: name.clone(),
    };
    Ok(Rule {
        pattern,
        principal,
        host,
        operation: Operation::from_code(operation).ok_or_else(unknown)?,
        permission: Permission::from_code(permission).ok_or_else(unknown)?,
    })
}

/// What the broker says of a request or a part of it.
fn check(code: i16, message: Option<String>) -> Result<(), Failure> {
    if code == ErrorCode::None.code() {
        return Ok(());
    }
    let message = message.unwrap_or_else(|| format!("error {code}"));
    if code == ErrorCode::ClusterAuthorizationFailed.code() {
        let line = "rules are read by who may DESCRIBE the cluster, and changed by who may ALTER it";
        return Err(Failure::Failed(format!("{message}; {line}")));
    }
    Err(Failure::Failed(message))
}
