//! Explains which files of a Python project a client gets: sources, owner of the name, files of the preferred version.

use super::sentences::{self, format_time};
use super::{Decision, ExplainRequest, ExplainResult, Topic, index};
use crate::serve::project::{curated, names, owner};
use crate::serve::selection::allowed::project::DecidedFiles;
use crate::serve::selection::allowed::{self, View};
use crate::serve::selection::{name_guards, point};
use crate::serve::views::vulnerabilities;
use crate::serve::{BlockedRelease, RepoError, Repositories, find};
use base::model::kind::Language;
use base::model::point::PointTree;
use base::model::project_name::ProjectName;
use base::model::text::count_of;
use formats::language::{self, Rules};
use store::db::project_file::{self, ListedFile};
use store::db::{self, DbError};

/// Maximum number of blocked files, and of files with a warning, that are explained.
const MAX_FILES: usize = 12;

struct TreeFiles {
    tree: PointTree,
    /// Whether the tree listed the project at the point or before.
    is_known: bool,
    files: Vec<ListedFile>,
    /// The files that block rules forbid or warn about.
    decided: DecidedFiles,
}

pub(super) async fn explain_project(
    repositories: &Repositories,
    request: &ExplainRequest,
    decisions: &mut Vec<Decision>,
) -> Result<ExplainResult, RepoError> {
    let ExplainRequest { repo, package, version, snapshot, distribution, .. } = request;
    let kind = find::repo(&repositories.state.catalog.get(), repo)?.kind;
    if distribution.is_some() {
        return Err(RepoError::Invalid(format!(
            "the repository '{repo}' is of type {}: its files are the same for all distributions",
            kind.label()
        )));
    }
    let project = language::of(kind.language()).project_name(package);
    let project = project.map_err(|error| RepoError::Invalid(error.to_string()))?;
    let point = point::resolve_part(repositories, repo, None, *snapshot).await?;
    decisions.push(sentences::snapshot(*snapshot, &point));
    let (trees, name) = (View::of(&repositories.state, &point), project.clone());
    let owner = repositories.state.db.read(move |c| owner::owner(c, &trees, &name)).await?;
    let index = owner.map(|owned| owned.tree).filter(owner::is_index);
    let page = match index {
        Some(tree) => index::explain_page(repositories, request, tree, &project).await?,
        None => None,
    };
    let owner = owner.map(|owned| owned.tree.tree);
    let (trees, name) = (View::of(&repositories.state, &point), project.clone());
    let query = repositories.state.db.read(move |c| {
        let mut by_tree = Vec::with_capacity(trees.len());
        for tree in &trees {
            let (mut is_known, mut files) = (false, Vec::new());
            let mut decided = DecidedFiles::default();
            if let Some(package) = db::package::by_name(c, tree.source, name.as_str())? {
                is_known = project_file::last_change(c, tree.tree, tree.seq, package)?.is_some();
                files = curated::with_blocked(c, tree, package)?;
                decided = allowed::project::take_decided(c, tree, &mut files)?;
            }
            if tree.base.is_some() {
                is_known = owner::owner(c, &[View::without_rules(tree.tree())], &name)?.is_some();
            }
            by_tree.push(TreeFiles { tree: tree.tree(), is_known, files, decided });
        }
        Ok::<_, DbError>(by_tree)
    });
    let by_tree = query.await?;
    let catalog = repositories.state.catalog.get();
    let language = point.language;
    let rules = language::of(language);
    let page_path = format!("/{repo}/{snapshot}/{}/{project}/", rules.nouns().directory);
    let mut owned: Option<TreeFiles> = None;
    for entry in by_tree {
        let is_owner = owner == Some(entry.tree.tree);
        let (state, source) = (&repositories.state, entry.tree.source);
        // SECURITY: the guard of an unknown name would reveal the name of a package of a private source.
        let guard = name_guards::hiding_reason(state, project.as_str(), source).filter(|_| entry.is_known);
        let rule = match (is_owner, entry.is_known) {
            (false, _) if guard.is_some() => guard.as_deref().unwrap_or_default(),
            (true, _) => "the first source that has or had the project owns its name, in any spelling",
            (false, true) => "an earlier source owns the name: files of two sources are never on one page",
            (false, false) => "",
        };
        decisions.push(Decision {
            topic: Topic::Source,
            subject: request.source_name(&catalog, entry.tree.source),
            state: describe(&entry, language),
            is_selected: is_owner,
            rule: rule.to_owned(),
        });
        if is_owner {
            owned = Some(entry);
        }
    }
    decisions.extend(page);
    let no_file = |answer: String| Ok(ExplainResult { file: None, no_binary_reason: None, answer });
    let Some(TreeFiles { tree, files, decided, .. }) = owned else {
        if let Some(guarded) = name_guards::guarded(&repositories.state, &point, project.as_str()) {
            return no_file(format!("403: {guarded}"));
        }
        return no_file(format!("404: no source of {repo} has {project} in this snapshot"));
    };
    let DecidedFiles { blocked, warned } = decided;
    decisions.extend(blocked.iter().take(MAX_FILES).map(blocked_decision));
    decisions.extend(warned.iter().take(MAX_FILES).map(|warned| warned_decision(&project, warned)));
    let source = request.source_name(&catalog, tree.source);
    let selected = match version {
        Some(text) => {
            let requested = rules.version(text);
            files.iter().find(|file| rules.version(&file.version) == requested)
        }
        None => names::newest(&files, language),
    };
    let Some(selected) = selected else {
        if let Some(blocked) = requested_of(&blocked, rules, version.as_deref()) {
            return no_file(format!("403: {blocked}"));
        }
        return no_file(match version {
            Some(text) if !files.is_empty() => {
                format!("{source} owns the name {project} and has no version {text}")
            }
            Some(_) | None if index.is_some() => {
                format!("the page {page_path}, which lists no file")
            }
            Some(_) | None => match name_guards::guard_of(&repositories.state, language, project.as_str()) {
                Some(guard) => format!("403: {}", name_guards::guarded_name(&guard, project.as_str())),
                None => {
                    format!("404: all files of {project} were removed from {source}, which owns the name")
                }
            },
        });
    };
    let selected_version = rules.version(&selected.version);
    if index.is_some() {
        decisions.extend(index::explain_files(repositories, tree, selected, &files).await?);
    }
    let mut of_version: Vec<&ListedFile> =
        files.iter().filter(|file| rules.version(&file.version) == selected_version).collect();
    of_version.sort_by(|a, b| a.name.cmp(&b.name));
    if index.is_none() {
        decisions.extend(of_version.iter().map(|file| file_decision(rules, file)));
    }
    let advisories = vulnerabilities::current(&repositories.state).await;
    let findings = advisories.of(tree.source, project.as_str(), &selected.version);
    decisions.extend(findings.iter().map(sentences::advisory));
    let (count, version_text) = (count(&files), &selected.version);
    let choice = match version {
        Some(_) => format!("{} of version {version_text}", of_version.len()),
        None => format!("installers prefer version {version_text}"),
    };
    no_file(format!("the page {page_path}, which lists {count}; {choice}"))
}

/// Returns the blocked file of a version; without a version, the blocked file with the highest version.
fn requested_of<'a>(
    blocked: &'a [BlockedRelease],
    rules: &dyn Rules,
    version: Option<&str>,
) -> Option<&'a BlockedRelease> {
    match version.map(|version| rules.version(version)) {
        Some(requested) => blocked.iter().find(|blocked| rules.version(&blocked.version) == requested),
        None => blocked.iter().max_by_key(|blocked| rules.version(&blocked.version)),
    }
}

fn blocked_decision(blocked: &BlockedRelease) -> Decision {
    Decision {
        topic: Topic::Release,
        subject: format!("{} {}", blocked.package, blocked.version),
        state: "a file is blocked".to_owned(),
        is_selected: false,
        rule: blocked.reason.clone(),
    }
}

fn warned_decision(project: &ProjectName, (version, reason): &(String, String)) -> Decision {
    Decision {
        topic: Topic::Release,
        subject: format!("{project} {version}"),
        state: "a file is yanked with a warning".to_owned(),
        is_selected: false,
        rule: reason.clone(),
    }
}

fn count(files: &[ListedFile]) -> String {
    format!("{} file{}", files.len(), if files.len() == 1 { "" } else { "s" })
}

fn describe(entry: &TreeFiles, language: Language) -> String {
    match (names::newest(&entry.files, language), entry.is_known) {
        (Some(newest), _) => format!("{}, version {} preferred", count(&entry.files), newest.version),
        (None, true) if !entry.decided.blocked.is_empty() => "all files are blocked".to_owned(),
        (None, true) => "all files were removed".to_owned(),
        (None, false) => "does not have it".to_owned(),
    }
}

fn file_decision(rules: &dyn Rules, file: &ListedFile) -> Decision {
    let uploaded = rules.uploaded_at(&file.facts);
    let uploaded = uploaded.map(|at| format!(", added {}", format_time(at))).unwrap_or_default();
    let (yank, rule) = match file.yanked.as_deref() {
        None => (String::new(), ""),
        Some("") => (", yanked".to_owned(), "installers use a yanked file only for an exact version"),
        Some(reason) => {
            (format!(", yanked: {reason}"), "installers use a yanked file only for an exact version")
        }
    };
    // The index does not state the size of all files.
    let size = u64::try_from(file.size).map(|size| count_of(size, "byte", "bytes"));
    let size = size.unwrap_or_else(|_| "unknown size".to_owned());
    Decision {
        topic: Topic::File,
        subject: file.name.clone(),
        state: format!("{size}{uploaded}{yank}"),
        is_selected: file.yanked.is_none(),
        rule: rule.to_owned(),
    }
}
