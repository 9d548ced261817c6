//! The changes that make the objects of a server equal to those of a state file, and the reasons to refuse them.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::{check_others, requested};
use super::objects::{Entry, Key, Objects, Rows, has_definition};
use super::request::{Input, MAX_PROBLEMS, Request};
use api::state::{
    ApplyState, ChangedField, Section, State, StateAction, StateChange, StatePlan, StateProblem,
};
use base::model::ids::{RepoId, SourceId};
use base::model::kind::ChangePolicy;
use base::model::rule_effect::RuleEffect;
use base::model::snapshot::Snapshot;
use base::model::text::count_of;
use base::model::time::Timestamp;
use runtime::catalog::{Catalog, Repository};
use store::db::{Conn, DbError};
use tasks::edit::guard_conflicts::Guards;
use tasks::edit::state::{Object, ObjectChange, ObjectChanges};

/// The number of deletions in a plan that need no confirmation.
const MAX_DELETIONS: usize = 20;

/// A plan, and the objects of its changes that are not made later, in their order, before the parts of later ones that do not
/// wait.
pub(super) struct Plan {
    pub(super) wire: StatePlan,
    pub(super) objects: ObjectChanges,
}

/// The difference between the current and the requested objects.
struct Difference {
    key: Key,
    action: StateAction,
    old: Option<Entry>,
    new: Option<Entry>,
}

/// Returns the objects that are not equal in both, in the order of their identities.
fn differences(current: Objects, requested: Objects) -> Vec<Difference> {
    let mut all: BTreeMap<Key, (Option<Entry>, Option<Entry>)> = BTreeMap::new();
    for (key, old) in current.all {
        all.entry(key).or_default().0 = Some(old);
    }
    for (key, new) in requested.all {
        all.entry(key).or_default().1 = Some(new);
    }
    let difference = |(key, (old, new)): (Key, (Option<Entry>, Option<Entry>))| {
        let action = match (&old, &new) {
            (Some(old), Some(new)) if old.has_fields_of(new) => return None,
            (Some(_), Some(_)) => StateAction::Change,
            (Some(_), None) => StateAction::Delete,
            (None, _) => StateAction::Create,
        };
        Some(Difference { key, action, old, new })
    };
    all.into_iter().filter_map(difference).collect()
}

impl Difference {
    /// Returns the fields with other values; all fields of an object that is created or deleted. A rule has none.
    fn fields(&self) -> Vec<ChangedField> {
        if self.key.section == Section::BlockRules {
            return Vec::new();
        }
        let fields = |entry: &Option<Entry>| entry.as_ref().map(Entry::fields).unwrap_or_default();
        let (mut old, mut new) = (fields(&self.old), fields(&self.new));
        let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
        let field = |field: String| {
            let (from, to) = (old.remove(&field).unwrap_or_default(), new.remove(&field).unwrap_or_default());
            (from != to).then_some(ChangedField { field, from, to })
        };
        names.into_iter().filter_map(field).collect()
    }

    fn object(&self) -> Option<&Object> {
        let entry = self.new.as_ref().or(self.old.as_ref())?;
        entry.object.as_ref()
    }

    fn old_object(&self) -> Option<&Object> {
        self.old.as_ref()?.object.as_ref()
    }

    /// Returns whether less is protected afterwards: packages can be read by more clients, or installed. `last_block` is that
    /// of [`Protection`].
    fn is_weaker(&self, last_block: Option<i64>) -> bool {
        match (self.action, self.old_object(), self.object()) {
            (StateAction::Delete, _, Some(Object::Rule(rule))) => rule.effect == RuleEffect::Block,
            (StateAction::Create, _, Some(Object::Rule(rule))) => match rule.effect {
                RuleEffect::Allow => true,
                RuleEffect::Warn => last_block.is_some_and(|priority| rule.priority < priority),
                RuleEffect::Block => false,
            },
            (StateAction::Delete, _, Some(Object::Guard(_))) => true,
            (_, Some(Object::Guard(old)), Some(Object::Guard(new))) => old.source != new.source,
            (_, Some(Object::Repository(old)), Some(Object::Repository(new))) => {
                old.authenticated && !new.authenticated
            }
            _ => false,
        }
    }

    /// Returns the part of a change that does not wait: an open repository is authenticated before its list changes.
    fn closing(&self) -> Option<ObjectChange> {
        let (old, new) = (repository(self.old.as_ref())?, repository(self.new.as_ref())?);
        let closed = Repository { authenticated: true, ..old.clone() };
        (new.authenticated && !old.authenticated).then(|| ObjectChange {
            old: Some(Object::Repository(old.clone())),
            new: Some(Object::Repository(closed)),
        })
    }

    /// Returns the sources that everyone may read after the change: those of an open repository, and of a deleted one those that
    /// are open in `remaining`, the catalog without the deleted ones.
    fn readable_sources(&self, remaining: &Catalog) -> BTreeSet<SourceId> {
        match (repository(self.old.as_ref()), repository(self.new.as_ref())) {
            (_, Some(new)) if !new.authenticated => new.sources().into_iter().collect(),
            (Some(old), None) => {
                let sources = old.steps.iter().flat_map(|step| step.list.iter()).map(|entry| entry.source);
                sources.filter(|id| remaining.is_open(*id)).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Returns another name that differs only in case from that of a new or renamed source or repository.
    fn other_spelling<'a>(
        &self,
        names: &BTreeMap<(Section, String), Vec<&'a str>>,
        catalog: &Catalog,
    ) -> Option<&'a str> {
        let Key { section, name, .. } = &self.key;
        let is_known = match self.new.as_ref()?.object.as_ref()? {
            Object::Source(_) => catalog.source(name).is_some(),
            _ => catalog.repo(name).is_some(),
        };
        let names = names.get(&(*section, name.to_lowercase())).filter(|_| !is_known)?;
        names.iter().find(|other| *other != name).copied()
    }
}

/// What decides whether a change protects less.
struct Protection {
    /// Its repositories decide which sources are open; it has nothing else.
    readers: Catalog,
    /// The largest priority number of the rules that block: a warning before such a rule precedes it.
    last_block: Option<i64>,
}

impl Protection {
    fn of(catalog: &Catalog) -> Protection {
        let blocks = catalog.rules.iter().filter(|stored| stored.rule.effect == RuleEffect::Block);
        Protection {
            readers: Catalog { repos: catalog.repos.clone(), ..Catalog::default() },
            last_block: blocks.map(|stored| stored.rule.priority).max(),
        }
    }

    /// Returns the protection after the changes that are not made later, by which those that wait are judged when they are
    /// made. Deletions are not among the former if there are the latter.
    fn after(&self, all: &[Difference], later: &[bool]) -> Protection {
        let (mut repos, mut last_block) = (Vec::new(), self.last_block);
        for (difference, later) in all.iter().zip(later) {
            let closing = difference.closing().filter(|_| *later).and_then(|closing| closing.new);
            let new = match later {
                true => closing.as_ref(),
                false => difference.new.as_ref().and_then(|entry| entry.object.as_ref()),
            };
            match new {
                Some(Object::Repository(repo)) => {
                    // A repository with a new list has no earlier ones.
                    let old = repository(difference.old.as_ref()).map(|old| old.steps.as_slice());
                    let steps = [old.unwrap_or_default(), repo.steps.as_slice()].concat();
                    repos.push((repo.id, Some(Repository { steps, ..repo.clone() })));
                }
                Some(Object::Rule(rule)) if rule.effect == RuleEffect::Block => {
                    last_block = last_block.max(Some(rule.priority));
                }
                _ => {}
            }
        }
        let readers = Catalog { repos: self.readers.repos.with(repos), ..Catalog::default() };
        Protection { readers, last_block }
    }
}

/// Returns the plan for the objects of a catalog.
pub(super) fn plan(c: &mut dyn Conn, catalog: &Catalog, input: &Input) -> Result<Plan, DbError> {
    let Input { body, state, sections, .. } = input;
    let rows = Rows::read(c, catalog, sections)?;
    let mut request = requested(catalog, &rows, input);
    let (mut current, _) = rows.objects(&request.renamed, sections, &request.names);
    let mut plan = StatePlan { digest: current.digest(), ..StatePlan::default() };
    if request.problems.len() >= MAX_PROBLEMS {
        // There is no difference to objects that were not checked.
        let error = format!("the objects after the first {MAX_PROBLEMS} problems were not checked");
        plan.problems = request.problems;
        plan.problems.push(StateProblem { section: None, name: String::new(), error });
        let objects =
            ObjectChanges { digest: plan.digest.clone(), changes: Vec::new(), detail: String::new() };
        return Ok(Plan { wire: plan, objects });
    }
    for (key, new_name) in &request.renames {
        let old_name = match key.section {
            Section::Sources => catalog.source(&key.name).map(|source| &source.name),
            _ => catalog.repo(&key.name).map(|repo| &repo.name),
        };
        let key = Key::new(key.section, new_name.as_str());
        for (objects, name) in [(&mut current, old_name), (&mut request.objects, Some(new_name))] {
            if let (Some(entry), Some(name)) = (objects.all.get_mut(&key), name) {
                entry.set_name(name);
            }
        }
    }
    let name = |problem: &StateProblem| Some((problem.section?, problem.name.clone()));
    let refused: BTreeSet<(Section, String)> = request.problems.iter().filter_map(name).collect();
    check_others(&mut request, &rows, &current, body.prune);
    let Request { catalog: requested, objects, problems, .. } = request;
    plan.problems = problems;
    let mut counts: BTreeMap<Section, [usize; 2]> = BTreeMap::new();
    for key in current.all.keys().filter(|key| !key.is_definition) {
        counts.entry(key.section).or_default()[0] += 1;
    }
    let mut all = differences(current, objects);
    all.retain(|Difference { key, new, .. }| match new {
        Some(_) => !refused.contains(&(key.section, key.name.clone())),
        // What looks deleted in a section may be an object of the file that was refused.
        None => refused.iter().all(|(section, _)| *section != key.section),
    });
    let spellings = spellings(&requested);
    let before = Protection::of(catalog);
    let later = later(&all, catalog, &waiting_repos(&all, catalog, &requested, state), before.last_block);
    let after = before.after(&all, &later);
    let is_deletion = |difference: &&Difference| body.prune && difference.new.is_none();
    let deleted =
        all.iter().filter(is_deletion).filter_map(|it| Some((repository(it.old.as_ref())?.id, None)));
    let remaining = Catalog { repos: after.readers.repos.with(deleted), ..Catalog::default() };
    let (mut changes, mut closings) = (Vec::new(), Vec::new());
    for (difference, later) in all.into_iter().zip(later) {
        if is_covered(&difference, state, &requested) {
            continue;
        }
        if let Some(error) =
            refusal(&difference, body, &rows, catalog).or_else(|| open_snapshot(&difference, input.now))
        {
            let (section, name) = (Some(difference.key.section), difference.key.name.clone());
            plan.problems.push(StateProblem { section, name, error });
        }
        if difference.action == StateAction::Delete {
            if !body.prune {
                plan.kept += 1;
                continue;
            }
            counts.entry(difference.key.section).or_default()[1] += 1;
        }
        let mut opened = difference.readable_sources(&remaining);
        let protection = if later { &after } else { &before };
        opened.retain(|id| !protection.readers.is_open(*id) && requested.source_by_id(*id).is_some());
        let readable = |id: &SourceId| {
            let source = requested.source_name(*id);
            format!("everyone who can connect to the server can read the packages of '{source}'")
        };
        let closing = difference.closing().filter(|_| later);
        let closed = closing.as_ref().map(|_| "requires a token at once".to_owned());
        let twin = difference.other_spelling(&spellings, catalog);
        let twin = twin.map(|name| format!("its name differs from '{name}' only in upper and lower case"));
        plan.changes.push(StateChange {
            action: difference.action,
            section: difference.key.section,
            fields: difference.fields(),
            weaker: difference.is_weaker(protection.last_block) || !opened.is_empty(),
            later,
            effects: opened.iter().map(readable).chain(twin).chain(closed).collect(),
            name: difference.key.name,
        });
        closings.extend(closing);
        if !later {
            let object = |entry: Option<Entry>| entry.and_then(|entry| entry.object);
            changes.push(ObjectChange { old: object(difference.old), new: object(difference.new) });
        }
    }
    check_protection(&mut plan, body, &counts);
    let (digest, detail) = (plan.digest.clone(), detail(&plan, input, closings.len()));
    changes.extend(closings);
    Ok(Plan { wire: plan, objects: ObjectChanges { digest, changes, detail } })
}

/// Returns the names of sources and repositories, by their section and themselves in lower case.
fn spellings(catalog: &Catalog) -> BTreeMap<(Section, String), Vec<&str>> {
    let sources = catalog.sources.iter().map(|source| (Section::Sources, source.name.as_str()));
    let repos = catalog.repos.iter().map(|repo| (Section::Repositories, repo.name.as_str()));
    let mut names: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (section, name) in sources.chain(repos) {
        names.entry((section, name.to_lowercase())).or_default().push(name);
    }
    names
}

/// Returns whether nothing needs to be done: credentials only have to exist, and what belongs to a source is deleted or
/// stays with it.
fn is_covered(difference: &Difference, state: &State, requested: &Catalog) -> bool {
    let key = &difference.key;
    let is_covered_deletion = match key.section {
        Section::GitCredentials => return true,
        // Only a source of the state needs its definition there.
        Section::Sources => key.is_definition && state.sources.iter().all(|all| !all.contains_key(&key.name)),
        Section::GitBuilders => {
            key.name.split_once('/').is_some_and(|(source, _)| requested.source(source).is_none())
        }
        _ => false,
    };
    difference.action == StateAction::Delete && is_covered_deletion
}

/// Returns the reason why a single change is refused.
fn refusal(difference: &Difference, body: &ApplyState, rows: &Rows, catalog: &Catalog) -> Option<String> {
    let name = &difference.key.name;
    match (difference.action, difference.object()) {
        (StateAction::Delete, None) if difference.key.is_definition => Some(
            "the source has a definition, which cannot be removed: write its snapshot and files into the file".to_owned(),
        ),
        (StateAction::Delete, Some(Object::Source(source))) if body.prune => {
            let builds = rows.builders.iter().any(|builder| builder.source == source.id);
            let is_used = builds || catalog.has_steps(source.id);
            (is_used && !body.delete_packages_of.contains(name)).then(|| {
                format!("the source has packages or builders: --delete-packages-of={name} deletes it with them")
            })
        }
        (StateAction::Delete, Some(Object::Repository(repo))) if body.prune => {
            (repo.changes != ChangePolicy::Any).then(|| {
                format!(
                    "the repository accepts changes by promotion only and is not deleted by a state file: run rspm delete \
                     repo --name={name}"
                )
            })
        }
        (StateAction::Change, None) if difference.key.section == Section::GitBuilders => {
            let trigger = |entry: &Option<Entry>| entry.as_ref()?.text("build_trigger");
            (trigger(&difference.old) != trigger(&difference.new)).then(|| {
                "'build_trigger' of a builder does not change: delete the builder, and apply again".to_owned()
            })
        }
        _ => None,
    }
}

/// Refuses another definition at a state that is not over: elsewhere, or later, it would select other packages.
fn open_snapshot(difference: &Difference, now: Timestamp) -> Option<String> {
    let text = difference.new.as_ref().filter(|_| difference.key.is_definition)?.text("snapshot")?;
    let is_over = match text.parse() {
        Ok(Snapshot::Date(day)) => day.end() <= now,
        Ok(Snapshot::Transaction(_) | Snapshot::Alias(_)) => true,
        Ok(Snapshot::Latest) | Err(_) => false,
    };
    (!is_over).then(|| format!("'snapshot' is {text}, which is not over: name a past day or a transaction"))
}

/// Returns the new repositories, and those with a new list, that wait: a source of the list has no definition yet, but one in
/// the state, and the sources after it would provide its packages.
fn waiting_repos(
    all: &[Difference],
    catalog: &Catalog,
    requested: &Catalog,
    state: &State,
) -> BTreeSet<RepoId> {
    let is_defined_later = |name: &str| {
        state.sources.iter().any(|all| all.get(name).is_some_and(|source| source.snapshot.is_some()))
    };
    let is_undefined = |id: SourceId| {
        requested.source_by_id(id).is_some_and(|source| {
            has_definition(source.kind) && !catalog.has_steps(id) && is_defined_later(source.name.as_str())
        })
    };
    let waiting = all.iter().filter_map(|difference| {
        let new = repository(difference.new.as_ref())?;
        let old = repository(difference.old.as_ref()).map(Repository::sources).unwrap_or_default();
        new.sources().into_iter().any(|id| !old.contains(&id) && is_undefined(id)).then_some(new.id)
    });
    waiting.collect()
}

fn repository(entry: Option<&Entry>) -> Option<&Repository> {
    match &entry?.object {
        Some(Object::Repository(repo)) => Some(repo),
        _ => None,
    }
}

/// Returns for each change whether it is made later: by an operation of its own, or after the repositories that wait.
///
/// SECURITY: what protects is removed last, because its replacement may wait; what protects more does not wait for the list
/// of a repository that exists.
fn later(
    all: &[Difference],
    catalog: &Catalog,
    waiting: &BTreeSet<RepoId>,
    last_block: Option<i64>,
) -> Vec<bool> {
    let is_removal = |it: &&Difference| {
        !waiting.is_empty() && (it.action == StateAction::Delete || it.is_weaker(last_block))
    };
    let mut guards = Guards::default();
    for removed in all.iter().filter(is_removal) {
        if let Some(Object::Guard(row)) = removed.old_object() {
            guards.add(row);
        }
    }
    let is_missing = |repo: RepoId| waiting.contains(&repo) && catalog.repo_by_id(repo).is_none();
    let is_later = |difference: &Difference| match difference.object() {
        None => true,
        Some(_) if is_removal(&difference) => true,
        Some(Object::Repository(repo)) => waiting.contains(&repo.id),
        Some(Object::Rule(rule)) => rule.criteria.repo.is_some_and(is_missing),
        Some(Object::Metadata(row)) => row.scope.repo.is_some_and(is_missing),
        Some(Object::Guard(row)) => guards.conflict(row).is_some(),
        Some(Object::Source(_)) => false,
    };
    all.iter().map(is_later).collect()
}

/// Adds the problems that concern all changes: weaker protection, many deletions, another base. `counts` are the numbers of
/// present and of deleted objects.
fn check_protection(plan: &mut StatePlan, body: &ApplyState, counts: &BTreeMap<Section, [usize; 2]>) {
    let mut refuse = |error: String| {
        plan.problems.push(StateProblem { section: None, name: String::new(), error });
    };
    if let Some(base) = body.base.as_ref().filter(|base| **base != plan.digest) {
        refuse(format!(
            "the objects of the server changed since the plan with the base {base}: review this plan, then use --base={}",
            plan.digest
        ));
    }
    let weaker = plan.changes.iter().filter(|change| change.weaker).count();
    if weaker > 0 && !body.allow_weaker {
        let changes = count_of(weaker, "change", "changes");
        refuse(format!("{changes} with ! would protect less than now: --allow-weaker permits that"));
    }
    let total: usize = counts.values().map(|[_, deleted]| deleted).sum();
    let is_most = |[present, deleted]: &[usize; 2]| 2 * deleted > *present;
    let is_large = total > MAX_DELETIONS || counts.values().any(is_most);
    if is_large && body.confirm_deletes != Some(total) {
        refuse(format!(
            "{} would be deleted, more than {MAX_DELETIONS} or more than half of a section: --confirm-deletes={total} permits \
             that",
            count_of(total, "object", "objects")
        ));
    }
}

/// Returns the text of the changes that are made now, for the audit trail; `closed` repositories are authenticated before their
/// other changes.
fn detail(plan: &StatePlan, input: &Input, closed: usize) -> String {
    let count =
        |action| plan.changes.iter().filter(|change| !change.later && change.action == action).count();
    let comment = match input.body.comment.as_str() {
        "" => String::new(),
        comment => format!("; {comment}"),
    };
    format!(
        "SHA-256 {}; base {}; {} created, {} changed, {} deleted{comment}",
        input.sha256,
        plan.digest,
        count(StateAction::Create),
        count(StateAction::Change) + closed,
        count(StateAction::Delete)
    )
}
