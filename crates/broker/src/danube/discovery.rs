//! `danube.Discovery`: where topics are and what partitions they have.

use super::{
    authority::BrokerUrl,
    permits::Permits,
    target::{self, Target},
};
use crate::node::Node;
use keyway_access::Operation;
use keyway_danube_wire::{
    TopicRef,
    proto::{
        TopicLookupRequest, TopicLookupResponse, TopicPartitionsResponse, discovery_server::Discovery,
        topic_lookup_response::LookupType,
    },
};
use keyway_record::PartitionId;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Topics {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl Discovery for Topics {
    async fn topic_lookup(
        &self,
        request: Request<TopicLookupRequest>,
    ) -> Result<Response<TopicLookupResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let url = request.extensions().get::<BrokerUrl>().expect("the service is wrapped").0.clone();
        let TopicLookupRequest { request_id, topic } = request.into_inner();
        let name = target::topic_ref(&topic)?;
        permits.topic(Operation::Describe, name.topic().as_str())?;
        if Target::find(&self.node, name).is_none() {
            return Err(Status::not_found(format!("topic {topic} does not exist")));
        }
        Ok(Response::new(TopicLookupResponse {
            request_id,
            response_type: LookupType::Connect.into(),
            connect_url: url.clone(),
            broker_url: url,
            proxy: false,
        }))
    }

    /// An unknown topic has no partitions; an error would make Java's producers fail.
    async fn topic_partitions(
        &self,
        request: Request<TopicLookupRequest>,
    ) -> Result<Response<TopicPartitionsResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let TopicLookupRequest { request_id, topic } = request.into_inner();
        let name = target::topic_ref(&topic)?;
        permits.topic(Operation::Describe, name.topic().as_str())?;
        let partitions = Target::find(&self.node, name).map_or_else(Vec::new, |target| names(&target, topic));
        Ok(Response::new(TopicPartitionsResponse { request_id, partitions }))
    }
}

/// The names to subscribe to: of one partition, and of a topic with only one, the name that was asked for.
fn names(target: &Target, asked: String) -> Vec<String> {
    if target.partition().is_some() {
        return vec![asked];
    }
    let count = i32::try_from(target.topic.partitions.len()).expect("the number of partitions is bounded");
    let names = (0..count).map(|index| TopicRef::of_kafka(&target.topic.name, Some(PartitionId(index))));
    names.map(|name| name.expect("a topic that was found by a name has names").to_string()).collect()
}
