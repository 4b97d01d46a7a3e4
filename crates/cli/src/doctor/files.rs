//! Who may read what only the broker should: its data, its keys, a file of settings that holds a password.

use super::finding::Finding;
use crate::serve::Node;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const CHECK: &str = "files";

/// Bits of a mode: others may read or enter, the group or others may write.
const OTHERS_READ: u32 = 0o005;
const NOT_OWNER_WRITES: u32 = 0o022;

pub(super) fn look(node: &Node) -> Vec<Finding> {
    let mut findings = vec![data(&node.data)];
    if let Some(path) = node.config_with_secrets() {
        findings.push(secret(path, "the file of settings, which holds a password"));
    }
    findings
}

fn data(folder: &Path) -> Finding {
    let name = folder.display();
    let Some(mode) = mode(folder) else {
        return Finding::ok(CHECK, format!("the data folder {name} is not there yet"));
    };
    if mode & NOT_OWNER_WRITES != 0 {
        return Finding::fail(
            CHECK,
            format!(
                "the data folder {name} has mode {mode:03o}: other users of this machine may change records"
            ),
            format!("chmod 700 {name}"),
        );
    }
    if mode & OTHERS_READ != 0 {
        return Finding::warn(
            CHECK,
            format!(
                "the data folder {name} has mode {mode:03o}: other users of this machine may read records"
            ),
            format!("chmod 700 {name}"),
        );
    }
    Finding::ok(CHECK, format!("the data folder {name} has mode {mode:03o}"))
}

/// A file that holds a secret.
pub(super) fn secret(path: &Path, what: &str) -> Finding {
    let name = path.display();
    match mode(path) {
        None => {
            Finding::fail(CHECK, format!("{what}, {name}, cannot be read"), "check its path and its owner")
        }
        Some(mode) if mode & (OTHERS_READ | NOT_OWNER_WRITES) != 0 => Finding::fail(
            CHECK,
            format!("{what}, {name}, has mode {mode:03o}: other users of this machine may read or change it"),
            format!("chmod 600 {name}"),
        ),
        Some(mode) => Finding::ok(CHECK, format!("{what}, {name}, has mode {mode:03o}")),
    }
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};
    use std::fs::Permissions;

    #[test]
    fn what_others_may_read_or_change_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        assert_eq!(data(&path).level, Level::Ok);
        fs::create_dir(&path).unwrap();
        for (mode, level) in [
            (0o700, Level::Ok),
            (0o750, Level::Ok),
            (0o755, Level::Warn),
            (0o770, Level::Fail),
            (0o777, Level::Fail),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(data(&path).level, level, "{mode:o}");
        }
    }

    #[test]
    fn a_secret_is_its_owner_s_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, level) in
            [(0o600, Level::Ok), (0o640, Level::Ok), (0o644, Level::Fail), (0o620, Level::Fail)]
        {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(secret(file.path(), "the key").level, level, "{mode:o}");
        }
        assert_eq!(secret(Path::new("/nowhere/key"), "the key").level, Level::Fail);
    }
}
