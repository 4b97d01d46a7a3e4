//! Danube's key patterns: `*` is any run of bytes, `?` exactly one byte, every other byte itself. The whole key must
//! match; case counts; nothing escapes.

/// Whether the whole of `key` matches `pattern`. Time is at most pattern length times key length.
#[must_use]
pub fn glob_matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut at, mut key_at) = (0, 0);
    // Where to go on if the bytes after the last `*` do not match: it then takes one byte more.
    let mut retry = None;
    while key_at < key.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, key_at));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == key[key_at] => {
                at += 1;
                key_at += 1;
            }
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    (at, key_at) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_patterns() {
        let matches = |pattern: &str, key: &str| glob_matches(pattern.as_bytes(), key.as_bytes());
        assert!(matches("payment", "payment"));
        assert!(!matches("payment", "payments"));
        assert!(matches("ship*", "shipping") && matches("ship*", "shipment") && matches("ship*", "ship"));
        assert!(!matches("ship*", "Shipping"));
        assert!(matches("eu-west-?", "eu-west-1"));
        assert!(!matches("eu-west-?", "eu-west-") && !matches("eu-west-?", "eu-west-12"));
        assert!(!matches("?", "é"), "one byte, not one character");
        assert!(matches("??", "é"));
        assert!(matches("*", "") && matches("*", "anything"));
        assert!(matches("", "") && !matches("", "x"));
        assert!(matches("*a*b", "xxaxxbxb") && !matches("*a*b", "xxaxxbx"));
        assert!(matches("a*?", "ab") && !matches("a*?", "a"));
        assert!(matches("[a]", "[a]") && !matches("[a]", "a"));
    }
}
