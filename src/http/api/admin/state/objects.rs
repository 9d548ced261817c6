//! The objects of a server, with the fields that a state file has for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::api::admin::block_rule_form::{DEFAULT_PRIORITY, wire_of_rule};
use api::block_rule::BlockRule;
use api::definition::DefinitionFile;
use api::metadata::MetadataRecord;
use api::state::{
    Section, State, StateBuilder, StateCredential, StateFile, StateGuard, StateRepository, StateSource,
    StateSubscription,
};
use base::model::digest::Sha256;
use base::model::kind::{ChangePolicy, Layout, SourceKind, Supply};
use formats::policy::Rule;
use formats::r::closure::Kinds;
use formats::r::curated::include_text;
use runtime::catalog::{Catalog, Repository, Source};
use store::db::curation::{self, Curation};
use store::db::git_builder::{GitBuilder, Trigger};
use store::db::git_credential::GitCredential;
use store::db::metadata::Metadata;
use store::db::name_guard::NameGuardRow;
use store::db::{self, Conn, DbError};
use tasks::edit::state::Object;

/// The type of a source and of a repository without the field.
pub(super) const DEFAULT_SOURCE: &str = "local";
pub(super) const DEFAULT_REPOSITORY: &str = "r";

/// The identity of an object. A definition of a curated source is an object beside its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) section: Section,
    pub(super) is_definition: bool,
    pub(super) name: String,
    /// The number among objects of the same name, from 0: equal rules.
    number: usize,
}

impl Key {
    pub(super) fn new(section: Section, name: impl Into<String>) -> Key {
        Key { section, is_definition: false, name: name.into(), number: 0 }
    }

    pub(super) fn definition(source: &str) -> Key {
        Key { is_definition: true, ..Key::new(Section::Sources, source) }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The fields as a state file has them, without defaults.
    pub(super) fields: Map<String, Value>,
    /// The object; `None` for a definition, a builder and a credential, which have operations of their own.
    pub(super) object: Option<Object>,
    /// The names of sources and repositories that select the object.
    places: Vec<String>,
}

impl Entry {
    fn new<T: Serialize>(fields: &T, object: Option<Object>, places: &[Option<&str>]) -> Entry {
        let fields = match serde_json::to_value(fields) {
            Ok(Value::Object(fields)) => fields,
            // The types of the sections are objects with keys that are texts.
            Ok(_) | Err(_) => Map::new(),
        };
        Entry { fields, object, places: places.iter().flatten().map(|name| (*name).to_owned()).collect() }
    }

    /// Returns the text of a field; `None` if it is absent or has another type.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }
}

/// A name, or a prefix followed by `*`.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Option<String>);

impl Pattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        match self.0.as_deref().map(|text| (text, text.strip_suffix('*'))) {
            None => true,
            Some((_, Some(prefix))) => name.starts_with(prefix),
            Some((text, None)) => name == text,
        }
    }

    pub(super) fn selects(&self, entry: &Entry) -> bool {
        self.0.is_none() || entry.places.iter().any(|name| self.matches(name))
    }
}

/// Objects by identity. Rules and metadata have names that are made of their content.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects(pub(super) BTreeMap<Key, Entry>);

impl Objects {
    /// Adds an object; returns whether there was none of this name.
    pub(super) fn add(&mut self, key: Key, entry: Entry) -> bool {
        self.0.insert(key, entry).is_none()
    }

    /// Adds a rule. Equal rules are several objects.
    pub(super) fn add_rule(&mut self, entry: Entry) {
        let first = Key::new(Section::BlockRules, Value::Object(entry.fields.clone()).to_string());
        let last = Key { number: usize::MAX, ..first.clone() };
        let number = self.0.range(&first..=&last).next_back().map_or(0, |(key, _)| key.number + 1);
        self.0.insert(Key { number, ..first }, entry);
    }

    /// Returns the SHA-256 of the objects.
    pub(super) fn digest(&self) -> String {
        let mut text = String::new();
        for (key, entry) in &self.0 {
            let line = (key.section.as_str(), &key.name, &entry.fields);
            text += &serde_json::json!(line).to_string();
            text.push('\n');
        }
        Sha256::of(text).to_string()
    }

    /// Returns the content of a state file with these sections.
    pub(super) fn into_state(self, sections: &[Section]) -> serde_json::Result<State> {
        let mut file = Map::from_iter([("format".to_owned(), Value::from(api::state::FORMAT))]);
        for section in sections {
            let empty = match section {
                Section::BlockRules | Section::Metadata => Value::Array(Vec::new()),
                _ => Value::Object(Map::new()),
            };
            file.insert(section.as_str().to_owned(), empty);
        }
        for (key, entry) in self.0 {
            match file.get_mut(key.section.as_str()) {
                Some(Value::Array(list)) => list.push(Value::Object(entry.fields)),
                Some(Value::Object(named)) => {
                    let object = named.entry(key.name).or_insert_with(|| Value::Object(Map::new()));
                    // A source and its definition are one object of the file.
                    if let Value::Object(fields) = object {
                        fields.extend(entry.fields);
                    }
                }
                _ => {}
            }
        }
        serde_json::from_value(Value::Object(file))
    }
}

/// The rows that are not in the catalog.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) guards: Vec<NameGuardRow>,
    metadata: Vec<Metadata>,
    pub(super) builders: Vec<GitBuilder>,
    pub(super) credentials: Vec<GitCredential>,
    definitions: Vec<(Source, Curation)>,
}

impl Rows {
    /// Reads the rows of these sections, and all builders and credentials.
    pub(super) fn read(c: &mut dyn Conn, catalog: &Catalog, sections: &[Section]) -> Result<Rows, DbError> {
        let mut rows = Rows {
            builders: db::git_builder::list(c)?,
            credentials: db::git_credential::list(c)?,
            ..Rows::default()
        };
        if sections.contains(&Section::NameGuards) {
            rows.guards = db::name_guard::list(c)?;
        }
        if sections.contains(&Section::Metadata) {
            rows.metadata = db::metadata::list(c)?;
        }
        if sections.contains(&Section::Sources) {
            for source in catalog.sources.iter().filter(|source| has_definition(source.kind)) {
                let tree = catalog.source_package_trees(source.id).next();
                if let Some((tree, seq)) = tree.and_then(|tree| Some((tree.id, tree.newest()?)))
                    && let Some(curation) = curation::get(c, tree, seq)?
                {
                    rows.definitions.push((source.clone(), curation));
                }
            }
        }
        Ok(rows)
    }

    /// Returns the objects of a catalog, and lines about those that a state file cannot have.
    pub(super) fn objects(&self, catalog: &Catalog, sections: &[Section]) -> (Objects, Vec<String>) {
        let (mut objects, mut comments) = (Objects::default(), Vec::new());
        let has = |section| sections.contains(&section);
        if has(Section::Sources) {
            for source in catalog.sources.iter().filter(|source| !source.kind.is_built_in()) {
                objects.add(Key::new(Section::Sources, source.name.as_str()), of_source(source));
            }
            for (source, curation) in &self.definitions {
                let name = catalog.source_name(source.id);
                objects.add(Key::definition(&name), of_definition(&name, &definition(source.kind, curation)));
            }
        }
        if has(Section::Repositories) {
            for repo in catalog.repos.iter() {
                objects
                    .add(Key::new(Section::Repositories, repo.name.as_str()), of_repository(catalog, repo));
            }
        }
        if has(Section::GitCredentials) {
            for row in &self.credentials {
                let (name, username, host) = (row.name.clone(), row.username.clone(), row.host.clone());
                let fields = StateCredential { username, host, fingerprint: row.fingerprint.clone() };
                let key = Key::new(Section::GitCredentials, format!("{}:{name}", row.kind));
                objects.add(key, Entry::new(&fields, None, &[Some(&name)]));
            }
        }
        if has(Section::GitBuilders) {
            for row in &self.builders {
                let Some(source) = catalog.source_by_id(row.source) else { continue };
                let credential = self.credentials.iter().find(|other| Some(other.id) == row.credential);
                let fields = StateBuilder {
                    url: row.url.clone(),
                    branch: row.branch.clone(),
                    build_trigger: Some(row.trigger.to_string()),
                    sub_dir: row.sub_dir.clone(),
                    clone_depth: Some(row.clone_depth),
                    recurse_submodules: Some(row.submodules),
                    vignettes: row.vignettes,
                    credential: credential.map(|credential| credential.name.clone()),
                };
                let name = format!("{}/{}", source.name, row.name);
                objects.add(Key::new(Section::GitBuilders, name), of_builder(source.name.as_str(), &fields));
            }
        }
        if has(Section::NameGuards) {
            for row in &self.guards {
                match catalog.source_by_id(row.source) {
                    Some(source) if !row.automatic => {
                        objects.add(guard_key(row), of_guard(source, row));
                    }
                    source => {
                        let kind = if row.automatic { "automatic name guard" } else { "name guard" };
                        let source = source.map_or("a deleted source", |source| source.name.as_str());
                        comments.push(format!("{kind} {}:{} of {source}", row.language, row.pattern));
                    }
                }
            }
        }
        if has(Section::BlockRules) {
            for stored in catalog.rules.in_order() {
                match of_rule(catalog, &stored.rule) {
                    Ok(entry) => objects.add_rule(entry),
                    Err(comment) => comments.push(comment),
                }
            }
        }
        if has(Section::Metadata) {
            for row in &self.metadata {
                match of_metadata(catalog, row) {
                    Some((key, entry)) => drop(objects.add(key, entry)),
                    None => comments.push(format!(
                        "metadata '{}' of {} for a deleted source or repository",
                        row.key, row.scope.name
                    )),
                }
            }
        }
        (objects, comments)
    }
}

pub(super) fn has_definition(kind: SourceKind) -> bool {
    matches!(kind.supply(), Supply::Curated | Supply::Snapshot)
}

pub(super) fn of_source(source: &Source) -> Entry {
    let object = Some(Object::Source(source.clone()));
    let kind = Some(source.kind.to_string()).filter(|kind| kind != DEFAULT_SOURCE);
    let fields = StateSource { kind, ..StateSource::default() };
    Entry::new(&fields, object, &[Some(source.name.as_str())])
}

/// Returns the definition of a source as a state file has it.
fn definition(kind: SourceKind, curation: &Curation) -> StateSource {
    let file = |file: &curation::DefinitionFile| {
        let (name, text) = (file.name.clone(), String::from_utf8_lossy(&file.content).into_owned());
        StateFile::File(DefinitionFile { name, text })
    };
    let is_list = kind.layout() == Layout::Lists;
    StateSource {
        snapshot: Some(curation.snapshot.clone()),
        include: curation.include.clone().filter(|text| is_list && *text != include_text(Kinds::STRONG)),
        dependencies: !is_list && curation.include.is_some(),
        files: curation.files.iter().map(file).collect(),
        ..StateSource::default()
    }
}

pub(super) fn of_definition(name: &str, definition: &StateSource) -> Entry {
    let definition = StateSource { kind: None, renamed_from: None, ..definition.clone() };
    Entry::new(&definition, None, &[Some(name)])
}

pub(super) fn of_repository(catalog: &Catalog, repo: &Repository) -> Entry {
    let subscription = |entry: &runtime::catalog::Subscription| {
        let source = catalog.source_by_id(entry.source)?.name.to_string();
        Some(match entry.version {
            None => StateSubscription::Name(source),
            Some(version) => StateSubscription::Version { source, version: version.to_string() },
        })
    };
    let fields = StateRepository {
        kind: Some(repo.kind.to_string()).filter(|kind| kind != DEFAULT_REPOSITORY),
        renamed_from: None,
        description: repo.description.clone(),
        hidden: repo.hidden,
        authenticated: repo.authenticated,
        changes: Some(repo.changes.to_string()).filter(|_| repo.changes != ChangePolicy::Any),
        sources: repo.subscriptions().iter().filter_map(subscription).collect(),
    };
    Entry::new(&fields, Some(Object::Repository(repo.clone())), &[Some(repo.name.as_str())])
}

pub(super) fn of_builder(source: &str, builder: &StateBuilder) -> Entry {
    let fields = StateBuilder {
        build_trigger: builder.build_trigger.clone().filter(|trigger| trigger != Trigger::Commits.as_str()),
        clone_depth: builder.clone_depth.filter(|depth| *depth != 1),
        recurse_submodules: builder.recurse_submodules.filter(|levels| *levels != 0),
        ..builder.clone()
    };
    Entry::new(&fields, None, &[Some(source)])
}

pub(super) fn guard_key(row: &NameGuardRow) -> Key {
    Key::new(Section::NameGuards, format!("{}:{}", row.language, row.pattern))
}

pub(super) fn of_guard(source: &Source, row: &NameGuardRow) -> Entry {
    let fields = StateGuard { source: source.name.to_string(), description: row.description.clone() };
    Entry::new(&fields, Some(Object::Guard(row.clone())), &[Some(source.name.as_str())])
}

/// Returns the object of a rule. The error is the line about a rule that cannot be created: its source or repository was
/// deleted. SECURITY: without this limit, it would apply to the whole server.
pub(super) fn of_rule(catalog: &Catalog, rule: &Arc<Rule>) -> Result<Entry, String> {
    let form = wire_of_rule(catalog, rule);
    if let Some(reason) = &form.without_effect {
        let text = serde_json::to_string(&BlockRule { id: None, without_effect: None, ..form.clone() });
        return Err(format!("block rule without effect, because {reason}: {}", text.unwrap_or_default()));
    }
    let fields = BlockRule {
        id: None,
        priority: form.priority.filter(|priority| *priority != DEFAULT_PRIORITY),
        source_id: None,
        source_type: None,
        repo_id: None,
        block_unscored: form.block_unscored.filter(|blocks| !blocks),
        min_age_fixes: form.min_age_fixes.filter(|fixes| fixes == "wait"),
        language: None,
        ..form
    };
    let places = [fields.source_name.as_deref(), fields.repo.as_deref()];
    Ok(Entry::new(&fields, Some(Object::Rule(Arc::clone(rule))), &places))
}

/// Returns the object of metadata; `None` if its source or repository was deleted.
pub(super) fn of_metadata(catalog: &Catalog, row: &Metadata) -> Option<(Key, Entry)> {
    let scope = &row.scope;
    let source = match scope.source {
        None => None,
        Some(id) => Some(catalog.source_by_id(id)?.name.as_str()),
    };
    let repo = match scope.repo {
        None => None,
        Some(id) => Some(catalog.repo_by_id(id)?.name.as_str()),
    };
    let fields = MetadataRecord {
        package_name: scope.name.clone(),
        version: Some(scope.version.clone()).filter(|version| !version.is_empty()),
        source: source.map(str::to_owned),
        repo: repo.map(str::to_owned),
        key: row.key.clone(),
        value: row.value.clone(),
        ..MetadataRecord::default()
    };
    let limits = [("version", fields.version.as_deref()), ("source", source), ("repo", repo)];
    let limits = limits.iter().filter_map(|(word, name)| Some(format!(", {word} {}", (*name)?)));
    let name = format!("{}{}: {}", scope.name, limits.collect::<String>(), row.key);
    let entry = Entry::new(&fields, Some(Object::Metadata(row.clone())), &[source, repo]);
    Some((Key::new(Section::Metadata, name), entry))
}
