//! The name guards, block rules, metadata, builders and credentials of a state file, checked by the functions of the edits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::objects::{Key, Objects, Rows, guard_key};
use super::request::{Input, Request, refuse_surplus, require_new, text};
use crate::http::api::admin::block_rule_form::rule_of_wire;
use crate::http::api::admin::metadata::new_metadata;
use api::block_rule::BlockRule;
use api::metadata::MetadataRecord;
use api::state::{Section, State, StateBuilder, StateGuard, StateProblem};
use base::model::kind::{Language, Supply};
use base::model::project_name::spelling_key;
use content::serve::find;
use runtime::catalog::Catalog;
use store::db::git_builder::Trigger;
use store::db::name_guard::NameGuardRow;
use tasks::edit::guard_conflicts::Guards;
use tasks::edit::name_guard::NewNameGuard;
use tasks::edit::state::Object;
use tasks::edit::{Actor, metadata, name_guard};

/// Checks all objects of a state.
pub(super) fn requested(catalog: &Catalog, rows: &Rows, input: &Input) -> Request {
    let mut request = Request::new(catalog, input);
    let State { git_credentials, git_builders, name_guards, block_rules, metadata, .. } = &input.state;
    for name in git_credentials.iter().flat_map(BTreeMap::keys) {
        let is_known = rows.credentials.iter().any(|row| format!("{}:{}", row.kind, row.name) == *name);
        request.add(Section::GitCredentials, name, |_| require_credential(is_known, name));
    }
    for (name, new) in git_builders.iter().flatten() {
        request.add(Section::GitBuilders, name, |request| builder(request, rows, name, new));
    }
    let created = rows.guards.iter().filter(|row| !row.automatic);
    let known: BTreeMap<Key, &NameGuardRow> = created.map(|row| (guard_key(row), row)).collect();
    for (name, new) in name_guards.iter().flatten() {
        request.add(Section::NameGuards, name, |request| guard(request, &known, name, new, &input.actor));
    }
    for (index, new) in block_rules.iter().flatten().enumerate() {
        request.add(Section::BlockRules, &index.to_string(), |request| rule(request, new));
    }
    let mut spellings = BTreeMap::new();
    for (index, new) in metadata.iter().flatten().enumerate() {
        let number = index.to_string();
        request.add(Section::Metadata, &number, |request| value(request, new, &mut spellings));
    }
    request
}

fn builder(request: &mut Request, rows: &Rows, name: &str, builder: &StateBuilder) -> Result<(), String> {
    let (source, _) = name
        .split_once('/')
        .ok_or_else(|| format!("'{name}' is not a source and a package: write it as team-git/acme"))?;
    let source = find::source(&request.catalog, source).map_err(text)?;
    if source.kind.supply() != Supply::Builds {
        return Err(format!("the source '{}' is of type {} and has no builders", source.name, source.kind));
    }
    if builder.build_trigger.as_deref().is_some_and(|trigger| Trigger::parse(trigger).is_none()) {
        return Err("'build_trigger' is commits or tags".to_owned());
    }
    if let Some(credential) = &builder.credential {
        require_credential(rows.credentials.iter().any(|row| row.name == *credential), credential)?;
    }
    require_new(request.objects.add_builder(name, builder))
}

/// Adds a guard, with the number of the present one of this name.
fn guard(
    request: &mut Request,
    known: &BTreeMap<Key, &NameGuardRow>,
    name: &str,
    new: &StateGuard,
    actor: &Actor,
) -> Result<(), String> {
    let (language, pattern) = name.split_once(':').unwrap_or(("", name));
    let language = Language::parse(language).ok_or_else(|| {
        let languages = Language::WORDS.join(":name or ");
        format!("'{name}' does not begin with a language: write it as {languages}:name")
    })?;
    let new = NewNameGuard {
        name: pattern.to_owned(),
        language: Some(language),
        source: new.source.clone(),
        description: new.description.clone(),
    };
    let source = find::source(&request.catalog, &new.source).map_err(text)?;
    let mut row = name_guard::new_row(&request.catalog, &new, actor, request.now).map_err(text)?;
    if let Some(known) = known.get(&guard_key(&row)) {
        row = NameGuardRow { source: row.source, description: row.description, ..NameGuardRow::clone(known) };
    }
    require_new(request.objects.add_guard(source, &row))
}

fn rule(request: &mut Request, requested: &BlockRule) -> Result<(), String> {
    let BlockRule { id, source_id, source_type, repo_id, language, .. } = requested;
    let surplus = [
        ("id", id.is_some()),
        ("source_id", source_id.is_some()),
        ("source_type", source_type.is_some()),
        ("repo_id", repo_id.is_some()),
        ("language", language.is_some()),
        ("without_effect", requested.without_effect.is_some()),
        ("created_by", requested.created_by.is_some()),
        ("created", requested.created.is_some()),
        ("matches", !requested.matches.is_empty()),
    ];
    refuse_surplus(&surplus, "name the source by source_name, and the repository by repo")?;
    let rule =
        rule_of_wire(&request.catalog, requested).map_err(|failure| match failure.unconfirmed_reason() {
            Some(reason) => format!("{reason}: write all = true to confirm that"),
            None => failure.phrase,
        })?;
    request.objects.add_rule(&request.catalog, &Arc::new(rule))
}

/// Adds metadata. `spellings` has the names of the packages of all languages.
fn value(
    request: &mut Request,
    requested: &MetadataRecord,
    spellings: &mut BTreeMap<[String; 3], String>,
) -> Result<(), String> {
    let MetadataRecord { id, actor, changed, .. } = requested;
    let surplus = [("id", id.is_some()), ("actor", actor.is_some()), ("changed", changed.is_some())];
    refuse_surplus(&surplus, "remove it")?;
    let row = metadata::check(&request.catalog, new_metadata(requested.clone())).map_err(text)?;
    if metadata::is_of_every_language(&row.scope) {
        let place = [spelling_key(&row.scope.name), row.scope.version.clone(), row.key.clone()];
        let other = spellings.entry(place).or_insert_with(|| row.scope.name.clone());
        if *other != row.scope.name {
            return Err(format!(
                "'{}' and '{other}' are one Python project: limit one of the two values by source or repo",
                row.scope.name
            ));
        }
    }
    let is_new = request.objects.add_metadata(&request.catalog, &row);
    require_new(is_new.ok_or_else(|| "its source or repository is deleted".to_owned())?)
}

/// Adds problems about references of objects that are not in the sections: lists of repositories to deleted sources,
/// and guards with names in common. Guards that only the server has are deleted with `prune`.
pub(super) fn check_others(request: &mut Request, rows: &Rows, current: &Objects, prune: bool) {
    let Request { renamed, catalog, objects, problems, .. } = request;
    let mut refuse = |section, name: &str, error| {
        problems.push(StateProblem { section: Some(section), name: name.to_owned(), error });
    };
    for source in renamed.sources.iter().filter(|source| catalog.source_by_id(source.id).is_none()) {
        if let Some(repo) = catalog.repos.iter().find(|repo| repo.subscribes_to(source.id)) {
            let error = format!("it is not deleted, because the repository '{}' subscribes to it", repo.name);
            refuse(Section::Sources, source.name.as_str(), error);
        }
    }
    let requested = objects.all.values().filter_map(|entry| match &entry.object {
        Some(Object::Guard(row)) => Some(row),
        _ => None,
    });
    let is_other = |row: &&NameGuardRow| {
        let key = guard_key(row);
        let is_deleted = prune && current.all.contains_key(&key);
        !row.automatic && !is_deleted && !objects.all.contains_key(&key)
    };
    let mut before = Guards::default();
    rows.guards.iter().filter(is_other).for_each(|row| before.add(row));
    for row in requested {
        if let Some(other) = before.conflict(row) {
            let (name, source) = (guard_key(other).name, catalog.source_name(other.source));
            let error = format!(
                "it has names in common with '{name}' of the source '{source}': change one of the two patterns"
            );
            refuse(Section::NameGuards, &guard_key(row).name, error);
        }
        before.add(row);
    }
}

fn require_credential(is_known: bool, name: &str) -> Result<(), String> {
    is_known.then_some(()).ok_or_else(|| {
        format!(
            "the git credential '{name}' is missing: import it with rspm import https-credential or rspm import ssh-key"
        )
    })
}
