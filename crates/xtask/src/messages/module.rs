//! One API's Rust file: a struct per message and nested struct, with its reader and its writer.

use super::{
    facts::{Api, Field, Message},
    generate::NOTE,
    rust::{self, snake},
    versions::{Condition, Versions},
};
use anyhow::{bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// The Rust file of one API, whose facts come from the file `source`.
pub(super) fn module(source: &str, api: &Api) -> anyhow::Result<String> {
    let title = api.key.map_or("The two headers".to_owned(), |key| format!("{}, API key {key}", api.name));
    let mut code = String::new();
    let mut seen: BTreeMap<String, Uses> = BTreeMap::new();
    for message in &api.messages {
        let mut message = message.clone();
        apart(&mut message.fields, &seen);
        let mut uses = BTreeMap::new();
        count(&message.fields, message.valid, &mut uses)?;
        let mut structs = Structs { message: &message, uses: &uses, written: BTreeSet::new() };
        structs.write(&mut code, &message.name, &message.fields, message.valid, true)?;
        seen.extend(uses);
    }
    let has = |word: &str| code.contains(word);
    let uses = [("Bytes>", "Bytes"), ("Bytes,", "Bytes"), ("BytesMut", "BytesMut")];
    let bytes: BTreeSet<&str> = uses.iter().filter(|(word, _)| has(word)).map(|(_, name)| *name).collect();
    let bytes = bytes.into_iter().collect::<Vec<_>>().join(", ");
    let topic_id = if has("TopicId") { "use keyway_record::TopicId;\n" } else { "" };
    Ok(format!(
        "//! {title}, from `messages/{source}`. {NOTE}

use crate::{{decode::{{DecodeError, Decoder}}, encode::{{EncodeError, Encoder}}}};
use bytes::{{{bytes}}};
{topic_id}
{code}"
    ))
}

/// A struct as a message uses it.
struct Uses {
    fields: Vec<Field>,
    /// From the first version that has it anywhere to the last.
    versions: Versions,
}

/// Renames the structs of a response that the request has another one of the same name of.
fn apart(fields: &mut [Field], seen: &BTreeMap<String, Uses>) {
    for field in fields {
        apart(&mut field.fields, seen);
        if let Some(name) = field.struct_name().filter(|name| seen.contains_key(*name)) {
            let name = format!("Response{name}");
            field.rename_struct(&name);
        }
    }
}

/// Collects the structs below `fields`, which are there in the versions `valid`.
fn count(fields: &[Field], valid: Versions, uses: &mut BTreeMap<String, Uses>) -> anyhow::Result<()> {
    for field in fields {
        let versions = field.versions.and(valid);
        let Some(name) = field.struct_name().filter(|_| !versions.is_empty()) else { continue };
        match uses.get_mut(name) {
            None => {
                uses.insert(name.to_owned(), Uses { fields: field.fields.clone(), versions });
            }
            Some(known) => {
                ensure!(known.fields == field.fields, "two structs are named {name}");
                known.versions = known.versions.or(versions);
            }
        }
        count(&field.fields, versions, uses)?;
    }
    Ok(())
}

/// Writes the structs of one message, outermost first.
struct Structs<'a> {
    message: &'a Message,
    uses: &'a BTreeMap<String, Uses>,
    written: BTreeSet<String>,
}

impl Structs<'_> {
    fn write(
        &mut self,
        code: &mut String,
        name: &str,
        fields: &[Field],
        valid: Versions,
        top: bool,
    ) -> anyhow::Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        // A field that no version of ours carries is none of ours.
        let fields: Vec<&Field> =
            fields.iter().filter(|field| !field.versions.and(valid).is_empty()).collect();
        let flexible = self.message.flexible;
        let doc = match top {
            true => format!("Kafka's {name}, versions {valid}, flexible {flexible}."),
            false => format!("Part of [`{}`], versions {valid}.", self.message.name),
        };
        let (mut declared, mut defaults, mut derivable) = (String::new(), String::new(), true);
        for field in &fields {
            let ty = rust::field_type(field)?;
            let _ = write!(declared, "/// {}\npub {}: {ty},\n", field_doc(field), snake(&field.name));
            let default = rust::default(field)?;
            derivable &= rust::is_type_default(&default);
            let _ = writeln!(defaults, "{}: {default},", snake(&field.name));
        }
        let read = self.read(&fields, valid)?;
        let write = self.write_fields(&fields, valid)?;
        // An argument that a struct does not use is spelled so.
        let unused = |body: &str, name: &str| {
            let used = body.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|word| word == name);
            if used { name.to_owned() } else { format!("_{name}") }
        };
        let (read_version, write_version) = (unused(&read, "version"), unused(&write, "version"));
        let message = &self.message.name;
        let (read_in, write_out) = (unused(&read, "input"), unused(&write, "out"));
        let public = match top {
            false => String::new(),
            true => {
                let Versions { min, max } = self.message.valid;
                let flexible = match flexible.condition(self.message.valid) {
                    Condition::Always => "true".to_owned(),
                    Condition::Never => "false".to_owned(),
                    Condition::If(condition) => condition,
                };
                format!(
                    "
    /// Reads the message in `version` from the front of `input`.
    pub fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{
        input.begin(\"{message}\", version, {min}..={max}, {flexible})?;
        Self::read(input, version)
    }}

    /// Appends the message in `version`.
    pub fn encode(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {{
        let mut out = Encoder::begin(out, \"{message}\", version, {min}..={max}, {flexible})?;
        self.write(&mut out, version)
    }}
"
                )
            }
        };
        let derived = if derivable { ", Default" } else { "" };
        let default = match derivable {
            true => String::new(),
            false => {
                format!("\nimpl Default for {name} {{ fn default() -> Self {{ Self {{ {defaults} }} }} }}\n")
            }
        };
        let _ = write!(
            code,
            "
/// {doc}
#[derive(Clone, PartialEq, Debug{derived})]
pub struct {name} {{ {declared} }}
{default}

impl {name} {{ {public}
    pub(crate) fn read({read_in}: &mut Decoder, {read_version}: i16) -> Result<Self, DecodeError> {{ {read} }}

    pub(crate) fn write(&self, {write_out}: &mut Encoder<'_>, {write_version}: i16) -> Result<(), EncodeError> {{ {write} Ok(()) }}
}}
"
        );
        for field in fields {
            if let Some(name) = field.struct_name() {
                self.write(code, name, &field.fields, self.uses[name].versions, false)?;
            }
        }
        Ok(())
    }

    fn read(&self, fields: &[&Field], valid: Versions) -> anyhow::Result<String> {
        let (mut code, mut tags) = (String::new(), String::new());
        for field in fields {
            let (name, default) = (snake(&field.name), rust::default(field)?);
            let Some((tag, versions)) = field.tag else {
                let value = self.read_value(field, field.versions.and(valid))?;
                let _ = match field.versions.condition(valid) {
                    Condition::If(condition) => {
                        write!(code, "let {name} = if {condition} {{ {value}? }} else {{ {default} }};")
                    }
                    _ => write!(code, "let {name} = {value}?;"),
                };
                continue;
            };
            ensure!(versions == field.versions, "{name} is tagged in some versions and plain in others");
            let guard = match versions.condition(valid.and(self.message.flexible)) {
                Condition::If(condition) => format!("if {condition}"),
                _ => String::new(),
            };
            let value = self.read_value(field, versions.and(valid))?;
            let _ = write!(code, "let mut {name} = {default};");
            let _ = write!(tags, "{tag} {guard} => {name} = {value}?,");
        }
        let tags = match tags.as_str() {
            "" => "input.skip_tags()?;".to_owned(),
            tags => format!(
                "input.tags(|tag, input| {{ match tag {{ {tags} _ => return Ok(false), }} Ok(true) }})?;"
            ),
        };
        code.push_str(&in_versions(&tags, self.message.flexible.condition(valid)));
        let names: Vec<String> = fields.iter().map(|field| snake(&field.name)).collect();
        let _ = write!(code, "Ok(Self {{ {} }})", names.join(", "));
        Ok(code)
    }

    /// The reader's call for a field that is present, in `versions`; it yields a `Result`.
    fn read_value(&self, field: &Field, versions: Versions) -> anyhow::Result<String> {
        let plain = self.read_plain(field, versions, "")?;
        if field.ty == "records" {
            return Ok("input.nullable_bytes()".to_owned());
        }
        Ok(match field.nullable.condition(versions) {
            Condition::Never if rust::is_option(field) => format!("{plain}.map(Some)"),
            Condition::Never => plain,
            Condition::Always => self.read_plain(field, versions, "nullable_")?,
            Condition::If(condition) => {
                let nullable = self.read_plain(field, versions, "nullable_")?;
                format!("if {condition} {{ {nullable} }} else {{ {plain}.map(Some) }}")
            }
        })
    }

    fn read_plain(&self, field: &Field, versions: Versions, nullable: &str) -> anyhow::Result<String> {
        Ok(if let Some(element) = field.element() {
            let len_min = rust::element_len_min(field, versions, self.message.flexible);
            let read = match field.struct_name() {
                Some(name) => format!("|input| {name}::read(input, version)"),
                None => format!("Decoder::{}", rust::method(element)?),
            };
            format!("input.{nullable}array({len_min}, {read})")
        } else if let Some(name) = field.struct_name() {
            match nullable {
                "" => format!("{name}::read(input, version)"),
                _ => format!("input.nullable_struct(|input| {name}::read(input, version))"),
            }
        } else {
            let short = if field.inflexible { "short_" } else { "" };
            format!("input.{nullable}{short}{}()", rust::method(&field.ty)?)
        })
    }

    fn write_fields(&self, fields: &[&Field], valid: Versions) -> anyhow::Result<String> {
        let mut code = String::new();
        let mut tagged: Vec<(u32, &Field)> = Vec::new();
        for field in fields {
            if let Some((tag, _)) = field.tag {
                tagged.push((tag, field));
                continue;
            }
            let value = self.write_value(field, field.versions.and(valid))?;
            match field.versions.condition(valid) {
                Condition::If(condition) => {
                    let absent = self.absent(field)?;
                    let _ = write!(code, "if {condition} {{ {value}; }} {absent}");
                }
                _ => {
                    let _ = write!(code, "{value};");
                }
            }
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        if tagged.is_empty() {
            code.push_str(&in_versions("out.no_tags();", self.message.flexible.condition(valid)));
            return Ok(code);
        }
        let mut tags = "let mut tags = out.tags();".to_owned();
        let mut absent = String::new();
        for (tag, field) in tagged {
            let differs = rust::differs(field)?;
            let value = self.write_value(field, field.versions.and(valid))?;
            let put = format!("out.tag(&mut tags, {tag}, |out| {{ {value}; Ok(()) }})?;");
            let _ = match field.versions.condition(valid.and(self.message.flexible)) {
                Condition::If(condition) if self.may_be_lost(field) => {
                    write!(tags, "if {condition} && {differs} {{ {put} }}")
                }
                Condition::If(condition) => {
                    write!(tags, "if {condition} {{ if {differs} {{ {put} }} }} {}", self.absent(field)?)
                }
                _ => write!(tags, "if {differs} {{ {put} }}"),
            };
            if !self.may_be_lost(field) {
                let name = snake(&field.name);
                let _ = write!(absent, "if {differs} {{ return Err(out.absent(\"{name}\")); }}");
            }
        }
        tags.push_str("out.put_tags(tags);");
        match self.message.flexible.condition(valid) {
            Condition::Always => code.push_str(&tags),
            Condition::Never => bail!("tagged fields without flexible versions"),
            Condition::If(condition) => {
                let _ = write!(code, "if {condition} {{ {tags} }}");
                if !absent.is_empty() {
                    let _ = write!(code, "else {{ {absent} }}");
                }
            }
        }
        Ok(code)
    }

    /// Whether a version without the field may leave it out: Kafka says so, or it is a detail of a response, which an
    /// older client did not ask for. A list is never a detail.
    fn may_be_lost(&self, field: &Field) -> bool {
        let detail = field.tag.is_some() || field.element().is_none();
        field.ignorable || self.message.kind == "response" && detail
    }

    /// What follows `if VERSION {…}` for a field that must not be lost silently.
    fn absent(&self, field: &Field) -> anyhow::Result<String> {
        if self.may_be_lost(field) {
            return Ok(String::new());
        }
        let (name, differs) = (snake(&field.name), rust::differs(field)?);
        Ok(format!("else if {differs} {{ return Err(out.absent(\"{name}\")); }}"))
    }

    /// The statement, without its semicolon, that writes a field that is present, in `versions`.
    fn write_value(&self, field: &Field, versions: Versions) -> anyhow::Result<String> {
        let name = snake(&field.name);
        let own = format!("self.{name}");
        if !rust::is_option(field) {
            return self.write_plain(field, &own, "");
        }
        let by_reference =
            field.element().is_some() || matches!(field.ty.as_str(), "string" | "bytes" | "records");
        let option = if by_reference { format!("{own}.as_deref()") } else { format!("{own}.as_ref()") };
        let nullable = self.write_plain(field, &option, "nullable_")?;
        // An older client that cannot read null gets nothing said instead; a request must not change its meaning so.
        let value = match by_reference && self.message.kind == "response" {
            true => format!("{option}.unwrap_or_default()"),
            false => format!("out.required(\"{name}\", {option})?"),
        };
        let required = self.write_plain(field, &value, "")?;
        let nullable_in = if field.ty == "records" { versions } else { field.nullable };
        Ok(match nullable_in.condition(versions) {
            Condition::Always => nullable,
            Condition::Never => required,
            Condition::If(condition) => format!("if {condition} {{ {nullable} }} else {{ {required} }}"),
        })
    }

    fn write_plain(&self, field: &Field, value: &str, nullable: &str) -> anyhow::Result<String> {
        let plain = value.starts_with("self.") && !value.contains('(') && nullable.is_empty();
        let borrowed = if plain { format!("&{value}") } else { value.to_owned() };
        Ok(if let Some(element) = field.element() {
            let write = match field.struct_name() {
                Some(_) => "|out, element| element.write(out, version)".to_owned(),
                None if element == "string" => "|out, element| out.string(element)".to_owned(),
                None => format!("|out, element| {{ out.{}(*element); Ok(()) }}", rust::method(element)?),
            };
            format!("out.{nullable}array({borrowed}, {write})?")
        } else if field.struct_name().is_some() {
            match nullable {
                "" => format!("{value}.write(out, version)?"),
                _ => format!("out.nullable_struct({value}, |out, value| value.write(out, version))?"),
            }
        } else {
            let short = if field.inflexible { "short_" } else { "" };
            let method = rust::method(&field.ty)?;
            match rust::write_fails(&field.ty) {
                true => format!("out.{nullable}{short}{method}({borrowed})?"),
                false => format!("out.{method}({value})"),
            }
        })
    }
}

fn in_versions(statement: &str, condition: Condition) -> String {
    match condition {
        Condition::Always => statement.to_owned(),
        Condition::Never => String::new(),
        Condition::If(condition) => format!("if {condition} {{ {statement} }}"),
    }
}

fn field_doc(field: &Field) -> String {
    let mut doc = format!("`{}`, versions {}", field.ty, field.versions);
    if !field.nullable.is_empty() {
        let _ = write!(doc, ", nullable {}", field.nullable);
    }
    if let Some((tag, _)) = field.tag {
        let _ = write!(doc, ", tag {tag}");
    }
    if let Some(default) = &field.default {
        let _ = write!(doc, ", default {default}");
    }
    doc.push('.');
    doc
}
