//! Decisions of block rules about files of projects.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::View;
use super::decisions::TreePolicy;
use crate::serve::{AllowedVersion, BlockedRelease};
use base::model::ids::{FileId, PackageId, SourceId};
use base::model::kind::SourceKind;
use base::model::time::Timestamp;
use formats::language::{self, ecosystem};
use formats::policy::{PackageFacts, ReleaseFacts, Rule, RuleSet, Verdict};
use store::db::project_file::{self, ListedFile};
use store::db::{self, Conn, DbError};

#[derive(Clone, Debug)]
enum FileVerdict {
    Allowed,
    Warned(String),
    Blocked(Arc<Rule>, String),
}

#[derive(Debug, Default)]
pub(in crate::serve) struct DecidedFiles {
    /// The reason for each blocked file.
    pub(in crate::serve) blocked: Vec<BlockedRelease>,
    /// The version of each file with a warning, and the warning.
    pub(in crate::serve) warned: Vec<(String, String)>,
}

impl FileVerdict {
    fn is_blocked(&self) -> bool {
        match self {
            FileVerdict::Blocked(..) => true,
            FileVerdict::Allowed | FileVerdict::Warned(_) => false,
        }
    }
}

/// Removes the blocked files of one project, and yanks those with a warning.
pub(in crate::serve) fn retain_allowed(
    c: &mut dyn Conn,
    view: &View,
    files: &mut Vec<ListedFile>,
) -> Result<(), DbError> {
    retain(verdicts(c, view, files)?, files);
    Ok(())
}

/// Does the same as [`retain_allowed`], and returns the decisions.
pub(in crate::serve) fn take_decided(
    c: &mut dyn Conn,
    view: &View,
    files: &mut Vec<ListedFile>,
) -> Result<DecidedFiles, DbError> {
    let verdicts = verdicts(c, view, files)?;
    let allowed = highest_allowed(view, files, &verdicts);
    let mut decided = DecidedFiles::default();
    for (file, verdict) in files.iter().zip(&verdicts) {
        decided.blocked.extend(blocked_release(file, verdict, allowed.as_ref()));
        if let FileVerdict::Warned(reason) = verdict {
            decided.warned.push((file.version.clone(), reason.clone()));
        }
    }
    retain(verdicts, files);
    Ok(decided)
}

/// Returns the warning about a file of a project, or why it is blocked. `files` are all files that the tree lists.
pub(in crate::serve) fn decide_file(
    c: &mut dyn Conn,
    view: &View,
    files: &[ListedFile],
    position: usize,
) -> Result<Result<Option<String>, BlockedRelease>, DbError> {
    let verdicts = verdicts(c, view, files)?;
    let Some((file, verdict)) = files.get(position).zip(verdicts.get(position)) else { return Ok(Ok(None)) };
    if let Some(blocked) = blocked_release(file, verdict, highest_allowed(view, files, &verdicts).as_ref()) {
        return Ok(Err(blocked));
    }
    Ok(Ok(match verdict {
        FileVerdict::Warned(reason) => Some(reason.clone()),
        FileVerdict::Allowed | FileVerdict::Blocked(..) => None,
    }))
}

/// Returns the reason why the highest version of a project is blocked, if all its files are blocked; otherwise `None`.
pub(in crate::serve) fn blocked_project(
    c: &mut dyn Conn,
    view: &View,
    files: &[ListedFile],
) -> Result<Option<BlockedRelease>, DbError> {
    let verdicts = verdicts(c, view, files)?;
    let Some(policy) = view.policy.as_ref().filter(|_| verdicts.iter().all(FileVerdict::is_blocked)) else {
        return Ok(None);
    };
    let rules = language::of(policy.repo.language);
    let highest = files.iter().zip(&verdicts).max_by_key(|(file, _)| rules.version(&file.version));
    Ok(highest.and_then(|(file, verdict)| blocked_release(file, verdict, None)))
}

/// Returns the projects of a source without an index of which rules block all files that the tree lists.
pub(in crate::serve) fn blocked_projects(c: &mut dyn Conn, view: &View) -> Result<HashSet<String>, DbError> {
    let mut blocked = HashSet::new();
    for files in concerned_projects(c, view)? {
        if let Some(first) = files.first()
            && verdicts(c, view, &files)?.iter().all(FileVerdict::is_blocked)
        {
            blocked.insert(first.project.clone());
        }
    }
    Ok(blocked)
}

/// Returns the projects and ids of the files that rules block; none of an index.
pub(super) fn withheld(c: &mut dyn Conn, view: &View) -> Result<Vec<(PackageId, i64)>, DbError> {
    let mut withheld = Vec::new();
    each_blocked(c, view, |file, _| withheld.push((file.key.package, file.key.file.0)))?;
    Ok(withheld)
}

/// Returns the versions with files that rules block, by project and version, with the reasons; none of an index.
pub(super) fn withheld_versions(
    c: &mut dyn Conn,
    view: &View,
) -> Result<BTreeMap<(String, String), String>, DbError> {
    let mut withheld = BTreeMap::new();
    each_blocked(c, view, |file, reason| {
        withheld.insert((file.project.clone(), file.version.clone()), reason.to_owned());
    })?;
    Ok(withheld)
}

/// Calls `each` with blocked files and reasons; not for an index, of which only requested projects are known.
fn each_blocked(
    c: &mut dyn Conn,
    view: &View,
    mut each: impl FnMut(&ListedFile, &str),
) -> Result<(), DbError> {
    if view.listing().source.is_project_index() {
        return Ok(());
    }
    for files in concerned_projects(c, view)? {
        for (file, verdict) in files.iter().zip(verdicts(c, view, &files)?) {
            if let FileVerdict::Blocked(_, reason) = verdict {
                each(file, &reason);
            }
        }
    }
    Ok(())
}

/// Returns the files of each project of a source without an index that rules may match.
fn concerned_projects(c: &mut dyn Conn, view: &View) -> Result<Vec<Vec<ListedFile>>, DbError> {
    let Some(policy) = &view.policy else { return Ok(Vec::new()) };
    let withheld = policy.repo.withheld(c, policy.rules.promotion)?;
    if policy.repo.set.is_empty() && withheld.is_none() {
        return Ok(Vec::new());
    }
    let is_withheld = |package| withheld.as_ref().is_some_and(|withheld| withheld.has_package(package));
    let mut projects: HashMap<String, Vec<ListedFile>> = HashMap::new();
    for file in project_file::all(c, view.tree, view.seq)? {
        if policy.repo.set.may_match(&file.project) || is_withheld(file.key.package) {
            projects.entry(file.project.clone()).or_default().push(file);
        }
    }
    Ok(projects.into_values().collect())
}

/// Removes blocked files, and yanks those with a warning (PEP 592), as pip shows the reason. An upstream's comes first.
fn retain(verdicts: Vec<FileVerdict>, files: &mut Vec<ListedFile>) {
    let mut verdicts = verdicts.into_iter();
    files.retain_mut(|file| match verdicts.next() {
        None | Some(FileVerdict::Allowed) => true,
        Some(FileVerdict::Warned(reason)) => {
            file.yanked = Some(match file.yanked.as_deref() {
                None | Some("") => reason,
                Some(upstream) => format!("{upstream}; {reason}"),
            });
            true
        }
        Some(FileVerdict::Blocked(..)) => false,
    });
}

fn highest_allowed(view: &View, files: &[ListedFile], verdicts: &[FileVerdict]) -> Option<AllowedVersion> {
    let rules = language::of(view.policy.as_ref()?.repo.language);
    let allowed = files.iter().zip(verdicts).filter(|(_, verdict)| !verdict.is_blocked());
    let version = allowed.map(|(file, _)| rules.version(&file.version)).max()?;
    Some(AllowedVersion { version: version.as_str().to_owned(), is_listed: true })
}

fn blocked_release(
    file: &ListedFile,
    verdict: &FileVerdict,
    allowed: Option<&AllowedVersion>,
) -> Option<BlockedRelease> {
    let FileVerdict::Blocked(rule, reason) = verdict else { return None };
    Some(BlockedRelease {
        package: file.project.clone(),
        version: file.version.clone(),
        rule: rule.id,
        needs_advisories: rule.criteria.needs_advisories(),
        reason: reason.clone(),
        allowed: allowed.cloned(),
    })
}

/// Returns the last sync before the one that found a project on the list of the index; `None` if that was the
/// first sync of the source, or if the list is incomplete.
fn list_time(
    c: &mut dyn Conn,
    policy: &TreePolicy,
    source: SourceId,
    package: PackageId,
) -> Result<Option<Timestamp>, DbError> {
    let Some(delay) = policy.list_delay else { return Ok(None) };
    let until = db::project::unlisted_until(c, source, package)?;
    Ok(until.map(|until| Timestamp(until.saturating_add(delay))))
}

/// Replaces the times before `first` by it.
fn not_before(times: HashMap<FileId, Timestamp>, first: Option<Timestamp>) -> HashMap<FileId, Timestamp> {
    let Some(first) = first else { return times };
    times.into_iter().map(|(file, at)| (file, at.max(first))).collect()
}

/// Returns the decision about each file. Its age counts from its upload, which an own source knows and an
/// index claims, or from the reading that found it, or, for a new project, from the last sync without it; see
/// [`effective_time`](formats::policy::effective_time).
fn verdicts(c: &mut dyn Conn, view: &View, files: &[ListedFile]) -> Result<Vec<FileVerdict>, DbError> {
    let none = || Ok(vec![FileVerdict::Allowed; files.len()]);
    let (Some(policy), Some(first)) = (&view.policy, files.first()) else { return none() };
    let withheld = policy.repo.withheld(c, policy.rules.promotion)?;
    let withheld = withheld.filter(|withheld| withheld.has_package(first.key.package));
    if !policy.repo.set.may_match(&first.project) && withheld.is_none() {
        return none();
    }
    let listing = view.listing();
    let kind = policy.catalog.source_kind(listing.source);
    let is_own = kind.is_some_and(SourceKind::is_own);
    // Otherwise, all files of the first reading of a project would be new on a new server.
    let package = first.key.package;
    let discovered_at = match policy.repo.set.needs_age() && !is_own {
        true => not_before(
            project_file::discovered_at(c, listing.tree, package)?,
            list_time(c, policy, listing.source, package)?,
        ),
        false => HashMap::new(),
    };
    let rules = language::of(policy.repo.language);
    let release = |file: &ListedFile| {
        let uploaded_at = rules.uploaded_at(&file.facts);
        let discovered_at = discovered_at.get(&file.key.file).copied();
        ReleaseFacts {
            version: file.version.clone(),
            license: None,
            claimed_at: uploaded_at,
            discovered_at: discovered_at.or(uploaded_at).unwrap_or(Timestamp(0)),
            is_initial: is_own,
        }
    };
    let releases: Vec<ReleaseFacts> = files.iter().map(release).collect();
    let advisories = policy.repo.advisories.as_ref();
    let facts = PackageFacts {
        name: &first.project,
        language: policy.repo.language,
        source: view.source,
        is_own,
        advisories: advisories
            .zip(kind.and_then(ecosystem))
            .and_then(|(index, ecosystem)| index.package(ecosystem, &first.project)),
        is_listed: true,
        releases: &releases,
    };
    let clock = policy.clock();
    let verdict = |(file, release): (&ListedFile, &ReleaseFacts)| {
        let withheld = withheld.as_ref().and_then(|it| it.rule_of(package, file.key.file.0));
        match (policy.repo.set.decide(&facts, release, clock), withheld) {
            (Verdict::Blocked(rule), _) | (_, Some(rule)) => {
                FileVerdict::Blocked(Arc::clone(rule), RuleSet::reason(rule, &facts, release, clock))
            }
            (Verdict::Warned(rule), None) => {
                FileVerdict::Warned(RuleSet::reason(rule, &facts, release, clock))
            }
            (Verdict::NoRule | Verdict::Exception(_), None) => FileVerdict::Allowed,
        }
    };
    Ok(files.iter().zip(&releases).map(verdict).collect())
}
