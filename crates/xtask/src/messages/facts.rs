//! The facts of one API's messages, and the text form in which they are kept.
//!
//! ```text
//! api 3 Metadata
//! request MetadataRequest 0-13 flexible 9+
//!   Topics []MetadataRequestTopic 0+ nullable 1+
//!     TopicId uuid 10+ ignorable
//!     Name string 0+ nullable 10+
//!   AllowAutoTopicCreation bool 4+ default true
//! ```
//!
//! A field is `name type versions`, then any of `nullable V`, `tag N V`, `default X`, `ignorable`, and `inflexible`
//! for the one string that keeps its two-byte length in flexible versions. Fields of a struct are indented below it.

use super::versions::Versions;
use anyhow::{Context, bail, ensure};
use std::fmt::Write;

/// The messages of one file.
pub(crate) struct Api {
    /// `None` for the two headers.
    pub(crate) key: Option<i16>,
    pub(crate) name: String,
    pub(crate) messages: Vec<Message>,
}

/// A request, a response or a header.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) valid: Versions,
    pub(crate) flexible: Versions,
    pub(crate) fields: Vec<Field>,
}

/// One field, with the fields of its struct if it is one.
#[derive(Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<(u32, Versions)>,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    pub(crate) inflexible: bool,
    pub(crate) fields: Vec<Field>,
}

impl Field {
    /// The type of the elements, if the field is an array.
    pub(crate) fn element(&self) -> Option<&str> {
        self.ty.strip_prefix("[]")
    }

    /// Gives the struct that the field, or each of its elements, is another name.
    pub(crate) fn rename_struct(&mut self, name: &str) {
        let array = if self.element().is_some() { "[]" } else { "" };
        self.ty = format!("{array}{name}");
    }

    /// The name of the struct that the field, or each of its elements, is.
    pub(crate) fn struct_name(&self) -> Option<&str> {
        let ty = self.element().unwrap_or(&self.ty);
        ty.starts_with(|c: char| c.is_ascii_uppercase()).then_some(ty)
    }
}

impl Api {
    pub(crate) fn to_text(&self) -> String {
        let mut text = match self.key {
            Some(key) => format!("api {key} {}\n", self.name),
            None => "headers\n".to_owned(),
        };
        for Message { kind, name, valid, flexible, fields } in &self.messages {
            let _ = writeln!(text, "{kind} {name} {valid} flexible {flexible}");
            fields.iter().for_each(|field| field_to_text(&mut text, field, 1));
        }
        text
    }

    pub(crate) fn of_text(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let first: Vec<&str> = lines.next().context("an empty file")?.split(' ').collect();
        let (key, name) = match first[..] {
            ["api", key, name] => (Some(key.parse()?), name.to_owned()),
            ["headers"] => (None, "Headers".to_owned()),
            _ => bail!("the first line is neither 'api KEY NAME' nor 'headers'"),
        };
        let mut messages: Vec<Message> = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.trim_start().split(' ').collect();
            match (line.len() - line.trim_start().len()) / 2 {
                0 => messages.push(message_of_words(&words).with_context(|| line.to_owned())?),
                depth => {
                    let mut fields = &mut messages.last_mut().context("a field before any message")?.fields;
                    for _ in 1..depth {
                        fields = &mut fields.last_mut().with_context(|| format!("too deep: {line}"))?.fields;
                    }
                    fields.push(field_of_words(&words).with_context(|| line.to_owned())?);
                }
            }
        }
        Ok(Self { key, name, messages })
    }
}

fn field_to_text(text: &mut String, field: &Field, depth: usize) {
    let _ = write!(text, "{:1$}{2} {3} {4}", "", depth * 2, field.name, field.ty, field.versions);
    if !field.nullable.is_empty() {
        let _ = write!(text, " nullable {}", field.nullable);
    }
    if let Some((tag, versions)) = field.tag {
        let _ = write!(text, " tag {tag} {versions}");
    }
    if let Some(default) = &field.default {
        let _ = write!(text, " default {default}");
    }
    if field.ignorable {
        text.push_str(" ignorable");
    }
    if field.inflexible {
        text.push_str(" inflexible");
    }
    text.push('\n');
    field.fields.iter().for_each(|field| field_to_text(text, field, depth + 1));
}

fn message_of_words(words: &[&str]) -> anyhow::Result<Message> {
    let [kind @ ("request" | "response" | "header"), name, valid, "flexible", flexible] = *words else {
        bail!("a message is 'request|response|header NAME VERSIONS flexible VERSIONS'");
    };
    let (valid, flexible) = (valid.parse()?, flexible.parse()?);
    Ok(Message { kind: kind.to_owned(), name: name.to_owned(), valid, flexible, fields: Vec::new() })
}

fn field_of_words(words: &[&str]) -> anyhow::Result<Field> {
    ensure!(words.len() >= 3, "a field is 'NAME TYPE VERSIONS …'");
    let mut field = Field {
        name: words[0].to_owned(),
        ty: words[1].to_owned(),
        versions: words[2].parse()?,
        nullable: Versions::NONE,
        tag: None,
        default: None,
        ignorable: false,
        inflexible: false,
        fields: Vec::new(),
    };
    let mut words = words[3..].iter();
    while let Some(&word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} has no value"));
        match word {
            "nullable" => field.nullable = value()?.parse()?,
            "tag" => field.tag = Some((value()?.parse()?, value()?.parse()?)),
            "default" => field.default = Some((*value()?).to_owned()),
            "ignorable" => field.ignorable = true,
            "inflexible" => field.inflexible = true,
            _ => bail!("{word:?} is no property of a field"),
        }
    }
    Ok(field)
}
