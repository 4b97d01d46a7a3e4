//! `danube_admin.TopicAdmin`: topics and their subscriptions.

use super::{brokers::broker_id, is_shown, names, policy, topics_of};
use crate::{
    access::AuditEvent,
    admin::set_audited,
    danube::{permits::Permits, schema_registry, target},
    node::Node,
    schemas::Compatibility,
    subscription::SubscriptionError,
    topics::{DispatchStrategy, Topic, TopicError, TopicSettings},
};
use keyway_access::{Operation, Resource};
use keyway_danube_wire::{
    TopicRef,
    admin::{
        self, BrokerRequest, DescribeTopicRequest, DescribeTopicResponse,
        GetSubscriptionDispatchConfigRequest, GetSubscriptionDispatchConfigResponse,
        GetSubscriptionFailurePolicyRequest, GetSubscriptionFailurePolicyResponse, NamespaceRequest,
        NewTopicRequest, PartitionedTopicRequest, SetSubscriptionDispatchConfigRequest,
        SetSubscriptionFailurePolicyRequest, SubscriptionListResponse, SubscriptionRequest,
        SubscriptionResponse, TopicInfo, TopicInfoListResponse, TopicRequest, TopicResponse,
        topic_admin_server::TopicAdmin,
    },
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Topics {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl TopicAdmin for Topics {
    async fn list_namespace_topics(
        &self,
        request: Request<NamespaceRequest>,
    ) -> Result<Response<TopicInfoListResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let topics = topics_of(&self.node, &permits, &request.into_inner().name)?;
        Ok(Response::new(TopicInfoListResponse { topics: topics.iter().map(info).collect() }))
    }

    async fn list_broker_topics(
        &self,
        request: Request<BrokerRequest>,
    ) -> Result<Response<TopicInfoListResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let asked = request.into_inner().broker_id;
        if asked != broker_id() {
            let text = format!("broker {asked} does not exist; the only one is {}", broker_id());
            return Err(Status::not_found(text));
        }
        let topics = self.node.topics.all();
        let shown = topics.iter().filter(|topic| is_shown(&permits, topic));
        let topics = shown.flat_map(names).map(|topic| info(&topic)).collect();
        Ok(Response::new(TopicInfoListResponse { topics }))
    }

    async fn create_topic(
        &self,
        request: Request<NewTopicRequest>,
    ) -> Result<Response<TopicResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let NewTopicRequest { name, schema_subject, dispatch_strategy } = request.into_inner();
        self.create(&permits, &name, 1, dispatch_strategy, schema_subject).await
    }

    async fn create_partitioned_topic(
        &self,
        request: Request<PartitionedTopicRequest>,
    ) -> Result<Response<TopicResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let PartitionedTopicRequest { base_name, partitions, schema_subject, dispatch_strategy } =
            request.into_inner();
        let partitions = i32::try_from(partitions)
            .map_err(|_| Status::invalid_argument(format!("{partitions} partitions cannot be")))?;
        self.create(&permits, &base_name, partitions, dispatch_strategy, schema_subject).await
    }

    async fn delete_topic(&self, request: Request<TopicRequest>) -> Result<Response<TopicResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let name = request.into_inner().name;
        let (topic, asked) = self.find(&permits, Operation::Delete, &name)?;
        if asked.partition().is_some() {
            let base =
                TopicRef::of_kafka(asked.topic(), None).map_or_else(|_| name.clone(), |it| it.to_string());
            let text = format!("Cannot delete individual partition {name}; delete the whole topic {base}");
            return Err(Status::failed_precondition(text));
        }
        let event = AuditEvent::TopicDeleted { topic: topic.name.as_str() };
        permits.tell(event, self.node.delete_topic(&topic)).await.map_err(topic_status)?;
        Ok(Response::new(TopicResponse { success: true }))
    }

    async fn unload_topic(&self, request: Request<TopicRequest>) -> Result<Response<TopicResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        permits.cluster(Operation::Alter)?;
        let name = request.into_inner().name;
        self.find(&permits, Operation::Describe, &name)?;
        Err(Status::failed_precondition(format!(
            "topic {name} stays where it is: this broker is the whole cluster, there is no other to take it"
        )))
    }

    async fn list_subscriptions(
        &self,
        request: Request<TopicRequest>,
    ) -> Result<Response<SubscriptionListResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let name = request.into_inner().name;
        let (topic, _) = self.find(&permits, Operation::Describe, &name)?;
        let subscriptions = shown_subscriptions(&self.node, &permits, &topic);
        Ok(Response::new(SubscriptionListResponse { subscriptions }))
    }

    /// A subscription belongs to a topic as a whole; ending a part of it would leave messages that nobody gets.
    async fn unsubscribe(
        &self,
        request: Request<SubscriptionRequest>,
    ) -> Result<Response<SubscriptionResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let SubscriptionRequest { topic: name, subscription } = request.into_inner();
        permits.check(Operation::Delete, Resource::group(&subscription))?;
        let (topic, asked) = self.find(&permits, Operation::Describe, &name)?;
        if asked.partition().is_some() && topic.partitions.len() > 1 {
            let text = format!("{name} is one partition; subscriptions are deleted for the whole topic");
            return Err(Status::invalid_argument(text));
        }
        let event =
            AuditEvent::SubscriptionDeleted { topic: topic.name.as_str(), subscription: &subscription };
        let deleted = permits.tell(event, self.node.subscriptions.delete(&topic, &subscription)).await;
        deleted.map_err(subscription_status)?;
        Ok(Response::new(SubscriptionResponse { success: true }))
    }

    /// Holds for the topic as a whole, whichever of its partitions is named. The subscription need not exist yet.
    async fn set_subscription_failure_policy(
        &self,
        request: Request<SetSubscriptionFailurePolicyRequest>,
    ) -> Result<Response<SubscriptionResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        let topic = self.reliable(&permits, &request.topic, &request.subscription)?;
        let given =
            request.failure_policy.ok_or_else(|| Status::invalid_argument("the policy is missing"))?;
        let subscriptions = &self.node.subscriptions;
        let new = policy::changed(subscriptions.policy(topic.id, &request.subscription), &given)?;
        let set = set_audited(&self.node, permits.caller(), &topic, &request.subscription, new).await;
        set.map_err(subscription_status)?;
        Ok(Response::new(SubscriptionResponse { success: true }))
    }

    async fn get_subscription_failure_policy(
        &self,
        request: Request<GetSubscriptionFailurePolicyRequest>,
    ) -> Result<Response<GetSubscriptionFailurePolicyResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let GetSubscriptionFailurePolicyRequest { topic, subscription } = request.into_inner();
        let topic = self.known(&permits, &topic, &subscription)?;
        let subscriptions = &self.node.subscriptions;
        let is_set = subscriptions.policy_is_set(topic.id, &subscription);
        let has = is_set.then(|| policy::danube(&subscriptions.policy(topic.id, &subscription)));
        Ok(Response::new(GetSubscriptionFailurePolicyResponse {
            failure_policy: has,
            subscription_type: policy::subscription_type(subscriptions.mode(topic.id, &subscription)),
        }))
    }

    async fn describe_topic(
        &self,
        request: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let name = request.into_inner().name;
        let (topic, _) = self.find(&permits, Operation::Describe, &name)?;
        let mut described = DescribeTopicResponse {
            name,
            subscriptions: shown_subscriptions(&self.node, &permits, &topic),
            broker_id: broker_id(),
            delivery: delivery(&topic),
            ..DescribeTopicResponse::default()
        };
        if let Some(schema) = self.node.schemas.of_topic(topic.id) {
            described.schema_subject = Some(schema.subject.clone());
            if let Ok(subject) = self.node.schemas.subject(&schema.subject) {
                described.schema_id = Some(subject.id);
                described.schema_version = subject.latest().map(|version| version.number);
                described.schema_type = Some(subject.kind.as_str().to_owned());
                described.compatibility_mode = Some(Compatibility::as_str(subject.mode).to_uppercase());
            }
        }
        Ok(Response::new(described))
    }

    async fn set_subscription_dispatch_config(
        &self,
        request: Request<SetSubscriptionDispatchConfigRequest>,
    ) -> Result<Response<SubscriptionResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        let topic = self.reliable(&permits, &request.topic, &request.subscription)?;
        let given =
            request.dispatch_config.ok_or_else(|| Status::invalid_argument("the config is missing"))?;
        let subscriptions = &self.node.subscriptions;
        let mut new = subscriptions.policy(topic.id, &request.subscription);
        new.unacked_max = Some(given.max_unacked_messages);
        let set = set_audited(&self.node, permits.caller(), &topic, &request.subscription, new).await;
        set.map_err(subscription_status)?;
        Ok(Response::new(SubscriptionResponse { success: true }))
    }

    async fn get_subscription_dispatch_config(
        &self,
        request: Request<GetSubscriptionDispatchConfigRequest>,
    ) -> Result<Response<GetSubscriptionDispatchConfigResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let GetSubscriptionDispatchConfigRequest { topic, subscription } = request.into_inner();
        let topic = self.known(&permits, &topic, &subscription)?;
        let unacked_max = self.node.subscriptions.policy(topic.id, &subscription).unacked_max;
        let dispatch_config = unacked_max
            .map(|max_unacked_messages| admin::SubscriptionDispatchConfig { max_unacked_messages });
        Ok(Response::new(GetSubscriptionDispatchConfigResponse { dispatch_config }))
    }
}

impl Topics {
    async fn create(
        &self,
        permits: &Permits<'_>,
        name: &str,
        partitions: i32,
        strategy: i32,
        schema_subject: Option<String>,
    ) -> Result<Response<TopicResponse>, Status> {
        let asked = target::topic_ref(name)?;
        permits.create(asked.topic().as_str())?;
        if asked.partition().is_some() {
            let text = format!("{name} names one partition; create the topic with a number of partitions");
            return Err(Status::invalid_argument(text));
        }
        target::namespace(&self.node, &asked).map_err(Status::not_found)?;
        let schemas = &self.node.schemas;
        // danube-admin sends an empty text for "no subject".
        let schema_subject = schema_subject.filter(|subject| !subject.is_empty());
        if let Some(subject) = &schema_subject {
            schemas.subject(subject).map_err(schema_registry::status)?;
        }
        let settings =
            TopicSettings { dispatch: Some(target::strategy(strategy)?), ..TopicSettings::default() };
        let (topic, count) = (asked.topic().as_str(), usize::try_from(partitions).unwrap_or(0));
        let event = AuditEvent::TopicCreated { topic, partitions: count };
        let created = self.node.topics.create(asked.topic().clone(), partitions, settings);
        let topic = permits.tell(event, created).await.map_err(topic_status)?;
        if let Some(subject) = schema_subject {
            let fixed = schema_registry::fix_subject(&self.node, permits, &topic, &subject).await;
            fixed.map_err(schema_registry::status)?;
        }
        Ok(Response::new(TopicResponse { success: true }))
    }

    /// The topic that is named, or of which a partition is named.
    fn find(
        &self,
        permits: &Permits<'_>,
        operation: Operation,
        name: &str,
    ) -> Result<(Arc<Topic>, TopicRef), Status> {
        let unknown = || Status::not_found(format!("topic {name} does not exist"));
        let asked = target::topic_ref(name)?;
        permits.topic(operation, asked.topic().as_str())?;
        let found = target::Target::find(&self.node, asked).ok_or_else(unknown)?;
        Ok((found.topic, found.name))
    }

    /// The topic, if a subscription of it can have a policy.
    fn reliable(&self, permits: &Permits<'_>, topic: &str, subscription: &str) -> Result<Arc<Topic>, Status> {
        target::check_name("subscription", subscription)?;
        permits.check(Operation::AlterConfigs, Resource::group(subscription))?;
        let (found, _) = self.find(permits, Operation::Describe, topic)?;
        if found.settings.dispatch == Some(DispatchStrategy::NonReliable) {
            let text =
                format!("topic {topic} is not reliable: nothing is delivered twice, so no policy holds");
            return Err(Status::failed_precondition(text));
        }
        Ok(found)
    }

    /// The topic, if it has this subscription or a policy for it.
    fn known(&self, permits: &Permits<'_>, topic: &str, subscription: &str) -> Result<Arc<Topic>, Status> {
        permits.check(Operation::DescribeConfigs, Resource::group(subscription))?;
        let (found, _) = self.find(permits, Operation::Describe, topic)?;
        let subscriptions = &self.node.subscriptions;
        if subscriptions.mode(found.id, subscription).is_none()
            && !subscriptions.policy_is_set(found.id, subscription)
        {
            let text = format!("topic {topic} has no subscription {subscription:?} and no policy for it");
            return Err(Status::not_found(text));
        }
        Ok(found)
    }
}

/// The topic's subscriptions that the caller may know of.
fn shown_subscriptions(node: &Node, permits: &Permits<'_>, topic: &Topic) -> Vec<String> {
    let mut names = node.subscriptions.names(topic.id);
    names.retain(|name| permits.shows(Operation::Describe, Resource::group(name)));
    names
}

fn info((name, topic): &(String, Arc<Topic>)) -> TopicInfo {
    TopicInfo { name: name.clone(), broker_id: broker_id(), delivery: delivery(topic) }
}

/// A topic that promises nothing yet is stored like one that does.
fn delivery(topic: &Topic) -> String {
    match topic.settings.dispatch {
        Some(DispatchStrategy::NonReliable) => "NonReliable".to_owned(),
        Some(DispatchStrategy::Reliable) | None => "Reliable".to_owned(),
    }
}

fn topic_status(error: TopicError) -> Status {
    let text = error.to_string();
    match error {
        TopicError::Exists(_) => Status::already_exists(text),
        TopicError::Unknown(_) => Status::not_found(text),
        TopicError::Internal | TopicError::Partitions { .. } | TopicError::NotMore { .. } => {
            Status::invalid_argument(text)
        }
        TopicError::Store(_) | TopicError::Record(_) => Status::unavailable(text),
    }
}

fn subscription_status(error: SubscriptionError) -> Status {
    let text = error.to_string();
    match error {
        SubscriptionError::Unknown { .. } => Status::not_found(text),
        SubscriptionError::Exists { .. } => Status::already_exists(text),
        SubscriptionError::NotReliable(_) => Status::failed_precondition(text),
        SubscriptionError::TooMany { .. } => Status::resource_exhausted(text),
        SubscriptionError::Policy(_) => Status::invalid_argument(text),
        SubscriptionError::DeadLetterTopic { .. } => Status::permission_denied(text),
        SubscriptionError::Read(_) | SubscriptionError::Store { .. } | SubscriptionError::Ended => {
            Status::unavailable(text)
        }
    }
}
