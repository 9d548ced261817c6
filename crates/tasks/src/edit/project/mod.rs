//! Receives, adds, removes and yanks files of local sources whose language has projects.

pub(super) mod add;
pub mod receive;
pub mod remove;
pub(super) mod selection;
pub mod yank;

use base::model::kind::Language;
use content::serve::RepoError;
use formats::language::{self, ProjectFiles};

/// Returns how a language checks its files.
fn files(language: Language) -> Result<&'static dyn ProjectFiles, RepoError> {
    match language::of(language).projects() {
        Some(projects) => Ok(projects),
        None => Err(RepoError::Invalid(format!("{} has no projects", language.label()))),
    }
}
