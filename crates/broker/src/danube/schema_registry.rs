//! `danube_schema.SchemaRegistry`: served to clients and on the port of the administration.

use super::{permits::Permits, target};
use crate::{
    access::AuditEvent,
    node::Node,
    schemas::{
        Compatibility, Registration, SchemaError, SchemaType, Subject, TopicSchema, ValidationPolicy, Version,
    },
    topics::Topic,
};
use keyway_access::{Operation, Resource};
use keyway_danube_wire::schema::{
    CheckCompatibilityRequest, CheckCompatibilityResponse, ConfigureTopicSchemaRequest,
    ConfigureTopicSchemaResponse, DeleteSchemaVersionRequest, DeleteSchemaVersionResponse,
    GetLatestSchemaRequest, GetSchemaRequest, GetSchemaResponse, GetTopicSchemaConfigRequest,
    GetTopicSchemaConfigResponse, ListSubjectsRequest, ListSubjectsResponse, ListVersionsRequest,
    ListVersionsResponse, RegisterSchemaRequest, RegisterSchemaResponse, SchemaVersionInfo,
    SetCompatibilityModeRequest, SetCompatibilityModeResponse, SubjectSummary,
    UpdateTopicValidationPolicyRequest, UpdateTopicValidationPolicyResponse,
    schema_registry_server::SchemaRegistry,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Registry {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl SchemaRegistry for Registry {
    async fn register_schema(
        &self,
        request: Request<RegisterSchemaRequest>,
    ) -> Result<Response<RegisterSchemaResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        permits.topic(Operation::Write, &request.subject)?;
        let registration = Registration {
            kind: schema_type(&request.schema_type)?,
            subject: request.subject,
            definition: request.schema_definition,
            description: request.description,
            created_by: request.created_by,
            tags: request.tags,
        };
        let subject = registration.subject.clone();
        let change = permits.begin(AuditEvent::SchemaRegistered { subject: &subject });
        let registered = self.node.schemas.register(registration).await;
        match &registered {
            Ok(registered) if registered.is_new => change.made(),
            _ => change.forget(),
        }
        let registered = registered.map_err(status)?;
        Ok(Response::new(RegisterSchemaResponse {
            schema_id: registered.schema_id,
            version: registered.version.number,
            is_new_version: registered.is_new,
            fingerprint: registered.version.fingerprint.to_string(),
        }))
    }

    async fn get_schema(
        &self,
        request: Request<GetSchemaRequest>,
    ) -> Result<Response<GetSchemaResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let GetSchemaRequest { schema_id, version } = request.into_inner();
        let subject = self.node.schemas.of_id(schema_id).map_err(status)?;
        permits.topic(Operation::Describe, &subject.name)?;
        schema(&subject, version)
    }

    async fn get_latest_schema(
        &self,
        request: Request<GetLatestSchemaRequest>,
    ) -> Result<Response<GetSchemaResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let subject = request.into_inner().subject;
        permits.topic(Operation::Describe, &subject)?;
        let subject = self.node.schemas.subject(&subject).map_err(status)?;
        schema(&subject, None)
    }

    async fn list_versions(
        &self,
        request: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let subject = request.into_inner().subject;
        permits.topic(Operation::Describe, &subject)?;
        let subject = self.node.schemas.subject(&subject).map_err(status)?;
        let info = |version: &Arc<Version>| SchemaVersionInfo {
            version: version.number,
            created_at: version.created_at,
            created_by: version.created_by.clone(),
            description: version.description.clone(),
            fingerprint: version.fingerprint.to_string(),
            schema_id: subject.id,
        };
        Ok(Response::new(ListVersionsResponse { versions: subject.versions.values().map(info).collect() }))
    }

    async fn check_compatibility(
        &self,
        request: Request<CheckCompatibilityRequest>,
    ) -> Result<Response<CheckCompatibilityResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        permits.topic(Operation::Describe, &request.subject)?;
        let kind = schema_type(&request.schema_type)?;
        // Some clients send an empty text for "the subject's own".
        let mode = request.compatibility_mode.filter(|mode| !mode.is_empty());
        let mode = mode.map(|mode| compatibility(&mode)).transpose()?;
        let definition = request.new_schema_definition;
        let errors = self.node.schemas.check(&request.subject, kind, definition, mode).await;
        let errors = errors.map_err(status)?;
        Ok(Response::new(CheckCompatibilityResponse { is_compatible: errors.is_empty(), errors }))
    }

    async fn set_compatibility_mode(
        &self,
        request: Request<SetCompatibilityModeRequest>,
    ) -> Result<Response<SetCompatibilityModeResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let SetCompatibilityModeRequest { subject, compatibility_mode } = request.into_inner();
        permits.topic(Operation::AlterConfigs, &subject)?;
        let mode = compatibility(&compatibility_mode)?;
        let event = AuditEvent::CompatibilityChanged { subject: &subject, mode: mode.as_str() };
        permits.tell(event, self.node.schemas.set_mode(&subject, mode)).await.map_err(status)?;
        let message = format!("the compatibility mode of {subject} is {}", mode.as_str());
        Ok(Response::new(SetCompatibilityModeResponse { success: true, message }))
    }

    async fn delete_schema_version(
        &self,
        request: Request<DeleteSchemaVersionRequest>,
    ) -> Result<Response<DeleteSchemaVersionResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let DeleteSchemaVersionRequest { subject, version } = request.into_inner();
        permits.topic(Operation::Delete, &subject)?;
        let event = AuditEvent::SchemaVersionDeleted { subject: &subject, version };
        permits.tell(event, self.node.schemas.delete_version(&subject, version)).await.map_err(status)?;
        let message = format!("version {version} of {subject} is deleted");
        Ok(Response::new(DeleteSchemaVersionResponse { success: true, message }))
    }

    async fn configure_topic_schema(
        &self,
        request: Request<ConfigureTopicSchemaRequest>,
    ) -> Result<Response<ConfigureTopicSchemaResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        let topic = self.topic(&permits, Operation::AlterConfigs, &request.topic_name)?;
        let schema = TopicSchema {
            policy: policy(&request.validation_policy)?,
            check_payloads: request.enable_payload_validation,
            subject: request.schema_subject,
        };
        let message = format!("topic {} has schema subject {}", request.topic_name, schema.subject);
        let subject = schema.subject.clone();
        let event = AuditEvent::TopicSchemaChanged {
            topic: topic.name.as_str(),
            subject: Some(&subject),
            policy: schema.policy.as_str(),
            check_payloads: schema.check_payloads,
        };
        permits.tell(event, self.node.schemas.configure_topic(&topic, schema)).await.map_err(status)?;
        Ok(Response::new(ConfigureTopicSchemaResponse { success: true, message }))
    }

    async fn update_topic_validation_policy(
        &self,
        request: Request<UpdateTopicValidationPolicyRequest>,
    ) -> Result<Response<UpdateTopicValidationPolicyResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let request = request.into_inner();
        let topic = self.topic(&permits, Operation::AlterConfigs, &request.topic_name)?;
        let policy = policy(&request.validation_policy)?;
        let check_payloads = request.enable_payload_validation;
        let event = AuditEvent::TopicSchemaChanged {
            topic: topic.name.as_str(),
            subject: None,
            policy: policy.as_str(),
            check_payloads,
        };
        let updated = self.node.schemas.update_topic(&topic, policy, check_payloads);
        permits.tell(event, updated).await.map_err(status)?;
        let message = format!("the validation policy of {} is {}", request.topic_name, policy.as_str());
        Ok(Response::new(UpdateTopicValidationPolicyResponse { success: true, message }))
    }

    /// A topic without a subject is answered as what it is: nothing is checked.
    async fn get_topic_schema_config(
        &self,
        request: Request<GetTopicSchemaConfigRequest>,
    ) -> Result<Response<GetTopicSchemaConfigResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let name = request.into_inner().topic_name;
        let topic = self.topic(&permits, Operation::DescribeConfigs, &name)?;
        let Some(schema) = self.node.schemas.of_topic(topic.id) else {
            let validation_policy = ValidationPolicy::None.as_str().to_owned();
            let nothing = GetTopicSchemaConfigResponse { validation_policy, ..Default::default() };
            return Ok(Response::new(nothing));
        };
        let subject = self.node.schemas.subject(&schema.subject).map_err(status)?;
        Ok(Response::new(GetTopicSchemaConfigResponse {
            schema_subject: schema.subject.clone(),
            validation_policy: schema.policy.as_str().to_owned(),
            enable_payload_validation: schema.check_payloads,
            schema_id: subject.id,
        }))
    }

    async fn list_subjects(
        &self,
        request: Request<ListSubjectsRequest>,
    ) -> Result<Response<ListSubjectsResponse>, Status> {
        let permits = Permits::of(&self.node, &request);
        let is_shown =
            |subject: &&Arc<Subject>| permits.shows(Operation::Describe, Resource::topic(&subject.name));
        let summary = |subject: &Arc<Subject>| {
            let latest = subject.latest()?;
            Some(SubjectSummary {
                subject: subject.name.clone(),
                schema_type: subject.kind.as_str().to_owned(),
                latest_version: latest.number,
                compatibility_mode: subject.mode.as_str().to_owned(),
                schema_id: subject.id,
                tags: latest.tags.clone(),
            })
        };
        let subjects = self.node.schemas.subjects();
        let subjects = subjects.iter().filter(is_shown).filter_map(summary).collect();
        Ok(Response::new(ListSubjectsResponse { subjects }))
    }
}

impl Registry {
    /// A schema belongs to a topic as a whole, whichever of its partitions is named.
    fn topic(&self, permits: &Permits<'_>, operation: Operation, name: &str) -> Result<Arc<Topic>, Status> {
        let asked = target::topic_ref(name)?;
        permits.topic(operation, asked.topic().as_str())?;
        let topic = self.node.topics.named(asked.topic().as_str());
        topic.ok_or_else(|| Status::not_found(format!("topic {name} does not exist")))
    }
}

/// Gives a topic its subject if it has none, which the audit log tells; one that has another is refused.
pub(super) async fn fix_subject(
    node: &Node,
    permits: &Permits<'_>,
    topic: &Topic,
    subject: &str,
) -> Result<(), SchemaError> {
    let fixed = node.schemas.fix_subject(topic, subject);
    if node.schemas.of_topic(topic.id).is_some() {
        return fixed.await;
    }
    let TopicSchema { policy, check_payloads, .. } = TopicSchema::by_default(subject);
    let (topic, policy) = (topic.name.as_str(), policy.as_str());
    let event = AuditEvent::TopicSchemaChanged { topic, subject: Some(subject), policy, check_payloads };
    permits.tell(event, fixed).await
}

/// A version with the bytes that were registered; the latest if none is named.
fn schema(subject: &Subject, version: Option<u32>) -> Result<Response<GetSchemaResponse>, Status> {
    let found = match version {
        Some(number) => subject.versions.get(&number),
        None => subject.latest(),
    };
    let found = found.ok_or_else(|| {
        let (subject, version) = (subject.name.clone(), version.unwrap_or(0));
        status(SchemaError::UnknownVersion { subject, version })
    })?;
    Ok(Response::new(GetSchemaResponse {
        schema_id: subject.id,
        version: found.number,
        subject: subject.name.clone(),
        schema_type: subject.kind.as_str().to_owned(),
        schema_definition: found.definition.clone(),
        description: found.description.clone(),
        created_at: found.created_at,
        created_by: found.created_by.clone(),
        tags: found.tags.clone(),
        fingerprint: found.fingerprint.to_string(),
        compatibility_mode: subject.mode.as_str().to_owned(),
    }))
}

fn schema_type(word: &str) -> Result<SchemaType, Status> {
    let words = "bytes, string, number, avro, json_schema and protobuf";
    let text = || format!("the schema type {word:?} is none of {words}");
    SchemaType::parse(word).ok_or_else(|| Status::invalid_argument(text()))
}

fn compatibility(word: &str) -> Result<Compatibility, Status> {
    let text = || format!("the compatibility mode {word:?} is none of none, backward, forward and full");
    Compatibility::parse(word).ok_or_else(|| Status::invalid_argument(text()))
}

fn policy(word: &str) -> Result<ValidationPolicy, Status> {
    let text = || format!("the validation policy {word:?} is none of none, warn and enforce");
    ValidationPolicy::parse(word).ok_or_else(|| Status::invalid_argument(text()))
}

/// What a client of the registry is told.
pub(super) fn status(error: SchemaError) -> Status {
    let text = error.to_string();
    match error {
        SchemaError::UnknownSubject { .. }
        | SchemaError::UnknownId { .. }
        | SchemaError::UnknownVersion { .. } => Status::not_found(text),
        SchemaError::Text { .. } | SchemaError::Definition { .. } => Status::invalid_argument(text),
        SchemaError::OtherType { .. }
        | SchemaError::Incompatible { .. }
        | SchemaError::OtherSubject { .. }
        | SchemaError::NoSubject { .. }
        | SchemaError::InUse { .. } => Status::failed_precondition(text),
        SchemaError::Limit { .. } => Status::resource_exhausted(text),
        SchemaError::Panicked { .. } => Status::internal(text),
        SchemaError::Record(_) => Status::unavailable(text),
    }
}
