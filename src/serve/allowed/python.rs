//! Decisions of block rules about files of Python projects.

use super::View;
use crate::db::python_file::ListedFile;
use crate::model::language::Language;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;
use crate::policy::{Clock, PackageFacts, ReleaseFacts, RuleSet, Verdict};
use crate::python::facts::FileFacts;
use crate::python::version::Version;
use crate::serve::BlockedRelease;
use crate::serve::vulnerabilities::ecosystem;

/// A rule that blocks a file, and its reason.
type Blocking = (i64, String);

/// Removes the blocked files of one project.
pub(in crate::serve) fn retain_allowed(view: &View, files: &mut Vec<ListedFile>) {
    retain(&verdicts(view, files), files);
}

/// Removes the blocked files of one project; returns why each of them is blocked.
pub(in crate::serve) fn take_blocked(view: &View, files: &mut Vec<ListedFile>) -> Vec<BlockedRelease> {
    let verdicts = verdicts(view, files);
    let allowed = highest_allowed(files, &verdicts);
    let blocked = files
        .iter()
        .zip(&verdicts)
        .filter_map(|(file, verdict)| Some(blocked_release(file, verdict.as_ref()?, allowed.as_ref())));
    let blocked = blocked.collect();
    retain(&verdicts, files);
    blocked
}

/// Returns the reason why a file of a project is blocked; `None` if it is not. `files` are all files of the project
/// that the tree lists.
pub(in crate::serve) fn blocked_file(
    view: &View,
    files: &[ListedFile],
    position: usize,
) -> Option<BlockedRelease> {
    let verdicts = verdicts(view, files);
    let (file, verdict) = (files.get(position)?, verdicts.get(position)?.as_ref()?);
    Some(blocked_release(file, verdict, highest_allowed(files, &verdicts).as_ref()))
}

/// Returns the reason why the highest version of a project is blocked, if all its files are blocked; otherwise `None`.
pub(in crate::serve) fn blocked_project(view: &View, files: &[ListedFile]) -> Option<BlockedRelease> {
    let verdicts = verdicts(view, files);
    if verdicts.iter().any(Option::is_none) {
        return None;
    }
    let (file, verdict) =
        files.iter().zip(&verdicts).max_by_key(|(file, _)| Version::lenient(&file.version))?;
    Some(blocked_release(file, verdict.as_ref()?, None))
}

fn retain(verdicts: &[Option<Blocking>], files: &mut Vec<ListedFile>) {
    let mut verdicts = verdicts.iter();
    files.retain(|_| verdicts.next().is_none_or(Option::is_none));
}

fn highest_allowed(files: &[ListedFile], verdicts: &[Option<Blocking>]) -> Option<Version> {
    let allowed = files.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_none());
    allowed.map(|(file, _)| Version::lenient(&file.version)).max()
}

fn blocked_release(
    file: &ListedFile,
    (rule, reason): &Blocking,
    allowed: Option<&Version>,
) -> BlockedRelease {
    BlockedRelease {
        package: file.project.clone(),
        version: file.version.clone(),
        rule: *rule,
        reason: reason.clone(),
        allowed: allowed.map(|version| version.as_str().to_owned()),
    }
}

/// Returns the rule that blocks each file, with the reason. The age of a file counts from its upload.
fn verdicts(view: &View, files: &[ListedFile]) -> Vec<Option<Blocking>> {
    let (Some(policy), Some(first)) = (&view.policy, files.first()) else { return vec![None; files.len()] };
    if !policy.repo.set.may_match(&first.project) {
        return vec![None; files.len()];
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
    let clock = Clock { age_at: policy.age_at, now: policy.repo.prepared_at };
    let verdict = |release: &ReleaseFacts| match policy.repo.set.decide(&facts, release, clock) {
        Verdict::Blocked(rule) => Some((rule.id, RuleSet::reason(rule, &facts, release, clock))),
        Verdict::NoRule | Verdict::Exception(_) => None,
    };
    releases.iter().map(verdict).collect()
}
