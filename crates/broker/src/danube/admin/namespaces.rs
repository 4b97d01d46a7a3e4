//! `danube_admin.NamespaceAdmin`: namespaces and what lies in them.

use super::topics_of;
use crate::{access::AuditEvent, danube::permits::Permits, namespaces::NamespaceError, node::Node};
use keyway_access::Operation;
use keyway_danube_wire::admin::{
    NamespaceRequest, NamespaceResponse, PolicyResponse, TopicListResponse,
    namespace_admin_server::NamespaceAdmin,
};
use keyway_record::limits::DANUBE_SENT_BYTES_MAX;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Namespaces {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl NamespaceAdmin for Namespaces {
    async fn get_namespace_topics(
        &self,
        request: Request<NamespaceRequest>,
    ) -> Result<Response<TopicListResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let topics = topics_of(&self.node, &permits, &request.into_inner().name)?;
        let topics = topics.into_iter().map(|(name, _)| name).collect();
        Ok(Response::new(TopicListResponse { topics }))
    }

    /// Namespaces have no limits of their own; what is answered holds for all of them. 0 is "no limit".
    async fn get_namespace_policies(
        &self,
        request: Request<NamespaceRequest>,
    ) -> Result<Response<PolicyResponse>, Status> {
        Permits::of(&self.node, &request).cluster(Operation::Describe)?;
        check_exists(&self.node, &request.into_inner().name)?;
        let policies = format!(
            r#"{{"max_producers_per_topic":0,"max_subscriptions_per_topic":0,"max_consumers_per_topic":0,"max_consumers_per_subscription":0,"max_publish_rate":0,"max_subscription_dispatch_rate":0,"max_message_size":{DANUBE_SENT_BYTES_MAX}}}"#
        );
        Ok(Response::new(PolicyResponse { policies }))
    }

    async fn create_namespace(
        &self,
        request: Request<NamespaceRequest>,
    ) -> Result<Response<NamespaceResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        permits.cluster(Operation::Create)?;
        let name = request.into_inner().name;
        let event = AuditEvent::NamespaceCreated { namespace: &name };
        let created = self.node.namespaces.create(&self.node.topics, &name);
        permits.tell(event, created).await.map_err(status)?;
        Ok(Response::new(NamespaceResponse { success: true }))
    }

    async fn delete_namespace(
        &self,
        request: Request<NamespaceRequest>,
    ) -> Result<Response<NamespaceResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        permits.cluster(Operation::Delete)?;
        let name = request.into_inner().name;
        let event = AuditEvent::NamespaceDeleted { namespace: &name };
        let deleted = self.node.namespaces.delete(&self.node.topics, &name);
        permits.tell(event, deleted).await.map_err(status)?;
        Ok(Response::new(NamespaceResponse { success: true }))
    }
}

/// An unknown namespace is the caller's mistake.
pub(super) fn check_exists(node: &Node, name: &str) -> Result<(), Status> {
    if node.namespaces.exists(&node.topics, name) {
        return Ok(());
    }
    Err(status(NamespaceError::Unknown { name: name.to_owned() }))
}

fn status(error: NamespaceError) -> Status {
    let text = error.to_string();
    match error {
        NamespaceError::Name { .. } => Status::invalid_argument(text),
        NamespaceError::Exists { .. } => Status::already_exists(text),
        NamespaceError::Unknown { .. } => Status::not_found(text),
        NamespaceError::BuiltIn { .. } | NamespaceError::NotEmpty { .. } => Status::failed_precondition(text),
        NamespaceError::TooMany => Status::resource_exhausted(text),
        NamespaceError::Record(_) => Status::unavailable(text),
    }
}
