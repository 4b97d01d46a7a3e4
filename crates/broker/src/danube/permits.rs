//! What the caller of a method may do, by the rules that Kafka's clients follow: the permissions on a Danube topic are those
//! of its Kafka topic, a subscription is a group, and a schema subject is the topic of its name.

use crate::{
    access::{AuditEvent, Caller, Change},
    node::Node,
};
use keyway_access::{Operation, Resource};
use std::sync::Arc;
use tonic::{Request, Status};

/// The rules, and who asks.
pub(super) struct Permits<'a> {
    node: &'a Node,
    caller: Arc<Caller>,
}

impl<'a> Permits<'a> {
    pub(super) fn of<T>(node: &'a Node, request: &Request<T>) -> Self {
        let caller = request.extensions().get::<Arc<Caller>>();
        Self { node, caller: caller.expect("every request has its caller beside it").clone() }
    }

    /// Of somebody whose call is over.
    pub(super) fn of_caller(node: &'a Node, caller: Arc<Caller>) -> Self {
        Self { node, caller }
    }

    /// Refuses what the caller may not do, and says what that is.
    pub(super) fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Status> {
        if self.node.access.allows(&self.caller, operation, resource) {
            return Ok(());
        }
        let principal = &self.caller.principal;
        let text = format!("{principal} may not {operation:?} {resource}; an access rule has to allow it");
        Err(Status::permission_denied(text))
    }

    /// Whether the caller may know of something that a list has.
    pub(super) fn shows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.node.access.shows(&self.caller, operation, resource)
    }

    /// Makes a change, which the audit log tells.
    pub(super) async fn tell<T, E>(
        &self,
        event: AuditEvent<'_>,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.node.audit.tell(&self.caller, event, change).await
    }

    /// A change that is about to be made, for the audit log.
    pub(super) fn begin(&self, event: AuditEvent<'_>) -> Change {
        self.node.audit.begin(&self.caller, event)
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn topic(&self, operation: Operation, topic: &str) -> Result<(), Status> {
        self.check(operation, Resource::topic(topic))
    }

    /// A topic is made by who may make this one, or any.
    pub(super) fn create(&self, topic: &str) -> Result<(), Status> {
        if self.shows(Operation::Create, Resource::CLUSTER) {
            return Ok(());
        }
        self.topic(Operation::Create, topic)
    }

    /// A worker reads the topic as a member of the group.
    pub(super) fn work(&self, topic: &str, subscription: &str) -> Result<(), Status> {
        self.topic(Operation::Read, topic)?;
        self.check(Operation::Read, Resource::group(subscription))
    }

    pub(super) fn cluster(&self, operation: Operation) -> Result<(), Status> {
        self.check(operation, Resource::CLUSTER)
    }
}
