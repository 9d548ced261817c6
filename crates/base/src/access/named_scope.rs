//! Scopes as the configuration and identity providers write them, with names of objects: `repos:read:cran,team`. Pure.

use std::fmt;

use super::scope::ScopeKind;
use crate::model::words::UnknownWord;

/// Maximum number of scopes and names that are read from one text.
const MAX_PARTS: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedScope {
    pub kind: ScopeKind,
    pub objects: Names,
}

impl fmt::Display for NamedScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.objects, self.kind) {
            (_, kind) if !kind.has_objects() => write!(f, "{kind}"),
            (Names::All, kind) => write!(f, "{kind}:*"),
            (Names::Only(names), kind) => write!(f, "{kind}:{}", names.join(",")),
        }
    }
}

/// The objects of a scope, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// All objects, including those created later; also the value for a scope that refers to no objects.
    All,
    /// Only the objects with these names.
    Only(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNamedScope {
    #[error(transparent)]
    Word(#[from] UnknownWord),
    #[error("the scope {0} needs its objects: {0}:name, several names separated by commas, or {0}:* for all")]
    NoObjects(ScopeKind),
    #[error("the scope {0} has no repositories or sources; write {0}")]
    SurplusObjects(ScopeKind),
}

/// Reads the scopes of a text, separated by spaces or commas. A word without a colon is one more object of the scope
/// before it: `repos:read:a,b` names the two repositories `a` and `b`.
pub fn named_scopes(text: &str) -> Vec<Result<NamedScope, BadNamedScope>> {
    let mut parts: Vec<String> = Vec::new();
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    for word in words.take(MAX_PARTS) {
        match parts.last_mut().filter(|_| !word.contains(':')) {
            Some(scope) => {
                scope.push(',');
                scope.push_str(word);
            }
            None => parts.push(word.to_owned()),
        }
    }
    parts.iter().map(|part| named_scope(part)).collect()
}

/// Reads one scope: the word up to its second colon, then the names.
fn named_scope(text: &str) -> Result<NamedScope, BadNamedScope> {
    let end = text.match_indices(':').nth(1).map(|(position, _)| position);
    let (word, names) = match end {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    };
    let kind: ScopeKind = word.parse()?;
    let names: Vec<&str> = names.unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
    match (kind.has_objects(), end) {
        (false, None) => return Ok(NamedScope { kind, objects: Names::All }),
        (false, Some(_)) => return Err(BadNamedScope::SurplusObjects(kind)),
        (true, _) => {}
    }
    if names.is_empty() {
        return Err(BadNamedScope::NoObjects(kind));
    }
    let objects = if names.contains(&"*") {
        Names::All
    } else {
        Names::Only(names.into_iter().map(str::to_owned).collect())
    };
    Ok(NamedScope { kind, objects })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(kind: ScopeKind, names: &[&str]) -> Result<NamedScope, BadNamedScope> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(NamedScope { kind, objects: Names::Only(names) })
    }

    #[test]
    fn scopes_are_separated_by_spaces_or_commas_and_names_by_commas() {
        let (read, write) = (ScopeKind::ReposRead, ScopeKind::SourcesWrite);
        let all = |kind| Ok(NamedScope { kind, objects: Names::All });
        assert_eq!(named_scopes("repos:read:*"), [all(read)]);
        assert_eq!(
            named_scopes("repos:read:a,b, sources:write:c\tglobal:admin"),
            [only(read, &["a", "b"]), only(write, &["c"]), all(ScopeKind::GlobalAdmin)]
        );
        assert_eq!(named_scopes("repos:read:a,*,b"), [all(read)]);
        assert_eq!(named_scopes("sources:write:a:b"), [only(write, &["a:b"])]);
        assert_eq!(
            named_scopes("blocklist:read metadata:admin"),
            [all(ScopeKind::BlocklistRead), all(ScopeKind::MetadataAdmin)]
        );
        assert_eq!(named_scopes(" , "), []);
    }

    #[test]
    fn a_text_without_objects_or_with_an_unknown_word_is_refused() {
        assert_eq!(named_scopes("repos:read"), [Err(BadNamedScope::NoObjects(ScopeKind::ReposRead))]);
        assert_eq!(named_scopes("repos:read:"), [Err(BadNamedScope::NoObjects(ScopeKind::ReposRead))]);
        assert_eq!(
            named_scopes("global:admin:*"),
            [Err(BadNamedScope::SurplusObjects(ScopeKind::GlobalAdmin))]
        );
        for bad in ["x", "repos", "REPOS:READ:*", "repos:write:*", "metadata:read"] {
            assert!(matches!(named_scopes(bad).as_slice(), [Err(BadNamedScope::Word(_))]), "{bad}");
        }
        assert!(named_scopes(&"repos:read:a ".repeat(100_000)).len() <= MAX_PARTS);
    }
}
