//! Whether bytes are a datum of an Avro schema: one walk over them, nothing is built.

use apache_avro::schema::{DecimalSchema, Name, Schema};
use std::collections::BTreeMap;

/// Values that one payload may hold: items of a type without bytes cost a walker time and their sender nothing.
const VALUES_MAX: u32 = 4_000_000;

/// How deep values may nest.
const DEPTH_MAX: u32 = 64;

/// A schema with its names.
#[derive(Debug)]
pub(in crate::schemas) struct Check {
    schema: Schema,
    named: BTreeMap<String, Schema>,
}

impl Check {
    pub(super) fn of(schema: Schema) -> Result<Self, String> {
        let mut named = BTreeMap::new();
        collect(&schema, None, &mut named);
        Ok(Self { schema, named })
    }

    pub(super) fn payload(&self, payload: &[u8]) -> Result<(), String> {
        let mut walk = Walk { named: &self.named, rest: payload, values: 0 };
        walk.value(&self.schema, None, 0)?;
        match walk.rest.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes follow the datum")),
        }
    }
}

/// Definitions by full name. References to them may come from anywhere.
fn collect(schema: &Schema, namespace: Option<&str>, named: &mut BTreeMap<String, Schema>) {
    let mut define = |name: &Name, schema: &Schema| {
        let full = full_name(name, namespace);
        named.insert(full.clone(), schema.clone());
        full
    };
    match schema {
        Schema::Record(record) => {
            let full = define(&record.name, schema);
            let namespace = full.rsplit_once('.').map(|(namespace, _)| namespace);
            record.fields.iter().for_each(|field| collect(&field.schema, namespace, named));
        }
        Schema::Enum(it) => _ = define(&it.name, schema),
        Schema::Fixed(it) => _ = define(&it.name, schema),
        Schema::Decimal(DecimalSchema { inner, .. }) => collect(inner, namespace, named),
        Schema::Array(it) => collect(&it.items, namespace, named),
        Schema::Map(it) => collect(&it.types, namespace, named),
        Schema::Union(it) => it.variants().iter().for_each(|variant| collect(variant, namespace, named)),
        _ => {}
    }
}

fn full_name(name: &Name, namespace: Option<&str>) -> String {
    name.fullname(namespace.map(str::to_owned))
}

struct Walk<'a> {
    named: &'a BTreeMap<String, Schema>,
    rest: &'a [u8],
    values: u32,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Schema, namespace: Option<&str>, depth: u32) -> Result<(), String> {
        self.values += 1;
        if self.values > VALUES_MAX || depth > DEPTH_MAX {
            return Err(format!("more than {VALUES_MAX} values, or nested deeper than {DEPTH_MAX}"));
        }
        match schema {
            Schema::Null => Ok(()),
            Schema::Boolean => match self.take(1)? {
                [0 | 1] => Ok(()),
                _ => Err("a boolean is neither 0 nor 1".to_owned()),
            },
            Schema::Int | Schema::Date | Schema::TimeMillis => {
                let number = self.long()?;
                i32::try_from(number).map(|_| ()).map_err(|_| format!("{number} is no int"))
            }
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => self.long().map(|_| ()),
            Schema::Float => self.take(4).map(|_| ()),
            Schema::Double => self.take(8).map(|_| ()),
            Schema::Bytes | Schema::BigDecimal => self.bytes().map(|_| ()),
            Schema::String | Schema::Uuid => self.string(),
            Schema::Duration => self.take(12).map(|_| ()),
            Schema::Fixed(fixed) => self.take(fixed.size).map(|_| ()),
            Schema::Decimal(decimal) => self.value(&decimal.inner, namespace, depth + 1),
            Schema::Enum(it) => self.index(it.symbols.len()).map(|_| ()),
            Schema::Union(it) => {
                let branch = self.index(it.variants().len())?;
                self.value(&it.variants()[branch], namespace, depth + 1)
            }
            Schema::Array(it) => self.blocks(|walk| walk.value(&it.items, namespace, depth + 1)),
            Schema::Map(it) => self.blocks(|walk| {
                walk.string()?;
                walk.value(&it.types, namespace, depth + 1)
            }),
            Schema::Record(record) => {
                let full = full_name(&record.name, namespace);
                let namespace = full.rsplit_once('.').map(|(namespace, _)| namespace);
                for field in &record.fields {
                    self.value(&field.schema, namespace, depth + 1)
                        .map_err(|error| super::shortened(format_args!("{}: {error}", field.name)))?;
                }
                Ok(())
            }
            Schema::Ref { name } => {
                let full = full_name(name, namespace);
                let target = self.named.get(&full).ok_or_else(|| format!("type {full} is not defined"))?;
                let namespace = full.rsplit_once('.').map(|(namespace, _)| namespace);
                self.value(target, namespace, depth + 1)
            }
        }
    }

    /// Blocks of items, each with its count, up to a count of 0; a negative count is followed by the block's bytes.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                let _bytes = self.long()?;
                count = count.checked_neg().ok_or("a block's count cannot be")?;
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        let bytes = self.bytes()?;
        str::from_utf8(bytes).map(|_| ()).map_err(|error| format!("a string is not UTF-8: {error}"))
    }

    fn bytes(&mut self) -> Result<&[u8], String> {
        let len = self.long()?;
        self.take(usize::try_from(len).map_err(|_| format!("a length of {len}"))?)
    }

    fn index(&mut self, count: usize) -> Result<usize, String> {
        let index = self.long()?;
        let index = usize::try_from(index).ok().filter(|&index| index < count);
        index.ok_or_else(|| format!("an index that is not below {count}"))
    }

    /// A zigzag varint.
    fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    fn take(&mut self, len: usize) -> Result<&[u8], String> {
        let (taken, rest) =
            self.rest.split_at_checked(len).ok_or_else(|| format!("{len} bytes are missing at the end"))?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::{to_avro_datum, types::Value};

    const TREE: &str = r#"{"type":"record","name":"Tree","namespace":"a.b","fields":[
        {"name":"id","type":"long"},
        {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["LEAF","NODE"]}},
        {"name":"label","type":["null","string"]},
        {"name":"weights","type":{"type":"map","values":"double"}},
        {"name":"children","type":{"type":"array","items":"Tree"}},
        {"name":"again","type":"Kind"}]}"#;

    fn tree(depth: i64) -> Value {
        let children = if depth == 0 { vec![] } else { vec![tree(depth - 1), tree(depth - 1)] };
        let label = if depth % 2 == 0 {
            Value::Union(0, Box::new(Value::Null))
        } else {
            Value::Union(1, Box::new(Value::String("näme".into())))
        };
        let kind = Value::Enum(1, "NODE".into());
        Value::Record(vec![
            ("id".into(), Value::Long(i64::MAX - depth)),
            ("kind".into(), kind.clone()),
            ("label".into(), label),
            ("weights".into(), Value::Map([("w".to_owned(), Value::Double(0.5))].into())),
            ("children".into(), Value::Array(children)),
            ("again".into(), kind),
        ])
    }

    #[test]
    fn what_the_library_writes_is_accepted_and_every_cut_is_not() {
        let schema = Schema::parse_str(TREE).unwrap();
        let check = Check::of(schema.clone()).unwrap();
        let datum = to_avro_datum(&schema, tree(3)).unwrap();
        assert_eq!(check.payload(&datum), Ok(()));
        for len in 0..datum.len() {
            assert!(check.payload(&datum[..len]).is_err(), "{len} of {}", datum.len());
        }
        assert!(check.payload(&[&datum[..], &[0]].concat()).is_err(), "one byte more");
    }

    #[test]
    fn bytes_that_would_cost_much_are_refused_at_once() {
        let check = |text: &str| Check::of(Schema::parse_str(text).unwrap()).unwrap();
        // 2^62 nulls in nine bytes.
        let nulls = check(r#"{"type":"array","items":"null"}"#);
        let many = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0];
        assert!(nulls.payload(&many).is_err());
        assert_eq!(nulls.payload(&[6, 0]), Ok(()), "three nulls");
        // A list that is nested deeper than a stack.
        let list = check(r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#);
        assert!(list.payload(&[2; 1_000_000]).is_err());
        assert_eq!(list.payload(&[2, 2, 0]), Ok(()));
        let text = check(r#""string""#);
        assert!(text.payload(&[0xff, 0xff, 0xff, 0xff, 0x0f, b'x']).is_err(), "a length beyond the end");
        assert!(text.payload(&[1]).is_err(), "a length below 0");
        assert!(check(r#""int""#).payload(&[0x80, 0x80, 0x80, 0x80, 0x20]).is_err(), "a long");
    }
}
