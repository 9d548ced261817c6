//! The definitions of a curated source of R packages: the current one, and a new one.

use std::collections::BTreeMap;

use crate::edit::python::curated::Input;
use crate::edit::python::definition::digest;
use base::model::change::{LifeKey, LifeState};
use base::model::digest::Sha256;
use base::model::ids::{FileId, Seq, TreeId};
use content::serve::RepoError;
use content::serve::task::run_blocking;
use formats::r::closure::Kinds;
use formats::r::curated::plan::ListedRelease;
use formats::r::curated::{self, Definition, RootPackage};
use formats::r::dependency::DependencyKind;
use runtime::catalog::Source;
use runtime::state::State;
use store::db::curation::{self, Curation, DefinitionFile};
use store::db::selectable;

/// File name of a definition that this server has generated, after single packages were added or removed.
const GENERATED_FILE: &str = "packages.txt";

/// The current definition of a source, and its releases.
pub(super) struct CurrentDefinition {
    pub(super) tree: TreeId,
    /// Its step; 0 before the first one.
    pub(super) seq: Seq,
    pub(super) curation: Option<Curation>,
    pub(super) roots: BTreeMap<String, RootPackage>,
    pub(super) listed: BTreeMap<String, ListedRelease>,
    /// Their lives, with the numbers of their records.
    pub(super) lives: Vec<(LifeKey, i64)>,
}

/// A new definition of a source.
pub(super) struct NewDefinition {
    pub(super) definition: Definition,
    pub(super) files: Vec<DefinitionFile>,
    pub(super) sha256: Sha256,
}

/// Reads the definition and the releases of the newest step of a source.
pub(super) async fn current(state: &State, source: &Source) -> Result<CurrentDefinition, RepoError> {
    let catalog = state.catalog.get();
    let tree = catalog.source_package_trees(source.id).next().ok_or_else(|| {
        RepoError::NotFound(format!("the source '{}' has no list of packages", source.name))
    })?;
    let (tree, seq) = (tree.id, tree.newest().unwrap_or(Seq(0)));
    let read = state.db.read(move |c| {
        let (mut listed, mut lives) = (BTreeMap::new(), Vec::new());
        selectable::each_listed(c, tree, seq, &mut |row| {
            let key = LifeKey {
                state: LifeState::Listed,
                package: row.package,
                path: String::new(),
                release: row.release,
                file: FileId(0),
                from_seq: row.from.0,
            };
            lives.push((key, row.variant));
            listed.insert(row.name, ListedRelease { release: row.release, version: row.version });
        })?;
        Ok((curation::get(c, tree, seq)?, curation::rules(c, tree, seq)?, listed, lives))
    });
    let (curation, rows, listed, lives) = read.await?;
    let mut roots = BTreeMap::new();
    for (name, text) in rows {
        let root = RootPackage::parse(&text, "the current definition").map_err(RepoError::Invalid)?;
        roots.insert(name, root);
    }
    Ok(CurrentDefinition { tree, seq, curation, roots, listed, lives })
}

/// Reads the new definition. With `suggests`, the suggested packages of those that the input names are included.
pub(super) async fn new_definition(
    source: &Source,
    current: &CurrentDefinition,
    input: Input,
    suggests: bool,
) -> Result<NewDefinition, RepoError> {
    match input {
        Input::Replace(files) => {
            let mut new = read(files).await?;
            if suggests {
                include_suggests(&mut new.definition);
            }
            Ok(new)
        }
        Input::Add(files) => {
            let mut definition = read(files).await?.definition;
            if suggests {
                include_suggests(&mut definition);
            }
            for (name, root) in &current.roots {
                curated::add_root(&mut definition, name.clone(), root.clone());
            }
            curated::remove_repeated(&mut definition);
            Ok(generated(definition))
        }
        Input::Keep => {
            let defined = current.curation.as_ref().filter(|_| !current.roots.is_empty());
            let Some(curation) = defined else {
                return Err(RepoError::Invalid(format!(
                    "the source '{}' has no definition yet; name a file with one package on each line, or a lock file: rspm \
                     update --source={} --file-in=packages.txt",
                    source.name, source.name
                )));
            };
            let definition = Definition { roots: current.roots.clone(), notices: Vec::new() };
            Ok(NewDefinition { definition, sha256: curation.sha256, files: curation.files.clone() })
        }
    }
}

fn include_suggests(definition: &mut Definition) {
    for root in definition.roots.values_mut() {
        root.extras = root.extras.union(Kinds::NONE.with(DependencyKind::Suggests));
    }
}

/// Returns a definition with a generated file, because it differs from the file that an administrator wrote.
pub(super) fn generated(definition: Definition) -> NewDefinition {
    let content = curated::text(&definition.roots).into_bytes();
    let files = vec![DefinitionFile { name: GENERATED_FILE.to_owned(), content }];
    NewDefinition { definition, sha256: digest(&files), files }
}

/// Reads the files of a definition, which may have 24 MB: not on an async thread.
async fn read(files: Vec<DefinitionFile>) -> Result<NewDefinition, RepoError> {
    run_blocking(move || {
        let definition =
            curated::read(&curation::named(&files)).map_err(|error| RepoError::Invalid(error.to_string()))?;
        Ok(NewDefinition { definition, sha256: digest(&files), files })
    })
    .await?
}
