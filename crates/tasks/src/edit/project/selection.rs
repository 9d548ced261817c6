//! Selection of files of a project.

use std::cmp::Reverse;

use super::files;
use crate::edit::edited_source::EditedSource;
use crate::edit::{RemoveScope, Write};
use base::model::ids::{PackageId, Seq};
use base::model::kind::Language;
use base::model::project_name::ProjectName;
use content::serve::RepoError;
use formats::language;
use store::db::project_file::{self, ListedFile};
use store::db::{self, Conn, DbError};

#[derive(Clone, Debug)]
pub(in crate::edit) enum Selection {
    All,
    /// Files of the highest version.
    Current,
    /// Files of a version, in any spelling.
    Version(String),
    File(String),
}

impl Selection {
    pub(in crate::edit) fn new(scope: RemoveScope, language: Language) -> Result<Selection, RepoError> {
        let files = files(language)?;
        Ok(match scope {
            RemoveScope::All => Selection::All,
            RemoveScope::Current => Selection::Current,
            RemoveScope::Version(text) if files.check_name(&text).is_ok() => Selection::File(text),
            RemoveScope::Version(text) => Selection::Version(text),
        })
    }
}

/// Reads the project and its files before the pending step.
pub(super) fn read(
    c: &mut dyn Conn,
    source: &EditedSource,
    pending: Seq,
    project: &str,
) -> Result<(Option<PackageId>, Vec<ListedFile>), DbError> {
    let id = db::package::by_name(c, source.id, project)?;
    let mut files = match id {
        Some(id) => project_file::of_project(c, source.tree, Seq(pending.0 - 1), id)?,
        None => Vec::new(),
    };
    let rules = language::of(source.kind.language());
    files.sort_by_cached_key(|file| (Reverse(rules.version(&file.version).into_owned()), file.name.clone()));
    Ok((id, files))
}

/// Returns the selected files of a project in the order of descending versions, and the number of all its files.
pub(super) fn select(
    c: &mut dyn Conn,
    source: &EditedSource,
    pending: Seq,
    project: &ProjectName,
    selection: &Selection,
) -> Write<(Vec<ListedFile>, usize)> {
    let (_, files) = read(c, source, pending, project.as_str())?;
    let count = files.len();
    let rules = language::of(source.kind.language());
    let version = match selection {
        Selection::Current => files.first().map(|file| rules.version(&file.version).into_owned()),
        Selection::Version(text) => Some(rules.version(text)),
        Selection::All | Selection::File(_) => None,
    };
    let is_selected = |file: &ListedFile| match selection {
        Selection::All => true,
        Selection::Current | Selection::Version(_) => version.as_ref() == Some(&rules.version(&file.version)),
        Selection::File(name) => *name == file.name,
    };
    let (selected_files, others): (Vec<ListedFile>, Vec<ListedFile>) =
        files.into_iter().partition(is_selected);
    if selected_files.is_empty() {
        return Err(nothing_selected(source, project, selection, &others).into());
    }
    Ok((selected_files, count))
}

fn nothing_selected(
    source: &EditedSource,
    project: &ProjectName,
    selection: &Selection,
    files: &[ListedFile],
) -> RepoError {
    const MAX_NAMES: usize = 20;
    let (rules, source) = (language::of(source.kind.language()), &source.name);
    if files.is_empty() {
        return RepoError::NotFound(format!(
            "the source '{source}' has no package '{project}'; rspm list packages --source={source} shows all"
        ));
    }
    let (description, mut names): (String, Vec<&str>) = match selection {
        Selection::File(name) => {
            (format!("file {name}"), files.iter().map(|file| file.name.as_str()).collect())
        }
        Selection::Version(text) => (
            rules.version(text).as_str().to_owned(),
            files.iter().map(|file| file.version.as_str()).collect(),
        ),
        Selection::All | Selection::Current => (String::new(), Vec::new()),
    };
    names.dedup();
    let omitted_count = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    let suffix = if omitted_count > 0 { format!(" and {omitted_count} more") } else { String::new() };
    let description: String = description.chars().take(128).collect();
    RepoError::NotFound(format!(
        "the source '{source}' has no {project} {description}; it has {}{suffix}",
        names.join(", ")
    ))
}
