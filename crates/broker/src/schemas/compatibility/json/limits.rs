//! The keywords of JSON Schema that only ever make the set of values smaller.

use serde_json::Value;

/// How what one schema says under a keyword must relate to what the other says.
#[derive(Clone, Copy)]
enum Rule {
    /// A number; a reader's may not be greater than the writer's.
    Least,
    /// A number; a reader's may not be less than the writer's.
    Most,
    /// A reader must say what the writer says; whether other texts mean the same is not examined.
    Same,
    /// Schemas of which one holds: each of the writer's must be among the reader's.
    Alternatives,
    /// Schemas that all hold: each of the reader's must be among the writer's.
    Parts,
}

const RULES: [(&str, Rule); 18] = [
    ("minimum", Rule::Least),
    ("exclusiveMinimum", Rule::Least),
    ("minLength", Rule::Least),
    ("minItems", Rule::Least),
    ("minProperties", Rule::Least),
    ("maximum", Rule::Most),
    ("exclusiveMaximum", Rule::Most),
    ("maxLength", Rule::Most),
    ("maxItems", Rule::Most),
    ("maxProperties", Rule::Most),
    ("pattern", Rule::Same),
    ("multipleOf", Rule::Same),
    ("uniqueItems", Rule::Same),
    ("const", Rule::Same),
    ("not", Rule::Same),
    ("anyOf", Rule::Alternatives),
    ("oneOf", Rule::Alternatives),
    ("allOf", Rule::Parts),
];

/// The keywords by which a reader may refuse what was written.
pub(super) fn refusing<'a>(written: &'a Value, read: &'a Value) -> impl Iterator<Item = &'static str> + 'a {
    let refuses = |(keyword, rule): &(&str, Rule)| {
        read.get(keyword).is_some_and(|read| !rule.is_kept(written.get(keyword), read))
    };
    RULES.iter().filter(move |rule| refuses(rule)).map(|&(keyword, _)| keyword)
}

impl Rule {
    /// Whether `read` takes in all that `written` lets through; `None` lets everything through.
    fn is_kept(self, written: Option<&Value>, read: &Value) -> bool {
        let Some(written) = written else { return *read == Value::Bool(false) };
        let numbers = || Some((written.as_f64()?, read.as_f64()?));
        match self {
            Self::Least => numbers().is_some_and(|(written, read)| read <= written),
            Self::Most => numbers().is_some_and(|(written, read)| read >= written),
            Self::Same => written == read || *read == Value::Bool(false),
            Self::Alternatives => is_subset(written, read),
            Self::Parts => is_subset(read, written),
        }
    }
}

fn is_subset(some: &Value, all: &Value) -> bool {
    let (Some(some), Some(all)) = (some.as_array(), all.as_array()) else { return some == all };
    some.iter().all(|one| all.contains(one))
}
