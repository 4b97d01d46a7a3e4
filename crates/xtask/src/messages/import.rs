//! Kafka's JSON definitions to facts: names, types, versions, tags, defaults. Nothing else is kept.

use super::{
    File,
    facts::{Api, Field, Message},
    versions::Versions,
};
use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// The APIs whose messages we generate.
const APIS: &[&str] = &[
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "SaslHandshake",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "EndTxn",
    "WriteTxnMarkers",
    "TxnOffsetCommit",
    "DescribeAcls",
    "CreateAcls",
    "DeleteAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "DescribeLogDirs",
    "SaslAuthenticate",
    "CreatePartitions",
    "DeleteGroups",
    "ElectLeaders",
    "IncrementalAlterConfigs",
    "ListPartitionReassignments",
    "OffsetDelete",
    "DescribeClientQuotas",
    "AlterClientQuotas",
    "DescribeUserScramCredentials",
    "AlterUserScramCredentials",
    "DescribeQuorum",
    "UpdateFeatures",
    "DescribeCluster",
    "DescribeProducers",
    "DescribeTransactions",
    "ListTransactions",
    "ConsumerGroupHeartbeat",
    "ConsumerGroupDescribe",
    "ListConfigResources",
    "DescribeTopicPartitions",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMessage {
    api_key: Option<i16>,
    r#type: String,
    name: String,
    valid_versions: String,
    #[serde(default)]
    flexible_versions: Option<String>,
    #[serde(default)]
    latest_version_unstable: bool,
    #[serde(default)]
    common_structs: Vec<JsonStruct>,
    #[serde(default)]
    fields: Vec<JsonField>,
}

/// A struct that fields name without repeating it.
#[derive(Deserialize)]
struct JsonStruct {
    name: String,
    fields: Vec<JsonField>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonField {
    name: String,
    r#type: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    flexible_versions: Option<String>,
    tagged_versions: Option<String>,
    tag: Option<u32>,
    default: Option<serde_json::Value>,
    #[serde(default)]
    ignorable: bool,
    #[serde(default)]
    fields: Vec<JsonField>,
}

/// The fact files of the definitions in `dir`: one per API, the headers, and the list of all API keys.
pub(super) fn import(dir: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = vec![("apis.txt".to_owned(), all_keys(dir)?)];
    for name in APIS {
        let request = read(dir, &format!("{name}Request"))?;
        let key = request.api_key.with_context(|| format!("{name} has no key"))?;
        let request = facts(request)?;
        let mut response = facts(read(dir, &format!("{name}Response"))?)?;
        response.valid = response.valid.and(request.valid);
        let api = Api { key: Some(key), name: (*name).to_owned(), messages: vec![request, response] };
        files.push((format!("{key:02}_{}.txt", super::rust::snake(name)), api.to_text()));
    }
    let messages = vec![facts(read(dir, "RequestHeader")?)?, facts(read(dir, "ResponseHeader")?)?];
    let headers = Api { key: None, name: "Headers".to_owned(), messages };
    files.push(("headers.txt".to_owned(), headers.to_text()));
    Ok(files)
}

/// One line per API that Kafka still has: key, name, versions, flexible versions.
fn all_keys(dir: &Path) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
        if !name.ends_with("Request") {
            continue;
        }
        let message = read(dir, name)?;
        let Some(key) = message.api_key else { continue };
        if message.valid_versions != "none" {
            let (valid, flexible) = versions(&message)?;
            let api = name.strip_suffix("Request").expect("checked above");
            lines.push((key, format!("{api} {valid} flexible {flexible}")));
        }
    }
    lines.sort();
    let mut text = String::new();
    lines.iter().try_for_each(|(key, line)| writeln!(text, "{key} {line}"))?;
    Ok(text)
}

fn read(dir: &Path, name: &str) -> anyhow::Result<JsonMessage> {
    let path = dir.join(format!("{name}.json"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    // The definitions are JSON with whole-line comments.
    let json: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&json.join("\n")).with_context(|| path.display().to_string())
}

fn facts(message: JsonMessage) -> anyhow::Result<Message> {
    let (valid, flexible) = versions(&message)?;
    let common = message.common_structs.into_iter().map(|common| (common.name, common.fields)).collect();
    let fields =
        message.fields.into_iter().map(|json| field(json, &common)).collect::<anyhow::Result<_>>()?;
    Ok(Message { kind: message.r#type, name: message.name, valid, flexible, fields })
}

/// Valid and flexible versions. A version still in the making is left out, as Kafka does not advertise it.
fn versions(message: &JsonMessage) -> anyhow::Result<(Versions, Versions)> {
    let mut valid: Versions = message.valid_versions.parse()?;
    valid.max -= i16::from(message.latest_version_unstable);
    Ok((valid, message.flexible_versions.as_deref().unwrap_or("none").parse()?))
}

/// A field with the fields of its struct, which may be one of the `common` ones.
fn field(json: JsonField, common: &BTreeMap<String, Vec<JsonField>>) -> anyhow::Result<Field> {
    let versions = |text: &Option<String>| text.as_deref().unwrap_or("none").parse::<Versions>();
    let inflexible = match json.flexible_versions.as_deref() {
        None => false,
        Some("none") => true,
        Some(other) => bail!("flexible versions {other} of the field {}", json.name),
    };
    let default = match json.default {
        None => None,
        Some(serde_json::Value::String(text)) if text.is_empty() => None,
        Some(serde_json::Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    };
    ensure!(default.as_ref().is_none_or(|text| !text.contains(' ')), "a default with a space");
    let common_fields = common.get(json.r#type.trim_start_matches("[]")).filter(|_| json.fields.is_empty());
    let fields = common_fields.cloned().unwrap_or(json.fields);
    Ok(Field {
        versions: versions(&json.versions)?,
        nullable: versions(&json.nullable_versions)?,
        tag: json.tag.map(|tag| anyhow::Ok((tag, versions(&json.tagged_versions)?))).transpose()?,
        default,
        ignorable: json.ignorable,
        inflexible,
        fields: fields.into_iter().map(|json| field(json, common)).collect::<anyhow::Result<_>>()?,
        name: json.name,
        ty: json.r#type,
    })
}
