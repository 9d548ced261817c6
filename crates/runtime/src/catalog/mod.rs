//! In-memory data for resolving snapshots, swapped after each publish.
//!
//! [`Catalog`] is a value that is read in one database transaction; [`resolve`] is a pure function of it;
//! [`CatalogHandle`] contains the newest catalog.

mod block_rules;
mod handle;
mod name_guards;
mod readers;
pub mod resolve;
mod shared;
mod spaced;

pub use block_rules::{BlockRules, RuleChanges, StoredRule, merged_ranges, rule_of_row};
pub use handle::{CatalogHandle, read};
pub use name_guards::{Guards, guards_in_force};
pub use shared::Shared;
pub use spaced::SERIAL_GAP;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::kind::{ChangePolicy, Language, RepoKind, SourceKind, Supply};
use base::model::name::Name;
use base::model::point::{Base, PointTree, PromotedList};
use base::model::snapshot::Alias;
use base::model::time::Timestamp;
use formats::r::bioconductor::config::Config;
use formats::r::bioconductor::{BioconductorVersion, Component, Part};
use store::db::fixed_url::FixedUrl;
use store::db::skew::{self, Skew};
use store::db::tree::{Role, Step};

/// Sources, trees, steps, repositories and their subscription steps, as of one `clock.catalog`.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The value of `clock.catalog` when the catalog was read.
    pub version: i64,
    /// The identity of the history of transactions (`clock.history`); changes when a backup is restored.
    pub history_id: String,
    /// Set if the database lost transactions that the previous catalog contained.
    pub rewind: Option<Rewind>,
    /// `clock.at`: nothing can be published at or before it.
    pub clock_at: Option<Timestamp>,
    /// Sources that are not deleted, by id.
    pub sources: Shared<Source>,
    /// The deleted sources with their kinds, by id; old snapshots still list their packages.
    pub deleted_sources: Arc<Vec<(SourceId, SourceKind)>>,
    /// Trees by id, each with its steps; includes those of deleted sources, because old snapshots still list them.
    pub trees: Shared<Tree>,
    /// Repositories by id.
    pub repos: Shared<Repository>,
    /// Whether rules withheld versions when the state of any repository was promoted.
    pub has_withheld: bool,
    /// Every transaction and its instant, by id, which is the order of publication. Those of a back-fill or an import have high
    /// ids and the old instants of their steps.
    pub transactions: Vec<(TxId, Timestamp)>,
    /// Instants whose second an earlier state uses, ascending, with their `Last-Modified`; see [`Catalog::modified`].
    pub modified_overrides: Vec<(Timestamp, i64)>,
    /// The instants of transactions whose serials differ from them, in order, with the serials: [`Catalog::serial`].
    pub serial_overrides: Vec<(Timestamp, i64)>,
    /// The configuration of Bioconductor, with its versions; `None` before the first sync.
    pub bioconductor: Option<Arc<Config>>,
    /// The fixed URLs, shared with the previous catalog if none was created since.
    pub fixed_urls: Arc<FixedUrls>,
    /// The block rules, shared with the previous catalog if they did not change.
    pub rules: Arc<BlockRules>,
    /// The name guards, shared with the previous catalog if they did not change.
    pub guards: Arc<Guards>,
}

/// The parts of a catalog that are read although a previous catalog has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadExtent {
    /// The parts with another number of changes.
    Changes,
    All,
}

/// A reset of the database to an earlier state: a standby that lacked transactions was promoted, or a backup was
/// restored. The numbers of the lost transactions and steps may have been assigned again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewind {
    /// The newest transaction before the reset.
    pub old_tx: TxId,
    /// The newest transaction after the reset.
    pub new_tx: TxId,
}

#[derive(Debug, Clone)]
pub struct Source {
    pub id: SourceId,
    /// The name, unique among sources.
    pub name: Name,
    /// Its kind, which determines the origin of its packages.
    pub kind: SourceKind,
    pub created_at: Timestamp,
}

/// A tree and its published steps, oldest first.
#[derive(Debug, Clone)]
pub struct Tree {
    pub id: TreeId,
    pub source: SourceId,
    /// `src/contrib`, or a label that distinguishes the tree from other trees of its source.
    pub label: String,
    pub role: Role,
    /// Steps in order of `seq`; none if the sequence numbers are times.
    pub steps: Vec<Step>,
    /// Instant up to which a tree whose numbers are times is known; `None` before the first sync, and for steps.
    pub time_head: Option<Timestamp>,
    /// The base of each step of a curated source, in the order of the steps.
    pub bases: Vec<(Seq, Base)>,
}

/// A repository and the history of its subscriptions.
#[derive(Debug, Clone)]
pub struct Repository {
    pub id: RepoId,
    /// The name, unique among repositories.
    pub name: Name,
    pub kind: RepoKind,
    pub description: String,
    /// Whether it is omitted from public listings.
    pub hidden: bool,
    /// Whether it is for authenticated clients only.
    pub authenticated: bool,
    pub created_at: Timestamp,
    pub changes: ChangePolicy,
    /// Subscription lists, oldest first; the last one is in force.
    pub steps: Vec<RepoStep>,
}

/// The complete subscription list from one instant on.
#[derive(Debug, Clone)]
pub struct RepoStep {
    pub seq: Seq,
    /// Time at which it took effect.
    pub at: Timestamp,
    pub tx: TxId,
    /// Sources in order of precedence: if several have a package, the first one serves it.
    pub list: Arc<[Subscription]>,
    /// The cut-off time of the states of the sources, exclusive; `None` for the newest states.
    pub pinned_at: Option<Timestamp>,
    /// Whether rules withheld versions at that time, which stay withheld in the states of the list.
    pub has_withheld: bool,
}

impl Repository {
    /// Returns whether rules withheld versions when one of its states was promoted.
    pub fn has_withheld(&self) -> bool {
        self.steps.iter().any(|step| step.has_withheld)
    }
}

impl RepoStep {
    /// Returns the list as a promotion made it; `None` if the list fixes no states.
    pub fn promotion(&self) -> Option<PromotedList> {
        self.pinned_at.map(|at| PromotedList { seq: self.has_withheld.then_some(self.seq), repo: None, at })
    }

    /// Returns the cut-off time of the states of the sources for a snapshot with this end.
    pub fn states_end(&self, end: Timestamp) -> Timestamp {
        self.pinned_at.map_or(end, |pinned_at| pinned_at.min(end))
    }
}

/// A source in a subscription list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    pub source: SourceId,
    /// For the source Bioconductor, the subscribed version. For another source in a repository of Bioconductor,
    /// the version for which its packages are served. `None` means all versions.
    pub version: Option<BioconductorVersion>,
}

impl Subscription {
    /// Creates a subscription to a whole source.
    pub fn to(source: SourceId) -> Subscription {
        Subscription { source, version: None }
    }
}

impl shared::Row for Source {
    type Id = SourceId;
    type Key = str;
    type Summary = ();

    fn id(&self) -> SourceId {
        self.id
    }

    fn key(&self) -> &str {
        self.name.as_str()
    }

    fn summary<'a>(_: impl Iterator<Item = &'a Source>) {}
}

impl shared::Row for Tree {
    type Id = TreeId;
    type Key = SourceId;
    type Summary = ();

    fn id(&self) -> TreeId {
        self.id
    }

    fn key(&self) -> &SourceId {
        &self.source
    }

    fn summary<'a>(_: impl Iterator<Item = &'a Tree>) {}
}

impl Catalog {
    /// Returns the source of that name, if not deleted.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.with_key(name).next()
    }

    /// Returns a state of a tree as part of a point; for a snapshot of another source, the state of that source.
    pub fn point_tree(source: SourceId, tree: &Tree, seq: Seq) -> PointTree {
        let base = tree.base(seq);
        let (tree, seq) = match base {
            Some(base) if base.is_whole => (base.tree, base.seq),
            _ => (tree.id, seq),
        };
        PointTree { source, tree, seq, base, rules: None }
    }

    /// Returns the source with that id, if not deleted.
    pub fn source_by_id(&self, id: SourceId) -> Option<&Source> {
        self.sources.find(id)
    }

    /// Returns the kind of a source, also if it was deleted: rules and guards apply to old snapshots as before.
    pub fn source_kind(&self, id: SourceId) -> Option<SourceKind> {
        self.source_by_id(id).map(|source| source.kind).or_else(|| {
            let index = self.deleted_sources.binary_search_by_key(&id, |(deleted, _)| *deleted).ok()?;
            self.deleted_sources.get(index).map(|(_, kind)| *kind)
        })
    }

    /// Returns the language of a source, also if it was deleted; R for an unknown one.
    pub fn source_language(&self, id: SourceId) -> Language {
        self.source_kind(id).map_or(Language::R, SourceKind::language)
    }

    /// Returns whether the packages of a source are uploaded or built here, also if it was deleted.
    pub fn is_own(&self, id: SourceId) -> bool {
        self.source_kind(id).is_some_and(SourceKind::is_own)
    }

    /// Returns the name of a source, or its number if it was deleted.
    pub fn source_name(&self, id: SourceId) -> String {
        self.source_by_id(id).map_or_else(|| id.to_string(), |source| source.name.to_string())
    }

    /// Returns the name of a repository, or its number if it was deleted.
    pub fn repo_name(&self, id: RepoId) -> String {
        self.repo_by_id(id).map_or_else(|| id.to_string(), |repo| repo.name.to_string())
    }

    pub fn repo(&self, name: &str) -> Option<&Repository> {
        self.repos.with_key(name).next()
    }

    pub fn repo_by_id(&self, id: RepoId) -> Option<&Repository> {
        self.repos.find(id)
    }

    /// Returns the repository that a path of the public API names: by name first, then by id.
    pub fn repo_by_name_or_id(&self, text: &str) -> Option<&Repository> {
        self.repo(text).or_else(|| self.repo_by_id(RepoId(text.parse().ok()?)))
    }

    /// Returns the source that a path of the public API names: by name first, then by id.
    pub fn source_by_name_or_id(&self, text: &str) -> Option<&Source> {
        self.source(text).or_else(|| self.source_by_id(SourceId(text.parse().ok()?)))
    }

    pub fn tree(&self, id: TreeId) -> Option<&Tree> {
        self.trees.find(id)
    }

    /// Returns the lists of source packages of a source. These are the trees of a subscription to the source.
    pub fn source_package_trees(&self, source: SourceId) -> impl Iterator<Item = &Tree> {
        self.trees.with_key(&source).filter(|tree| tree.role == Role::Source)
    }

    /// Returns the oldest step of a mirrored source: that of its first sync, or of the first day of a back-fill (with a
    /// sequence number below 1). `None` before it, and for other sources, which begin without packages.
    pub fn first_step(&self, source: &Source) -> Option<&Step> {
        let trees = self.source_package_trees(source.id).filter(|_| source.kind.supply() == Supply::Mirror);
        trees.filter_map(|tree| tree.steps.first()).min_by_key(|step| step.at)
    }

    /// Returns whether a source has a published list of packages.
    pub fn has_steps(&self, source: SourceId) -> bool {
        self.source_package_trees(source).any(|tree| !tree.steps.is_empty())
    }

    /// Returns the lists that a subscription contributes to a repository, or to `part` of a Bioconductor repository.
    /// Sources other than Bioconductor contribute only to the software part.
    pub fn subscribed_trees(
        &self,
        subscription: Subscription,
        part: Option<Part>,
    ) -> impl Iterator<Item = &Tree> {
        let requested_part = match (subscription.version, part) {
            (Some(version), None) => Some(Part::whole(version)),
            (_, part) => part,
        };
        let is_offered = part.is_none_or(|part| {
            let has_software = part.component.is_none_or(|component| component == Component::Software);
            subscription.version.is_none_or(|version| version == part.version)
                && (has_software || subscription.source == SourceId::BIOCONDUCTOR)
        });
        self.source_package_trees(subscription.source).filter(move |tree| {
            let is_in_part = match (subscription.source == SourceId::BIOCONDUCTOR, requested_part) {
                (true, Some(requested_part)) => tree.part().is_some_and(|part| requested_part.contains(part)),
                (true, None) | (false, _) => true,
            };
            is_offered && is_in_part
        })
    }

    /// Returns the published versions of Bioconductor, newest first.
    pub fn bioconductor_versions(&self) -> Vec<BioconductorVersion> {
        let published_trees =
            self.source_package_trees(SourceId::BIOCONDUCTOR).filter(|tree| !tree.steps.is_empty());
        let mut versions: Vec<BioconductorVersion> =
            published_trees.filter_map(Tree::part).map(|part| part.version).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.dedup();
        versions
    }

    /// Returns the default version of Bioconductor: the current release if published, else the newest published one.
    pub fn default_bioconductor_version(&self) -> Option<BioconductorVersion> {
        let versions = self.bioconductor_versions();
        let release = self.bioconductor.as_ref().map(|config| config.release);
        release.filter(|release| versions.contains(release)).or_else(|| versions.first().copied())
    }

    /// Returns the part of a repository that an address without a version means; `None` for one without parts.
    pub fn default_part(&self, kind: RepoKind) -> Option<Part> {
        if kind.has_parts() { self.default_bioconductor_version().map(Part::whole) } else { None }
    }

    /// Returns the time at which a transaction was published; `None` if it does not exist.
    pub fn instant(&self, tx: TxId) -> Option<Timestamp> {
        let index = self.transactions.binary_search_by_key(&tx, |(id, _)| *id).ok()?;
        self.transactions.get(index).map(|(_, at)| *at)
    }

    /// Returns the newest transaction with this instant; `None` if there is none.
    pub fn transaction_at(&self, instant: Timestamp) -> Option<TxId> {
        let mut newest_first = self.transactions.iter().rev();
        newest_first.find(|(_, at)| *at == instant).map(|(id, _)| *id)
    }

    /// Returns the reason why nothing can be published at `now`; `None` if publishing is possible.
    pub fn skew(&self, now: Timestamp) -> Option<Skew> {
        skew::between(self.clock_at?, now)
    }

    /// Returns the reason why an index cannot be synced at `now`; `None` if it is possible.
    pub fn index_skew(&self, now: Timestamp) -> Option<Skew> {
        self.trees.iter().find_map(|tree| skew::of_index(tree.source, tree.time_head?, now))
    }

    /// Returns whether nothing more can be published before `end`, so that the states before `end` are final.
    pub fn is_closed(&self, end: Timestamp) -> bool {
        // The next publish is at `clock.at + 1` or later.
        self.clock_at.is_some_and(|at| at.0.saturating_add(1) >= end.0)
    }
}

impl Repository {
    /// Returns the name and the description that a response shows to a client that requested the repository by this name
    /// or number. SECURITY: a number does not disclose the name of a hidden repository, nor its description.
    pub fn response_name<'a>(&'a self, requested: &'a str) -> (&'a str, &'a str) {
        if self.hidden && self.name.as_str() != requested {
            (requested, "")
        } else {
            (self.name.as_str(), self.description.as_str())
        }
    }

    /// Returns the current subscriptions, in order; empty before the first one.
    pub fn subscriptions(&self) -> &[Subscription] {
        self.steps.last().map_or(&[], |step| &step.list)
    }

    /// Returns the sources of the current subscriptions, without duplicates.
    pub fn sources(&self) -> Vec<SourceId> {
        let mut sources: Vec<SourceId> = Vec::new();
        for entry in self.subscriptions() {
            if !sources.contains(&entry.source) {
                sources.push(entry.source);
            }
        }
        sources
    }

    pub fn subscribes_to(&self, source: SourceId) -> bool {
        self.subscriptions().iter().any(|entry| entry.source == source)
    }
}

impl Tree {
    /// Returns the newest sequence number (of times, the last before the head); `None` before the first publish.
    pub fn newest(&self) -> Option<Seq> {
        match self.time_head {
            Some(head) => Some(Seq(head.0 - 1)),
            None => self.steps.last().map(|step| step.seq),
        }
    }

    /// Returns the state from which a step of a curated source selects; `None` for another source.
    pub fn base(&self, seq: Seq) -> Option<Base> {
        let index = self.bases.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        self.bases.get(index).map(|(_, base)| *base)
    }

    /// Returns whether each step of the tree is a whole state of another source: the tree has no releases of its own.
    pub fn is_snapshot(&self) -> bool {
        self.bases.last().is_some_and(|(_, base)| base.is_whole)
    }

    /// Returns the part of Bioconductor that the tree lists; `None` for other sources.
    pub fn part(&self) -> Option<Part> {
        (self.source == SourceId::BIOCONDUCTOR).then(|| Part::parse(&self.label)).flatten()
    }
}

#[derive(Debug, Default)]
pub struct FixedUrls {
    /// A number that changes when a fixed URL is created.
    pub revision: i64,
    pub states: BTreeMap<Alias, FixedUrl>,
}

impl Catalog {
    /// Returns the state that a fixed URL of a repository names.
    pub fn fixed_url(&self, repo: &Repository, alias: Alias) -> Option<&FixedUrl> {
        self.fixed_urls.states.get(&alias).filter(|state| state.repo == repo.id)
    }

    /// Returns the cut-off time, exclusive, of the states that a fixed URL does not fix; `None` if these are the
    /// newest states, and for an unknown fixed URL.
    pub fn fixed_url_end(&self, alias: Alias) -> Option<Timestamp> {
        self.fixed_urls.states.get(&alias)?.at
    }

    /// Returns the name of the fixed URL for a state, if there is one.
    pub fn fixed_url_of(&self, state: &FixedUrl) -> Option<Alias> {
        self.fixed_urls.states.iter().find(|(_, known)| *known == state).map(|(alias, _)| *alias)
    }
}

/// The state of a tree in a fixed URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FixedState {
    /// The tree has this state.
    At(Seq),
    /// The tree had no state when all states were fixed.
    Absent,
    NotFixed,
}

fn fixed_state_of(url: Option<&FixedUrl>, tree: TreeId) -> FixedState {
    let Some(url) = url else { return FixedState::NotFixed };
    match url.trees.binary_search_by_key(&tree, |(id, _)| *id) {
        Ok(index) => url.trees.get(index).map_or(FixedState::NotFixed, |(_, seq)| FixedState::At(*seq)),
        Err(_) if url.repo_seq.is_some() => FixedState::Absent,
        Err(_) => FixedState::NotFixed,
    }
}

/// Returns the list of subscriptions that a fixed URL fixes.
fn fixed_list<'a>(url: Option<&FixedUrl>, repo: &'a Repository) -> Option<&'a RepoStep> {
    let seq = url?.repo_seq?;
    repo.steps.iter().find(|step| step.seq == seq)
}
