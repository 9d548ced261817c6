//! Entries of the log: a line `rspm-log/1 KIND`, and lines `KEY VALUE` in an order that is a part of the entry.

use std::fmt;

use super::{TlogError, fail, lines_of, quoted};

/// Maximum size of an entry in bytes. The format of bundles allows 65,535.
pub const MAX_SIZE: usize = 60_000;
const PREFIX: &str = "rspm-log/1 ";

/// The kinds and their keys: each is there once, with `?` at most once, with `*` any number of times.
const KINDS: &[(&str, &str)] = &[
    ("open", "database history previous?"),
    ("publish", "history? transaction time kind part? tree* list* audit? late?"),
    ("records", "transaction tree leaves*"),
    ("view", "repository id? snapshot document records root rules transaction? late?"),
    ("files", "file*"),
    ("page", "source project files root serial? valid status?"),
    ("rules", "rules"),
    ("clock", "transaction old new"),
    ("rewind", "history from to"),
    ("restore", "old-history history from to"),
    ("key", "vkey state size?"),
];

/// Keys that an entry of any kind may have several times.
const REPEATED: [&str; 4] = ["tree", "list", "file", "leaves"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: String,
    lines: Vec<(String, String)>,
}

impl Entry {
    /// Makes an entry of a known kind with its keys. Fails also if [`Entry::parse`] would refuse it.
    pub fn new(kind: &str, lines: Vec<(&str, String)>) -> Result<Entry, TlogError> {
        let lines = lines.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let entry = Entry { kind: kind.to_owned(), lines };
        entry.check_keys()?;
        // A value with a line feed would be two lines.
        match Entry::parse(entry.to_string().as_bytes())? {
            parsed if parsed == entry => Ok(entry),
            _ => fail(format!("an entry of kind {kind} has a value with a line feed")),
        }
    }

    /// Parses an entry of any kind: at most 60,000 bytes of UTF-8 without control characters and empty lines, and no
    /// key twice except `tree`, `list`, `file` and `leaves`. The leaf of the log is this text with the line feed at its end.
    pub fn parse(bytes: &[u8]) -> Result<Entry, TlogError> {
        let text = lines_of(bytes, MAX_SIZE)?;
        let (first, rest) = text.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        let Some(kind) = first.strip_prefix(PREFIX).filter(|kind| is_word(kind)) else {
            return fail(format!("line 1: {} is not '{PREFIX}KIND'", quoted(first)));
        };
        let mut entry = Entry { kind: kind.to_owned(), lines: Vec::new() };
        for (line, number) in rest.iter().zip(2..) {
            let pair = line.split_once(' ').filter(|(key, value)| is_word(key) && !value.is_empty());
            let Some((key, value)) = pair else {
                return fail(format!("line {number}: {} is not 'KEY VALUE'", quoted(line)));
            };
            if !REPEATED.contains(&key) && entry.value(key).is_some() {
                return fail(format!("line {number}: key {} a second time", quoted(key)));
            }
            entry.lines.push((key.to_owned(), value.to_owned()));
        }
        Ok(entry)
    }

    /// Fails for an unknown kind, an unknown key, and a missing key. These are not errors of [`Entry::parse`], so that
    /// entries of later versions can be read.
    pub fn check_keys(&self) -> Result<(), TlogError> {
        if let Some(problem) = self.unknown() {
            return fail(problem);
        }
        for key in keys_of(&self.kind).unwrap_or_default().split(' ') {
            let name = key.trim_end_matches(['?', '*']);
            let found = self.values(name).count();
            if !key.ends_with('*') && found != 1 && !(key.ends_with('?') && found == 0) {
                return fail(format!("an entry of kind {} has {found} lines with key '{name}'", self.kind));
            }
        }
        Ok(())
    }

    /// Returns what this version does not know: the kind, or a key of it.
    pub fn unknown(&self) -> Option<String> {
        let Some(keys) = keys_of(&self.kind) else {
            return Some(format!("unknown kind {}", quoted(&self.kind)));
        };
        let is_unknown = |key: &str| !keys.split(' ').any(|name| name.trim_end_matches(['?', '*']) == key);
        let (key, _) = self.lines().find(|(key, _)| is_unknown(key))?;
        Some(format!("an entry of kind {} has no key {}", self.kind, quoted(key)))
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns keys and values in order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns the values of a key, in order.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a key; the only one, except of those that may be repeated.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key).next()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{PREFIX}{}", self.kind)?;
        self.lines.iter().try_for_each(|(key, value)| writeln!(f, "{key} {value}"))
    }
}

/// Returns the keys of a kind, separated by spaces; `None` for an unknown one.
fn keys_of(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys)
}

/// Returns whether a text is a kind or a key: lower-case letters, digits and `-`.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VIEW: &str = "rspm-log/1 view\nrepository prod\nsnapshot 2026-11-26\ndocument src/contrib/PACKAGES\n\
                        records 60\nroot 00\nrules none\n";

    #[test]
    fn an_entry_is_written_as_it_was_read() {
        let entry = Entry::parse(VIEW.as_bytes()).unwrap();
        assert_eq!((entry.to_string().as_str(), entry.kind(), entry.check_keys()), (VIEW, "view", Ok(())));
        assert_eq!(
            (entry.value("records"), entry.value("record"), entry.lines().count()),
            (Some("60"), None, 6)
        );
        let files = Entry::parse(b"rspm-log/1 files\nfile a 1\nfile b  2 \n").unwrap();
        assert_eq!(files.values("file").collect::<Vec<_>>(), ["a 1", "b  2 "]);
        assert_eq!(files.check_keys(), Ok(()));
        let lines = entry.lines().map(|(key, value)| (key, value.to_owned())).collect();
        assert_eq!(Entry::new("view", lines), Ok(entry));
    }

    #[test]
    fn entries_are_read_strictly() {
        for (bad, expected) in [
            ("", "no line feed at the end"),
            ("\n", "line 1: '' is not 'rspm-log/1 KIND'"),
            ("rspm-log/1 view", "no line feed at the end"),
            ("rspm-log/2 view\n", "line 1: 'rspm-log/2 view'"),
            ("rspm-log/1 \n", "line 1"),
            ("rspm-log/1 View\n", "line 1"),
            ("rspm-log/1 view x\n", "line 1"),
            ("rspm-log/1 view\n\n", "line 2: '' is not 'KEY VALUE'"),
            ("rspm-log/1 view\nroot\n", "line 2: 'root' is not 'KEY VALUE'"),
            ("rspm-log/1 view\nroot \n", "line 2"),
            ("rspm-log/1 view\n root 1\n", "line 2"),
            ("rspm-log/1 view\nROOT 1\n", "line 2: 'ROOT 1'"),
            ("rspm-log/1 view\nroot 1\ndocument x\nroot 1\n", "line 4: key 'root' a second time"),
            ("rspm-log/1 view\nroot 1\t2\n", "line 2: control character"),
            ("rspm-log/1 view\r\nroot 1\r\n", "line 1: control character"),
            ("rspm-log/1 view\nroot \u{9b}2J\n", "line 2: control character"),
            ("rspm-log/1 view\nroot a\0b\n", "line 2: control character"),
        ] {
            let error = Entry::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{bad:?}: {error}");
        }
        assert!(Entry::parse(b"rspm-log/1 view\nroot \xff\n").unwrap_err().to_string().contains("UTF-8"));
        let of_size = |size: usize| format!("rspm-log/1 x\nk {}\n", "v".repeat(size - 16));
        assert!(Entry::parse(of_size(MAX_SIZE).as_bytes()).is_ok());
        assert!(Entry::parse(of_size(MAX_SIZE + 1).as_bytes()).is_err());
    }

    #[test]
    fn kinds_have_keys() {
        for (text, expected) in [
            ("rspm-log/1 later\nkey value\n", "unknown kind 'later'"),
            ("rspm-log/1 key\nvkey x\n", "kind key has 0 lines with key 'state'"),
            ("rspm-log/1 rules\nrules x\nrule y\n", "kind rules has no key 'rule'"),
        ] {
            let error = Entry::parse(text.as_bytes()).unwrap().check_keys().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let new = |value: &str| Entry::new("rules", vec![("rules", value.to_owned())]);
        assert!(new("none").is_ok());
        assert!(new("").is_err() && new("a\nb").is_err() && new("a\nb c").is_err() && new("a\tb").is_err());
        assert!(Entry::new("rule", Vec::new()).is_err());
        for (kind, keys) in KINDS {
            assert!(is_word(kind) && keys.split(' ').all(|key| is_word(key.trim_end_matches(['?', '*']))));
            for key in keys.split(' ').filter_map(|key| key.strip_suffix('*')) {
                assert!(REPEATED.contains(&key), "{key}");
            }
        }
    }

    proptest! {
        #[test]
        fn text_that_is_read_is_written(
            text in "rspm-log/1 [a-z]{1,3}\n([a-z]{1,2} [ -~é]{0,4}\n){0,4}", bytes: Vec<u8>,
        ) {
            if let Ok(entry) = Entry::parse(text.as_bytes()) {
                prop_assert_eq!(entry.to_string(), text);
            }
            let _ = Entry::parse(&bytes);
        }
    }
}
