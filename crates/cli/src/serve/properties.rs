//! A file in the format of Java properties, as Kafka's `server.properties` is.

use crate::failure::Failure;
use java_properties::{LineContent, PropertiesIter};
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

/// Most bytes of a file; what is larger is no file of settings.
const BYTES_MAX: u64 = 1024 * 1024;

/// Names and values with their lines, in the file's order.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String, usize)>, Failure> {
    let unreadable =
        |cause: &dyn std::fmt::Display| Failure::Usage(format!("cannot read {}: {cause}", path.display()));
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let len = file.metadata().map_err(|error| unreadable(&error))?.len();
    if len > BYTES_MAX {
        return Err(unreadable(&format_args!("it has {len} bytes; {BYTES_MAX} are the limit")));
    }
    let mut all = Vec::new();
    for line in PropertiesIter::new(BufReader::new(file.take(BYTES_MAX))) {
        let line = line.map_err(|error| match error.line_number() {
            Some(number) => Failure::Usage(format!("{} line {number}: {error}", path.display())),
            None => unreadable(&error),
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(name, value) = line.consume_content() {
            // A line with nothing on it counts as an empty name.
            if !name.is_empty() {
                all.push((name, value, number));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_is_java_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.properties");
        let text = "# a comment\n! another\n\na=1\nb : 2\nc 3\nlong.list=x,\\\n    y,\\\n    z\nescaped\\ name=\\u0041\\tb\n  indented = v  \nempty=\n";
        std::fs::write(&path, text).unwrap();
        let read = read(&path).unwrap();
        let read: Vec<_> =
            read.iter().map(|(name, value, line)| (name.as_str(), value.as_str(), *line)).collect();
        let expected = [
            ("a", "1", 4),
            ("b", "2", 5),
            ("c", "3", 6),
            ("long.list", "x,y,z", 7),
            ("escaped name", "A\tb", 10),
            ("indented", "v  ", 11),
            ("empty", "", 12),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.properties");
        let Err(Failure::Usage(line)) = read(&missing) else { panic!("it was read") };
        assert!(line.contains("none.properties"), "{line}");
        let bad = folder.path().join("bad.properties");
        std::fs::write(&bad, "a=1\nb=\\u00zz\n").unwrap();
        let Err(Failure::Usage(line)) = read(&bad) else { panic!("it was read") };
        assert!(line.contains("line 2"), "{line}");
    }
}
