//! Kafka's settings as they were given: each with where it stands.

use super::{environment, indirection, properties};
use crate::failure::Failure;
use keyway_broker::{BrokerSetting, check_settings, is_setting};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

/// Where a setting stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    File { path: PathBuf, line: usize },
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Variable(name) => write!(f, "{name}"),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// All settings that were given, by name.
#[derive(Default, Debug)]
pub(super) struct Given(BTreeMap<String, Value>);

impl Given {
    /// The file's settings, and over them those of the environment.
    pub(super) fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let mut all = BTreeMap::new();
        if let Some(path) = file {
            for (name, text, line) in properties::read(path)? {
                let origin = Origin::File { path: path.to_owned(), line };
                all.insert(name, Value { text, origin });
            }
        }
        for (variable, text) in environment {
            if let Some(name) = environment::setting(&variable) {
                all.insert(name, Value { text, origin: Origin::Variable(variable) });
            }
        }
        let variables = |name: &str| std::env::var(name).ok();
        for (name, value) in &mut all {
            let secret = BrokerSetting::of_any(name).is_some_and(BrokerSetting::is_secret);
            let text = indirection::resolved(value.text.trim(), secret, &variables);
            value.text = text.map_err(|failure| failure.at(&format!("{}: {name}", value.origin)))?;
        }
        Ok(Self(all))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What the broker is told of it: all that Kafka knows. Every value that is none of its setting's is named.
    pub(super) fn checked(&self) -> Result<BTreeMap<String, String>, Failure> {
        let bad = |(name, value): (&String, &Value)| {
            let error = BrokerSetting::of_any(name)?.check(&value.text).err()?;
            Some(format!("{}: {error}", value.origin))
        };
        let bad: Vec<String> = self.0.iter().filter_map(bad).collect();
        if !bad.is_empty() {
            return Err(Failure::Usage(format!("{}; correct it there", bad.join("; "))));
        }
        let known = self.0.iter().filter(|(name, _)| is_setting(name));
        let settings = known.map(|(name, value)| (name.clone(), value.text.clone())).collect();
        check_settings(&settings)
            .map_err(|error| Failure::Usage(format!("{error}; correct one of the two")))?;
        Ok(settings)
    }

    /// Which settings were taken, and which do nothing and why; nothing if none were given.
    pub(super) fn report(&self) -> Vec<String> {
        let (mut taken, mut unknown) = (Vec::new(), Vec::new());
        let mut idle: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.0 {
            match BrokerSetting::of_any(name).map(BrokerSetting::idle_reason) {
                Some(None) => taken.push(name.as_str()),
                Some(Some(reason)) => idle.entry(reason).or_default().push(name),
                // Where values come from is read with the values.
                None if name.starts_with("config.providers") || is_setting(name) => taken.push(name.as_str()),
                None => unknown.push(format!("{name} ({})", value.origin)),
            }
        }
        let mut lines = Vec::new();
        if !taken.is_empty() {
            lines.push(format!("taken: {}", taken.join(", ")));
        }
        lines.extend(idle.iter().map(|(reason, names)| format!("ignored, {reason}: {}", names.join(", "))));
        if !unknown.is_empty() {
            lines.push(format!("ignored, Kafka has no setting of this name: {}", unknown.join(", ")));
        }
        lines
    }

    /// The files and variables that settings stand in, for a message about all of them.
    pub(super) fn sources(&self) -> String {
        let source = |value: &Value| match &value.origin {
            Origin::File { path, .. } => path.display().to_string(),
            Origin::Variable(_) => "the environment".to_owned(),
        };
        self.0.values().map(source).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" and ")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As if given by environment variables.
    pub(crate) fn given(settings: &[(&str, &str)]) -> Given {
        let all = settings.iter().map(|(name, text)| {
            let value = Value { text: (*text).to_owned(), origin: Origin::Variable("TEST".to_owned()) };
            ((*name).to_owned(), value)
        });
        Given(all.collect())
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.properties");
        std::fs::write(&path, "num.partitions=2\nlog.retention.ms = 5 \n").unwrap();
        let variables = [("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_OPTS", "-Xmx1G"), ("HOME", "/")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = Given::read(Some(&path), variables.into_iter()).unwrap();
        assert_eq!(given.get("num.partitions").unwrap().text, "3");
        assert_eq!(given.get("log.retention.ms").unwrap().text, "5");
        assert_eq!(given.checked().unwrap().len(), 2);
        assert!(given.sources().ends_with("server.properties and the environment"), "{}", given.sources());
    }

    #[test]
    fn settings_of_kafkas_authorizer_reach_the_broker() {
        let settings = [("super.users", "User:admin"), ("allow.everyone.if.no.acl.found", "true")];
        let given = given(&settings);
        assert_eq!(given.checked().unwrap().len(), 2);
        assert_eq!(given.report(), ["taken: allow.everyone.if.no.acl.found, super.users"]);
    }

    #[test]
    fn every_bad_value_is_named_with_its_place() {
        let bad =
            given(&[("num.partitions", "none"), ("log.retention.ms", "soon"), ("zookeeper.connect", "x")]);
        let Err(Failure::Usage(line)) = bad.checked() else { panic!("it was taken") };
        for words in ["num.partitions", "'none'", "log.retention.ms", "TEST"] {
            assert!(line.contains(words), "{line}");
        }
        let bounds = given(&[("group.min.session.timeout.ms", "9"), ("group.max.session.timeout.ms", "8")]);
        assert!(matches!(bounds.checked(), Err(Failure::Usage(_))));
    }

    #[test]
    fn the_report_tells_what_is_taken_and_what_is_not() {
        let report =
            given(&[("num.partitions", "2"), ("num.io.threads", "8"), ("zookeeper.connect", "x")]).report();
        assert_eq!(report.len(), 3);
        assert!(report[0].starts_with("taken: num.partitions"), "{report:?}");
        assert!(report[1].contains("threads") && report[1].ends_with("num.io.threads"), "{report:?}");
        assert!(report[2].contains("zookeeper.connect (TEST)"), "{report:?}");
        assert!(given(&[]).report().is_empty());
    }
}
