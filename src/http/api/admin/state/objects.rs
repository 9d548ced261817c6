//! The objects of a server, with the fields that a state file has for them.

use std::collections::{BTreeMap, BTreeSet};
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
use base::model::ids::SourceId;
use base::model::kind::{ChangePolicy, Layout, SourceKind, Supply};
use base::model::name::Name;
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

pub(super) struct Entry {
    /// The fields as a state file has them, without defaults: a JSON object.
    fields: String,
    /// The object; `None` for a definition, a builder and a credential, which have operations of their own.
    pub(super) object: Option<Object>,
}

impl Entry {
    pub(super) fn has_fields_of(&self, other: &Entry) -> bool {
        self.fields == other.fields
    }

    pub(super) fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.fields).unwrap_or_default()
    }

    /// Returns the text of a field; `None` if it is absent or has another type.
    pub(super) fn text(&self, field: &str) -> Option<String> {
        self.fields().get(field)?.as_str().map(str::to_owned)
    }

    /// Gives a renamed object one of its names, also as a field.
    pub(super) fn set_name(&mut self, name: &Name) {
        let mut fields = self.fields();
        fields.insert("name".to_owned(), name.as_str().into());
        self.fields = json(&fields);
        match &mut self.object {
            Some(Object::Source(source)) => source.name = name.clone(),
            Some(Object::Repository(repo)) => repo.name = name.clone(),
            _ => {}
        }
    }
}

fn json<T: Serialize>(fields: &T) -> String {
    // The types of the sections have keys that are texts.
    serde_json::to_string(fields).unwrap_or_default()
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
}

/// The objects that a pattern selects, by identity. Rules and metadata have names that are made of their content. The methods
/// that add an object return false if there is one of its name.
pub(super) struct Objects {
    pub(super) all: BTreeMap<Key, Entry>,
    names: Pattern,
}

impl Objects {
    pub(super) fn new(names: &Pattern) -> Objects {
        Objects { all: BTreeMap::new(), names: names.clone() }
    }

    /// Adds an object if one of `places`, names of sources and repositories, is selected.
    fn add(&mut self, key: Key, fields: String, object: Option<Object>, places: &[Option<&str>]) -> bool {
        let mut places = places.iter().flatten();
        let is_selected = self.names.0.is_none() || places.any(|name| self.names.matches(name));
        !is_selected || self.all.insert(key, Entry { fields, object }).is_none()
    }

    pub(super) fn add_source(&mut self, source: &Source) -> bool {
        let kind = Some(source.kind.to_string()).filter(|kind| kind != DEFAULT_SOURCE);
        let (fields, name) = (json(&StateSource { kind, ..StateSource::default() }), source.name.as_str());
        let object = Some(Object::Source(source.clone()));
        self.add(Key::new(Section::Sources, name), fields, object, &[Some(name)])
    }

    /// Adds the definition of a source; its type is no part of it.
    pub(super) fn add_definition(&mut self, name: &str, definition: StateSource) -> bool {
        let definition = StateSource { kind: None, renamed_from: None, ..definition };
        self.add(Key::definition(name), json(&definition), None, &[Some(name)])
    }

    pub(super) fn add_repository(&mut self, catalog: &Catalog, repo: &Repository) -> bool {
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
        let (name, object) = (repo.name.as_str(), Some(Object::Repository(repo.clone())));
        self.add(Key::new(Section::Repositories, name), json(&fields), object, &[Some(name)])
    }

    /// Adds a builder by its name with that of its source: `team-git/acme`.
    pub(super) fn add_builder(&mut self, name: &str, builder: &StateBuilder) -> bool {
        let fields = StateBuilder {
            build_trigger: builder
                .build_trigger
                .clone()
                .filter(|trigger| trigger != Trigger::Commits.as_str()),
            clone_depth: builder.clone_depth.filter(|depth| *depth != 1),
            recurse_submodules: builder.recurse_submodules.filter(|levels| *levels != 0),
            ..builder.clone()
        };
        let source = name.split_once('/').map(|(source, _)| source);
        self.add(Key::new(Section::GitBuilders, name), json(&fields), None, &[source])
    }

    pub(super) fn add_guard(&mut self, source: &Source, row: &NameGuardRow) -> bool {
        let fields = StateGuard { source: source.name.to_string(), description: row.description.clone() };
        let object = Some(Object::Guard(row.clone()));
        self.add(guard_key(row), json(&fields), object, &[Some(source.name.as_str())])
    }

    /// Adds a rule. Equal rules are several objects. The error is the line about a rule that cannot be created: its source or
    /// repository was deleted. SECURITY: without this limit, it would apply to the whole server.
    pub(super) fn add_rule(&mut self, catalog: &Catalog, rule: &Arc<Rule>) -> Result<(), String> {
        let form = BlockRule { id: None, ..wire_of_rule(catalog, rule) };
        if let Some(reason) = &form.without_effect {
            let text = json(&BlockRule { without_effect: None, ..form.clone() });
            return Err(format!("block rule without effect, because {reason}: {text}"));
        }
        let fields = BlockRule {
            priority: form.priority.filter(|priority| *priority != DEFAULT_PRIORITY),
            source_id: None,
            source_type: None,
            repo_id: None,
            block_unscored: form.block_unscored.filter(|blocks| !blocks),
            min_age_fixes: form.min_age_fixes.filter(|fixes| fixes == "wait"),
            language: None,
            ..form
        };
        let text = json(&fields);
        let first = Key::new(Section::BlockRules, text.clone());
        let last = Key { number: usize::MAX, ..first.clone() };
        let number = self.all.range(&first..=&last).next_back().map_or(0, |(key, _)| key.number + 1);
        let places = [fields.source_name.as_deref(), fields.repo.as_deref()];
        self.add(Key { number, ..first }, text, Some(Object::Rule(Arc::clone(rule))), &places);
        Ok(())
    }

    /// Adds metadata; returns `None` if its source or repository was deleted.
    pub(super) fn add_metadata(&mut self, catalog: &Catalog, row: &Metadata) -> Option<bool> {
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
        let (key, object) = (Key::new(Section::Metadata, name), Some(Object::Metadata(row.clone())));
        Some(self.add(key, json(&fields), object, &[source, repo]))
    }

    /// Returns the SHA-256 of the objects.
    pub(super) fn digest(&self) -> String {
        let mut text = String::new();
        for (key, entry) in &self.all {
            text += &format!("{} {} {}\n", key.section, json(&key.name), entry.fields);
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
        for (key, entry) in self.all {
            let fields = entry.fields();
            match file.get_mut(key.section.as_str()) {
                Some(Value::Array(list)) => list.push(Value::Object(fields)),
                Some(Value::Object(named)) => {
                    // A source and its definition are one object of the file.
                    if let Value::Object(object) =
                        named.entry(key.name).or_insert_with(|| Value::Object(Map::new()))
                    {
                        object.extend(fields);
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
    pub(super) fn objects(
        &self,
        catalog: &Catalog,
        sections: &[Section],
        names: &Pattern,
    ) -> (Objects, Vec<String>) {
        let (mut objects, mut comments) = (Objects::new(names), Vec::new());
        let has = |section| sections.contains(&section);
        if has(Section::Sources) {
            let defined: BTreeSet<SourceId> = self.definitions.iter().map(|(source, _)| source.id).collect();
            for source in catalog.sources.iter().filter(|source| !source.kind.is_built_in()) {
                objects.add_source(source);
                if has_definition(source.kind) && !defined.contains(&source.id) {
                    comments.push(format!("definition of {}: the source has none yet", source.name));
                }
            }
            for (source, curation) in &self.definitions {
                objects.add_definition(&catalog.source_name(source.id), definition(source.kind, curation));
            }
        }
        if has(Section::Repositories) {
            for repo in catalog.repos.iter() {
                objects.add_repository(catalog, repo);
            }
        }
        if has(Section::GitCredentials) {
            for row in &self.credentials {
                let (username, host) = (row.username.clone(), row.host.clone());
                let fields = StateCredential { username, host, fingerprint: row.fingerprint.clone() };
                let key = Key::new(Section::GitCredentials, format!("{}:{}", row.kind, row.name));
                objects.add(key, json(&fields), None, &[Some(&row.name)]);
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
                objects.add_builder(&format!("{}/{}", source.name, row.name), &fields);
            }
        }
        if has(Section::NameGuards) {
            for row in &self.guards {
                match catalog.source_by_id(row.source) {
                    Some(source) if !row.automatic => drop(objects.add_guard(source, row)),
                    source => {
                        let kind = if row.automatic { "automatic name guard" } else { "name guard" };
                        let source = source.map_or("a deleted source", |source| source.name.as_str());
                        comments.push(format!("{kind} {}:{} of {source}", row.language, row.pattern));
                    }
                }
            }
        }
        if has(Section::BlockRules) {
            let rules = catalog.rules.in_order().into_iter();
            comments.extend(rules.filter_map(|stored| objects.add_rule(catalog, &stored.rule).err()));
        }
        if has(Section::Metadata) {
            for row in &self.metadata {
                if objects.add_metadata(catalog, row).is_none() {
                    let (key, name) = (&row.key, &row.scope.name);
                    comments.push(format!("metadata '{key}' of {name} for a deleted source or repository"));
                }
            }
        }
        (objects, comments)
    }
}

pub(super) fn has_definition(kind: SourceKind) -> bool {
    matches!(kind.supply(), Supply::Curated | Supply::Snapshot)
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

pub(super) fn guard_key(row: &NameGuardRow) -> Key {
    Key::new(Section::NameGuards, format!("{}:{}", row.language, row.pattern))
}
