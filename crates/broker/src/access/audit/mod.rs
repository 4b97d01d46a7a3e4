//! The audit log: one JSON object a line, about logins, denials and administrative changes. Its lines go to the sink that
//! the broker is given, or to the ordinary log under the tracing target `keyway::audit`; without a sink there are none where
//! everybody may do everything.

mod event;
mod repeats;

pub(crate) use event::AuditEvent;

use super::Caller;
use crate::node::Node;
use event::Fields;
use jiff::Timestamp;
use keyway_runtime::{Clock, World};
use repeats::{Repeats, WINDOW_MS};
use serde_json::Value;
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// The tracing target that audit lines have without a sink.
const TARGET: &str = "keyway::audit";

/// Where audit lines go.
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Takes a line, without its line break. Must not wait: what it cannot take it drops.
    fn write(&self, line: String);

    /// How many lines it dropped so far.
    fn dropped(&self) -> u64;
}

/// The audit log of this broker.
pub(crate) struct AuditLog {
    sink: Option<Arc<dyn AuditSink>>,
    /// Whether lines go to the ordinary log if there is no sink.
    in_log: bool,
    clock: Arc<dyn Clock>,
    repeats: Mutex<Repeats>,
}

impl AuditLog {
    /// `in_log` says whether lines go to the ordinary log if there is no sink.
    pub(crate) fn new(sink: Option<Arc<dyn AuditSink>>, in_log: bool, world: &World) -> Arc<Self> {
        let clock = world.clock.clone();
        let repeats = Mutex::new(Repeats::new(clock.now()));
        Arc::new(Self { sink, in_log, clock, repeats })
    }

    /// Writes what `caller` did, or was not let do.
    pub(crate) fn note(&self, caller: &Caller, event: AuditEvent<'_>) {
        if self.is_read() {
            self.count(event.same_as(caller), || event.fields(caller));
        }
    }

    /// Makes a change, and says that `caller` made it.
    pub(crate) async fn tell<T, E>(
        self: &Arc<Self>,
        caller: &Caller,
        event: AuditEvent<'_>,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = self.begin(caller, event);
        let outcome = change.await;
        begun.settle(&outcome);
        outcome
    }

    /// A change that `caller` is about to make; what becomes of it is said to the [`Change`].
    pub(crate) fn begin(self: &Arc<Self>, caller: &Caller, event: AuditEvent<'_>) -> Change {
        let begun =
            || Begun { audit: self.clone(), same: event.same_as(caller), fields: event.fields(caller) };
        Change(self.is_read().then(begun))
    }

    /// Lines that were dropped, as their sink had no room or no disk.
    pub(crate) fn dropped(&self) -> u64 {
        self.sink.as_ref().map_or(0, |sink| sink.dropped())
    }

    fn is_read(&self) -> bool {
        self.sink.is_some() || self.in_log && tracing::enabled!(target: TARGET, tracing::Level::INFO)
    }

    /// Writes a line, unless `same` was told a moment ago.
    fn count(&self, same: Option<String>, fields: impl FnOnce() -> Fields) {
        let Some(same) = same else { return self.write(fields()) };
        let (ended, fields) = {
            let mut repeats = self.repeats.lock().expect("no panic while repeats are locked");
            (repeats.ended(self.clock.now()), repeats.count(same, fields))
        };
        ended.into_iter().chain(fields).for_each(|fields| self.write(fields));
    }

    fn write(&self, mut fields: Fields) {
        fields.insert("time".to_owned(), rfc3339(self.clock.wall_ms()).into());
        let line = Value::Object(fields);
        match &self.sink {
            Some(sink) => sink.write(line.to_string()),
            None => tracing::info!(target: TARGET, "{line}"),
        }
    }

    fn write_repeats(&self) {
        let lines = self.repeats.lock().expect("no panic while repeats are locked").end(self.clock.now());
        lines.into_iter().for_each(|fields| self.write(fields));
    }
}

/// Says how often what repeats itself happened, once a minute until the broker stops.
pub(crate) async fn watch(node: Arc<Node>) {
    let clock = &node.world.clock;
    loop {
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => break,
            () = clock.sleep_until(clock.now().plus(WINDOW_MS)) => {}
        }
        node.audit.write_repeats();
    }
    node.audit.write_repeats();
}

/// A change that is under way. If its client leaves before its end is known, its line says so: it may have been made.
#[must_use]
pub(crate) struct Change(Option<Begun>);

struct Begun {
    audit: Arc<AuditLog>,
    same: Option<String>,
    fields: Fields,
}

impl Change {
    /// One that nobody has to know of.
    pub(crate) fn untold() -> Self {
        Self(None)
    }

    /// It was made, or not.
    pub(crate) fn settle<T, E>(self, outcome: &Result<T, E>) {
        match outcome {
            Ok(_) => self.made(),
            Err(_) => self.forget(),
        }
    }

    /// It was made.
    pub(crate) fn made(mut self) {
        if let Some(Begun { audit, same, fields }) = self.0.take() {
            audit.count(same, || fields);
        }
    }

    /// Nothing changed.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if let Some(Begun { audit, mut fields, .. }) = self.0.take() {
            fields.insert("outcome".to_owned(), "unknown".into());
            audit.write(fields);
        }
    }
}

fn rfc3339(wall_ms: i64) -> String {
    let time = Timestamp::from_millisecond(wall_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// A sink that keeps all lines, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Vec<String>>);

#[cfg(test)]
impl AuditSink for Lines {
    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn dropped(&self) -> u64 {
        0
    }
}

#[cfg(test)]
impl Lines {
    /// The lines since the last call.
    pub(super) fn take(&self) -> Vec<Value> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_access::{Operation, Resource, acl::Decision};

    fn started() -> (Arc<Lines>, Arc<AuditLog>, Caller) {
        let lines = Arc::new(Lines::default());
        let audit = AuditLog::new(Some(lines.clone()), false, &World::real());
        (lines, audit, Caller::anonymous("10.0.0.1:5".parse().unwrap(), "OUTSIDE"))
    }

    #[test]
    fn a_client_in_a_loop_makes_a_line_and_a_count() {
        let (lines, audit, caller) = started();
        for name in ["a", "b"] {
            for _ in 0..1_000 {
                let (operation, resource) = (Operation::Read, Resource::topic(name));
                audit.note(
                    &caller,
                    AuditEvent::Denied { operation, resource, decision: Decision::NotGranted },
                );
            }
        }
        assert_eq!(lines.take().len(), 2);
        audit.write_repeats();
        let told = lines.take();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|line| line["repeated"] == 999 && line["event"] == "denied"), "{told:?}");
    }

    #[test]
    fn a_change_is_told_when_it_is_made_and_when_nobody_waited_for_it() {
        let (lines, audit, caller) = started();
        let begin = || audit.begin(&caller, AuditEvent::TopicDeleted { topic: "orders" });
        begin().settle(&Err::<(), _>("refused"));
        assert!(lines.take().is_empty());
        begin().settle(&Ok::<_, ()>(()));
        let told = lines.take();
        assert_eq!((told.len(), told[0].get("outcome")), (1, None));
        drop(begin());
        assert_eq!(lines.take()[0]["outcome"], "unknown");
    }

    #[test]
    fn a_change_again_and_again_is_counted() {
        let (lines, audit, caller) = started();
        for _ in 0..5 {
            audit.begin(&caller, AuditEvent::OffsetsSet { group: "g", topics: &["orders"] }).made();
        }
        audit.begin(&caller, AuditEvent::OffsetsSet { group: "g", topics: &["orders"] }).forget();
        Change::untold().made();
        assert_eq!(lines.take().len(), 1);
        audit.begin(&caller, AuditEvent::OffsetsSet { group: "g", topics: &["others"] }).made();
        assert_eq!(lines.take().len(), 1, "in another topic it is not the same");
        audit.write_repeats();
        assert_eq!(lines.take()[0]["repeated"], 4);
    }

    #[test]
    fn times_are_of_one_form() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_764_000_000_120), "2025-11-24T16:00:00.120Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
