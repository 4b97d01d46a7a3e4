//! Passwords for commands: from a file or stdin, never an argument, which everybody on the machine can see.

use crate::failure::{Failure, note};
use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

/// Longest password or token, bytes. One that is longer is refused: cut, it would be another.
const BYTES_MAX: usize = 16 * 1024;

/// The password in a file; a line break at its end does not count.
pub(crate) fn of_file(path: &Path) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| {
        Failure::Usage(format!("cannot read the password in {}: {error}", path.display()))
    })?;
    of(file)
}

/// The password on stdin; people are asked for that of `whom`.
pub(crate) fn of_stdin(whom: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return of(io::stdin().lock());
    }
    note(&format!("the password of {whom}, and Enter (it can be seen):"));
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(unreadable)?;
    of(line.as_bytes())
}

fn of(source: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    // A line break of two bytes, and one byte by which too much shows.
    source.take(BYTES_MAX as u64 + 3).read_to_string(&mut text).map_err(unreadable)?;
    let password = text.trim_end_matches(['\r', '\n']);
    match password.len() {
        ..=BYTES_MAX => Ok(password.to_owned()),
        _ => {
            Err(Failure::Usage(format!("the password has more than {BYTES_MAX} bytes; choose a shorter one")))
        }
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Usage(format!("cannot read the password: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_whole_or_not_at_all() {
        assert_eq!(of("secret\r\n".as_bytes()).unwrap(), "secret");
        let longest = "a".repeat(BYTES_MAX);
        assert_eq!(of(format!("{longest}\n").as_bytes()).unwrap(), longest);
        assert_eq!(of(format!("{longest}\r\n").as_bytes()).unwrap(), longest);
        assert!(matches!(of(format!("{longest}a").as_bytes()), Err(Failure::Usage(_))));
        assert!(matches!(of("a".repeat(100_000).as_bytes()), Err(Failure::Usage(_))));
        assert!(matches!(of(&[0xff][..]), Err(Failure::Usage(_))), "no text");
    }
}
