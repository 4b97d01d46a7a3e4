//! Values that stand somewhere else: `${env:NAME}`, `${file:PATH:KEY}` and `${dir:FOLDER:NAME}`, as Kafka's providers of the
//! same names have them (KIP-421). A secret need not be in the settings then.

use super::properties;
use crate::failure::Failure;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// Most bytes of a file whose whole text is a value.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where variables come from.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The text with what it refers to in it. Of a secret, the file may not be readable by everybody. Errors say where the
/// value was looked for, and nothing of it.
pub(super) fn resolved(text: &str, secret: bool, variables: Variables<'_>) -> Result<String, Failure> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = reference.find('}') else {
            rest = reference;
            break;
        };
        let (reference, after) = reference.split_at(end + 1);
        let inside = &reference[2..end];
        match value(inside, secret, variables)? {
            Some(value) => out.push_str(&value),
            None => out.push_str(reference),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of a reference; `None` for what is none.
fn value(inside: &str, secret: bool, variables: Variables<'_>) -> Result<Option<String>, Failure> {
    let Some((provider, what)) = inside.split_once(':') else { return Ok(None) };
    let missing = |what: String| Failure::Usage(format!("${{{inside}}}: {what}"));
    Ok(Some(match provider {
        "env" => variables(what).ok_or_else(|| missing(format!("the variable {what} is not set")))?,
        "file" => {
            let (path, key) =
                what.rsplit_once(':').ok_or_else(|| missing("write it as ${file:PATH:KEY}".to_owned()))?;
            check_mode(Path::new(path), secret)?;
            let found = properties::read(Path::new(path))?.into_iter().rfind(|(name, ..)| name == key);
            found.ok_or_else(|| missing(format!("{path} has no {key}")))?.1
        }
        "dir" => {
            let (folder, name) =
                what.rsplit_once(':').ok_or_else(|| missing("write it as ${dir:FOLDER:NAME}".to_owned()))?;
            if name.contains('/') {
                return Err(missing("the name of a file in the folder has no slash".to_owned()));
            }
            let path = Path::new(folder).join(name);
            check_mode(&path, secret)?;
            fs::read_to_string(&path)
                .map_err(|error| missing(format!("cannot read {}: {error}", path.display())))?
        }
        _ => return Ok(None),
    }))
}

fn check_mode(path: &Path, secret: bool) -> Result<(), Failure> {
    let metadata = fs::metadata(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    let refused = |reason: &str| Err(Failure::Usage(format!("{}: {reason}", path.display())));
    if metadata.len() > FILE_BYTES_MAX {
        return refused("the file is too long for a value");
    }
    if secret && metadata.permissions().mode() & 0o004 != 0 {
        return refused("everybody on this machine can read this secret; run chmod 600 on it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_variables_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.properties");
        fs::write(&path, "first=1\npassword=a:b}c\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let variables = |name: &str| (name == "HOME").then(|| "here".to_owned());
        let text = |text: &str| resolved(text, true, &variables);
        let file = path.display();
        let place = folder.path().display();
        for (reference, value) in [
            ("a${env:HOME}b${env:HOME}".to_owned(), "aherebhere"),
            (format!("user_a=\"${{file:{file}:password}}\";"), "user_a=\"a:b}c\";"),
            (format!("${{dir:{place}:secrets.properties}}"), "first=1\npassword=a:b}c\n"),
            ("$1@$2, ${vault:x} ${open".to_owned(), "$1@$2, ${vault:x} ${open"),
        ] {
            assert_eq!(text(&reference).unwrap(), value, "{reference}");
        }
        for (reference, words) in [
            ("${env:NONE}".to_owned(), "NONE is not set"),
            (format!("${{file:{file}:none}}"), "has no none"),
            ("${file:/no/such:x}".to_owned(), "/no/such"),
            (format!("${{dir:{place}:../x}}"), "no slash"),
        ] {
            let Err(Failure::Usage(line)) = text(&reference) else { panic!("{reference} was taken") };
            assert!(line.contains(words), "{line}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let reference = format!("${{file:{file}:password}}");
        let Err(Failure::Usage(line)) = text(&reference) else { panic!("a secret for everybody was taken") };
        assert!(line.contains("chmod 600") && !line.contains("a:b"), "{line}");
        assert!(resolved(&reference, false, &variables).is_ok(), "what is no secret may be read");
    }
}
