//! Curated sources of any language: the change of a definition, its files, the step an update plans or publishes.

use std::fmt::Write as _;

use super::last_plan::{self, Selected};
use super::{Actor, RemoveScope, apply, publish};
use base::model::change::{Change, Counts};
use base::model::digest::Sha256;
use base::model::ids::{Seq, TreeId, TxId};
use base::model::kind::{Layout, SourceKind, Supply};
use base::model::point::Base;
use base::model::snapshot::Snapshot;
use content::serve::error::run_blocking;
use content::serve::{RepoError, find};
use runtime::catalog::Source;
use runtime::publish::edit::ClaimedTrees;
use runtime::state::State;
use store::db::curation::{self, Curation, DefinitionFile, RuleRow};
use store::db::import::{self, ImportTarget};
use store::db::tx::{Publish, TxKind};

/// Maximum number of changes that are written at once.
const CHUNK: usize = 2000;

/// The change to the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// These files replace it; the first one is the main one.
    Replace(Vec<DefinitionFile>),
    /// The packages of these files are added to it.
    Add(Vec<DefinitionFile>),
    /// Keeps the definition; only the snapshot changes.
    Keep,
}

pub fn require_snapshot(is_commit: bool, snapshot: Option<Snapshot>) -> Result<(), RepoError> {
    if is_commit && snapshot.is_none() {
        return Err(RepoError::Invalid(
            "--commit requires --snapshot, so that what is committed is what was planned; the plan without --commit \
             ends with the flags"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Returns the name of a snapshot in messages, so that the number of a transaction is not mistaken for a version. `label` is
/// that of the state that it selects.
pub(super) fn snapshot_name(snapshot: Snapshot, label: &str) -> String {
    match snapshot {
        Snapshot::Transaction(id) => format!("transaction {id}"),
        Snapshot::Latest | Snapshot::Date(_) | Snapshot::Alias(_) => label.to_owned(),
    }
}

/// Returns a curated source whose index has this layout.
pub(super) fn curated_source(state: &State, name: &str, layout: Layout) -> Result<Source, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, name)?;
    if is_curated(source.kind, layout) {
        return Ok(source.clone());
    }
    let kinds = SourceKind::phrase("and", |kind| match layout {
        Layout::Lists => kind.supply() == Supply::Curated,
        Layout::Projects => is_curated(kind, layout),
    });
    let kind = SourceKind::ALL.into_iter().find(|kind| is_curated(*kind, layout));
    let kind = kind.map_or("TYPE", SourceKind::as_str);
    Err(RepoError::Invalid(format!(
        "the source '{name}' is of type {}, and only sources of type {kinds} have a definition; create one with: rspm \
         create source --name=NAME --type={kind}",
        source.kind
    )))
}

pub(super) fn is_curated(kind: SourceKind, layout: Layout) -> bool {
    kind.supply() == Supply::Curated && kind.layout() == layout
}

/// Requires that all versions of a package are to be removed. `verb` says what the definition does with versions.
pub(super) fn require_all_versions(
    source: &Source,
    package: &str,
    scope: &RemoveScope,
    verb: &str,
) -> Result<(), RepoError> {
    if *scope == RemoveScope::All {
        return Ok(());
    }
    let name = &source.name;
    Err(RepoError::Invalid(format!(
        "the source '{name}' is curated: its definition {verb} versions; write {package}@all to remove the package, or \
         change its line and run: rspm update --source={name} --file-in=FILE"
    )))
}

/// The newest step of a source.
pub(super) struct CurrentStep {
    pub(super) source: Source,
    pub(super) tree: TreeId,
    /// 0 before the first step.
    pub(super) seq: Seq,
    pub(super) curation: Option<Curation>,
    pub(super) rules: Vec<RuleRow>,
}

impl CurrentStep {
    /// Returns the state from which a definition of the source selects, or which a snapshot has.
    pub(super) fn base(&self, curation: &Curation) -> Base {
        let kind = self.source.kind;
        Base {
            source: kind.language().index(),
            tree: curation.base_tree,
            seq: curation.base_seq,
            is_whole: kind.supply() == Supply::Snapshot,
        }
    }
}

/// Returns the tree of a source and its newest step; 0 before the first one.
pub(super) fn newest_step(state: &State, source: &Source) -> Result<(TreeId, Seq), RepoError> {
    let catalog = state.catalog.get();
    let tree = catalog.source_package_trees(source.id).next().ok_or_else(|| {
        RepoError::NotFound(format!("the source '{}' has no list of packages", source.name))
    })?;
    Ok((tree.id, tree.newest().unwrap_or(Seq(0))))
}

pub(super) struct NewDefinition<D> {
    pub(super) definition: D,
    pub(super) files: Vec<DefinitionFile>,
    pub(super) sha256: Sha256,
}

impl<D: Send + 'static> NewDefinition<D> {
    pub(super) fn new(definition: D, files: Vec<DefinitionFile>) -> NewDefinition<D> {
        NewDefinition { definition, sha256: digest(&files), files }
    }

    /// Reads the files of a definition, which may have 24 MB: not on an async thread.
    pub(super) async fn read<E: ToString>(
        files: Vec<DefinitionFile>,
        parse: impl FnOnce(&[(&str, &[u8])]) -> Result<D, E> + Send + 'static,
    ) -> Result<NewDefinition<D>, RepoError> {
        run_blocking(move || {
            let definition = parse(&curation::named(&files));
            let definition = definition.map_err(|error| RepoError::Invalid(error.to_string()))?;
            Ok(NewDefinition::new(definition, files))
        })
        .await?
    }

    /// Returns the row of a step with this definition, without dependencies, and the definition.
    pub(super) fn at(self, base: Base, snapshot: String, include: Option<String>) -> (Curation, D) {
        let NewDefinition { definition, files, sha256 } = self;
        let (base_tree, base_seq, dependencies) = (base.tree, base.seq, Vec::new());
        let curation = Curation { base_tree, base_seq, snapshot, sha256, include, files, dependencies };
        (curation, definition)
    }

    /// Returns the definition of a step, whose files stay as they are.
    pub(super) fn unchanged(definition: D, curation: &Curation) -> NewDefinition<D> {
        NewDefinition { definition, sha256: curation.sha256, files: curation.files.clone() }
    }
}

/// Returns the digest of a definition: of its only file, or of the lines that `sha256sum` prints for several files.
fn digest(files: &[DefinitionFile]) -> Sha256 {
    match files {
        [file] => Sha256::of(&file.content),
        files => {
            let mut lines = String::new();
            for file in files {
                // Writing to a `String` cannot fail.
                let _ = writeln!(lines, "{}  {}", Sha256::of(&file.content), file.name);
            }
            Sha256::of(lines)
        }
    }
}

/// What an update selects, as compared with its last plan.
pub(super) struct SelectedState {
    pub(super) packages: Vec<Selected>,
    /// The flags that change the selection.
    pub(super) flags: String,
    /// The transaction of the state from which it selects, if a transaction names this state.
    pub(super) transaction: Option<TxId>,
}

/// The end of an update without problems.
#[derive(Default)]
pub(super) struct UpdateEnd {
    /// `None` for a plan, and if nothing changed.
    pub(super) transaction: Option<TxId>,
    /// How the update differs from a plan that is no longer valid.
    pub(super) notice: Option<String>,
}

/// A planned step of a curated source of packages of R or Python, or of a snapshot of CRAN.
pub(super) struct PlannedStep<'a> {
    pub(super) current: &'a CurrentStep,
    pub(super) curation: Curation,
    pub(super) rules: Vec<RuleRow>,
    /// The changes of the listed releases of R; the files of Python packages are selected when they are served.
    pub(super) changes: Vec<Change>,
    pub(super) counts: Counts,
}

impl PlannedStep<'_> {
    /// Publishes an update if `commit` is set, otherwise stores its plan, which a commit must equal.
    pub(super) async fn end_update(
        self,
        state: &State,
        selected: SelectedState,
        commit: bool,
        comment: String,
        actor: &Actor,
    ) -> Result<UpdateEnd, RepoError> {
        let SelectedState { packages, flags, transaction } = selected;
        let (sha256, tree) = (self.curation.sha256, self.current.tree);
        let request = last_plan::request_digest(sha256, &self.curation.snapshot, &flags);
        if !commit {
            last_plan::store(state, tree, request, &packages, transaction).await?;
            return Ok(UpdateEnd::default());
        }
        let index = self.current.source.kind.language().mirror().label();
        let notice = last_plan::compare(state, tree, index, request, &packages).await?;
        let subject = format!("definition {sha256}, snapshot {}", self.curation.snapshot);
        let publish = Publish { comment, subject, ..publish(TxKind::Add, (state.clock)(), actor) };
        Ok(UpdateEnd { transaction: self.commit(state, publish).await?, notice })
    }

    /// Publishes the step. Returns `None` if it equals the current one. Fails with [`RepoError::Conflict`] if the
    /// source was changed since the step for which the edit was planned.
    pub(super) async fn commit(self, state: &State, publish: Publish) -> Result<Option<TxId>, RepoError> {
        let PlannedStep { current, curation, rules, changes, counts } = self;
        let source = &current.source;
        let is_same = |old: &Curation| {
            let facts = |curation: &Curation| {
                (curation.base_tree, curation.base_seq, curation.sha256, curation.include.clone())
            };
            let is_same_snapshot = match source.kind.layout() {
                Layout::Lists => old.snapshot == curation.snapshot,
                Layout::Projects => true,
            };
            facts(old) == facts(&curation) && is_same_snapshot
        };
        if changes.is_empty() && rules == current.rules && current.curation.as_ref().is_some_and(is_same) {
            return Ok(None);
        }
        let publish = Publish { source: Some(source.id), counts, ..publish };
        let (tree, seq, origin, name) = (current.tree, current.seq, source.id, source.name.to_string());
        apply(state, move |c| {
            let mut trees = ClaimedTrees::default();
            let pending = trees.claim(c, tree)?;
            if pending.0 != seq.0 + 1 {
                let text = format!(
                    "the source '{name}' was changed since the plan; repeat the command to plan again"
                );
                return Err(RepoError::Conflict(text).into());
            }
            curation::insert(c, tree, pending, &curation, &rules)?;
            let target = ImportTarget { tree, pending, origin };
            for chunk in changes.chunks(CHUNK) {
                import::apply(c, &target, chunk)?;
            }
            Ok(trees.publish(c, &publish)?)
        })
        .await
    }
}
