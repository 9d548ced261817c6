//! The changes that make the objects of a server equal to those of a state file, and the reasons to refuse them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::contents::{check_others, requested};
use super::objects::{Entry, Key, Objects, Pattern, Rows, has_definition};
use api::state::{ApplyState, ChangedField, Section, StateAction, StateChange, StatePlan, StateProblem};
use base::model::ids::{RepoId, SourceId};
use base::model::kind::ChangePolicy;
use base::model::rule_effect::RuleEffect;
use base::model::snapshot::Snapshot;
use base::model::text::count_of;
use base::model::time::Timestamp;
use runtime::catalog::{Catalog, Repository};
use store::db::{Conn, DbError};
use tasks::edit::Actor;
use tasks::edit::state::{Object, ObjectChange, ObjectChanges};

/// The number of deletions in a plan that need no confirmation.
const MAX_DELETIONS: usize = 20;

/// A request to compare a state, or to apply it.
pub(super) struct Input {
    pub(super) body: ApplyState,
    pub(super) sections: Vec<Section>,
    /// SHA-256 of the state in the request.
    pub(super) sha256: String,
    pub(super) actor: Actor,
    pub(super) now: Timestamp,
}

/// A plan, and the objects of its changes that are not made later.
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
fn differences(current: Objects, mut requested: Objects) -> Vec<Difference> {
    let mut all = Vec::new();
    for (key, old) in current.0 {
        match requested.0.remove(&key) {
            None => all.push(Difference { key, action: StateAction::Delete, old: Some(old), new: None }),
            Some(new) if new.fields == old.fields => {}
            Some(new) => {
                all.push(Difference { key, action: StateAction::Change, old: Some(old), new: Some(new) });
            }
        }
    }
    let new = requested.0.into_iter();
    all.extend(new.map(|(key, new)| Difference {
        key,
        action: StateAction::Create,
        old: None,
        new: Some(new),
    }));
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

impl Difference {
    /// Returns the fields with other values; all fields of a new named object.
    fn fields(&self) -> Vec<ChangedField> {
        let has_named_fields = !matches!(self.key.section, Section::BlockRules);
        let fields =
            |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.fields.clone()).unwrap_or_default();
        let (old, new) = (fields(&self.old), fields(&self.new));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let value = |fields: &serde_json::Map<String, Value>, name: &str| {
            fields.get(name).cloned().unwrap_or_default()
        };
        names
            .into_iter()
            .filter(|name| self.new.is_some() && has_named_fields && old.get(*name) != new.get(*name))
            .map(|name| ChangedField { field: name.clone(), from: value(&old, name), to: value(&new, name) })
            .collect()
    }

    fn object(&self) -> Option<&Object> {
        let entry = self.new.as_ref().or(self.old.as_ref())?;
        entry.object.as_ref()
    }

    /// Returns whether less is protected afterwards: packages can be read by more clients, or installed.
    fn is_weaker(&self) -> bool {
        match (self.action, self.object()) {
            (StateAction::Delete, Some(Object::Rule(rule))) => rule.effect == RuleEffect::Block,
            (StateAction::Create, Some(Object::Rule(rule))) => rule.effect == RuleEffect::Allow,
            (StateAction::Delete, Some(Object::Guard(_))) => true,
            (StateAction::Change, Some(Object::Guard(_))) => {
                let source = |entry: &Option<Entry>| entry.as_ref()?.text("source").map(str::to_owned);
                source(&self.old) != source(&self.new)
            }
            (StateAction::Change, Some(Object::Repository(new))) => {
                matches!(self.old_object(), Some(Object::Repository(old)) if old.authenticated && !new.authenticated)
            }
            _ => false,
        }
    }

    fn old_object(&self) -> Option<&Object> {
        self.old.as_ref()?.object.as_ref()
    }

    /// Returns the sources whose packages everyone can read only after the change.
    fn opened_sources(&self, catalog: &Catalog) -> Vec<String> {
        let Some(Object::Repository(new)) = self.object().filter(|_| self.new.is_some()) else {
            return Vec::new();
        };
        let is_opened = |id: &SourceId| !new.authenticated && !catalog.is_open(*id);
        new.sources().into_iter().filter(is_opened).map(|id| catalog.source_name(id)).collect()
    }
}

/// Returns the plan for the objects of a catalog.
pub(super) fn plan(c: &mut dyn Conn, catalog: &Catalog, input: &Input) -> Result<Plan, DbError> {
    let Input { body, sections, .. } = input;
    let rows = Rows::read(c, catalog, sections)?;
    let mut request = requested(catalog, &rows, body, input.now, &input.actor);
    let (mut current, _) = rows.objects(&request.renamed, sections);
    let names = Pattern(body.names.clone());
    current.0.retain(|_, entry| names.selects(entry));
    request.objects.0.retain(|_, entry| names.selects(entry));
    let digest = current.digest();
    for (key, old) in &request.renames {
        let name = |objects: &mut Objects, name: &str| {
            if let Some(entry) = objects.0.get_mut(key) {
                entry.fields.insert("name".to_owned(), name.into());
            }
        };
        name(&mut current, old);
        name(&mut request.objects, &key.name);
    }
    use_previous_names(&mut current, catalog);
    let deleted_guards: BTreeSet<Key> = current
        .0
        .keys()
        .filter(|key| {
            body.prune && key.section == Section::NameGuards && !request.objects.0.contains_key(*key)
        })
        .cloned()
        .collect();
    check_others(&mut request, &rows, &deleted_guards);
    let counts = counts(&current);
    let all = differences(current, std::mem::take(&mut request.objects));
    let mut plan = StatePlan { digest: digest.clone(), problems: request.problems, ..StatePlan::default() };
    let waiting = waiting_repos(&all, catalog, &request.catalog);
    let (mut changes, mut deletions) = (Vec::new(), BTreeMap::<Section, usize>::new());
    for difference in all {
        if is_covered(&difference, body, &request.catalog) {
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
            *deletions.entry(difference.key.section).or_default() += 1;
        }
        let opened = difference.opened_sources(catalog).into_iter();
        let effects: Vec<String> = opened
            .map(|source| {
                format!("everyone who can connect to the server can read the packages of '{source}'")
            })
            .collect();
        let later = is_later(&difference, &waiting);
        plan.changes.push(StateChange {
            action: difference.action,
            section: difference.key.section,
            fields: difference.fields(),
            weaker: difference.is_weaker() || !effects.is_empty(),
            later,
            effects,
            name: difference.key.name,
        });
        if !later {
            let object = |entry: Option<Entry>| entry.and_then(|entry| entry.object);
            changes.push(ObjectChange { old: object(difference.old), new: object(difference.new) });
        }
    }
    check_protection(&mut plan, body, &deletions, &counts);
    let detail = detail(&plan, input);
    Ok(Plan { wire: plan, objects: ObjectChanges { digest, changes, detail } })
}

/// Gives the current objects the names that they have before the changes: a renamed one is changed under its new name.
fn use_previous_names(current: &mut Objects, catalog: &Catalog) {
    for entry in current.0.values_mut() {
        match &mut entry.object {
            Some(Object::Source(source)) => {
                if let Some(before) = catalog.source_by_id(source.id) {
                    *source = before.clone();
                }
            }
            Some(Object::Repository(repo)) => {
                if let Some(before) = catalog.repo_by_id(repo.id) {
                    repo.name = before.name.clone();
                }
            }
            _ => {}
        }
    }
}

/// Returns the number of objects of each section.
fn counts(objects: &Objects) -> BTreeMap<Section, usize> {
    let mut counts = BTreeMap::new();
    for key in objects.0.keys().filter(|key| !key.is_definition) {
        *counts.entry(key.section).or_default() += 1;
    }
    counts
}

/// Returns whether nothing needs to be done: credentials only have to exist, and what belongs to a source is deleted or
/// stays with it.
fn is_covered(difference: &Difference, body: &ApplyState, requested: &Catalog) -> bool {
    let key = &difference.key;
    let is_covered_deletion = match key.section {
        Section::GitCredentials => return true,
        // Only a source of the state needs its definition there.
        Section::Sources => {
            key.is_definition && body.state.sources.iter().all(|all| !all.contains_key(&key.name))
        }
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
            let trigger = |entry: &Option<Entry>| entry.as_ref()?.text("build_trigger").map(str::to_owned);
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

/// Returns the new repositories, and those with a new list, that wait: a source of the list has no definition yet, and the
/// sources after it would provide its packages.
fn waiting_repos(all: &[Difference], catalog: &Catalog, requested: &Catalog) -> BTreeSet<RepoId> {
    let is_undefined = |id: SourceId| {
        let source = requested.source_by_id(id);
        source.is_some_and(|source| has_definition(source.kind) && !catalog.has_steps(id))
    };
    let old_list = |difference: &Difference| match difference.old_object() {
        Some(Object::Repository(old)) => old.sources(),
        _ => Vec::new(),
    };
    let waiting = all.iter().filter_map(|difference| match &difference.new.as_ref()?.object {
        Some(Object::Repository(new)) => {
            let old = old_list(difference);
            new.sources().into_iter().any(|id| !old.contains(&id) && is_undefined(id)).then_some(new.id)
        }
        _ => None,
    });
    waiting.collect()
}

fn is_later(difference: &Difference, waiting: &BTreeSet<RepoId>) -> bool {
    let repo = match difference.object() {
        None => return true,
        Some(Object::Repository(Repository { id, .. })) => Some(*id),
        Some(Object::Rule(rule)) => rule.criteria.repo,
        Some(Object::Metadata(row)) => row.scope.repo,
        Some(Object::Source(_) | Object::Guard(_)) => None,
    };
    repo.is_some_and(|repo| waiting.contains(&repo))
}

/// Adds the problems that concern all changes: weaker protection, many deletions, another base.
fn check_protection(
    plan: &mut StatePlan,
    body: &ApplyState,
    deletions: &BTreeMap<Section, usize>,
    counts: &BTreeMap<Section, usize>,
) {
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
    let total: usize = deletions.values().sum();
    let is_most =
        |(section, count): (&Section, &usize)| 2 * count > counts.get(section).copied().unwrap_or(0);
    let is_large = total > MAX_DELETIONS || deletions.iter().any(is_most);
    if is_large && body.confirm_deletes != Some(total) {
        refuse(format!(
            "{} would be deleted, more than {MAX_DELETIONS} or more than half of a section: --confirm-deletes={total} permits \
             that",
            count_of(total, "object", "objects")
        ));
    }
}

/// Returns the text of the changes that are made now, for the audit trail.
fn detail(plan: &StatePlan, input: &Input) -> String {
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
        count(StateAction::Change),
        count(StateAction::Delete)
    )
}
