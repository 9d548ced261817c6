//! Yanks files of a project in a local source (PEP 592), and undoes yanks. A yanked file is listed with a
//! mark, and installers use it only for an exact version. Older snapshots list it without the mark.

use super::remove::parse_project;
use super::selection::{self, Selection};
use crate::edit::edited_source::EditedSource;
use crate::edit::{Actor, RemoveScope, SelectedResult, Write, apply, publish};
use base::model::change::{Counts, FileChange};
use base::model::ids::TxId;
use base::model::kind::{Language, Layout};
use base::model::project_name::ProjectName;
use base::model::text::phrase;
use content::serve::{RepoError, find};
use runtime::publish::edit::{EditPlan, publish_step};
use runtime::state::State;
use store::db::Conn;
use store::db::tx::{Publish, TxKind};

/// Maximum length of a reason, in bytes.
const MAX_REASON: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YankResult {
    /// The transaction; `None` if all files had this mark already.
    pub transaction: Option<TxId>,
    /// The normalized name of the project.
    pub project: String,
    pub files: Vec<String>,
}

/// Yanks the selected files of a project for a reason, which may be empty; `None` removes the mark.
///
/// # Errors
/// [`RepoError::NotFound`] when the source has none of the files, [`RepoError::Invalid`] for a source of another type
/// or a reason that is too long or not one line.
pub async fn set(
    state: &State,
    source: &str,
    project: &str,
    scope: RemoveScope,
    reason: Option<&str>,
    actor: &Actor,
) -> Result<YankResult, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, source)?;
    match source.kind.layout() {
        Layout::Projects => {}
        Layout::Lists => {
            let is_named =
                |language: &Language| language.layout() == Layout::Projects && language.is_listed();
            let labels: Vec<&str> = Language::ALL.into_iter().filter(is_named).map(Language::label).collect();
            return Err(RepoError::Invalid(format!(
                "only files of {} packages can be yanked; the source '{}' is of type {}",
                phrase(&labels, "and"),
                source.name,
                source.kind
            )));
        }
    }
    let source = EditedSource::new(&catalog, source)?;
    let project = parse_project(source.kind, project)?;
    let name = project.to_string();
    let reason = reason.map(check_reason).transpose()?;
    let subject = match &reason {
        Some(_) => scope.of(&name),
        None => format!("{}, no longer yanked", scope.of(&name)),
    };
    let selection = Selection::new(scope, source.kind.language())?;
    let publish = Publish {
        subject,
        comment: reason.clone().unwrap_or_default(),
        ..publish(TxKind::Yank, (state.clock)(), actor)
    };
    let edit = apply(state, move |c| write(c, &source, &publish, &project, &selection, reason.as_ref()));
    let (transaction, files) = edit.await?;
    Ok(YankResult { transaction, project: name, files })
}

/// Sets the reason of the selected files of a project; `None` removes the mark. Returns the names of the files.
pub(in crate::edit) fn write(
    c: &mut dyn Conn,
    source: &EditedSource,
    publish: &Publish,
    project: &ProjectName,
    selection: &Selection,
    reason: Option<&String>,
) -> Write<SelectedResult> {
    publish_step(c, source.id, source.tree, publish, |c, pending| {
        let (files, _) = selection::select(c, source, pending, project, selection)?;
        let mut changes = Vec::new();
        for file in files.iter().filter(|file| file.yanked.as_ref() != reason) {
            changes.push(FileChange::EndLife(file.key.clone()));
            changes.push(FileChange::BeginLife {
                package: file.key.package,
                release: file.key.release,
                file: file.key.file,
                variant: file.variant,
                yanked: reason.cloned(),
            });
        }
        let counts = Counts { updated: i64::from(!changes.is_empty()), ..Counts::default() };
        let files: Vec<String> = files.into_iter().map(|file| file.name).collect();
        Ok(EditPlan { changes, counts, result: files })
    })
}

pub(in crate::edit) fn check_reason(text: &str) -> Result<String, RepoError> {
    let text = text.trim();
    if text.len() > MAX_REASON || text.chars().any(char::is_control) {
        let rule =
            format!("a reason must be one line of at most {MAX_REASON} bytes, without control characters");
        return Err(RepoError::Invalid(rule));
    }
    Ok(text.to_owned())
}
