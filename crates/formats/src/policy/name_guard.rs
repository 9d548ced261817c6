//! Name guards: packages that only one source may provide.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::rule::BadRule;
use crate::language;
use base::model::ids::SourceId;
use base::model::kind::Language;

/// Maximum length of a pattern, in bytes.
const MAX_PATTERN: usize = 128;

/// A name, or a prefix of names. Python names are in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    Exact(String),
    Prefix(String),
}

impl NamePattern {
    /// Parses `acme` or `acme.*`.
    ///
    /// # Errors
    /// The text cannot match a name of the language, or matches all names.
    pub fn parse(text: &str, language: Language) -> Result<NamePattern, BadRule> {
        let excerpt: String = text.chars().take(80).collect();
        let text = text.trim();
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(BadRule(format!(
                "'{excerpt}' is neither a name nor a prefix: '*' is allowed only at the end, as in 'acme.*'"
            )));
        }
        if name.is_empty() {
            return Err(BadRule(format!(
                "'{excerpt}' would guard every name; write a prefix before '*', as in 'acme.*'"
            )));
        }
        let rules = language::of(language);
        if !rules.is_name(name, is_prefix) || text.len() > MAX_PATTERN {
            let nouns = rules.nouns();
            return Err(BadRule(format!(
                "'{excerpt}' is neither the name of {} nor a prefix and '*': a name has {}, and at most {MAX_PATTERN} \
                 characters",
                nouns.a_package, nouns.name_characters
            )));
        }
        let name = rules.fold(name).into_owned();
        Ok(if is_prefix { NamePattern::Prefix(name) } else { NamePattern::Exact(name) })
    }

    /// Returns whether the pattern matches a name. A Python name must be in normal form.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            NamePattern::Exact(exact) => exact == name,
            NamePattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }

    /// Returns whether a name can match both patterns.
    pub fn overlaps(&self, other: &NamePattern) -> bool {
        match (self, other) {
            (NamePattern::Exact(name), pattern) | (pattern, NamePattern::Exact(name)) => {
                pattern.matches(name)
            }
            (NamePattern::Prefix(a), NamePattern::Prefix(b)) => {
                a.starts_with(b.as_str()) || b.starts_with(a.as_str())
            }
        }
    }

    /// Returns the text before `*`, or the name.
    pub fn stem(&self) -> &str {
        match self {
            NamePattern::Exact(text) | NamePattern::Prefix(text) => text,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamePattern::Exact(name) => f.write_str(name),
            NamePattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Returns the form in which R names are compared for a warning: lower case, without `.`, `-` and `_`. Guards do not
/// hide names that only have the same form: `data.table` and `datatable` are different packages.
pub fn comparison_key(name: &str) -> String {
    name.chars().filter(|c| !".-_".contains(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameGuard {
    pub id: i64,
    pub language: Language,
    pub pattern: NamePattern,
    /// The source that may provide them. For an automatic guard, this is the first source with the name; other local
    /// and git sources may provide it too.
    pub source: SourceId,
    /// Whether it was created by the first upload of the name.
    pub is_automatic: bool,
    /// Whether another source has listed the name. Only then does an automatic guard hide anything.
    pub has_overlap: bool,
    pub description: String,
}

impl NameGuard {
    /// Returns whether the guard hides names of a source. `is_own`: the source's packages are uploaded or built here.
    pub fn hides(&self, source: SourceId, is_own: bool) -> bool {
        self.source != source && !(self.is_automatic && is_own)
    }

    /// Returns whether the guard hides nothing in repositories, because no other source has listed the name.
    fn is_idle(&self) -> bool {
        self.is_automatic && !self.has_overlap
    }

    /// Returns a label for clients, such as `name guard 7`, without the pattern and the source.
    pub fn label(&self) -> String {
        format!("name guard {}", self.id)
    }
}

/// A set of guards: all active ones, or those for a repository. Copies share the guards of names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameGuards {
    /// The guards of single names, by language and name, without the idle ones.
    exact: GuardsByName,
    /// The guards of prefixes, the longest prefix first.
    prefixes: Vec<Arc<NameGuard>>,
    /// The idle guards: there is one for almost every package of this server's own sources.
    idle: GuardsByName,
}

type GuardsByName = HashMap<Language, imbl::HashMap<String, Arc<NameGuard>>>;

impl NameGuards {
    /// Creates a set of guards. For the same name, a guard that an administrator created replaces an automatic one.
    pub fn new(guards: impl IntoIterator<Item = Arc<NameGuard>>) -> NameGuards {
        NameGuards::default().with(guards)
    }

    /// Returns these guards and more of them, with the order of [`NameGuards::new`].
    pub fn with(&self, guards: impl IntoIterator<Item = Arc<NameGuard>>) -> NameGuards {
        let mut set = self.clone();
        for guard in guards {
            match &guard.pattern {
                NamePattern::Exact(name) if guard.is_idle() => {
                    let names = set.idle.entry(guard.language).or_default();
                    names.entry(name.clone()).or_insert(guard);
                }
                NamePattern::Exact(name) => {
                    let names = set.exact.entry(guard.language).or_default();
                    if !guard.is_automatic || !names.contains_key(name) {
                        names.insert(name.clone(), guard);
                    }
                }
                NamePattern::Prefix(_) => set.prefixes.push(guard),
            }
        }
        let order = |guard: &Arc<NameGuard>| (std::cmp::Reverse(guard.pattern.stem().len()), guard.id);
        set.prefixes.sort_by_key(order);
        set
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.idle.is_empty()
    }

    /// Returns the guards that are not idle, in unspecified order.
    pub fn active(&self) -> impl Iterator<Item = &Arc<NameGuard>> {
        self.exact.values().flat_map(imbl::HashMap::values).chain(&self.prefixes)
    }

    /// Returns the guard of a name: a guard of the exact name that is not automatic, otherwise the guard of the longest
    /// prefix, otherwise an automatic guard.
    pub fn find(&self, language: Language, name: &str) -> Option<&Arc<NameGuard>> {
        let exact = self.exact.get(&language).and_then(|names| names.get(name));
        if exact.is_some_and(|guard| !guard.is_automatic) {
            return exact;
        }
        let is_match = |guard: &&Arc<NameGuard>| guard.language == language && guard.pattern.matches(name);
        self.prefixes.iter().find(is_match).or(exact).or_else(|| self.idle.get(&language)?.get(name))
    }

    /// Returns the guards that hide packages of any of these sources in a repository. `sources` states for each source
    /// whether its packages are uploaded or built here; `automatic`, whether automatic guards are included.
    pub fn select(&self, language: Language, sources: &[(SourceId, bool)], automatic: bool) -> NameGuards {
        let concerns = |guard: &&Arc<NameGuard>| {
            guard.language == language
                && (!guard.is_automatic || automatic)
                && sources.iter().any(|(source, is_own)| guard.hides(*source, *is_own))
        };
        NameGuards::new(self.active().filter(concerns).cloned())
    }

    pub fn without_automatic(&self) -> NameGuards {
        NameGuards::new(self.active().filter(|guard| !guard.is_automatic).cloned())
    }
}

#[cfg(test)]
mod tests;
