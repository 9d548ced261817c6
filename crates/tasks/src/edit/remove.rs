//! Removes releases from a local source; older snapshots still serve them.

use super::edited_source::EditedSource;
use super::plan::plan_changes;
use super::{Actor, RemoveScope, SelectedResult, Write, apply, removal};
use base::model::change::LifeState;
use base::model::ids::Seq;
use base::model::kind::Layout;
use content::serve::RepoError;
use runtime::publish::edit::{EditPlan, publish_step};
use runtime::state::State;
use store::db::life::CurrentLife;
use store::db::tx::Publish;
use store::db::{self, Conn};

/// Removes releases of a package from a local source; older snapshots still serve them. When the listed version is
/// removed, the highest archived one is listed again. Returns the removed versions.
///
/// # Errors
/// [`RepoError::NotFound`] when the source has no such package or version; the error names the existing versions.
pub async fn remove(
    state: &State,
    source: &str,
    package: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let source = EditedSource::of_layout(&state.catalog.get(), source, Layout::Lists)?;
    let publish = removal(state, package, &scope, comment, actor);
    let transaction = RemoveTransaction { source, package: package.to_owned(), scope, publish };
    let (_, versions) = apply(state, move |c| transaction.write(c)).await?;
    Ok(versions)
}

pub(super) struct RemoveTransaction {
    pub(super) source: EditedSource,
    pub(super) package: String,
    pub(super) scope: RemoveScope,
    pub(super) publish: Publish,
}

impl RemoveTransaction {
    pub(super) fn write(&self, c: &mut dyn Conn) -> Write<SelectedResult> {
        publish_step(c, self.source.id, self.source.tree, &self.publish, |c, pending| self.plan(c, pending))
    }

    fn plan(&self, c: &mut dyn Conn, pending: Seq) -> Write<EditPlan<Vec<String>>> {
        let mut lives = match db::package::by_name(c, self.source.id, &self.package)? {
            Some(id) => db::life::current_of(c, self.source.tree, Seq(pending.0 - 1), id)?,
            None => Vec::new(),
        };
        lives.sort_by_key(|life| life.key.release);
        let mut versions: Vec<String> =
            lives.iter().filter(|life| self.selects(life)).map(|life| life.version.clone()).collect();
        if versions.is_empty() {
            return Err(self.nothing_to_remove(&lives).into());
        }
        let (changes, counts) = plan_changes(&lives, |life| !self.selects(life), Vec::new());
        versions.sort_by(|a, b| formats::r::version::compare(b, a));
        Ok(EditPlan { changes, counts, result: versions })
    }

    /// Returns whether the scope of the removal includes a life.
    fn selects(&self, life: &CurrentLife) -> bool {
        match &self.scope {
            RemoveScope::All => true,
            RemoveScope::Current => life.key.state == LifeState::Listed,
            RemoveScope::Version(version) => life.version == *version,
        }
    }

    fn nothing_to_remove(&self, lives: &[CurrentLife]) -> RepoError {
        let (package, source) = (&self.package, &self.source.name);
        let excerpt = |text: &str| text.chars().take(128).collect::<String>();
        let package = excerpt(package);
        let mut versions: Vec<&str> = lives.iter().map(|life| life.version.as_str()).collect();
        versions.sort_by(|a, b| formats::r::version::compare(b, a));
        RepoError::NotFound(match (&self.scope, versions.as_slice()) {
            (_, []) => format!(
                "the source '{source}' has no package '{package}'; rspm list packages --source={source} shows all"
            ),
            (RemoveScope::Version(version), versions) => {
                format!(
                    "the source '{source}' has no {package} {}; it has {}",
                    excerpt(version),
                    versions.join(", ")
                )
            }
            (RemoveScope::All | RemoveScope::Current, versions) => {
                format!("the source '{source}' lists no {package}; it has {}", versions.join(", "))
            }
        })
    }
}
