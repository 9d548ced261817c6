//! A request for the objects of a state file: its sources and repositories, and the catalog that has them. They are checked
//! by the functions of the edits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::objects::{DEFAULT_REPOSITORY, DEFAULT_SOURCE, Key, Objects, Pattern, has_definition};
use api::state::{
    ApplyState, Section, State, StateFile, StateProblem, StateRepository, StateSource, StateSubscription,
};
use base::model::ids::{RepoId, Seq, SourceId, TxId};
use base::model::kind::{ChangePolicy, Layout, RepoKind, SourceKind, Supply};
use base::model::name::Name;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::find;
use formats::r::bioconductor::BioconductorVersion;
use formats::r::closure::Kinds;
use formats::r::curated::{include_text, parse_include};
use runtime::catalog::{Catalog, RepoStep, Repository, Source, Subscription};
use tasks::edit::{Actor, repo, source, subscription};

/// Maximum number of problems after which no further objects are checked.
pub(super) const MAX_PROBLEMS: usize = 1_000;

/// The id of the first new source or repository. The next ones are larger, so that each is added at the end of the others.
/// No other object has a negative id below those of built-in sources.
const FIRST_NEW_ID: i64 = -1_000_000_000;

/// A request to compare a state, or to apply it.
pub(super) struct Input {
    /// Without its state.
    pub(super) body: ApplyState,
    pub(super) state: State,
    pub(super) sections: Vec<Section>,
    /// SHA-256 of the state.
    pub(super) sha256: String,
    pub(super) actor: Actor,
    pub(super) now: Timestamp,
}

/// The requested objects, and the catalogs to which the current and the requested ones refer.
pub(super) struct Request {
    /// The current catalog, with the new names of renamed objects.
    pub(super) renamed: Catalog,
    /// The same with new sources and repositories, under negative ids, and without the deleted ones.
    pub(super) catalog: Catalog,
    pub(super) objects: Objects,
    pub(super) problems: Vec<StateProblem>,
    /// The new names of renamed objects, by their previous ones.
    pub(super) renames: BTreeMap<Key, Name>,
    pub(super) names: Pattern,
    pub(super) now: Timestamp,
    /// Rows for the catalog, which takes them at once: each change copies its list.
    new_sources: Vec<(SourceId, Option<Source>)>,
    new_repos: Vec<(RepoId, Option<Repository>)>,
}

impl Request {
    /// Checks the sources and repositories of a state.
    pub(super) fn new(catalog: &Catalog, input: &Input) -> Request {
        let Input { body, state, .. } = input;
        let names = Pattern(body.names.clone());
        let mut request = Request {
            renamed: catalog.clone(),
            catalog: Catalog::default(),
            objects: Objects::new(&names),
            problems: Vec::new(),
            renames: BTreeMap::new(),
            names,
            now: input.now,
            new_sources: Vec::new(),
            new_repos: Vec::new(),
        };
        let (sources, repositories) = (&state.sources, &state.repositories);
        for (name, source) in sources.iter().flatten() {
            let is_requested = |old: &str| sources.iter().any(|all| all.contains_key(old));
            request.add(Section::Sources, name, |request| {
                request.rename(Section::Sources, name, source.renamed_from.as_deref(), is_requested)
            });
        }
        for (name, repository) in repositories.iter().flatten() {
            let is_requested = |old: &str| repositories.iter().any(|all| all.contains_key(old));
            request.add(Section::Repositories, name, |request| {
                request.rename(Section::Repositories, name, repository.renamed_from.as_deref(), is_requested)
            });
        }
        request.renamed.sources = request.renamed.sources.with(std::mem::take(&mut request.new_sources));
        request.renamed.repos = request.renamed.repos.with(std::mem::take(&mut request.new_repos));
        request.catalog = request.renamed.clone();
        for (name, source) in sources.iter().flatten() {
            request.add(Section::Sources, name, |request| request.source(name, source));
        }
        request.catalog.sources = request.catalog.sources.with(std::mem::take(&mut request.new_sources));
        if body.prune {
            request.delete_places(sources.as_ref(), repositories.as_ref());
        }
        for (name, repository) in repositories.iter().flatten() {
            request.add(Section::Repositories, name, |request| request.repository(name, repository));
        }
        request.catalog.repos = request.catalog.repos.with(std::mem::take(&mut request.new_repos));
        request
    }

    /// Runs the checks of an object, whose error is a problem, unless there are [`MAX_PROBLEMS`]: the search for similar
    /// names makes each expensive.
    pub(super) fn add(
        &mut self,
        section: Section,
        name: &str,
        check: impl FnOnce(&mut Request) -> Result<(), String>,
    ) {
        let is_of_place = matches!(section, Section::Sources | Section::Repositories);
        if self.problems.len() >= MAX_PROBLEMS || (is_of_place && !self.names.matches(name)) {
            return;
        }
        if let Err(error) = check(self) {
            self.problems.push(StateProblem { section: Some(section), name: name.to_owned(), error });
        }
    }

    /// Adds a row with the new name of an object that has its previous name.
    fn rename(
        &mut self,
        section: Section,
        name: &str,
        renamed_from: Option<&str>,
        is_requested: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let (Some(old), Ok(new_name)) = (renamed_from.filter(|old| *old != name), name.parse::<Name>())
        else {
            return Ok(());
        };
        let key = Key::new(section, old);
        let has = |name: &str| match section {
            Section::Sources => self.renamed.source(name).is_some(),
            _ => self.renamed.repo(name).is_some(),
        };
        if !has(old) || self.renames.contains_key(&key) {
            return Ok(());
        }
        if has(name) || is_requested(old) {
            return Err(format!(
                "'{old}' cannot be renamed to '{name}': there are both; remove renamed_from, or rename in two steps by a \
                 third name"
            ));
        }
        if let Some(source) = self.renamed.source(old).filter(|_| section == Section::Sources) {
            source::check_rename(&self.renamed, source, &new_name).map_err(text)?;
            let row = Source { name: new_name.clone(), ..source.clone() };
            self.new_sources.push((row.id, Some(row)));
        } else if let Some(repo) = self.renamed.repo(old) {
            if repo.changes != ChangePolicy::Any {
                return Err(format!(
                    "'{old}' accepts changes by promotion only, and is not renamed by a state file: run rspm edit repo \
                     --name={old} --new-name={name}"
                ));
            }
            let row = Repository { name: new_name.clone(), ..repo.clone() };
            self.new_repos.push((row.id, Some(row)));
        }
        self.renames.insert(key, new_name);
        Ok(())
    }

    fn source(&mut self, name: &str, requested: &StateSource) -> Result<(), String> {
        let parsed: Name = name.parse().map_err(text)?;
        let kind: SourceKind = requested.kind.as_deref().unwrap_or(DEFAULT_SOURCE).parse().map_err(text)?;
        let row = match self.catalog.source(name) {
            Some(known) if known.kind.is_built_in() => {
                return Err(format!("'{name}' is built in and always exists: remove it from the file"));
            }
            Some(known) if known.kind != kind => {
                return Err(format!(
                    "'type' is {kind}, but the source is of type {}: types do not change; use another name",
                    known.kind
                ));
            }
            Some(known) => known.clone(),
            None => {
                source::check_new(&self.catalog, &parsed, kind).map_err(text)?;
                let id = SourceId(new_id(self.new_sources.len()));
                let row = Source { id, name: parsed, kind, created_at: self.now };
                self.new_sources.push((id, Some(row.clone())));
                row
            }
        };
        require_new(self.objects.add_source(&row))?;
        self.definition(name, kind, requested)
    }

    /// Adds the definition of a curated source, or the state of a snapshot.
    fn definition(&mut self, name: &str, kind: SourceKind, requested: &StateSource) -> Result<(), String> {
        let StateSource { snapshot, include, dependencies, files, .. } = requested;
        let is_curated = |layout| kind.supply() == Supply::Curated && kind.layout() == layout;
        let has_files = kind.supply() == Supply::Curated;
        let surplus = [
            ("snapshot", snapshot.is_some() && !has_definition(kind)),
            ("include", include.is_some() && !is_curated(Layout::Lists)),
            ("dependencies", *dependencies && !is_curated(Layout::Projects)),
            ("files", !files.is_empty() && !has_files),
        ];
        refuse_surplus(&surplus, &format!("a source of type {kind} has none"))?;
        let Some(snapshot) = snapshot else {
            return match files.is_empty() {
                true => Ok(()),
                false => Err("'snapshot' is missing: name a past day or a transaction".to_owned()),
            };
        };
        let snapshot: Snapshot = snapshot.parse().map_err(text)?;
        if files.is_empty() && is_curated(Layout::Projects) {
            return Err(format!("'files' is missing: those of a source of type {kind} name its packages"));
        }
        if files.iter().any(|file| matches!(file, StateFile::Path(_))) {
            return Err("'files' has a path, which only rspm replaces by the text of the file".to_owned());
        }
        let include = include.as_deref().map(parse_include).transpose().map_err(text)?.map(include_text);
        let definition = StateSource {
            snapshot: Some(snapshot.to_string()),
            include: include.filter(|include| *include != include_text(Kinds::STRONG)),
            ..requested.clone()
        };
        require_new(self.objects.add_definition(name, definition))
    }

    /// Removes the sources and repositories that the sections do not have from the catalog of the requested objects.
    fn delete_places(
        &mut self,
        sources: Option<&BTreeMap<String, StateSource>>,
        repositories: Option<&BTreeMap<String, StateRepository>>,
    ) {
        let Request { renamed, catalog, names, .. } = self;
        let is_deleted = |is_requested: Option<bool>, name: &Name| {
            is_requested == Some(false) && names.matches(name.as_str())
        };
        let is_requested = |source: &Source| sources.map(|all| all.contains_key(source.name.as_str()));
        let own = renamed.sources.iter().filter(|source| !source.kind.is_built_in());
        let deleted = own.filter(|source| is_deleted(is_requested(source), &source.name));
        catalog.sources = catalog.sources.with(deleted.map(|source| (source.id, None)));
        let is_requested = |repo: &Repository| repositories.map(|all| all.contains_key(repo.name.as_str()));
        let deleted = renamed.repos.iter().filter(|repo| is_deleted(is_requested(repo), &repo.name));
        catalog.repos = catalog.repos.with(deleted.map(|repo| (repo.id, None)));
    }

    fn repository(&mut self, name: &str, requested: &StateRepository) -> Result<(), String> {
        let parsed: Name = name.parse().map_err(text)?;
        let kind: RepoKind = requested.kind.as_deref().unwrap_or(DEFAULT_REPOSITORY).parse().map_err(text)?;
        let description = repo::validate_description(&requested.description)
            .map_err(|error| format!("'description' is refused: {error}"))?;
        let changes: Option<ChangePolicy> =
            requested.changes.as_deref().map(str::parse).transpose().map_err(text)?;
        let known = self.catalog.repo(name);
        if let Some(known) = known.filter(|known| known.kind != kind) {
            return Err(format!(
                "'type' is {kind}, but the repository is of type {}: types do not change; use another name",
                known.kind
            ));
        }
        let row = Repository {
            id: known.map_or_else(|| RepoId(new_id(self.new_repos.len())), |known| known.id),
            name: parsed,
            kind,
            description,
            hidden: requested.hidden,
            authenticated: requested.authenticated,
            created_at: known.map_or(self.now, |known| known.created_at),
            changes: changes.unwrap_or_default(),
            steps: known.map(|known| known.steps.clone()).unwrap_or_default(),
        };
        let row = self.with_list(row, &requested.sources)?;
        if let Some(known) = known {
            check_policy(known, &row)?;
        }
        let is_new = self.objects.add_repository(&self.catalog, &row);
        self.new_repos.push((row.id, Some(row)));
        require_new(is_new)
    }

    /// Returns a repository with the requested list of sources, if it is another one than its current list.
    fn with_list(&self, repo: Repository, requested: &[StateSubscription]) -> Result<Repository, String> {
        let mut list = Vec::with_capacity(requested.len());
        for entry in requested {
            let (name, version) = match entry {
                StateSubscription::Name(name) => (name, None),
                StateSubscription::Version { source, version } => {
                    let version: BioconductorVersion = version.parse().map_err(text)?;
                    (source, Some(version))
                }
            };
            let source = find::source(&self.catalog, name).map_err(|error| format!("'sources': {error}"))?;
            let subscription = Subscription { source: source.id, version };
            if list.contains(&subscription) {
                return Err(format!("'sources' names '{name}' twice"));
            }
            list.push(subscription);
        }
        let is_known = |entry: &&Subscription| self.renamed.source_by_id(entry.source).is_some();
        let present: Vec<Subscription> = repo.subscriptions().iter().filter(is_known).copied().collect();
        if present == list {
            return Ok(repo);
        }
        let step = RepoStep {
            seq: Seq(1),
            at: self.now,
            tx: TxId(0),
            list: Arc::from(list.clone()),
            pinned_at: None,
            has_withheld: false,
        };
        let repo = Repository { steps: vec![step], ..repo };
        for entry in &list {
            if let Some(source) = self.catalog.source_by_id(entry.source) {
                subscription::check(&self.catalog, &repo, source, entry.version)
                    .map_err(|error| format!("'sources': {error}"))?;
            }
        }
        Ok(repo)
    }
}

/// Returns the id of a new source or repository; `number` counts them from 0.
fn new_id(number: usize) -> i64 {
    FIRST_NEW_ID.saturating_add(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Refuses an object that has one of these keys.
pub(super) fn refuse_surplus(keys: &[(&str, bool)], advice: &str) -> Result<(), String> {
    match keys.iter().find(|(_, is_present)| *is_present) {
        Some((key, _)) => Err(format!("'{key}' cannot be used here: {advice}")),
        None => Ok(()),
    }
}

pub(super) fn require_new(is_new: bool) -> Result<(), String> {
    is_new.then_some(()).ok_or_else(|| "it is repeated, in another spelling".to_owned())
}

/// SECURITY: a state file cannot change the list of a repository that accepts promotions only, or weaken its policy.
fn check_policy(old: &Repository, new: &Repository) -> Result<(), String> {
    let name = &old.name;
    let is_weaker = match (old.changes, new.changes) {
        (ChangePolicy::Any, _) => return Ok(()),
        (ChangePolicy::Promotion, policy) => policy == ChangePolicy::Any,
        (ChangePolicy::TwoPersons, policy) => policy != ChangePolicy::TwoPersons,
    };
    if is_weaker {
        return Err(format!(
            "'changes' is {}, but the repository accepts {}: run rspm edit repo --name={name} --changes={} first",
            new.changes, old.changes, new.changes
        ));
    }
    if old.subscriptions() != new.subscriptions() {
        return Err(format!(
            "'sources' differ, but the repository accepts changes by promotion only: use rspm promote --to={name}, or run \
             rspm edit repo --name={name} --changes=any first"
        ));
    }
    Ok(())
}
