//! The name guards, block rules, metadata, builders and credentials of a state file, checked by the functions of the edits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::objects::{Key, Rows, guard_key, of_builder, of_guard, of_metadata, of_rule};
use super::request::{Request, refuse_surplus, text};
use crate::http::api::admin::block_rule_form::rule_of_wire;
use crate::http::api::admin::metadata::new_metadata;
use api::block_rule::BlockRule;
use api::metadata::MetadataRecord;
use api::state::{ApplyState, Section, State, StateBuilder, StateGuard, StateProblem};
use base::model::kind::{Language, Supply};
use base::model::project_name::spelling_key;
use base::model::time::Timestamp;
use content::serve::find;
use runtime::catalog::{Catalog, Source};
use store::db::git_builder::Trigger;
use store::db::git_credential::GitCredential;
use store::db::name_guard::NameGuardRow;
use tasks::edit::name_guard::NewNameGuard;
use tasks::edit::state::Object;
use tasks::edit::{Actor, metadata, name_guard};

/// Checks all objects of a state.
pub(super) fn requested(
    catalog: &Catalog,
    rows: &Rows,
    body: &ApplyState,
    now: Timestamp,
    actor: &Actor,
) -> Request {
    let mut request = Request::new(catalog, body, now);
    let State { git_credentials, git_builders, name_guards, block_rules, metadata, .. } = &body.state;
    for name in git_credentials.iter().flat_map(BTreeMap::keys) {
        request.add(Section::GitCredentials, name, |_| credential(rows, name));
    }
    for (name, new) in git_builders.iter().flatten() {
        request.add(Section::GitBuilders, name, |request| builder(request, rows, name, new));
    }
    for (name, new) in name_guards.iter().flatten() {
        request.add(Section::NameGuards, name, |request| {
            let row = guard(&request.catalog, name, new, now, actor)?;
            add_guard(request, rows, row)
        });
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
    if let Some(credential) = &builder.credential
        && rows.credentials.iter().all(|row| row.name != *credential)
    {
        return Err(missing_credential(credential));
    }
    let entry = of_builder(source.name.as_str(), builder);
    request.insert(Key::new(Section::GitBuilders, name), entry)
}

fn guard(
    catalog: &Catalog,
    name: &str,
    new: &StateGuard,
    now: Timestamp,
    actor: &Actor,
) -> Result<NameGuardRow, String> {
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
    name_guard::new_row(catalog, &new, actor, now).map_err(text)
}

/// Adds a guard, with the number of the present one of this name.
fn add_guard(request: &mut Request, rows: &Rows, row: NameGuardRow) -> Result<(), String> {
    let key = guard_key(&row);
    let known = rows.guards.iter().find(|known| !known.automatic && guard_key(known) == key);
    let row = match known {
        Some(known) => NameGuardRow { source: row.source, description: row.description, ..known.clone() },
        None => row,
    };
    let Some(source) = request.catalog.source_by_id(row.source) else { return Ok(()) };
    let entry = of_guard(source, &row);
    request.insert(key, entry)
}

fn rule(request: &mut Request, requested: &BlockRule) -> Result<(), String> {
    const SURPLUS: [&str; 9] = [
        "id",
        "source_id",
        "source_type",
        "repo_id",
        "language",
        "without_effect",
        "created_by",
        "created",
        "matches",
    ];
    refuse_surplus(requested, &SURPLUS, "name the source by source_name, and the repository by repo")?;
    let rule =
        rule_of_wire(&request.catalog, requested).map_err(|failure| match failure.unconfirmed_reason() {
            Some(reason) => format!("{reason}: write all = true to confirm that"),
            None => failure.phrase,
        })?;
    let rule = Arc::new(rule);
    let entry = of_rule(&request.catalog, &rule)?;
    request.objects.add_rule(entry);
    Ok(())
}

/// Adds metadata. `spellings` has the names of the packages of all languages.
fn value(
    request: &mut Request,
    requested: &MetadataRecord,
    spellings: &mut BTreeMap<[String; 3], String>,
) -> Result<(), String> {
    refuse_surplus(requested, &["id", "actor", "changed"], "remove it")?;
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
    let (key, entry) = of_metadata(&request.catalog, &row)
        .ok_or_else(|| "its source or repository is deleted".to_owned())?;
    request.insert(key, entry)
}

/// Adds problems about references of objects that are not in the sections: lists of repositories to deleted sources,
/// and guards with names in common.
pub(super) fn check_others(request: &mut Request, rows: &Rows, deleted_guards: &BTreeSet<Key>) {
    let deleted: Vec<&Source> = request
        .renamed
        .sources
        .iter()
        .filter(|source| request.catalog.source_by_id(source.id).is_none())
        .collect();
    let mut problems = Vec::new();
    for source in deleted {
        if let Some(repo) = request.catalog.repos.iter().find(|repo| repo.subscribes_to(source.id)) {
            problems.push(StateProblem {
                section: Some(Section::Sources),
                name: source.name.to_string(),
                error: format!("it is not deleted, because the repository '{}' subscribes to it", repo.name),
            });
        }
    }
    let requested: Vec<_> = request
        .objects
        .0
        .iter()
        .filter_map(|(key, entry)| match &entry.object {
            Some(Object::Guard(row)) => Some((key, row)),
            _ => None,
        })
        .collect();
    let is_other = |row: &&NameGuardRow| {
        let key = guard_key(row);
        !request.objects.0.contains_key(&key) && !deleted_guards.contains(&key)
    };
    let others: Vec<_> = rows.guards.iter().filter(|row| !row.automatic).filter(is_other).collect();
    for (index, (key, row)) in requested.iter().enumerate() {
        let before = requested.iter().take(index).map(|(_, row)| *row);
        if let Some(other) = name_guard::conflict_among(before.chain(others.iter().copied()), row) {
            let (name, source) = (guard_key(other).name, request.catalog.source_name(other.source));
            problems.push(StateProblem {
                section: Some(Section::NameGuards),
                name: key.name.clone(),
                error: format!(
                    "it has names in common with '{name}' of the source '{source}': change one of the two patterns"
                ),
            });
        }
    }
    request.problems.extend(problems);
}

fn missing_credential(name: &str) -> String {
    format!(
        "the git credential '{name}' is missing: import it with rspm import https-credential or rspm import ssh-key"
    )
}

/// Checks that a credential exists, such as `https:deploy`.
fn credential(rows: &Rows, name: &str) -> Result<(), String> {
    let has_name = |row: &GitCredential| format!("{}:{}", row.kind, row.name) == name;
    if rows.credentials.iter().any(has_name) { Ok(()) } else { Err(missing_credential(name)) }
}
