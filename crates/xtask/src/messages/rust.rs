//! Kafka's names and types as Rust spells them.

use super::{facts::Field, versions::Versions};
use anyhow::{Context, bail};

/// `TopicId` to `topic_id`; keywords get their raw form.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    match snake.as_str() {
        "type" | "match" | "ref" | "use" => format!("r#{snake}"),
        _ => snake,
    }
}

/// Whether the field is an `Option`.
pub(super) fn is_option(field: &Field) -> bool {
    !field.nullable.is_empty() || field.ty == "records"
}

/// The field's type in its struct.
pub(super) fn field_type(field: &Field) -> anyhow::Result<String> {
    let plain = match field.element() {
        Some(element) => format!("Vec<{}>", value_type(element)?),
        None => value_type(&field.ty)?,
    };
    Ok(if is_option(field) { format!("Option<{plain}>") } else { plain })
}

fn value_type(ty: &str) -> anyhow::Result<String> {
    Ok(match ty {
        "bool" => "bool".to_owned(),
        "float64" => "f64".to_owned(),
        "string" => "String".to_owned(),
        "bytes" | "records" => "Bytes".to_owned(),
        "uuid" => "TopicId".to_owned(),
        _ if is_number(ty) => ty.replace("uint", "u").replace("int", "i"),
        _ if ty.starts_with(|c: char| c.is_ascii_uppercase()) => ty.to_owned(),
        _ => bail!("no Rust type for {ty}"),
    })
}

/// The name that reader and writer have for a type that is neither struct nor array.
pub(super) fn method(ty: &str) -> anyhow::Result<String> {
    Ok(match ty {
        "string" | "bytes" | "uuid" => ty.to_owned(),
        "records" => "bytes".to_owned(),
        _ => value_type(ty)?,
    })
}

/// Whether writing a value of this type can fail.
pub(super) fn write_fails(ty: &str) -> bool {
    matches!(ty, "string" | "bytes" | "records")
}

fn is_number(ty: &str) -> bool {
    matches!(ty, "int8" | "int16" | "int32" | "int64" | "uint16" | "uint32")
}

/// The field's value in a message that says nothing about it.
pub(super) fn default(field: &Field) -> anyhow::Result<String> {
    let given = field.default.as_deref();
    if given == Some("null") || field.ty == "records" && given.is_none() {
        return Ok("None".to_owned());
    }
    let plain = if field.element().is_some() {
        "Vec::new()".to_owned()
    } else if let Some(name) = field.struct_name() {
        format!("{name}::default()")
    } else {
        scalar_default(&field.ty, given).with_context(|| format!("default of {}", field.name))?
    };
    Ok(if is_option(field) { format!("Some({plain})") } else { plain })
}

/// Whether a default that [`default`] gave is what the type alone would have.
pub(super) fn is_type_default(default: &str) -> bool {
    matches!(
        default,
        "0" | "0.0" | "false" | "None" | "String::new()" | "Vec::new()" | "Bytes::new()" | "TopicId::ZERO"
    )
}

fn scalar_default(ty: &str, given: Option<&str>) -> anyhow::Result<String> {
    Ok(match (ty, given) {
        ("bool", given) => given.unwrap_or("false").parse::<bool>()?.to_string(),
        ("string", None) => "String::new()".to_owned(),
        ("string", Some(text)) => format!("{text:?}.to_owned()"),
        ("bytes", None) => "Bytes::new()".to_owned(),
        ("uuid", None) => "TopicId::ZERO".to_owned(),
        ("float64", None) => "0.0".to_owned(),
        (_, None) if is_number(ty) => "0".to_owned(),
        (_, Some(number)) if is_number(ty) => match number.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16)?.to_string(),
            None => number.parse::<i64>()?.to_string(),
        },
        _ => bail!("{ty} with default {given:?}"),
    })
}

/// The Rust condition for the field to differ from its default.
pub(super) fn differs(field: &Field) -> anyhow::Result<String> {
    let (name, default) = (format!("self.{}", snake(&field.name)), default(field)?);
    let plain_is_empty = field.element().is_some() || matches!(field.ty.as_str(), "string" | "bytes");
    Ok(match default.as_str() {
        "None" => format!("{name}.is_some()"),
        "true" => format!("!{name}"),
        "false" => name,
        _ if default.starts_with("Some(") && plain_is_empty => {
            format!("{name}.as_ref().is_none_or(|value| !value.is_empty())")
        }
        _ if plain_is_empty && field.default.is_none() => format!("!{name}.is_empty()"),
        _ => format!("{name} != {default}"),
    })
}

/// Fewest bytes that the field takes on the wire, over `versions`.
pub(super) fn len_min(field: &Field, versions: Versions, flexible: Versions) -> usize {
    (versions.min..=versions.max).map(|version| len_at(field, version, flexible)).min().unwrap_or(0)
}

/// Fewest bytes that an element of the field's array takes on the wire, over `versions`.
pub(super) fn element_len_min(field: &Field, versions: Versions, flexible: Versions) -> usize {
    let mut element = field.clone();
    element.ty = field.element().expect("an array").to_owned();
    element.nullable = Versions::NONE;
    element.tag = None;
    len_min(&element, versions, flexible)
}

fn len_at(field: &Field, version: i16, flexible: Versions) -> usize {
    let tagged = field.tag.is_some_and(|(_, versions)| versions.contains(version));
    if tagged || !field.versions.contains(version) {
        return 0;
    }
    let compact = flexible.contains(version);
    match field.ty.as_str() {
        "bool" | "int8" => 1,
        "int16" | "uint16" => 2,
        "int32" | "uint32" => 4,
        "int64" | "float64" => 8,
        "uuid" => 16,
        _ if field.struct_name().is_some() && field.nullable.contains(version) => 1,
        _ if field.element().is_none() && field.struct_name().is_some() => {
            field.fields.iter().map(|field| len_at(field, version, flexible)).sum::<usize>()
                + usize::from(compact)
        }
        _ if compact => 1,
        "string" => 2,
        _ => 4,
    }
}
