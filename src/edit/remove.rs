//! Removes releases from a local source; older snapshots still serve them.

use super::add::{EDIT_JOB, local_tree};
use super::plan::plan_changes;
use super::{Actor, EditResult, RemoveScope, publish, refresh_catalog};
use crate::db::clock::Publish;
use crate::db::life::CurrentLife;
use crate::db::tx::TxKind;
use crate::db::{self, Conn, DbError};
use crate::model::change::{Counts, LifeState};
use crate::model::ids::{Seq, SourceId, TreeId};
use crate::model::language::Language;
use crate::serve::{RepoError, find};
use crate::state::State;

/// Removes releases of a package from a local source; older snapshots still serve them. When the listed version is
/// removed, the highest archived one is listed again. Returns the removed versions.
///
/// # Errors
/// [`RepoError::NotFound`] when the source has no such package or version; the error names what it has.
pub async fn remove(
    state: &State,
    source: &str,
    package: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let now = (state.clock)();
    let catalog = state.catalog.get();
    let source = find::source(&catalog, source)?.clone();
    let tree = local_tree(&catalog, &source)?;
    let mut publish = publish(TxKind::Remove, now, Counts::default(), actor);
    (publish.source, publish.trees) = (Some(source.id), vec![tree]);
    publish.comment = comment.to_owned();
    (publish.published_from, publish.published_to) = (None, None);
    let (package, name) = (package.to_owned(), source.name.to_string());
    let work = RemoveTransaction { tree, origin: source.id, source: name, package, scope, publish };
    let versions = state.db.write(move |c| work.write(c)).await??;
    refresh_catalog(state).await?;
    Ok(versions)
}

struct RemoveTransaction {
    tree: TreeId,
    origin: SourceId,
    source: String,
    package: String,
    scope: RemoveScope,
    publish: Publish,
}

impl RemoveTransaction {
    fn write(&self, c: &mut dyn Conn) -> Result<EditResult<Vec<String>>, DbError> {
        let pending = db::tree::begin(c, self.tree, EDIT_JOB)?;
        let mut alive = match db::package::by_name(c, Language::R, &self.package)? {
            Some(id) => db::life::current_of(c, self.tree, Seq(pending.0 - 1), id)?,
            None => Vec::new(),
        };
        alive.sort_by_key(|life| life.key.release);
        let mut versions: Vec<String> =
            alive.iter().filter(|life| self.selects(life)).map(|life| life.version.clone()).collect();
        if versions.is_empty() {
            db::tree::release(c, self.tree)?;
            return Ok(Err(self.nothing_to_remove(&alive)));
        }
        let (changes, counts) = plan_changes(&alive, |life| !self.selects(life), Vec::new());
        let target =
            db::import::ImportTarget { tree: self.tree, pending, origin: self.origin, language: Language::R };
        db::import::apply(c, &target, &changes)?;
        db::clock::publish(c, &Publish { counts, ..self.publish.clone() })?;
        versions.sort_by(|a, b| crate::r::version::compare(b, a));
        Ok(Ok(versions))
    }

    fn selects(&self, life: &CurrentLife) -> bool {
        match &self.scope {
            RemoveScope::All => true,
            RemoveScope::Current => life.key.state == LifeState::Listed,
            RemoveScope::Version(version) => life.version == *version,
        }
    }

    fn nothing_to_remove(&self, alive: &[CurrentLife]) -> RepoError {
        let (package, source) = (&self.package, &self.source);
        let package: String = package.chars().take(128).collect();
        let mut present: Vec<&str> = alive.iter().map(|life| life.version.as_str()).collect();
        present.sort_by(|a, b| crate::r::version::compare(b, a));
        RepoError::NotFound(match (&self.scope, present.as_slice()) {
            (_, []) => format!(
                "the source '{source}' has no package '{package}'; rspm list packages --source={source} shows all"
            ),
            (RemoveScope::Version(version), present) => {
                format!("the source '{source}' has no {package} {version}; it has {}", present.join(", "))
            }
            (RemoveScope::All | RemoveScope::Current, present) => {
                format!("the source '{source}' lists no {package}; it has {}", present.join(", "))
            }
        })
    }
}
