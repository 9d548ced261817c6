//! Findings about names of local and git sources: guards, overlaps with mirrors, similar names, suspicious versions.

use std::collections::{BTreeSet, HashMap};

use crate::serve::RepoError;
use crate::serve::selection::name_guards;
use base::model::ids::SourceId;
use base::model::kind::Language;
use base::model::time::Timestamp;
use base::words;
use formats::language;
use formats::policy::{NamePattern, comparison_key};
use runtime::state::State;
use store::db::name_guard::{self, GuardState, NameGuardRow};
use store::db::{Conn, DbError, name_audit};

/// The highest first number of a version that is not suspicious.
const MAX_MAJOR: u64 = 50;
/// The largest difference of first numbers that is not suspicious.
const MAX_JUMP: u64 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// The language, as stored in the database.
    pub language: String,
    pub name: String,
    pub source: SourceId,
    pub guard: Option<i64>,
    /// The name in the other source, if it differs.
    pub other_name: Option<String>,
    pub other_source: Option<SourceId>,
    /// Time of the guard, or of the first listing in the other source.
    pub since: Option<Timestamp>,
    pub note: String,
}

words! {
    /// The kinds of finding, in the order of the list.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum FindingKind {
        /// A guard that an administrator created.
        Pattern = "pattern",
        /// A guard that an upload created.
        Automatic = "automatic",
        /// An uploaded name without a guard in force.
        Unguarded = "unguarded",
        /// A guarded or uploaded name that a mirror has.
        Overlap = "overlap",
        /// A name of a mirror that differs from an uploaded one in case, `.` and `_` only.
        Similar = "similar",
        /// A suspicious version of a name that a mirror has too.
        Version = "version",
    }
}

/// Returns the findings about all names, by kind, language and name.
pub async fn of_server(state: &State) -> Result<Vec<Finding>, RepoError> {
    let has_automatic = state.config.load().server.automatic_name_guard;
    let mut findings = state.db.read(move |c| find(c, has_automatic)).await?;
    findings.sort_by(|a, b| {
        (a.kind, &a.language, a.since, &a.name).cmp(&(b.kind, &b.language, b.since, &b.name))
    });
    Ok(findings)
}

fn find(c: &mut dyn Conn, has_automatic: bool) -> Result<Vec<Finding>, DbError> {
    let rows = name_guard::list(c)?;
    let recorded: HashMap<(String, String, SourceId), Timestamp> = name_guard::overlaps(c)?
        .into_iter()
        .map(|overlap| ((overlap.language, overlap.name, overlap.source), overlap.seen_at))
        .collect();
    let mut findings = Vec::new();
    for (row, present) in rows.iter().zip(name_guard::present(c, &rows)?) {
        findings.push(guard_finding(row, has_automatic));
        for (name, other) in present {
            let key = (row.language.clone(), name.clone(), other);
            let is_mirror = other.is_mirror();
            if row.automatic && !is_mirror {
                // Several local sources may have a name: the order of the subscriptions decides.
                continue;
            }
            let since = match recorded.get(&key) {
                Some(at) => Some(*at),
                None => name_audit::first_listed(c, &row.language, &name, other)?,
            };
            let hides = |guard: &NameGuardRow| {
                let is_own = guard.automatic && !is_mirror;
                guard.language == row.language && guard.source != other && !is_own && matches(guard, &name)
            };
            let is_hidden = rows.iter().any(|guard| is_in_force(guard, has_automatic) && hides(guard));
            let overlap = Finding {
                kind: FindingKind::Overlap,
                name: name.clone(),
                other_source: Some(other),
                since,
                note: overlap_note(is_hidden).to_owned(),
                ..guard_finding(row, has_automatic)
            };
            findings.extend(version_finding(c, &overlap)?);
            findings.push(overlap);
        }
    }
    for language in Language::ALL.into_iter().filter(|it| language::of(*it).has_similar_names()) {
        findings.extend(similar(c, language, &rows)?);
    }
    Ok(findings)
}

fn is_in_force(row: &NameGuardRow, has_automatic: bool) -> bool {
    row.state == GuardState::InForce && (has_automatic || !row.automatic)
}

fn guard_finding(row: &NameGuardRow, has_automatic: bool) -> Finding {
    let (kind, note) = match (row.automatic, row.state) {
        (false, _) => (FindingKind::Pattern, row.description.as_str()),
        (true, GuardState::InForce) if has_automatic => (FindingKind::Automatic, row.description.as_str()),
        (true, GuardState::InForce) => (FindingKind::Unguarded, "Server.AutomaticNameGuard is off"),
        (true, GuardState::ListedBefore) => {
            (FindingKind::Unguarded, "a mirror listed the name before the first upload")
        }
        (true, GuardState::Ended) => (FindingKind::Unguarded, "an administrator ended the guard"),
    };
    Finding {
        kind,
        language: row.language.clone(),
        name: row.pattern.clone(),
        source: row.source,
        guard: Some(row.id),
        other_name: None,
        other_source: None,
        since: Some(row.created_at),
        note: note.to_owned(),
    }
}

/// Returns whether a guard matches a name, which is a name of the guard's language.
fn matches(guard: &NameGuardRow, name: &str) -> bool {
    let pattern =
        Language::parse(&guard.language).map(|language| NamePattern::parse(&guard.pattern, language));
    guard.pattern == name || pattern.is_some_and(|pattern| pattern.is_ok_and(|pattern| pattern.matches(name)))
}

fn overlap_note(is_hidden: bool) -> &'static str {
    if is_hidden {
        "hidden by the guard"
    } else {
        "not hidden: the first subscribed source with the name provides it"
    }
}

/// Returns a finding if the mirror of an overlap has a suspicious version.
fn version_finding(c: &mut dyn Conn, overlap: &Finding) -> Result<Option<Finding>, DbError> {
    let Some(other) = overlap.other_source else { return Ok(None) };
    let majors = |versions: Vec<String>| versions.iter().filter_map(|version| major(version)).max();
    let of_mirror = name_audit::versions(c, &overlap.language, &overlap.name, other)?;
    let own = majors(name_audit::versions(c, &overlap.language, &overlap.name, overlap.source)?);
    let Some(highest) = majors(of_mirror) else { return Ok(None) };
    let note = match own {
        Some(own) if highest.saturating_sub(own) > MAX_JUMP => {
            format!("a version of the mirror begins with {highest}, the highest own version with {own}")
        }
        _ if highest > MAX_MAJOR => format!("a version of the mirror begins with {highest}"),
        _ => return Ok(None),
    };
    Ok(Some(Finding { kind: FindingKind::Version, note, ..overlap.clone() }))
}

/// Returns the first number of a version; for a Python version, the first one after the epoch.
fn major(version: &str) -> Option<u64> {
    let version = version.rsplit_once('!').map_or(version, |(_, rest)| rest);
    let digits = version.find(|c: char| !c.is_ascii_digit()).map_or(version, |end| &version[..end]);
    if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(u64::MAX)) }
}

/// Returns the names of mirrors that differ from uploaded names in case, `.` and `_` only.
fn similar(c: &mut dyn Conn, language: Language, rows: &[NameGuardRow]) -> Result<Vec<Finding>, DbError> {
    let (label, language) = (language.label(), language.as_str());
    let mut own: HashMap<String, Vec<&NameGuardRow>> = HashMap::new();
    for row in rows.iter().filter(|row| row.automatic && row.language == language) {
        own.entry(comparison_key(&row.pattern)).or_default().push(row);
    }
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    for mirror in name_audit::mirror_names(c, language)? {
        let Some(rows) = own.get(&comparison_key(&mirror.name)) else { continue };
        for row in rows.iter().filter(|row| row.pattern != mirror.name) {
            let since = name_audit::first_listed(c, language, &mirror.name, mirror.source)?;
            findings.push(Finding {
                kind: FindingKind::Similar,
                other_name: Some(mirror.name.clone()),
                other_source: Some(mirror.source),
                since,
                note: format!("another package for {label}: it is not hidden"),
                ..guard_finding(row, true)
            });
        }
    }
    Ok(findings)
}

/// Returns a sentence for each uploaded name that a guard gives to another source, or that a mirror has,
/// exactly or similarly.
pub fn warnings(
    c: &mut dyn Conn,
    state: &State,
    source: SourceId,
    names: &BTreeSet<String>,
) -> Result<Vec<String>, DbError> {
    let catalog = state.catalog.get();
    let has_automatic = state.config.load().server.automatic_name_guard;
    let Some(source) = catalog.source_by_id(source) else { return Ok(Vec::new()) };
    let language = source.kind.language();
    let hidden = |name: &String| {
        let reason = name_guards::hiding_reason(state, &language::of(language).fold(name), source.id)?;
        Some(format!("clients do not get '{name}' of the source {}: {reason}", source.name))
    };
    let mut warnings: Vec<String> = names.iter().filter_map(hidden).collect();
    for name in names {
        if let Some(mirror) = name_guard::mirror_of(c, language.as_str(), name)? {
            let guards = name_guard::of_name(c, language.as_str(), name)?;
            let is_guarded = guards.iter().any(|guard| is_in_force(guard, has_automatic));
            let effect = if is_guarded {
                "the name is guarded, so that the package of the mirror is hidden"
            } else {
                "the first of them in a repository provides the name; to hide the other: rspm create name-guard"
            };
            warnings.push(format!(
                "the sources {} and {mirror} both have a package '{name}': {effect}",
                source.name
            ));
        }
        if language::of(language).has_similar_names() {
            for (similar, mirror) in similar_names(c, language, name)? {
                warnings.push(format!(
                    "the name '{name}' of the source {} is similar to '{similar}' of {mirror}; {} treats them as two packages",
                    source.name,
                    language.label()
                ));
            }
        }
    }
    Ok(warnings)
}

/// Returns similar names, which differ in case, `.` and `_` only, that a mirror has.
fn similar_names(c: &mut dyn Conn, language: Language, name: &str) -> Result<Vec<(String, String)>, DbError> {
    let language = language.as_str();
    let mut found = Vec::new();
    for other in name_audit::names_with_key(c, language, &comparison_key(name))? {
        if other != name
            && let Some(mirror) = name_guard::mirror_of(c, language, &other)?
        {
            found.push((other, mirror));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_a_version_is_compared() {
        for (version, expected) in [
            ("99.0", Some(99)),
            ("1!2.0", Some(2)),
            ("0.1-3", Some(0)),
            ("2024a", Some(2024)),
            ("x", None),
            ("", None),
            ("99999999999999999999999", Some(u64::MAX)),
        ] {
            assert_eq!(major(version), expected, "{version}");
        }
    }
}
