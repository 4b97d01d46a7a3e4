//! The field facts of every message, by the API's name.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;

use anyhow::Context;

use crate::messages::facts::{Api, Message};
use crate::messages::facts_dir;

pub(crate) struct Messages(BTreeMap<String, Api>);

impl Messages {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let mut apis = BTreeMap::new();
        for entry in fs::read_dir(facts_dir())? {
            let path = entry?.path();
            if !path.ends_with("apis.txt") {
                let api = Api::of_text(&fs::read_to_string(&path)?).with_context(|| format!("{path:?}"))?;
                apis.insert(api.name.clone(), api);
            }
        }
        Ok(Self(apis))
    }

    /// The APIs that have messages, with their keys.
    pub(crate) fn apis(&self) -> impl Iterator<Item = (&str, i16)> {
        self.0.values().filter_map(|api| Some((api.name.as_str(), api.key?)))
    }

    pub(crate) fn key(&self, api: &str) -> anyhow::Result<i16> {
        self.api(api)?.key.with_context(|| format!("{api} has no key"))
    }

    pub(crate) fn request(&self, api: &str) -> anyhow::Result<&Message> {
        self.message(api, "request")
    }

    pub(crate) fn response(&self, api: &str) -> anyhow::Result<&Message> {
        self.message(api, "response")
    }

    pub(crate) fn versions(&self, api: &str) -> anyhow::Result<RangeInclusive<i16>> {
        let valid = self.request(api)?.valid;
        Ok(valid.min..=valid.max)
    }

    /// The version that an answer is in: ApiVersions is answered in version 0 if its version is unknown.
    pub(crate) fn answered_version(&self, api: &str, version: i16) -> anyhow::Result<i16> {
        Ok(if self.versions(api)?.contains(&version) { version } else { 0 })
    }

    fn message(&self, api: &str, kind: &str) -> anyhow::Result<&Message> {
        let message = self.api(api)?.messages.iter().find(|message| message.kind == kind);
        message.with_context(|| format!("{api} has no {kind}"))
    }

    fn api(&self, api: &str) -> anyhow::Result<&Api> {
        self.0.get(api).with_context(|| format!("no API is called {api}"))
    }
}
