//! Whether a payload follows its schema. A schema is made ready once per version and kept, the latest used ones.

mod avro;
mod protobuf;

use super::{
    definition::{Definition, shortened},
    subject::SchemaType,
};
use jsonschema::PatternOptions;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Schemas that are kept ready.
const READY_MAX: usize = 256;

/// A schema that payloads are checked against.
#[derive(Debug)]
pub(super) enum Check {
    Anything,
    Utf8,
    Number,
    JsonSchema(Box<jsonschema::Validator>),
    Avro(avro::Check),
    Protobuf(protobuf::Check),
}

impl Check {
    /// Makes a definition ready; what it says is looked at here for the first time.
    pub(super) fn of(kind: SchemaType, definition: Definition) -> Result<Self, String> {
        match (kind, definition) {
            (SchemaType::String, _) => Ok(Self::Utf8),
            (SchemaType::Number, _) => Ok(Self::Number),
            (_, Definition::JsonSchema(schema)) => {
                // Patterns by the engine that takes linear time; references to elsewhere are not followed.
                let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
                Ok(Self::JsonSchema(Box::new(options.build(&schema).map_err(shortened)?)))
            }
            (_, Definition::Avro(schema)) => Ok(Self::Avro(avro::Check::of(*schema)?)),
            (_, Definition::Protobuf(files)) => Ok(Self::Protobuf(protobuf::Check::of(&files))),
            (_, Definition::Plain) => Ok(Self::Anything),
        }
    }

    /// Says what is wrong with the payload. Waits for nothing, so at most one payload per thread is unpacked at a time.
    pub(super) fn payload(&self, payload: &[u8]) -> Result<(), String> {
        match self {
            Self::Anything => Ok(()),
            Self::Utf8 => {
                str::from_utf8(payload).map(|_| ()).map_err(|error| format!("it is not UTF-8: {error}"))
            }
            Self::Number => number(payload),
            Self::JsonSchema(validator) => {
                let value =
                    serde_json::from_slice(payload).map_err(|error| format!("it is no JSON: {error}"))?;
                validator.validate(&value).map_err(|error| {
                    let path = error.instance_path().to_string();
                    shortened(format_args!("at {:?}: {error}", if path.is_empty() { "/" } else { &path }))
                })
            }
            Self::Avro(check) => check.payload(payload),
            Self::Protobuf(check) => check.payload(payload),
        }
    }
}

/// Danube's clients write numbers as text or in 4 or 8 bytes.
fn number(payload: &[u8]) -> Result<(), String> {
    let text = || str::from_utf8(payload).ok()?.trim().parse::<f64>().ok();
    if matches!(payload.len(), 4 | 8) || text().is_some() {
        return Ok(());
    }
    Err("it is neither a number's text nor 4 or 8 bytes".to_owned())
}

/// Schemas that are ready, by schema id and version.
#[derive(Default)]
pub(super) struct Ready {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    checks: BTreeMap<(u64, u32), (u64, Arc<Check>)>,
    uses: u64,
}

impl Ready {
    /// The check of this version, made by `make` if it is not there.
    pub(super) fn get(
        &self,
        id: (u64, u32),
        make: impl FnOnce() -> Result<Check, String>,
    ) -> Result<Arc<Check>, String> {
        if let Some(check) = self.lock().used(id) {
            return Ok(check);
        }
        // Two that need the same at once make it twice, which is better than waiting under the lock.
        let check = Arc::new(make()?);
        let mut kept = self.lock();
        if kept.checks.len() >= READY_MAX {
            let oldest = kept.checks.iter().min_by_key(|(_, (used, _))| *used).map(|(&id, _)| id);
            kept.checks.remove(&oldest.expect("it is full"));
        }
        kept.uses += 1;
        let uses = kept.uses;
        kept.checks.insert(id, (uses, check.clone()));
        Ok(check)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while the checks are locked")
    }
}

impl Kept {
    fn used(&mut self, id: (u64, u32)) -> Option<Arc<Check>> {
        self.uses += 1;
        let (used, check) = self.checks.get_mut(&id)?;
        *used = self.uses;
        Some(check.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: SchemaType, definition: &str) -> Check {
        Check::of(kind, Definition::parse(kind, definition.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn payloads_are_checked_by_type() {
        let object = check(
            SchemaType::JsonSchema,
            r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#,
        );
        assert_eq!(object.payload(br#"{"n":1}"#), Ok(()));
        for bad in [&b"{\"n\":\"1\"}"[..], b"{}", b"{", b"\xff"] {
            assert!(object.payload(bad).is_err(), "{bad:?}");
        }
        let text = check(SchemaType::String, "");
        assert!(text.payload("ä".as_bytes()).is_ok() && text.payload(b"\xff").is_err());
        let number = check(SchemaType::Number, "");
        assert!(number.payload(b"-1.5").is_ok() && number.payload(&[0; 8]).is_ok());
        assert!(number.payload(b"one").is_err());
        assert!(check(SchemaType::Bytes, "").payload(b"\xff").is_ok());
    }

    #[test]
    fn json_schemas_that_reach_elsewhere_or_mean_nothing_are_refused() {
        for bad in [
            r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"type":"nonsense"}"#,
            r#"{"pattern":"(?=look)ahead"}"#,
        ] {
            let parsed = Definition::parse(SchemaType::JsonSchema, bad.as_bytes()).unwrap();
            assert!(Check::of(SchemaType::JsonSchema, parsed).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_schemas_used_least_lately_make_room() {
        let ready = Ready::default();
        for version in 0..READY_MAX as u32 + 10 {
            ready.get((1, version), || Ok(Check::Utf8)).unwrap();
            ready.get((1, 0), || panic!("in use all the time")).unwrap();
        }
        assert_eq!(ready.lock().checks.len(), READY_MAX);
        ready.get((1, READY_MAX as u32 + 9), || panic!("the latest")).unwrap();
        let mut made = false;
        ready
            .get((1, 1), || {
                Ok({
                    made = true;
                    Check::Utf8
                })
            })
            .unwrap();
        assert!(made, "the oldest");
    }
}
