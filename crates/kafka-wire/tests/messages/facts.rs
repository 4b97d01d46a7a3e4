//! The field facts that the generator reads, read again without it.

use std::ops::RangeInclusive;

/// One request or response.
pub(crate) struct Message {
    pub(crate) api: i16,
    pub(crate) is_request: bool,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) flexible: RangeInclusive<i16>,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) ty: String,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) nullable: RangeInclusive<i16>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
    pub(crate) fields: Vec<Field>,
}

/// Every message that has facts.
pub(crate) fn all() -> Vec<Message> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/messages");
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the facts") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("text");
        let mut lines = text.lines();
        let Some(api) = lines.next().and_then(|line| line.strip_prefix("api ")) else { continue };
        let api = api.split(' ').next().expect("a key").parse().expect("a number");
        for line in lines {
            let depth = (line.len() - line.trim_start().len()) / 2;
            let words: Vec<&str> = line.trim_start().split(' ').collect();
            if depth == 0 {
                messages.push(Message {
                    api,
                    is_request: words[0] == "request",
                    versions: range(words[2]),
                    flexible: range(words[4]),
                    fields: Vec::new(),
                });
                continue;
            }
            let mut fields = &mut messages.last_mut().expect("a message first").fields;
            for _ in 1..depth {
                fields = &mut fields.last_mut().expect("a struct first").fields;
            }
            fields.push(field(&words));
        }
    }
    assert!(messages.len() >= 50, "25 APIs have two messages each");
    messages
}

fn field(words: &[&str]) -> Field {
    let after = |word: &str| words.iter().position(|w| *w == word).map(|at| words[at + 1]);
    Field {
        ty: words[1].to_owned(),
        versions: range(words[2]),
        nullable: range(after("nullable").unwrap_or("none")),
        tag: after("tag").map(|tag| tag.parse().expect("a tag")),
        default: after("default").map(str::to_owned),
        fields: Vec::new(),
    }
}

fn range(text: &str) -> RangeInclusive<i16> {
    let number = |text: &str| text.parse::<i16>().expect("a version");
    match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(min), _) => number(min)..=i16::MAX,
        (None, Some((min, max))) => number(min)..=number(max),
        (None, None) if text == "none" => RangeInclusive::new(1, 0),
        (None, None) => number(text)..=number(text),
    }
}
