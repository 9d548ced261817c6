//! Decisions of block rules about files of Python projects.

use std::sync::Arc;

use super::View;
use super::decisions::{TreePolicy, is_own};
use crate::db::python_file::ListedFile;
use crate::model::language::Language;
use crate::model::time::Timestamp;
use crate::policy::{Clock, PackageFacts, ReleaseFacts, RuleSet, Verdict};
use crate::python::facts::FileFacts;
use crate::python::version::Version;
use crate::serve::BlockedRelease;
use crate::serve::vulnerabilities::ecosystem;

/// Removes the blocked files of one project.
pub(in crate::serve) fn retain_allowed(view: &View, files: &mut Vec<ListedFile>) {
    let verdicts = verdicts(view, files);
    let mut verdicts = verdicts.iter();
    files.retain(|_| verdicts.next().is_none_or(Option::is_none));
}

/// Returns why a file of a project is blocked, if it is. `files` are all files of the project that the tree lists.
pub(in crate::serve) fn blocked_file(
    view: &View,
    files: &[ListedFile],
    position: usize,
) -> Option<BlockedRelease> {
    let verdicts = verdicts(view, files);
    let (rule, reason) = verdicts.get(position)?.clone()?;
    let allowed = files.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_none());
    let allowed = allowed.map(|(file, _)| Version::lenient(&file.version)).max();
    let file = files.get(position)?;
    Some(BlockedRelease {
        package: file.project.clone(),
        version: file.version.clone(),
        rule,
        reason,
        allowed: allowed.map(|version| version.as_str().to_owned()),
    })
}

/// Returns why each blocked file of a project is blocked.
pub(in crate::serve) fn blocked_files(view: &View, files: &[ListedFile]) -> Vec<BlockedRelease> {
    if view.policy.is_none() {
        return Vec::new();
    }
    (0..files.len()).filter_map(|position| blocked_file(view, files, position)).collect()
}

/// Returns why all files of a project are blocked, if they are: the reason for its highest version.
pub(in crate::serve) fn blocked_project(view: &View, files: &[ListedFile]) -> Option<BlockedRelease> {
    if files.is_empty() || verdicts(view, files).iter().any(Option::is_none) {
        return None;
    }
    let highest = (0..files.len()).max_by_key(|position| Version::lenient(&files[*position].version))?;
    blocked_file(view, files, highest)
}

/// The rule and the reason for which each file is blocked. Each file has its own age: its upload.
fn verdicts(view: &View, files: &[ListedFile]) -> Vec<Option<(i64, String)>> {
    let (Some(policy), Some(first)) = (&view.policy, files.first()) else { return vec![None; files.len()] };
    let policy: &Arc<TreePolicy> = policy;
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
        is_own: kind.is_some_and(is_own),
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
