//! The definitions of a curated source of R packages: the current one, and a new one.

use std::collections::{BTreeMap, HashSet};

use crate::edit::curation::{self, CurrentStep, Input};
use base::model::change::{Change, LifeKey, LifeState};
use base::model::ids::{FileId, ReleaseId};
use content::serve::RepoError;
use content::serve::r::base::BaseRelease;
use formats::r::closure::Kinds;
use formats::r::curated::plan::ListedRelease;
use formats::r::curated::{self, RDefinition, RootPackage};
use formats::r::dependency::DependencyKind;
use runtime::catalog::Source;
use runtime::state::State;
use store::db::curation::{DefinitionFile, RuleRow};
use store::db::{self, selectable};

/// File name of a definition that this server has generated, after single packages were added or removed.
const GENERATED_FILE: &str = "packages.txt";

/// The current definition of a source, and its releases.
pub(super) struct CurrentRDefinition {
    pub(super) step: CurrentStep,
    pub(super) roots: BTreeMap<String, RootPackage>,
    pub(super) listed: BTreeMap<String, ListedRelease>,
    /// Their lives, with the numbers of their records.
    pub(super) lives: Vec<(LifeKey, i64)>,
}

pub(super) type NewDefinition = curation::NewDefinition<RDefinition>;

impl CurrentRDefinition {
    /// Returns the changes that end and begin lives, so that a source lists these releases. Packages that the definition no
    /// longer selects are not archived.
    pub(super) fn changes(&self, releases: &[BaseRelease]) -> Vec<Change> {
        let selected: HashSet<(ReleaseId, i64)> =
            releases.iter().map(|release| (release.release, release.variant)).collect();
        let present: HashSet<(ReleaseId, i64)> =
            self.lives.iter().map(|(key, variant)| (key.release, *variant)).collect();
        let ended = self.lives.iter().filter(|(key, variant)| !selected.contains(&(key.release, *variant)));
        let begun = releases.iter().filter(|release| !present.contains(&(release.release, release.variant)));
        let begin = |release: &BaseRelease| Change::BeginLife {
            state: LifeState::Listed,
            package: release.package,
            release: release.release,
            variant: release.variant,
            path: String::new(),
        };
        ended.map(|(key, _)| Change::EndLife(key.clone())).chain(begun.map(begin)).collect()
    }
}

/// Returns the rows of the packages that a definition names.
pub(super) fn rule_rows(roots: &BTreeMap<String, RootPackage>) -> Vec<RuleRow> {
    roots.iter().map(|(name, root)| (name.clone(), root.rule_text())).collect()
}

/// Reads the definition and the releases of the newest step of a source.
pub(super) async fn current(state: &State, source: Source) -> Result<CurrentRDefinition, RepoError> {
    let (tree, seq) = curation::newest_step(state, &source)?;
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
        Ok((db::curation::get(c, tree, seq)?, db::curation::rules(c, tree, seq)?, listed, lives))
    });
    let (curation, rows, listed, lives) = read.await?;
    let mut roots = BTreeMap::new();
    for (name, text) in rows {
        let root = RootPackage::parse(&text, "the current definition").map_err(RepoError::Invalid)?;
        roots.insert(name, root);
    }
    let step = CurrentStep { source, tree, seq, curation, rules: rule_rows(&roots) };
    Ok(CurrentRDefinition { step, roots, listed, lives })
}

/// Reads the new definition. With `suggests`, the suggested packages of those that the input names are included.
pub(super) async fn new_definition(
    current: &CurrentRDefinition,
    input: Input,
    suggests: bool,
) -> Result<NewDefinition, RepoError> {
    match input {
        Input::Replace(files) => {
            let mut new = NewDefinition::read(files, curated::read).await?;
            if suggests {
                include_suggests(&mut new.definition);
            }
            Ok(new)
        }
        Input::Add(files) => {
            let mut definition = NewDefinition::read(files, curated::read).await?.definition;
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
            let defined = current.step.curation.as_ref().filter(|_| !current.roots.is_empty());
            let Some(curation) = defined else {
                let name = &current.step.source.name;
                return Err(RepoError::Invalid(format!(
                    "the source '{name}' has no definition yet; name a file with one package on each line, or a lock file: rspm \
                     update --source={name} --file-in=packages.txt"
                )));
            };
            let definition = RDefinition { roots: current.roots.clone(), notices: Vec::new() };
            Ok(NewDefinition::unchanged(definition, curation))
        }
    }
}

fn include_suggests(definition: &mut RDefinition) {
    for root in definition.roots.values_mut() {
        root.extras = root.extras.union(Kinds::NONE.with(DependencyKind::Suggests));
    }
}

/// Returns a definition with a generated file, because it differs from the file that an administrator wrote.
pub(super) fn generated(definition: RDefinition) -> NewDefinition {
    let content = curated::text(&definition.roots).into_bytes();
    NewDefinition::new(definition, vec![DefinitionFile { name: GENERATED_FILE.to_owned(), content }])
}
