//! What the caller of a method may do, by the rules that Kafka's clients follow: the permissions on a Danube topic are those
//! of its Kafka topic, a subscription is a group, and a schema subject is the topic of its name.

use crate::{
    access::{Access, Caller},
    node::Node,
};
use keyway_access::{Operation, Resource};
use tonic::{Request, Status};

/// The rules, and who asks; nobody where there are none.
pub(super) struct Permits<'a> {
    access: &'a Access,
    caller: Option<Caller>,
}

impl<'a> Permits<'a> {
    pub(super) fn of<T>(node: &'a Node, request: &Request<T>) -> Self {
        let caller = node.access.is_enforced().then(|| {
            request.extensions().get::<Caller>().expect("every request has its caller beside it").clone()
        });
        Self { access: &node.access, caller }
    }

    /// Refuses what the caller may not do, and says what that is.
    pub(super) fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Status> {
        match &self.caller {
            Some(caller) if !self.access.allows(caller, operation, resource) => {
                let (principal, Resource { kind, name }) = (&caller.principal, resource);
                let text = format!(
                    "{principal} may not {operation:?} {kind:?} {name}; an access rule has to allow it"
                );
                Err(Status::permission_denied(text))
            }
            _ => Ok(()),
        }
    }

    /// Whether the caller may know of something that a list has.
    pub(super) fn shows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.caller.as_ref().is_none_or(|caller| self.access.shows(caller, operation, resource))
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
