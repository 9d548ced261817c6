//! Matches paths against shell patterns as logrotate passes them to glob(3). Pure. The results of the crates differ
//! from those of logrotate: `glob` does not support the backslash, and `globset` matches a leading dot with `*`.

/// Returns whether the whole path matches. `*`, `?` and `[…]` match no slash and no dot at the start of a name; a
/// backslash escapes the next character.
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
    // After the last star: the positions in pattern and name at which to resume if the rest does not match.
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

/// Returns, for a pattern that starts with a bracket, the length of the set, and whether it contains the character.
/// `None` if the bracket is not closed.
fn match_set(pattern: &[char], c: char) -> Option<(usize, bool)> {
    let is_negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if is_negated { 2 } else { 1 };
    let (mut index, mut is_found) = (first, false);
    loop {
        // A closing bracket in the first position is a member of the set.
        if index > first && *pattern.get(index)? == ']' {
            return Some((index + 1, is_found != is_negated));
        }
        if let Some((name, size)) = class_name(&pattern[index..]) {
            is_found |= is_in_class(c, &name);
            index += size;
            continue;
        }
        let (start, after) = member(pattern, index)?;
        // A hyphen at the end of the set is a member.
        let is_range =
            pattern.get(after) == Some(&'-') && pattern.get(after + 1).is_some_and(|next| *next != ']');
        let (end, after) = if is_range { member(pattern, after + 1)? } else { (start, after) };
        is_found |= (start..=end).contains(&c);
        index = after;
    }
}

/// The member of a set at a position, and the position after it; a backslash escapes the next character.
fn member(pattern: &[char], index: usize) -> Option<(char, usize)> {
    match (pattern.get(index)?, pattern.get(index + 1)) {
        ('\\', Some(escaped)) => Some((*escaped, index + 2)),
        (c, _) => Some((*c, index + 1)),
    }
}

/// The name of a character class such as `[:digit:]` at the start, and its length.
fn class_name(pattern: &[char]) -> Option<(String, usize)> {
    let name = pattern.strip_prefix(&['[', ':'])?;
    let size = name.windows(2).position(|end| end == [':', ']'])?;
    let name: String = name[..size].iter().collect();
    name.chars().all(|c| c.is_ascii_lowercase()).then_some((name, size + 4))
}

/// Returns whether a character belongs to a class, in the locale `C`. No character belongs to an unknown class.
fn is_in_class(c: char, name: &str) -> bool {
    match name {
        "alnum" => c.is_ascii_alphanumeric(),
        "alpha" => c.is_ascii_alphabetic(),
        "blank" => matches!(c, ' ' | '\t'),
        "cntrl" => c.is_ascii_control(),
        "digit" => c.is_ascii_digit(),
        "graph" => c.is_ascii_graphic(),
        "lower" => c.is_ascii_lowercase(),
        "print" => c.is_ascii_graphic() || c == ' ',
        "punct" => c.is_ascii_punctuation(),
        "space" => c.is_ascii_whitespace() || c == '\x0b',
        "upper" => c.is_ascii_uppercase(),
        "xdigit" => c.is_ascii_hexdigit(),
        _ => false,
    }
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
            ("/var/log/a[[:digit:]].log", "/var/log/a1.log", true),
            ("/var/log/a[[:digit:]].log", "/var/log/ab.log", false),
            ("/var/log/a[![:digit:]].log", "/var/log/a1.log", false),
            ("/var/log/a[[:digit:]x-z]", "/var/log/ay", true),
            ("/var/log/a[[:nonsense:]]", "/var/log/an", false),
            ("/var/log/a[\\]]", "/var/log/a]", true),
            ("/var/log/a[\\]b]c", "/var/log/abc", true),
            ("/var/log/a[\\!x]", "/var/log/a\\", false),
            ("/var/log/a[x-]", "/var/log/a-", true),
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
