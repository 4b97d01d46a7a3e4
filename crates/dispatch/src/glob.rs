//! Danube's key patterns: `*` is any run of bytes, `?` exactly one byte, every other byte itself. The whole key must
//! match; case counts; nothing escapes.

/// Whether the whole of `key` matches `pattern`. Time is in proportion to the key and to a 64th of the pattern at worst.
#[must_use]
pub fn glob_matches(pattern: &[u8], key: &[u8]) -> bool {
    matches_counted(pattern, key, &mut 0)
}

/// What lies between stars is looked for from left to right, each as early as it can be: if the whole key matches, it
/// does so with the most left over for what follows.
fn matches_counted(pattern: &[u8], key: &[u8], steps: &mut u64) -> bool {
    let mut segments = pattern.split(|&byte| byte == b'*');
    let first = segments.next().unwrap_or_default();
    let Some(last) = segments.next_back() else {
        return key.len() == first.len() && fits(first, key, steps);
    };
    if key.len() < first.len() + last.len() {
        return false;
    }
    let (start, rest) = key.split_at(first.len());
    let (mut middle, end) = rest.split_at(rest.len() - last.len());
    let ends_fit = fits(first, start, steps) && fits(last, end, steps);
    ends_fit
        && segments.all(|segment| match find(segment, middle, steps) {
            Some(end) => {
                middle = &middle[end..];
                true
            }
            None => false,
        })
}

#[inline]
fn fits(segment: &[u8], text: &[u8], steps: &mut u64) -> bool {
    let fit = segment.iter().zip(text).take_while(|&(&byte, &other)| byte == b'?' || byte == other).count();
    *steps += fit as u64 + 1;
    fit == segment.len()
}

/// Comparisons of a segment with what begins at each byte, per byte, before the search counts as hostile.
const PATIENCE: u64 = 8;

/// The end of the first part of `text` that fits.
fn find(segment: &[u8], text: &[u8], steps: &mut u64) -> Option<usize> {
    if segment.is_empty() {
        return Some(0);
    }
    let before = *steps;
    for (start, part) in text.windows(segment.len()).enumerate() {
        if fits(segment, part, steps) {
            return Some(start + segment.len());
        }
        if *steps - before > PATIENCE * (start as u64 + segment.len() as u64) {
            let rest = &text[start + 1..];
            return find_in_parallel(segment, rest, steps).map(|end| start + 1 + end);
        }
    }
    None
}

/// The same, whatever the bytes are: bit `n` of the state says whether the last `n + 1` bytes fit the segment's first.
#[cold]
fn find_in_parallel(segment: &[u8], text: &[u8], steps: &mut u64) -> Option<usize> {
    let words = segment.len().div_ceil(64);
    let mut fitting = vec![0u64; 256 * words];
    for (at, &byte) in segment.iter().enumerate() {
        for other in (0..256).filter(|&other| byte == b'?' || usize::from(byte) == other) {
            fitting[other * words + at / 64] |= 1 << (at % 64);
        }
    }
    let mut state = vec![0u64; words];
    let whole = 1 << ((segment.len() - 1) % 64);
    for (at, &byte) in text.iter().enumerate() {
        let mut carry = 1;
        for (word, fitting) in state.iter_mut().zip(&fitting[usize::from(byte) * words..]) {
            let longer = (*word << 1 | carry) & fitting;
            carry = *word >> 63;
            *word = longer;
        }
        *steps += words as u64;
        if state[words - 1] & whole != 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rules as they are told, byte by byte.
    fn naive(pattern: &[u8], key: &[u8]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, _) => key.is_empty(),
            (Some((b'*', rest)), _) => (0..=key.len()).any(|taken| naive(rest, &key[taken..])),
            (Some((&byte, rest)), Some((&other, after))) => {
                (byte == b'?' || byte == other) && naive(rest, after)
            }
            (Some(_), None) => false,
        }
    }

    fn text(alphabet: &'static str, len_max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(alphabet.as_bytes()), 0..=len_max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn agrees_with_the_rules(pattern in text("aab*?", 8), key in text("aab", 14)) {
            prop_assert_eq!(glob_matches(&pattern, &key), naive(&pattern, &key));
        }

        #[test]
        fn both_searches_find_the_same(
            before in text("a?", 70), after in text("ab?", 70), key in text("aaaaaaab", 400),
        ) {
            let segment = [before, b"b".to_vec(), after].concat();
            let mut ends = (1..=key.len()).filter(|&end| end >= segment.len());
            let first = ends.find(|&end| fits(&segment, &key[end - segment.len()..end], &mut 0));
            prop_assert_eq!(find_in_parallel(&segment, &key, &mut 0), first);
            prop_assert_eq!(find(&segment, &key, &mut 0), first);
        }
    }

    /// Steps, not time: comparisons of bytes, or of 64 at once.
    #[test]
    fn a_hostile_pattern_costs_a_large_key_little() {
        let key = vec![b'a'; 1 << 20];
        let long = "a".repeat(1_000);
        let patterns = [
            format!("*{long}b*"),
            format!("*{}b*", "a?".repeat(500)),
            format!("{}b", "a*".repeat(500)),
            format!("*{}*b*", format!("{}*", "a".repeat(90)).repeat(11)),
            format!("*?{long}b*a"),
        ];
        for pattern in patterns {
            let mut steps = 0;
            assert!(!matches_counted(pattern.as_bytes(), &key, &mut steps));
            assert!(steps < key.len() as u64 * 40, "{steps} steps for {}…", &pattern[..20]);
        }
        let mut steps = 0;
        assert!(matches_counted(format!("*{long}?*").as_bytes(), &key, &mut steps) && steps < 10_000);
    }

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
