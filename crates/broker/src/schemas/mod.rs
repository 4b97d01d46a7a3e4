//! The schema registry: subjects with their versions, and which subject a topic has. Its records live in the internal
//! topic `__schemas`; what is answered is durable.

mod compatibility;
mod definition;
mod payload;
mod protobuf;
mod record;
mod subject;

pub(crate) use subject::{Compatibility, SchemaType, Subject, ValidationPolicy, Version};

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    topics::{Topic, Topics},
};
use bytes::Bytes;
use definition::{DEFINITION_BYTES_MAX, Definition};
use keyway_log::LogStore;
use keyway_record::TopicId;
use keyway_runtime::{Clock, World};
use payload::{Check, Ready};
use record::Stored;
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// The internal topic of schemas.
const TOPIC: &str = "__schemas";

/// Most subjects, so that their list fits into one answer.
const SUBJECTS_MAX: usize = 5_000;

/// Most versions of one subject, so that their list fits into one answer.
const VERSIONS_MAX: usize = 1_000;

/// Bytes of all definitions together.
const DEFINITIONS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a subject's name, of who made a version, of its description, of all its tags together.
const NAME_BYTES_MAX: usize = 255;
const CREATED_BY_BYTES_MAX: usize = 255;
const DESCRIPTION_BYTES_MAX: usize = 1_024;
const TAGS_BYTES_MAX: usize = 256;

/// The registry.
pub(crate) struct Schemas {
    records: InternalTopic,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
    ready: Ready,
    /// One change at a time; never held by readers.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    subjects: BTreeMap<String, Arc<Subject>>,
    by_id: BTreeMap<u64, String>,
    topics: BTreeMap<TopicId, Arc<TopicSchema>>,
    definitions_bytes: usize,
}

/// What a topic requires of its messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TopicSchema {
    pub(crate) subject: String,
    pub(crate) policy: ValidationPolicy,
    /// Whether payloads are checked, not only the schema that a message names.
    pub(crate) check_payloads: bool,
}

impl TopicSchema {
    /// What a topic requires that was given nothing but a subject, as in Danube.
    pub(crate) fn by_default(subject: &str) -> Self {
        Self { subject: subject.to_owned(), policy: ValidationPolicy::Warn, check_payloads: false }
    }
}

/// A definition that wants to become a version.
pub(crate) struct Registration {
    pub(crate) subject: String,
    pub(crate) kind: SchemaType,
    pub(crate) definition: Bytes,
    pub(crate) description: String,
    pub(crate) created_by: String,
    pub(crate) tags: Vec<String>,
}

/// The version that a definition has now.
pub(crate) struct Registered {
    pub(crate) schema_id: u64,
    pub(crate) version: Arc<Version>,
    pub(crate) is_new: bool,
}

/// Why the registry did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("schema subject {subject:?} not found; register a schema under it first")]
    UnknownSubject { subject: String },
    #[error("schema {id} not found")]
    UnknownId { id: u64 },
    #[error("schema subject {subject:?} has no version {version}")]
    UnknownVersion { subject: String, version: u32 },
    #[error("{what} has {given} bytes; 1 to {max} are allowed")]
    Text { what: &'static str, given: usize, max: usize },
    #[error("the definition is no valid {} schema: {reason}", kind.as_str())]
    Definition { kind: SchemaType, reason: String },
    #[error("schema subject {subject:?} holds {} schemas, not {}", has.as_str(), given.as_str())]
    OtherType { subject: String, has: SchemaType, given: SchemaType },
    #[error("the definition is not compatible ({}) with version {version} of {subject:?}: {}", mode.as_str(), reasons.join("; "))]
    Incompatible { subject: String, version: u32, mode: Compatibility, reasons: Vec<String> },
    #[error("{limit}, which is the limit; delete versions that nobody needs")]
    Limit { limit: String },
    #[error("topic {topic} has schema subject {has:?} and cannot use {given:?}")]
    OtherSubject { topic: String, has: String, given: String },
    #[error("topic {topic} has no schema subject; give it one with ConfigureTopicSchema")]
    NoSubject { topic: String },
    #[error(
        "version {version} is the last one of {subject:?}, which topics use; give those another subject first"
    )]
    InUse { subject: String, version: u32 },
    #[error("the definition could not be looked at: {reason}")]
    Panicked { reason: String },
    #[error(transparent)]
    Record(#[from] InternalTopicError),
}

/// Why a message does not follow its topic's schema.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the topic requires schema subject {subject:?} (schema id {id}), and the message names none")]
    NoSchema { subject: String, id: u64 },
    #[error(
        "the topic requires schema subject {subject:?} (schema id {id}), and the message names schema {given}"
    )]
    OtherSchema { subject: String, id: u64, given: u64 },
    #[error("schema subject {subject:?} has no version {version}")]
    Version { subject: String, version: u32 },
    #[error("the payload fails schema validation by version {version} of {subject:?}: {reason}")]
    Payload { subject: String, version: u32, reason: String },
}

impl Violation {
    /// Whether the message is refused under this policy. A payload that was to be checked is refused even where the rest
    /// is only warned of.
    pub(crate) fn refuses(&self, policy: ValidationPolicy) -> bool {
        matches!(self, Self::Payload { .. }) || policy == ValidationPolicy::Enforce
    }
}

impl Schemas {
    /// Reads the registry. What is said of topics that are no more is given up.
    pub(crate) fn recover(
        world: &World,
        store: &Arc<dyn LogStore>,
        topics: &Topics,
    ) -> Result<Self, InternalTopicError> {
        let records = InternalTopic::open(TOPIC, world, store)?;
        let mut state = State::default();
        let mut subjects: BTreeMap<u64, Subject> = BTreeMap::new();
        let mut versions = Vec::new();
        for (key, value) in records.entries() {
            match record::decode(&key, &value).map_err(|reason| records.malformed(reason))? {
                Stored::Subject(subject) => _ = subjects.insert(subject.id, subject),
                Stored::Version { schema_id, version } => versions.push((schema_id, version)),
                Stored::Topic(id, topic) if topics.of_id(id).is_some() => {
                    state.topics.insert(id, Arc::new(topic));
                }
                Stored::Topic(..) => {}
            }
        }
        for (schema_id, version) in versions {
            // A subject's record is written before its versions, so this one is there unless a crash came between.
            if let Some(subject) = subjects.get_mut(&schema_id) {
                subject.versions.insert(version.number, Arc::new(version));
            }
        }
        subjects.into_values().for_each(|subject| state.set(subject));
        Ok(Self {
            records,
            clock: world.clock.clone(),
            state: RwLock::new(state),
            ready: Ready::default(),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// A subject that has versions.
    pub(crate) fn subject(&self, name: &str) -> Result<Arc<Subject>, SchemaError> {
        let found = self.read().subjects.get(name).cloned().filter(|subject| subject.latest().is_some());
        found.ok_or_else(|| SchemaError::UnknownSubject { subject: name.to_owned() })
    }

    /// The subject of this id.
    pub(crate) fn of_id(&self, id: u64) -> Result<Arc<Subject>, SchemaError> {
        let name = self.read().by_id.get(&id).cloned().ok_or(SchemaError::UnknownId { id })?;
        self.subject(&name)
    }

    /// All subjects that have versions, sorted by name.
    pub(crate) fn subjects(&self) -> Vec<Arc<Subject>> {
        let state = self.read();
        state.subjects.values().filter(|subject| subject.latest().is_some()).cloned().collect()
    }

    /// What the topic requires of its messages.
    pub(crate) fn of_topic(&self, topic: TopicId) -> Option<Arc<TopicSchema>> {
        self.read().topics.get(&topic).cloned()
    }

    /// Adds a version, or finds the one that has this definition already.
    pub(crate) async fn register(&self, asked: Registration) -> Result<Registered, SchemaError> {
        check_texts(&asked)?;
        let _changing = self.changing.lock().await;
        let existing = self.read().subjects.get(&asked.subject).cloned();
        let latest = existing.as_ref().and_then(|subject| subject.latest().cloned());
        if let (Some(subject), Some(_)) = (&existing, &latest)
            && subject.kind != asked.kind
        {
            let (subject, has) = (asked.subject, subject.kind);
            return Err(SchemaError::OtherType { subject, has, given: asked.kind });
        }
        let kind = asked.kind;
        let fingerprint = Definition::fingerprint(kind, &asked.definition);
        let same = existing.as_ref().and_then(|subject| {
            let version = subject.versions.values().find(|version| version.fingerprint == fingerprint)?;
            Some(Registered { schema_id: subject.id, version: version.clone(), is_new: false })
        });
        if let Some(same) = same {
            return Ok(same);
        }
        let mode = existing.as_ref().map_or(Compatibility::Backward, |subject| subject.mode);
        let reasons = judge(kind, asked.definition.clone(), latest.clone(), mode).await?;
        if let (Some(latest), false) = (latest, reasons.is_empty()) {
            let (subject, version) = (asked.subject, latest.number);
            return Err(SchemaError::Incompatible { subject, version, mode, reasons });
        }
        self.check_room(existing.as_deref(), asked.definition.len())?;
        let mut subject = existing.map_or_else(|| self.new_subject(&asked), |subject| (*subject).clone());
        let version = Arc::new(Version {
            number: subject.next_version,
            // A copy of its own: the request's buffer may be larger.
            definition: Bytes::copy_from_slice(&asked.definition),
            fingerprint,
            created_at: u64::try_from(self.clock.wall_ms() / 1_000).unwrap_or(0),
            created_by: asked.created_by,
            description: asked.description,
            tags: asked.tags,
        });
        subject.kind = kind;
        subject.next_version += 1;
        subject.versions.insert(version.number, version.clone());
        let schema_id = subject.id;
        // The subject first: its next number is used up even if a crash loses the version.
        let entries = vec![
            (record::subject_key(&subject.name), Some(record::subject_value(&subject))),
            (record::version_key(schema_id, version.number), Some(record::version_value(&version))),
        ];
        self.records.put_and(entries, || self.write().set(subject)).await?;
        Ok(Registered { schema_id, version, is_new: true })
    }

    /// Why the definition could not become the next version; nothing if it could.
    pub(crate) async fn check(
        &self,
        subject: &str,
        kind: SchemaType,
        definition: Bytes,
        mode: Option<Compatibility>,
    ) -> Result<Vec<String>, SchemaError> {
        let subject = self.subject(subject)?;
        if subject.kind != kind {
            let error =
                SchemaError::OtherType { subject: subject.name.clone(), has: subject.kind, given: kind };
            return Ok(vec![error.to_string()]);
        }
        match judge(kind, definition, subject.latest().cloned(), mode.unwrap_or(subject.mode)).await {
            Err(error @ SchemaError::Definition { .. }) => Ok(vec![error.to_string()]),
            judged => judged,
        }
    }

    /// What the next version must be compatible with.
    pub(crate) async fn set_mode(&self, subject: &str, mode: Compatibility) -> Result<(), SchemaError> {
        let _changing = self.changing.lock().await;
        let subject = Subject { mode, ..(*self.subject(subject)?).clone() };
        let entry = (record::subject_key(&subject.name), Some(record::subject_value(&subject)));
        Ok(self.records.put_and(vec![entry], || self.write().set(subject)).await?)
    }

    /// Removes a version; its number is not used again. The last one stays while a topic uses the subject.
    pub(crate) async fn delete_version(&self, subject: &str, version: u32) -> Result<(), SchemaError> {
        let _changing = self.changing.lock().await;
        let mut subject = (*self.subject(subject)?).clone();
        if subject.versions.remove(&version).is_none() {
            return Err(SchemaError::UnknownVersion { subject: subject.name, version });
        }
        let used = || self.read().topics.values().any(|topic| topic.subject == subject.name);
        if subject.versions.is_empty() && used() {
            return Err(SchemaError::InUse { subject: subject.name, version });
        }
        let entry = (record::version_key(subject.id, version), None);
        Ok(self.records.put_and(vec![entry], || self.write().set(subject)).await?)
    }

    /// Gives a topic its subject if it has none; one that has another is refused.
    pub(crate) async fn fix_subject(&self, topic: &Topic, subject: &str) -> Result<(), SchemaError> {
        let of_topic = || self.of_topic(topic.id);
        let check = |has: &TopicSchema| match has.subject == subject {
            true => Ok(()),
            false => Err(SchemaError::OtherSubject {
                topic: topic.name.to_string(),
                has: has.subject.clone(),
                given: subject.to_owned(),
            }),
        };
        if let Some(has) = of_topic() {
            return check(&has);
        }
        let _changing = self.changing.lock().await;
        if let Some(has) = of_topic() {
            return check(&has);
        }
        self.subject(subject)?;
        self.set_topic(topic, TopicSchema::by_default(subject)).await
    }

    /// Gives a topic this subject, whatever it had.
    pub(crate) async fn configure_topic(
        &self,
        topic: &Topic,
        schema: TopicSchema,
    ) -> Result<(), SchemaError> {
        let _changing = self.changing.lock().await;
        self.set_topic(topic, schema).await
    }

    /// Checks a topic's messages in another way.
    pub(crate) async fn update_topic(
        &self,
        topic: &Topic,
        policy: ValidationPolicy,
        check_payloads: bool,
    ) -> Result<(), SchemaError> {
        let _changing = self.changing.lock().await;
        let has = self.of_topic(topic.id);
        let has = has.ok_or_else(|| SchemaError::NoSubject { topic: topic.name.to_string() })?;
        let schema = TopicSchema { subject: has.subject.clone(), policy, check_payloads };
        self.set_topic(topic, schema).await
    }

    /// The topic was deleted.
    pub(crate) async fn forget_topic(&self, topic: TopicId) -> Result<(), SchemaError> {
        let _changing = self.changing.lock().await;
        if self.of_topic(topic).is_some() {
            let entry = (record::topic_key(topic), None);
            self.records.put_and(vec![entry], || _ = self.write().topics.remove(&topic)).await?;
        }
        Ok(())
    }

    /// Whether a message follows the schema of its topic.
    pub(crate) fn check_message(
        &self,
        topic: &TopicSchema,
        schema_id: Option<u64>,
        version: Option<u32>,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let subject = &topic.subject;
        // A subject that a topic uses keeps a version.
        let Ok(found) = self.subject(subject) else { return Ok(()) };
        let named = || subject.clone();
        let version = match version {
            Some(number) => {
                found.versions.get(&number).ok_or(Violation::Version { subject: named(), version: number })
            }
            None => Ok(found.latest().expect("a subject that was found has versions")),
        };
        if topic.check_payloads {
            // A version that is unknown is judged below; the latest says what payloads are to look like.
            let by = version.as_ref().map_or_else(|_| found.latest(), |version| Some(version));
            let by = by.expect("a subject that was found has versions");
            self.check_payload(&found, by, payload).map_err(|reason| Violation::Payload {
                subject: named(),
                version: by.number,
                reason,
            })?;
        }
        match schema_id {
            None => Err(Violation::NoSchema { subject: named(), id: found.id }),
            Some(given) if given != found.id => {
                Err(Violation::OtherSchema { subject: named(), id: found.id, given })
            }
            Some(_) => version.map(|_| ()),
        }
    }

    fn check_payload(&self, subject: &Subject, version: &Version, payload: &[u8]) -> Result<(), String> {
        let make = || Check::of(subject.kind, Definition::parse(subject.kind, &version.definition)?);
        self.ready.get((subject.id, version.number), make)?.payload(payload)
    }

    async fn set_topic(&self, topic: &Topic, schema: TopicSchema) -> Result<(), SchemaError> {
        self.subject(&schema.subject)?;
        let entry = (record::topic_key(topic.id), Some(record::topic_value(&schema)));
        let apply = || _ = self.write().topics.insert(topic.id, Arc::new(schema));
        Ok(self.records.put_and(vec![entry], apply).await?)
    }

    fn new_subject(&self, asked: &Registration) -> Subject {
        let last = self.read().by_id.last_key_value().map_or(0, |(&id, _)| id);
        Subject {
            name: asked.subject.clone(),
            id: last + 1,
            kind: asked.kind,
            mode: Compatibility::Backward,
            next_version: 1,
            versions: BTreeMap::new(),
        }
    }

    fn check_room(&self, subject: Option<&Subject>, definition_bytes: usize) -> Result<(), SchemaError> {
        let state = self.read();
        let limit = |limit: String| Err(SchemaError::Limit { limit });
        match subject {
            None if state.subjects.len() >= SUBJECTS_MAX => {
                limit(format!("there are {SUBJECTS_MAX} subjects"))
            }
            Some(subject) if subject.versions.len() >= VERSIONS_MAX => {
                limit(format!("the subject has {VERSIONS_MAX} versions"))
            }
            _ if state.definitions_bytes + definition_bytes > DEFINITIONS_BYTES_MAX => {
                limit(format!("all definitions would have more than {DEFINITIONS_BYTES_MAX} bytes"))
            }
            _ => Ok(()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no panic while the schemas are locked")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no panic while the schemas are locked")
    }
}

impl State {
    fn set(&mut self, subject: Subject) {
        let bytes = |subject: &Subject| -> usize {
            subject.versions.values().map(|version| version.definition.len()).sum()
        };
        self.definitions_bytes += bytes(&subject);
        self.by_id.insert(subject.id, subject.name.clone());
        if let Some(replaced) = self.subjects.insert(subject.name.clone(), Arc::new(subject)) {
            self.definitions_bytes -= bytes(&replaced);
        }
    }
}

/// Reads the definition and compares it with the latest version, on a thread that may take its time.
async fn judge(
    kind: SchemaType,
    definition: Bytes,
    latest: Option<Arc<Version>>,
    mode: Compatibility,
) -> Result<Vec<String>, SchemaError> {
    let malformed = move |reason| SchemaError::Definition { kind, reason };
    let judged = tokio::task::spawn_blocking(move || {
        let new = Definition::parse(kind, &definition).map_err(malformed)?;
        let reasons = match latest {
            Some(latest) => {
                let old = Definition::parse(kind, &latest.definition).map_err(malformed)?;
                compatibility::reasons_against(&old, &new, mode)
            }
            None => Vec::new(),
        };
        Check::of(kind, new).map_err(malformed)?;
        Ok(reasons)
    });
    judged.await.map_err(|error| SchemaError::Panicked { reason: error.to_string() })?
}

fn check_texts(asked: &Registration) -> Result<(), SchemaError> {
    let tags = asked.tags.iter().map(|tag| tag.len() + 2).sum();
    let texts = [
        ("the subject's name", asked.subject.len(), NAME_BYTES_MAX),
        ("who made it", asked.created_by.len().max(1), CREATED_BY_BYTES_MAX),
        ("the description", asked.description.len().max(1), DESCRIPTION_BYTES_MAX),
        ("the list of tags", usize::max(tags, 1), TAGS_BYTES_MAX),
        ("the definition", asked.definition.len().max(1), DEFINITION_BYTES_MAX),
    ];
    let wrong = texts.into_iter().find(|&(_, given, max)| !(1..=max).contains(&given));
    wrong.map_or(Ok(()), |(what, given, max)| Err(SchemaError::Text { what, given, max }))
}
