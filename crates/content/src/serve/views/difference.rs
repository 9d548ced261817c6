//! The packages that differ between two points, which are resolved snapshots.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::listing::{self, ListedVersion};
use crate::serve::project::names::ProjectFile;
use crate::serve::selection::allowed::View;
use crate::serve::{RepoError, Repositories, error};
use base::model::ids::{ReleaseId, SourceId};
use base::model::kind::Language;
use base::model::point::Point;
use base::model::time::Timestamp;
use base::words;
use formats::language;
use runtime::state::policies::RepoPolicy;

/// Limits concurrent comparisons: one of all of CRAN takes several megabytes and a tenth of a second of CPU time.
static COMPARISONS: Semaphore = Semaphore::const_new(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPackage {
    /// The listed version; empty for a project of an index, whose versions are not known.
    pub version: String,
    pub source: SourceId,
    /// Publication time of the version, if known.
    pub published_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    Removed,
    Downgraded,
    /// The same version from another source, or a project of an index, whose versions are not known.
    Moved,
    /// The same version of the same source with different bytes.
    Replaced,
    /// The same version of a Python project with other files. Only in [`in_repository`], which reads files.
    Changed,
    /// Listed only by the second point.
    Added,
    Updated,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a kind of change; use added, removed, updated, downgraded, replaced or moved")]
pub struct UnknownKind(String);

impl ChangeKind {
    /// The kinds of the differences between two snapshots; those that need attention first.
    pub const ALL: [ChangeKind; 6] = [
        ChangeKind::Removed,
        ChangeKind::Downgraded,
        ChangeKind::Moved,
        ChangeKind::Replaced,
        ChangeKind::Added,
        ChangeKind::Updated,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Removed => "removed",
            ChangeKind::Downgraded => "downgraded",
            ChangeKind::Moved => "moved",
            ChangeKind::Replaced => "replaced",
            ChangeKind::Changed => "changed",
            ChangeKind::Added => "added",
            ChangeKind::Updated => "updated",
        }
    }
}

impl FromStr for ChangeKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<ChangeKind, UnknownKind> {
        ChangeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.chars().take(40).collect()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub kind: ChangeKind,
    /// The package in the first point; `None` if that point does not list it.
    pub from: Option<ListedPackage>,
    /// The package in the second point; `None` if that point does not list it.
    pub to: Option<ListedPackage>,
    /// The files that differ of a Python project that both points list, by name. Only from [`in_repository`].
    pub files: Vec<FileChange>,
}

/// A file of a Python project that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    pub name: String,
    pub version: String,
    pub kind: FileChangeKind,
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum FileChangeKind {
        /// Listed only by the second point.
        Added = "added",
        /// Other bytes under the same name.
        Replaced = "replaced",
        Removed = "removed",
        /// Yanked only in the second point.
        Yanked = "yanked",
        /// Yanked only in the first point.
        Unyanked = "unyanked",
    }
}

/// Returns the packages that differ between two points of a repository, by name, without those of indexes and
/// curated sources, of which only requested projects have known versions.
pub async fn between(
    repositories: &Repositories,
    from: &Point,
    to: &Point,
) -> Result<Vec<Change>, RepoError> {
    if from.trees == to.trees {
        return Ok(Vec::new());
    }
    let _permit = COMPARISONS.acquire().await.ok();
    let before = listing::listed_versions(repositories, from).await?;
    let after = listing::listed_versions(repositories, to).await?;
    let language = to.language;
    Ok(error::run_blocking(move || compare(before, after, language)).await?)
}

/// Like [`between`], for two points as `latest` under these rules and guards, perhaps not in force. All files
/// of Python projects are compared; a name that an index owns in one point only is [`ChangeKind::Moved`].
pub async fn in_repository(
    repositories: &Repositories,
    policy: Option<&Arc<RepoPolicy>>,
    from: &Point,
    to: &Point,
) -> Result<Vec<Change>, RepoError> {
    // Of equal trees, two promotions can withhold other versions.
    if from.trees == to.trees && (policy.is_none() || from.promotion == to.promotion) {
        return Ok(Vec::new());
    }
    let (state, language) = (&repositories.state, to.language);
    let _permit = COMPARISONS.acquire().await.ok();
    let listed =
        |point: &Point| listing::listed_state(repositories, View::under(state, point, policy), language);
    let (before, after) = (listed(from).await?, listed(to).await?);
    // A comparison must not block a thread that serves other requests.
    let changes = error::run_blocking(move || {
        let mut changes = compare(before.versions(), after.versions(), language);
        for change in &mut changes {
            name_indexes(change, |name| before.index_owner(name), |name| after.index_owner(name));
        }
        changes
    });
    Ok(changes.await?)
}

/// Sets the source of a package that an index provides before or afterwards. SECURITY: any user of the index
/// may have published a package of this name, which must not look like a removal.
fn name_indexes(
    change: &mut Change,
    owner_before: impl Fn(&str) -> Option<SourceId>,
    owner_after: impl Fn(&str) -> Option<SourceId>,
) {
    let of_index = |source| ListedPackage { version: String::new(), source, published_at: None };
    if change.from.is_none() {
        change.from = owner_before(&change.name).map(of_index);
    } else if change.to.is_none() {
        change.to = owner_after(&change.name).map(of_index);
    } else {
        return;
    }
    if change.from.is_some() && change.to.is_some() {
        change.kind = ChangeKind::Moved;
    }
}

fn compare(before: Vec<ListedVersion>, after: Vec<ListedVersion>, language: Language) -> Vec<Change> {
    let mut before: HashMap<String, ListedVersion> =
        before.into_iter().map(|listed| (listed.name.clone(), listed)).collect();
    let mut changes = Vec::new();
    for new in after {
        let old = before.remove(&new.name);
        let files = old.as_ref().map(|old| file_changes(&old.files, &new.files)).unwrap_or_default();
        let kind = match &old {
            None => Some(ChangeKind::Added),
            Some(old) => kind(old, &new, language).or_else(|| kind_of_files(&files)),
        };
        if let Some(kind) = kind {
            changes.push(Change {
                name: new.name.clone(),
                kind,
                from: old.map(listed),
                to: Some(listed(new)),
                files,
            });
        }
    }
    changes.extend(before.into_values().map(|old| Change {
        name: old.name.clone(),
        kind: ChangeKind::Removed,
        from: Some(listed(old)),
        to: None,
        files: Vec::new(),
    }));
    changes.sort_by_cached_key(|change| (change.name.to_lowercase(), change.name.clone()));
    changes
}

fn listed(row: ListedVersion) -> ListedPackage {
    ListedPackage { version: row.version, source: row.source, published_at: row.published_at }
}

/// Returns the kind of difference of a package that both points list; `None` if it does not differ.
fn kind(old: &ListedVersion, new: &ListedVersion, language: Language) -> Option<ChangeKind> {
    let order = language::of(language).compare(&old.version, &new.version);
    if order.is_lt() {
        return Some(ChangeKind::Updated);
    }
    if order.is_gt() {
        return Some(ChangeKind::Downgraded);
    }
    let is_other = |old: Option<ReleaseId>, new: Option<ReleaseId>| old.is_some() && old != new;
    if old.source != new.source {
        return Some(ChangeKind::Moved);
    }
    is_other(old.release, new.release).then_some(ChangeKind::Replaced)
}

/// Returns the kind of difference of a project with the same version in both points, from its files.
fn kind_of_files(files: &[FileChange]) -> Option<ChangeKind> {
    if files.iter().any(|file| file.kind == FileChangeKind::Replaced) {
        return Some(ChangeKind::Replaced);
    }
    (!files.is_empty()).then_some(ChangeKind::Changed)
}

fn file_changes(before: &[ProjectFile], after: &[ProjectFile]) -> Vec<FileChange> {
    let mut before: HashMap<&str, &ProjectFile> =
        before.iter().map(|file| (file.name.as_str(), file)).collect();
    let change = |file: &ProjectFile, kind: FileChangeKind| FileChange {
        name: file.name.clone(),
        version: file.version.clone(),
        kind,
    };
    let mut changes = Vec::new();
    for file in after {
        let kind = match before.remove(file.name.as_str()) {
            None => Some(FileChangeKind::Added),
            Some(old) if old.sha256 != file.sha256 => Some(FileChangeKind::Replaced),
            Some(old) if old.is_yanked == file.is_yanked => None,
            Some(_) if file.is_yanked => Some(FileChangeKind::Yanked),
            Some(_) => Some(FileChangeKind::Unyanked),
        };
        changes.extend(kind.map(|kind| change(file, kind)));
    }
    changes.extend(before.into_values().map(|file| change(file, FileChangeKind::Removed)));
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Sha256;

    fn listed(name: &str, version: &str, source: i64, release: i64) -> ListedVersion {
        ListedVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            source: SourceId(source),
            release: Some(ReleaseId(release)),
            published_at: None,
            files: Vec::new(),
        }
    }

    /// A project with a listed version 1.0 and these files: name, version, first byte of the digest, yanked.
    fn project(files: &[(&str, &str, u8, bool)]) -> ListedVersion {
        let file = |(name, version, byte, is_yanked): &(&str, &str, u8, bool)| ProjectFile {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            sha256: Sha256([*byte; 32]),
            is_yanked: *is_yanked,
        };
        ListedVersion { release: None, files: files.iter().map(file).collect(), ..listed("a", "1.0", 1, 1) }
    }

    /// The kind of a change, and its files.
    fn text(changes: &[Change]) -> String {
        let file = |file: &FileChange| format!(" {}@{} {}", file.name, file.version, file.kind.as_str());
        let change = |change: &Change| {
            format!("{}{}", change.kind.as_str(), change.files.iter().map(file).collect::<String>())
        };
        changes.iter().map(change).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn files_of_all_versions_of_a_python_project_are_compared() {
        let before = [("a1", "1.0", 1, false), ("a0", "0.9", 2, false), ("a2rc", "2.0rc1", 3, true)];
        let differences = |after: &[(&str, &str, u8, bool)]| {
            text(&compare(vec![project(&before)], vec![project(after)], Language::Python))
        };
        assert_eq!(differences(&before), "");
        let mut after = before;
        after[0].2 = 9;
        assert_eq!(differences(&after), "replaced a1@1.0 replaced");
        after[1].3 = true;
        assert_eq!(differences(&after), "replaced a0@0.9 yanked a1@1.0 replaced");
        let mut after = before;
        (after[1].3, after[2].3) = (true, false);
        assert_eq!(differences(&after), "changed a0@0.9 yanked a2rc@2.0rc1 unyanked");
        assert_eq!(differences(&before[..1]), "changed a0@0.9 removed a2rc@2.0rc1 removed");
        let more = [before[0], before[1], before[2], ("a0b", "0.8", 7, false)];
        assert_eq!(differences(&more), "changed a0b@0.8 added");
        let other = ListedVersion { source: SourceId(2), ..project(&more) };
        let moved = compare(vec![project(&before)], vec![other], Language::Python);
        assert_eq!(text(&moved), "moved a0b@0.8 added");
    }

    #[test]
    fn a_name_that_an_index_provides_before_or_afterwards_is_moved() {
        let pypi = SourceId::PYPI;
        let of_index = |name: &str| (name == "shared").then_some(pypi);
        let none = |_: &str| None;
        let local = vec![listed("gone", "1.0", 9, 1), listed("shared", "0.1", 9, 2)];
        let mut changes = compare(local.clone(), Vec::new(), Language::Python);
        changes.iter_mut().for_each(|change| name_indexes(change, none, of_index));
        assert_eq!(text(&changes), "removed; moved");
        assert_eq!(changes[0].to, None);
        let to = changes[1].to.as_ref().map(|listed| (listed.version.as_str(), listed.source));
        assert_eq!(to, Some(("", pypi)));
        let mut changes = compare(Vec::new(), local, Language::Python);
        changes.iter_mut().for_each(|change| name_indexes(change, of_index, none));
        assert_eq!(text(&changes), "added; moved");
        assert_eq!(changes[1].from.as_ref().map(|listed| listed.source), Some(pypi));
    }

    #[test]
    fn every_kind_of_change_is_named_and_equal_packages_are_left_out() {
        let before = vec![
            listed("same", "1.0", 1, 1),
            listed("gone", "1.0", 1, 2),
            listed("up", "1.9", 1, 3),
            listed("down", "1.10", 1, 4),
            listed("other", "1.0", 1, 5),
            listed("bytes", "1.0", 1, 6),
        ];
        let after = vec![
            listed("same", "1.0", 1, 1),
            listed("up", "1.10", 1, 7),
            listed("down", "1.9", 1, 8),
            listed("other", "1.0", 2, 9),
            listed("bytes", "1.0", 1, 10),
            listed("New", "0.1", 1, 11),
        ];
        let changes = compare(before, after, Language::R);
        let text: Vec<String> =
            changes.iter().map(|change| format!("{} {}", change.name, change.kind.as_str())).collect();
        assert_eq!(
            text,
            ["bytes replaced", "down downgraded", "gone removed", "New added", "other moved", "up updated"]
        );
        assert_eq!(changes[5].from.as_ref().map(|listed| listed.version.as_str()), Some("1.9"));
        assert_eq!(changes[5].to.as_ref().map(|listed| listed.version.as_str()), Some("1.10"));
    }

    #[test]
    fn versions_of_python_are_compared_as_pip_does() {
        let change = |old: &str, new: &str| {
            compare(vec![listed("a", old, 1, 1)], vec![listed("a", new, 1, 1)], Language::Python)
        };
        assert_eq!(change("1.0rc1", "1.0")[0].kind, ChangeKind::Updated);
        assert!(change("1.0", "1.0.0").is_empty());
    }

    #[test]
    fn every_kind_is_parsed_from_its_name() {
        for kind in ChangeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("other".parse::<ChangeKind>(), Err(UnknownKind("other".to_owned())));
    }
}
