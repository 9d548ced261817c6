//! Decisions of block rules about files of Python projects.

use std::sync::Arc;

use super::View;
use crate::db::python_file::ListedFile;
use crate::model::language::Language;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;
use crate::policy::{PackageFacts, ReleaseFacts, Rule, RuleSet, Verdict};
use crate::python::facts::FileFacts;
use crate::python::version::Version;
use crate::serve::BlockedRelease;
use crate::serve::vulnerabilities::ecosystem;

/// The decision about a file.
#[derive(Clone, Debug)]
enum FileVerdict {
    /// The file is available.
    Allowed,
    /// A rule warns about it, with the reason.
    Warned(String),
    /// A rule blocks it, with the reason.
    Blocked(Arc<Rule>, String),
}

/// The decisions of rules about the files of a project.
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
pub(in crate::serve) fn retain_allowed(view: &View, files: &mut Vec<ListedFile>) {
    retain(verdicts(view, files), files);
}

/// Does the same as [`retain_allowed`], and returns the decisions.
pub(in crate::serve) fn take_decided(view: &View, files: &mut Vec<ListedFile>) -> DecidedFiles {
    let verdicts = verdicts(view, files);
    let allowed = highest_allowed(files, &verdicts);
    let mut decided = DecidedFiles::default();
    for (file, verdict) in files.iter().zip(&verdicts) {
        decided.blocked.extend(blocked_release(file, verdict, allowed.as_ref()));
        if let FileVerdict::Warned(reason) = verdict {
            decided.warned.push((file.version.clone(), reason.clone()));
        }
    }
    retain(verdicts, files);
    decided
}

/// Returns the warning about a file of a project, if there is one. `files` are all files of the project that the tree
/// lists.
///
/// # Errors
/// The file is blocked; the error has the reason.
pub(in crate::serve) fn decide_file(
    view: &View,
    files: &[ListedFile],
    position: usize,
) -> Result<Option<String>, BlockedRelease> {
    let verdicts = verdicts(view, files);
    let Some((file, verdict)) = files.get(position).zip(verdicts.get(position)) else { return Ok(None) };
    if let Some(blocked) = blocked_release(file, verdict, highest_allowed(files, &verdicts).as_ref()) {
        return Err(blocked);
    }
    match verdict {
        FileVerdict::Warned(reason) => Ok(Some(reason.clone())),
        FileVerdict::Allowed | FileVerdict::Blocked(..) => Ok(None),
    }
}

/// Returns the reason why the highest version of a project is blocked, if all its files are blocked; otherwise `None`.
pub(in crate::serve) fn blocked_project(view: &View, files: &[ListedFile]) -> Option<BlockedRelease> {
    let verdicts = verdicts(view, files);
    if !verdicts.iter().all(FileVerdict::is_blocked) {
        return None;
    }
    let (file, verdict) =
        files.iter().zip(&verdicts).max_by_key(|(file, _)| Version::lenient(&file.version))?;
    blocked_release(file, verdict, None)
}

/// Removes blocked files, and marks files with a warning as yanked (PEP 592), because pip shows the reason of a yank to
/// its user. If upstream yanked the file, its reason comes first.
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

fn highest_allowed(files: &[ListedFile], verdicts: &[FileVerdict]) -> Option<Version> {
    let allowed = files.iter().zip(verdicts).filter(|(_, verdict)| !verdict.is_blocked());
    allowed.map(|(file, _)| Version::lenient(&file.version)).max()
}

fn blocked_release(
    file: &ListedFile,
    verdict: &FileVerdict,
    allowed: Option<&Version>,
) -> Option<BlockedRelease> {
    let FileVerdict::Blocked(rule, reason) = verdict else { return None };
    Some(BlockedRelease {
        package: file.project.clone(),
        version: file.version.clone(),
        rule: rule.id,
        needs_advisories: rule.criteria.needs_advisories(),
        reason: reason.clone(),
        allowed: allowed.map(|version| version.as_str().to_owned()),
    })
}

/// Returns the decision about each file. The age of a file counts from its upload.
fn verdicts(view: &View, files: &[ListedFile]) -> Vec<FileVerdict> {
    let none = || vec![FileVerdict::Allowed; files.len()];
    let (Some(policy), Some(first)) = (&view.policy, files.first()) else { return none() };
    if !policy.repo.set.may_match(&first.project) {
        return none();
    }
    let release = |file: &ListedFile| {
        let uploaded_at = FileFacts::read(&file.facts).upload_time();
        ReleaseFacts {
            version: file.version.clone(),
            license: None,
            claimed_at: uploaded_at,
            // Files of an index begin at their upload, whenever they were read.
            first_seen: uploaded_at.unwrap_or(Timestamp(file.key.from_seq)),
            is_initial: true,
        }
    };
    let releases: Vec<ReleaseFacts> = files.iter().map(release).collect();
    let source = view.listing().source;
    let kind = policy.catalog.source_by_id(source).map(|source| source.kind);
    let advisories = policy.repo.advisories.as_ref();
    let facts = PackageFacts {
        name: &first.project,
        language: Language::Python,
        source: view.source,
        is_own: kind.is_some_and(SourceKind::is_own),
        advisories: advisories
            .zip(kind.and_then(ecosystem))
            .and_then(|(index, ecosystem)| index.package(ecosystem, &first.project)),
        is_listed: true,
        releases: &releases,
    };
    let clock = policy.clock();
    let verdict = |release: &ReleaseFacts| match policy.repo.set.decide(&facts, release, clock) {
        Verdict::Blocked(rule) => {
            FileVerdict::Blocked(Arc::clone(rule), RuleSet::reason(rule, &facts, release, clock))
        }
        Verdict::Warned(rule) => FileVerdict::Warned(RuleSet::reason(rule, &facts, release, clock)),
        Verdict::NoRule | Verdict::Exception(_) => FileVerdict::Allowed,
    };
    releases.iter().map(verdict).collect()
}
