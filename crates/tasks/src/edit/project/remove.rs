//! Removes files of a project from a local source; older snapshots still list them.

use super::selection::{self, Selection};
use crate::edit::edited_source::EditedSource;
use crate::edit::{Actor, RemoveScope, SelectedResult, Write, apply, removal};
use base::model::change::{Counts, FileChange};
use base::model::kind::{Layout, SourceKind};
use base::model::project_name::ProjectName;
use content::serve::RepoError;
use formats::language;
use runtime::publish::edit::{EditPlan, publish_step};
use runtime::state::State;
use store::db::Conn;
use store::db::tx::Publish;

/// Removes files of a project, and returns the removed versions, or the name of the removed file.
///
/// # Errors
/// [`RepoError::NotFound`] when the source has none of the files; the error names the existing files or versions.
/// [`RepoError::Invalid`] for a source of another language.
pub async fn remove(
    state: &State,
    source: &str,
    project: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let source = EditedSource::of_layout(&state.catalog.get(), source, Layout::Projects)?;
    let project = parse_project(source.kind, project)?;
    let publish = removal(state, project.as_str(), &scope, comment, actor);
    let selection = Selection::new(scope, source.kind.language())?;
    let removal = apply(state, move |c| write(c, &source, &publish, &project, &selection));
    let (_, labels) = removal.await?;
    Ok(labels)
}

/// Removes the selected files of a project.
pub(in crate::edit) fn write(
    c: &mut dyn Conn,
    source: &EditedSource,
    publish: &Publish,
    project: &ProjectName,
    selection: &Selection,
) -> Write<SelectedResult> {
    publish_step(c, source.id, source.tree, publish, |c, pending| {
        let (files, count) = selection::select(c, source, pending, project, selection)?;
        let mut labels: Vec<String> = match selection {
            Selection::File(name) => vec![name.clone()],
            Selection::All | Selection::Current | Selection::Version(_) => {
                files.iter().map(|file| file.version.clone()).collect()
            }
        };
        labels.dedup();
        let counts = if files.len() == count {
            Counts { removed: 1, ..Counts::default() }
        } else {
            Counts { updated: 1, ..Counts::default() }
        };
        let changes = files.into_iter().map(|file| FileChange::EndLife(file.key)).collect();
        Ok(EditPlan { changes, counts, result: labels })
    })
}

/// Parses the name of a project of a source, in any spelling.
pub(in crate::edit) fn parse_project(kind: SourceKind, name: &str) -> Result<ProjectName, RepoError> {
    language::of(kind.language()).project_name(name).map_err(|error| RepoError::Invalid(error.to_string()))
}
