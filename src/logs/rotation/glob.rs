//! Matches paths against shell patterns as logrotate passes them to glob(3). Pure. The crate `glob` lacks the
//! backslash, and `globset` the special leading dot; either would decide differently from logrotate.

/// Whether the whole path matches. `*`, `?` and `[…]` match no slash and no dot at the start of a name; a backslash
/// escapes the next character.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if match_component(pattern, name) => {}
            _ => return false,
        }
    }
}

/// Splits a pattern into the directory before the first component with a special character, and the rest.
#[must_use]
pub fn split_fixed(pattern: &str) -> (&str, &str) {
    let special = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
    let slash = pattern[..special].rfind('/').map_or(0, |at| at + 1);
    pattern.split_at(slash)
}

fn match_component(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    if name.first() == Some(&'.') && !matches!(pattern.first(), Some('.' | '\\')) {
        return false;
    }
    // Where to resume after the last star if the rest does not match.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        let next = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => match match_set(&pattern[p..], name[n]) {
                Some((size, true)) => Some(p + size),
                Some((_, false)) => None,
                None => (name[n] == '[').then_some(p + 1),
            },
            Some('\\') if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some(p + 2),
            Some(c) => (*c == name[n]).then_some(p + 1),
            None => None,
        };
        match (next, star) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// For a pattern that starts with a bracket: the length of the set, and whether it contains the character. `None` if
/// the bracket is not closed.
fn match_set(pattern: &[char], c: char) -> Option<(usize, bool)> {
    let is_negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if is_negated { 2 } else { 1 };
    // A closing bracket in the first position is a member of the set.
    let end = (first + 1..pattern.len()).find(|&at| pattern[at] == ']')?;
    let members = &pattern[first..end];
    let (mut at, mut is_member) = (0, false);
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            is_member |= (members[at]..=members[at + 2]).contains(&c);
            at += 3;
        } else {
            is_member |= members[at] == c;
            at += 1;
        }
    }
    Some((end + 1, is_member != is_negated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_like_those_of_the_shell() {
        for (pattern, path, expected) in [
            ("/var/log/a.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/b/a.log", false),
            ("/var/log/*", "/var/log/.a", false),
            ("/var/log/.*", "/var/log/.a", true),
            ("/var/*/*/a.?og", "/var/log/x/a.log", true),
            ("/var/log/*a*b*", "/var/log/xxaxxabxx", true),
            ("/var/log/*a*b", "/var/log/ababa", false),
            ("/var/log/[a-c]x", "/var/log/bx", true),
            ("/var/log/[!a-c]x", "/var/log/bx", false),
            ("/var/log/[^a]x", "/var/log/bx", true),
            ("/var/log/[]x]", "/var/log/]", true),
            ("/var/log/[x", "/var/log/[x", true),
            ("/var/log/a\\*", "/var/log/a*", true),
            ("/var/log/a\\*", "/var/log/ab", false),
            ("/var/log", "/var/log/a", false),
            ("/var/log/a", "/var/log", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert_eq!(split_fixed("/var/log/*/a"), ("/var/log/", "*/a"));
        assert_eq!(split_fixed("/var/log/a.log"), ("/var/log/", "a.log"));
        assert_eq!(split_fixed("*"), ("", "*"));
    }

    proptest! {
        #[test]
        fn anything_is_compared_without_a_panic_and_a_literal_matches_itself(
            pattern in "[a*?\\[\\]!^\\\\./-]{0,12}", path in "[ab./\\[]{0,12}", literal in "[a-z/-]{0,12}",
        ) {
            let _ = (matches(&pattern, &path), split_fixed(&pattern));
            prop_assert!(matches(&literal, &literal));
        }
    }
}
