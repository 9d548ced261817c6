//! State files: TOML or JSON, read from files and folders, merged, and written.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use toml_edit::{ArrayOfTables, Document, DocumentMut, Item, Key};

use super::error::CliError;
use super::{curated, input};
use api::block_rule::BlockRule;
use api::definition::DefinitionFile;
use api::state::{ExportedState, FORMAT, Section, State, StateFile, StateSource};

/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Maximum number of files of a command.
const MAX_FILES: usize = 1_000;
/// The comment before the lines about objects that a state does not have.
const NOT_APPLIED: &str = "\n# Not applied by rspm apply:\n";

/// A section, and the name of an object in it, or its position in a list.
type Object = (Section, String);

/// The state of several files.
#[derive(Debug)]
pub(super) struct StateFiles {
    pub(super) state: State,
    /// The file and the line of each object, for messages.
    places: BTreeMap<Object, String>,
}

impl StateFiles {
    /// Reads files and folders; `-` is standard input.
    pub(super) fn read(paths: &[PathBuf]) -> Result<StateFiles, CliError> {
        let mut files = Vec::new();
        for path in paths {
            find_files(path, &mut files)?;
        }
        let mut all = StateFiles { state: State::default(), places: BTreeMap::new() };
        let mut merged = Map::new();
        for path in files {
            let is_input = path == Path::new("-");
            let path = Some(path.as_path()).filter(|_| !is_input);
            let text = input::read(path, MAX_FILE)?;
            let name = input::name(path);
            let (mut state, lines) = parse(&name, &text)?;
            let place = |object: &Object| {
                let line = lines.get(object).map(|line| format!(":{line}")).unwrap_or_default();
                format!("{name}{line}")
            };
            read_definitions(path.and_then(Path::parent).unwrap_or(Path::new("")), &mut state, place)?;
            all.add(&mut merged, state, place)?;
        }
        merged.insert("format".to_owned(), FORMAT.into());
        all.state = serde_json::from_value(Value::Object(merged))?;
        Ok(all)
    }

    /// Returns the place of an object, and its name for messages: `site.toml:7: repositories.prod`.
    pub(super) fn describe(&self, section: Section, name: &str) -> String {
        let place = self.places.get(&(section, name.to_owned())).map(|place| format!("{place}: "));
        let object = match name.parse::<usize>() {
            Ok(number) if matches!(section, Section::BlockRules | Section::Metadata) => {
                format!("[[{section}]] number {}", number.saturating_add(1))
            }
            Ok(_) | Err(_) => format!("{section}.{name}"),
        };
        format!("{}{object}", place.unwrap_or_default())
    }

    /// Returns whether a name, or a prefix and `*`, selects an object of the files, by the name of its source or repository.
    pub(super) fn has_selected(&self, pattern: &str) -> bool {
        let State { name_guards, block_rules, metadata, .. } = &self.state;
        let guards = name_guards.iter().flatten().map(|(_, guard)| &guard.source);
        let rules = block_rules.iter().flatten().flat_map(|rule| [&rule.source_name, &rule.repo]);
        let limits = metadata.iter().flatten().flat_map(|row| [&row.source, &row.repo]);
        let mut places =
            self.places.keys().map(|(_, name)| name).chain(guards).chain(rules.chain(limits).flatten());
        places.any(|name| matches(pattern, name.split('/').next().unwrap_or_default()))
    }

    /// Adds the objects of a file to those of the files before it.
    fn add(
        &mut self,
        merged: &mut Map<String, Value>,
        state: State,
        place: impl Fn(&Object) -> String,
    ) -> Result<(), CliError> {
        let Value::Object(sections) = serde_json::to_value(state)? else { return Ok(()) };
        for (word, objects) in sections {
            let Some(section) = Section::parse(&word) else { continue };
            let empty = if objects.is_array() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
            match (merged.entry(word).or_insert(empty), objects) {
                (Value::Array(all), Value::Array(objects)) => {
                    for (number, object) in objects.into_iter().enumerate() {
                        let of_file = place(&(section, number.to_string()));
                        self.places.insert((section, all.len().to_string()), of_file);
                        all.push(object);
                    }
                }
                (Value::Object(all), Value::Object(objects)) => {
                    for (name, object) in objects {
                        let key = (section, name.clone());
                        let of_file = place(&key);
                        if let Some(first) = self.places.get(&key) {
                            return Err(CliError::refused(format!(
                                "{of_file}: {section}.{name} is in {first} already; remove one of the two"
                            )));
                        }
                        self.places.insert(key, of_file);
                        all.insert(name, object);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns whether a name, or a prefix and `*`, selects a name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Returns whether a pattern selects an object of a section, as on the server: by its source and repository, or its name.
fn is_selected(pattern: &str, section: Section, name: &str, object: &Value) -> bool {
    let places = match section {
        Section::Sources | Section::Repositories => [Some(name), None],
        Section::GitCredentials => [name.split_once(':').map(|(_, name)| name), None],
        Section::GitBuilders => [name.split_once('/').map(|(source, _)| source), None],
        Section::NameGuards => [object["source"].as_str(), None],
        Section::BlockRules => [object["source_name"].as_str(), object["repo"].as_str()],
        Section::Metadata => [object["source"].as_str(), object["repo"].as_str()],
    };
    places.into_iter().flatten().any(|place| matches(pattern, place))
}

/// Finds the state files of a path, in the order of their names: the file, or the files `*.toml` and `*.json` in a folder
/// and its folders, without hidden ones. A link must not lead out of the folder.
fn find_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let local_error = |source| CliError::Local { operation: format!("read {}", path.display()), source };
    if path == Path::new("-") || !fs::metadata(path).map_err(local_error)?.is_dir() {
        return add_file(path, files);
    }
    let root = fs::canonicalize(path).map_err(local_error)?;
    let count = files.len();
    find_in(path, &root, files)?;
    match files.len() == count {
        true => Err(CliError::refused(format!("{} has no *.toml or *.json file", path.display()))),
        false => Ok(()),
    }
}

fn find_in(folder: &Path, root: &Path, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let local_error = |source| CliError::Local { operation: format!("read {}", folder.display()), source };
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = entries.map_err(local_error)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().map_err(local_error)?.is_dir() {
            find_in(&path, root, files)?;
        } else if path.extension().is_some_and(|end| end == "toml" || end == "json") {
            if !fs::canonicalize(&path).map_err(local_error)?.starts_with(root) {
                let text = format!("{} is a link to a file outside of the folder", path.display());
                return Err(CliError::refused(text));
            }
            add_file(&path, files)?;
        }
    }
    Ok(())
}

fn add_file(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if path != Path::new("-") && !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(CliError::refused(format!("{} is not a regular file", path.display())));
    }
    if files.len() == MAX_FILES {
        return Err(CliError::refused(format!("a command reads at most {MAX_FILES} state files")));
    }
    files.push(path.to_owned());
    Ok(())
}

/// Reads the text of a file: JSON if it begins with `{`, otherwise TOML. Also returns the lines of its objects.
fn parse(name: &str, text: &str) -> Result<(State, BTreeMap<Object, usize>), CliError> {
    let refused =
        |reason: &dyn fmt::Display| CliError::refused(format!("{name}: {}", reason.to_string().trim_end()));
    if text.starts_with('\u{feff}') {
        return Err(refused(&"it begins with a byte order mark; save it as UTF-8 without one"));
    }
    if is_json(text) {
        let Format { format } = serde_json::from_str(text).map_err(|error| refused(&error))?;
        check_format(format.as_ref()).map_err(|error| refused(&error))?;
        return Ok((serde_json::from_str(text).map_err(|error| refused(&error))?, BTreeMap::new()));
    }
    let document = Document::parse(text).map_err(|error| refused(&error))?;
    let format = document.get("format").map(|item| item.as_integer().map_or(Value::Null, Value::from));
    check_format(format.as_ref()).map_err(|error| refused(&error))?;
    let lines = lines(&document, text);
    let state = State::deserialize(toml_edit::de::Deserializer::from(document));
    let state = state.map_err(|error| refused(&error))?;
    // JSON has no such number: the rule would be sent without its criterion.
    let is_wrong = |rule: &BlockRule| rule.min_severity.is_some_and(|score| !score.is_finite());
    match state.block_rules.iter().flatten().position(is_wrong) {
        Some(number) => Err(refused(&format!(
            "[[block_rules]] number {}: 'min_severity' is not a number: write one from 0 to 10",
            number.saturating_add(1)
        ))),
        None => Ok((state, lines)),
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

#[derive(Deserialize)]
struct Format {
    format: Option<Value>,
}

/// Checks the format of a file, before its other keys.
fn check_format(format: Option<&Value>) -> Result<(), String> {
    match format.map(Value::as_u64) {
        Some(Some(format)) if format == u64::from(FORMAT) => Ok(()),
        Some(Some(format)) => Err(format!(
            "its format is {format}, and this rspm ({}) reads the format {FORMAT}: use a newer rspm",
            env!("CARGO_PKG_VERSION")
        )),
        Some(None) => Err(format!("'format' is not a number: write format = {FORMAT}")),
        None => Err(format!("'format' is missing: write format = {FORMAT} in its first line")),
    }
}

/// Returns the lines of the objects of a document.
fn lines(document: &Document<&str>, text: &str) -> BTreeMap<Object, usize> {
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut lines = BTreeMap::new();
    let mut add = |section, name: String, span: Option<std::ops::Range<usize>>| {
        if let Some(span) = span {
            lines.insert((section, name), starts.partition_point(|end| *end < span.start) + 1);
        }
    };
    for section in Section::ALL {
        match document.get(section.as_str()) {
            Some(Item::ArrayOfTables(tables)) => {
                let spans = tables.iter().map(toml_edit::Table::span).enumerate();
                spans.for_each(|(number, span)| add(section, number.to_string(), span));
            }
            Some(Item::Value(toml_edit::Value::Array(values))) => {
                let spans = values.iter().map(toml_edit::Value::span).enumerate();
                spans.for_each(|(number, span)| add(section, number.to_string(), span));
            }
            Some(item) => {
                let Some(table) = item.as_table_like() else { continue };
                for (name, _) in table.iter() {
                    add(section, name.to_owned(), table.key(name).and_then(Key::span));
                }
            }
            None => {}
        }
    }
    lines
}

/// Replaces the paths of files of definitions by their texts. A path is relative to the folder of the state file, and leads
/// to a file in it. Errors begin with the place of the source.
fn read_definitions(
    folder: &Path,
    state: &mut State,
    place: impl Fn(&Object) -> String,
) -> Result<(), CliError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for (source, StateSource { files, .. }) in state.sources.iter_mut().flatten() {
        for file in files {
            let StateFile::Path(name) = file else { continue };
            let read = read_definition(folder, name).map_err(|error| {
                let object = (Section::Sources, source.clone());
                CliError::refused(format!("{}: sources.{source}: {error}", place(&object)))
            });
            *file = StateFile::File(read?);
        }
    }
    Ok(())
}

fn read_definition(folder: &Path, name: &str) -> Result<DefinitionFile, CliError> {
    let path = folder.join(name);
    let local_error = |source| CliError::Local { operation: format!("read {}", path.display()), source };
    let root = fs::canonicalize(folder).map_err(local_error)?;
    if !fs::canonicalize(&path).map_err(local_error)?.starts_with(root) {
        let text = format!("{} is not in the folder of the state file", path.display());
        return Err(CliError::refused(text));
    }
    if !fs::metadata(&path).map_err(local_error)?.is_file() {
        return Err(CliError::refused(format!("{} is not a regular file", path.display())));
    }
    curated::read_file(&path, name.to_owned())
}

/// Returns a state as TOML, with comments about what it does not have.
pub(super) fn to_toml(exported: &ExportedState) -> Result<String, CliError> {
    let text = toml_edit::ser::to_string_pretty(&exported.state).map_err(no_form)?;
    let (format, objects) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(format!(
        "{format}\n# exported by rspm {}; not in this file: the configuration file, packages, secrets, tokens, fixed URLs\n{objects}{}",
        exported.version,
        not_applied(exported)
    ))
}

fn no_form(error: toml_edit::ser::Error) -> CliError {
    CliError::refused(format!("the state has no form in TOML: {error}"))
}

fn not_applied(exported: &ExportedState) -> String {
    let lines = exported.comments.iter().map(|line| format!("# {}\n", line.replace(char::is_control, " ")));
    let head = if exported.comments.is_empty() { "" } else { NOT_APPLIED };
    std::iter::once(head.to_owned()).chain(lines).collect()
}

/// Writes a state to a file, or to a file for each section in a folder: an existing one, or one whose path ends with `/`. In
/// a state file that exists, what does not differ keeps its place, its form and its comments; so do the objects that the
/// pattern `names` of the export does not select.
pub(super) fn write(exported: &ExportedState, path: &Path, names: Option<&str>) -> Result<(), CliError> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        let local_error =
            |source| CliError::Local { operation: format!("create {}", path.display()), source };
        fs::create_dir_all(path).map_err(local_error)?;
    }
    if !path.is_dir() {
        return write_file(exported, path, names);
    }
    let Value::Object(mut sections) = serde_json::to_value(&exported.state)? else { return Ok(()) };
    let mut comments = exported.comments.clone();
    for section in Section::ALL {
        let Some(objects) = sections.remove(section.as_str()) else { continue };
        let state = serde_json::from_value(json!({ "format": FORMAT, (section.as_str()): objects }))?;
        let version = exported.version.clone();
        let part = ExportedState { version, state, comments: std::mem::take(&mut comments) };
        write_file(&part, &path.join(format!("{section}.toml")), names)?;
    }
    Ok(())
}

fn write_file(exported: &ExportedState, path: &Path, names: Option<&str>) -> Result<(), CliError> {
    if path.exists() && !path.is_file() {
        return Err(CliError::refused(format!(
            "{} is not a regular file; without --to, the state is printed",
            path.display()
        )));
    }
    let text = if path.is_file() { input::read(Some(path), MAX_FILE)? } else { String::new() };
    if is_json(&text) {
        return Err(CliError::refused(format!(
            "{} is JSON, and only TOML files are updated: name a .toml file, or redirect rspm export state -o json",
            path.display()
        )));
    }
    let is_new = text.trim().is_empty();
    let text = if is_new { to_toml(exported)? } else { updated(path, &text, exported, names)? };
    replace(path, &text)
}

/// Returns the text of a TOML file with the objects of a state, and other sections as they are. With `names`, the comments
/// about what the state does not have stay too.
fn updated(
    path: &Path,
    text: &str,
    exported: &ExportedState,
    names: Option<&str>,
) -> Result<String, CliError> {
    let parts = text.split_once(NOT_APPLIED).filter(|_| names.is_none());
    let (text, rest) = parts.unwrap_or((text, ""));
    let rest = rest.lines().skip_while(|line| line.starts_with('#'));
    let text = std::iter::once(text).chain(rest).collect::<Vec<_>>().join("\n");
    let name = path.display().to_string();
    let (mut state, _) = parse(&name, &text)?;
    read_definitions(path.parent().unwrap_or(Path::new("")), &mut state, |_| name.clone())?;
    let (old, new) = (serde_json::to_value(&state)?, serde_json::to_value(&exported.state)?);
    let document = text.parse::<DocumentMut>();
    let mut document = document.map_err(|error| CliError::refused(format!("{name}: {error}")))?;
    for section in Section::ALL {
        let Some(new) = new.get(section.as_str()) else { continue };
        let new = &match names {
            None => new.clone(),
            Some(_) if is_empty(new) && !document.contains_key(section.as_str()) => continue,
            Some(names) => with_unselected(names, section, &old[section.as_str()], new),
        };
        let list =
            || if new.is_array() { Item::ArrayOfTables(ArrayOfTables::new()) } else { toml_edit::table() };
        let item = document.entry(section.as_str()).or_insert_with(list);
        update(item, &old[section.as_str()], new).map_err(no_form)?;
    }
    Ok(format!("{}\n{}", document.to_string().trim_end(), not_applied(exported)))
}

fn is_empty(section: &Value) -> bool {
    section.as_object().is_some_and(Map::is_empty) || section.as_array().is_some_and(Vec::is_empty)
}

/// Returns the exported objects of a section, with those of the file that the pattern of the export does not select.
fn with_unselected(names: &str, section: Section, old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let kept = old.iter().filter(|(name, object)| !is_selected(names, section, name, object));
            kept.chain(new).map(|(name, object)| (name.clone(), object.clone())).collect()
        }
        (Value::Array(old), Value::Array(new)) => {
            let kept = old.iter().filter(|object| !is_selected(names, section, "", object));
            kept.chain(new).cloned().collect()
        }
        _ => new.clone(),
    }
}

/// Replaces the parts of an item that differ; `old` and `new` are its values.
fn update(item: &mut Item, old: &Value, new: &Value) -> Result<(), toml_edit::ser::Error> {
    match (&mut *item, new) {
        _ if old == new => {}
        (Item::ArrayOfTables(tables), Value::Array(new)) if !new.is_empty() => {
            let mut added: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
            new.iter().for_each(|value| added.entry(value.to_string()).or_default().push(value));
            let mut values = old.as_array().into_iter().flatten();
            tables.retain(|_| {
                values.next().and_then(|value| added.get_mut(&value.to_string())?.pop()).is_some()
            });
            for value in added.into_values().flatten() {
                tables.extend(item_of(value)?.into_table().ok());
            }
        }
        (Item::Table(_) | Item::Value(toml_edit::Value::InlineTable(_)), Value::Object(new))
            if !new.is_empty() =>
        {
            let Some(table) = item.as_table_like_mut() else { return Ok(()) };
            for (name, _) in
                old.as_object().into_iter().flatten().filter(|(name, _)| !new.contains_key(*name))
            {
                table.remove(name);
            }
            for (name, value) in new {
                match table.get_mut(name) {
                    Some(item) => update(item, &old[name], value)?,
                    None => drop(table.insert(name, item_of(value)?)),
                }
            }
        }
        _ => {
            let mut value = item_of(new)?;
            if let (Some(old), Some(new)) = (item.as_value(), value.as_value_mut()) {
                *new.decor_mut() = old.decor().clone();
            }
            *item = value;
        }
    }
    Ok(())
}

/// Returns a value as an item: an object as a table.
fn item_of(value: &Value) -> Result<Item, toml_edit::ser::Error> {
    let item = Item::Value(value.serialize(toml_edit::ser::ValueSerializer::new())?);
    Ok(if value.is_object() { item.into_table().map_or_else(|item| item, Item::Table) } else { item })
}

/// Replaces a file by one that is written completely, with the permissions of the file. If the path is a link, its target
/// is replaced.
fn replace(path: &Path, text: &str) -> Result<(), CliError> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let local_error = |source| CliError::Local { operation: format!("write {}", path.display()), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    let new = path.with_file_name(name);
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if result.is_err() {
        // The error of the write is reported.
        let _ = fs::remove_file(&new);
    }
    result.map_err(local_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<StateFiles, String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let read = StateFiles::read(&[folder.path().to_owned()]);
        read.map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "DIR"))
    }

    #[test]
    fn files_are_merged_in_the_order_of_their_names() {
        let files = [
            ("b.json", r#"{"format":1,"sources":{"b":{}},"block_rules":[{"package_name":"x"}]}"#),
            (
                "a.toml",
                "format = 1\n\n[[block_rules]]\npackage_name = \"a\"\n[[block_rules]]\nvulns = true\n",
            ),
            (
                "sub/c.toml",
                "format = 1\n[sources]\nc = { type = \"curated-cran\", snapshot = \"2026-01-01\", files = [\"x/list.txt\"] }\n",
            ),
            ("sub/x/list.txt", "R6\n"),
            (".hidden.toml", "not read"),
            ("notes.md", "not read"),
        ];
        let all = read(&files).expect("files");
        let sources = all.state.sources.clone().expect("a section");
        assert_eq!(sources.keys().collect::<Vec<_>>(), ["b", "c"]);
        let text = DefinitionFile { name: "x/list.txt".to_owned(), text: "R6\n".to_owned() };
        assert_eq!(sources["c"].files, [StateFile::File(text)]);
        assert_eq!(all.state.block_rules.as_ref().map(Vec::len), Some(3));
        assert!(all.state.metadata.is_none());
        assert!(all.describe(Section::BlockRules, "1").ends_with("a.toml:5: [[block_rules]] number 2"));
        assert!(all.describe(Section::Sources, "c").ends_with("c.toml:3: sources.c"));
        assert!(all.describe(Section::BlockRules, "2").ends_with("b.json: [[block_rules]] number 3"));
    }

    #[test]
    fn files_are_refused_with_their_place_and_the_remedy() {
        let deep = format!("format=1\n[{}a]\n", "a.".repeat(20_000));
        for (text, reason) in [
            ("[sources.x]", "'format' is missing: write format = 1"),
            ("format=2\n[users.x]", "its format is 2, and this rspm"),
            ("format=\"1\"", "'format' is not a number"),
            ("format=1\n[users.x]\na=1", "line 2"),
            ("format=1\n[users.x]\na=1", "unknown field `users`, expected one of `format`, `sources`"),
            ("format=1\n[repositories.x]\ncolour=\"red\"", "unknown field `colour`, expected one of `type`"),
            (
                "format=1\n[repositories.x]\nhidden=\"yes\"",
                "invalid type: string \"yes\", expected a boolean",
            ),
            ("format=1\n[repositories.x]\nhidden=\"yes\"", "line 3"),
            ("format=1\n[repositories.x]\nsources=\"a,b\"", "line 3"),
            ("format=1\n[repositories.x]\nsources=[5]", "expected the name of a source, or a table"),
            ("format=1\n[repositories.x]\nhidden=true\nhidden=false", "duplicate key"),
            ("format=1\n[sources.x]\n[sources.x]", "duplicate key"),
            ("\u{feff}format=1\r\n[sources.x]", "byte order mark"),
            (
                "format=1\n[[block_rules]]\nmin_severity=7.0\n[[block_rules]]\nmin_severity=nan",
                "number 2: 'min_severity' is not a number",
            ),
            (
                "format=1\nblock_rules=[{min_severity=-inf}]",
                "number 1: 'min_severity' is not a number: write one from 0",
            ),
            (r#"{"format":1,"block_rules":[{"min_severity":1e999}]}"#, "number out of range"),
            (r#"{"format":1,"sources":{"x":{},"x":{}}}"#, "'x' is repeated at line 1"),
            (r#"{"format":1,"sources":{}"#, "EOF"),
            (&deep, "recursion limit"),
        ] {
            let error = read(&[("a.toml", text)]).expect_err(text);
            assert!(error.starts_with("DIR/a.toml: ") && error.contains(reason), "{text:.80}: {error:.400}");
        }
        let twice = read(&[("a.toml", "format=1\n[sources.x]"), ("b.toml", "format=1\n\n[sources.x]")]);
        assert_eq!(
            twice.expect_err("repeated"),
            "DIR/b.toml:3: sources.x is in DIR/a.toml:2 already; remove one of the two"
        );
        let path = "format=1\n[sources.x]\nfiles=[\"../y.txt\"]";
        let outside = read(&[("sub/a.toml", path), ("y.txt", "R6")]).expect_err("outside");
        let place = "DIR/sub/a.toml:2: sources.x: ";
        assert_eq!(outside, format!("{place}DIR/sub/../y.txt is not in the folder of the state file"));
        let missing = read(&[("sub/a.toml", &path.replace("../y.txt", "z.txt"))]).expect_err("missing");
        assert!(
            missing.starts_with(&format!("{place}could not read DIR/sub/z.txt: No such file")),
            "{missing}"
        );
        let none = read(&[("notes.md", "format = 1")]).expect_err("no file");
        assert_eq!(none, "DIR has no *.toml or *.json file");
    }

    #[test]
    fn links_out_of_a_folder_and_special_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inner, outer) = (folder.path().join("in"), folder.path().join("outer.toml"));
        fs::create_dir(&inner).expect("a folder");
        fs::write(&outer, "format=1").expect("a file");
        std::os::unix::fs::symlink(&outer, inner.join("a.toml")).expect("a link");
        let error = StateFiles::read(std::slice::from_ref(&inner)).expect_err("a link").to_string();
        assert!(error.ends_with("in/a.toml is a link to a file outside of the folder"), "{error}");
        fs::remove_file(inner.join("a.toml")).expect("removed");
        nix::unistd::mkfifo(&inner.join("b.toml"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let error = StateFiles::read(&[inner]).expect_err("a pipe").to_string();
        assert!(error.ends_with("in/b.toml is not a regular file"), "{error}");
    }

    #[test]
    fn a_written_state_is_read_again() {
        let text = "format = 1\n\n[repositories.prod]\ndescription = \"a \\\"b\\\" é\"\nsources = [\n    \"team\",\n    { source = \"bioconductor\", version = \"3.20\" },\n]\n";
        let folder = tempfile::tempdir().expect("a folder");
        let (state, _) = parse("x", text).expect("a state");
        let comments = vec!["token of 'a\nb'".to_owned()];
        let exported = ExportedState { version: "1".to_owned(), state: state.clone(), comments };
        let file = folder.path().join("site.toml");
        write(&exported, &file, None).expect("written");
        let written = fs::read_to_string(&file).expect("text");
        assert!(written.starts_with("format = 1\n# exported by rspm 1; "), "{written}");
        assert!(written.ends_with("\n# Not applied by rspm apply:\n# token of 'a b'\n"), "{written}");
        assert_eq!(StateFiles::read(std::slice::from_ref(&file)).expect("a state").state, state);
        fs::remove_file(file).expect("removed");
        let new = folder.path().join("new/site/");
        write(&exported, &new, None).expect("written");
        assert!(new.join("repositories.toml").is_file());
        write(&exported, &new, None).expect("written");
        assert_eq!(StateFiles::read(&[folder.path().to_owned()]).expect("a state").state, state);
    }

    #[test]
    fn a_json_file_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, text) = (folder.path().join("full.json"), r#"{"format":1,"block_rules":[]}"#);
        fs::write(&file, text).expect("a file");
        let state = State { format: FORMAT, sources: Some(BTreeMap::new()), ..State::default() };
        let exported = ExportedState { version: "1".to_owned(), state, comments: Vec::new() };
        let error = write(&exported, &file, None).expect_err("JSON").to_string();
        let expected = "full.json is JSON, and only TOML files are updated: name a .toml file, or redirect rspm export state -o json";
        assert!(error.ends_with(expected), "{error}");
        assert_eq!(fs::read_to_string(&file).expect("text"), text);
    }

    #[test]
    fn a_written_file_keeps_its_comments_and_its_order() {
        let before = "# our site\nformat = 1 # the only one\n\n[repositories]\n# live\nprod = { sources = [\"team\"] }\n\n\
            [repositories.dev] # for tests\ndescription = \"old\" # short\nhidden = false\nsources = [\n    \"team\", # ours\n]\n\n\
            [sources.team]\n\n[sources.gone]\n\n[sources.list]\ntype = \"curated-cran\"\nsnapshot = \"2026-01-01\"\n\
            files = [\"list.txt\"] # reviewed\n\n# about age\n[[block_rules]]\nmin_age = \"7d\"\n\n\
            [[block_rules]]\npackage_name = \"gone\"\n\n# set by hand\n[[metadata]]\npackage_name = \"a\"\nkey = \"k\"\n\
            value = \"v\"\n\n# Not applied by rspm apply:\n# token of 'gone'\n[name_guards.\"r:a\"]\nsource = \"team\"\n";
        let after = "format = 1\n[sources.team]\n[sources.list]\ntype = \"curated-cran\"\nsnapshot = \"2026-01-01\"\n\
            files = [{ name = \"list.txt\", text = \"R6\\n\" }]\n[sources.\"new.1\"]\ntype = \"git\"\n\
            [repositories.prod]\nsources = [\"team\"]\n[repositories.dev]\ndescription = \"new\"\nsources = [\"team\"]\n\
            [repositories.next]\n[[block_rules]]\npackage_name = \"x\"\n[[block_rules]]\npackage_name = \"x\"\n\
            [[block_rules]]\nmin_age = \"7d\"\n[git_builders.\"new.1/a\"]\nurl = \"https://h.invalid/a\"\n";
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("site.toml");
        fs::write(&file, before).expect("a file");
        fs::write(folder.path().join("list.txt"), "R6\n").expect("a file");
        let (state, _) = parse("x", after).expect("a state");
        let exported =
            ExportedState { version: "1".to_owned(), state, comments: vec!["token of 'ann'".to_owned()] };
        write(&exported, &file, None).expect("written");
        let written = fs::read_to_string(&file).expect("text");
        for part in [
            "# our site\nformat = 1 # the only one\n\n[repositories]\n# live\nprod = { sources = [\"team\"] }\n",
            "[repositories.dev] # for tests\ndescription = \"new\" # short\nhidden = false\nsources = [\n    \"team\", # ours\n]\n",
            "files = [\"list.txt\"] # reviewed\n",
            "# about age\n[[block_rules]]\nmin_age = \"7d\"\n",
            "# set by hand\n[[metadata]]\n",
        ] {
            assert!(written.contains(part), "{part}: {written}");
        }
        assert!(!written.contains("gone"), "{written}");
        assert!(written.ends_with("\n\n# Not applied by rspm apply:\n# token of 'ann'\n"), "{written}");
        let places = [
            "[repositories.dev]",
            "[repositories.next]",
            "[sources.list]",
            "[sources.\"new.1\"]",
            "# about age",
        ];
        let places = places.map(|part| written.find(part).unwrap_or_else(|| panic!("{part}: {written}")));
        assert!(places.is_sorted(), "{places:?}: {written}");
        let read = StateFiles::read(std::slice::from_ref(&file)).expect("a state").state;
        let [metadata, name_guards] = [read.metadata.is_some(), read.name_guards.is_some()];
        assert!(metadata && name_guards, "other sections stay: {written}");
        let sections = State { metadata: None, name_guards: None, ..read };
        let count = |state: &State| state.block_rules.as_ref().map(Vec::len);
        assert_eq!(count(&sections), count(&exported.state));
        assert_eq!(
            State { block_rules: None, ..sections },
            State { block_rules: None, ..exported.state.clone() }
        );
        write(&exported, &file, None).expect("written");
        assert_eq!(fs::read_to_string(&file).expect("text"), written, "nothing differs");
        // An empty section stays one, and an invalid file is not replaced.
        let empty = State {
            format: FORMAT,
            sources: Some(BTreeMap::new()),
            block_rules: Some(Vec::new()),
            ..State::default()
        };
        write(&ExportedState { state: empty.clone(), ..exported }, &file, None).expect("written");
        let read = StateFiles::read(std::slice::from_ref(&file)).expect("a state").state;
        assert_eq!((read.sources, read.block_rules), (empty.sources.clone(), empty.block_rules.clone()));
        fs::write(&file, "format = 1\n[sources").expect("a file");
        let exported = ExportedState { version: "1".to_owned(), state: empty, comments: Vec::new() };
        let error = write(&exported, &file, None).expect_err("invalid").to_string();
        assert!(error.contains("site.toml: TOML parse error at line 2"), "{error}");
    }

    #[test]
    fn a_selection_of_names_changes_only_its_objects_in_a_file() {
        let before = "# our site\nformat = 1\n\n[sources.list]\ntype = \"curated-cran\"\nsnapshot = \"2026-01-01\"\n\
            files = [\"list.txt\"] # reviewed\n\n[sources.lp]\ntype = \"local-python\" # ours\n\n[sources.lp-old]\n\n\
            [repositories.lp]\ndescription = \"old\"\n\n[repositories.prod]\nsources = [\"list\"] # live\n\n\
            [git_builders.\"lp/a\"]\nurl = \"https://h.invalid/a\"\n\n[git_builders.\"tg/b\"]\n\
            url = \"https://h.invalid/b\"\n\n[name_guards.\"python:lp\"]\nsource = \"other\"\n\n\
            # for all\n[[block_rules]]\npackage_name = \"evil\"\n\n[[block_rules]]\npackage_name = \"gone\"\nrepo = \"lp\"\n\n\
            # by age\n[[block_rules]]\nsource_name = \"lp\"\nmin_age = \"7d\"\n\n# Not applied by rspm apply:\n# token of 'ann'\n";
        let after = "format = 1\n[sources.lp]\ntype = \"local-python\"\n[sources.lp-new]\n[repositories.lp]\n\
            description = \"new\"\n[git_credentials]\n[git_builders]\n[name_guards]\n[[block_rules]]\nsource_name = \"lp\"\n\
            min_age = \"7d\"\n[[block_rules]]\npackage_name = \"x\"\nrepo = \"lp\"\n";
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("site.toml");
        fs::write(&file, before).expect("a file");
        fs::write(folder.path().join("list.txt"), "R6\n").expect("a file");
        let (state, _) = parse("x", after).expect("a state");
        let state = State { metadata: Some(Vec::new()), ..state };
        let exported = ExportedState { version: "1".to_owned(), state, comments: Vec::new() };
        write(&exported, &file, Some("lp*")).expect("written");
        let written = fs::read_to_string(&file).expect("text");
        let changed = [
            ("\n[sources.lp-old]\n", ""),
            ("\"old\"", "\"new\""),
            ("\n[git_builders.\"lp/a\"]\nurl = \"https://h.invalid/a\"\n", ""),
            ("\n[[block_rules]]\npackage_name = \"gone\"\nrepo = \"lp\"\n", ""),
        ];
        let expected = changed.iter().fold(before.to_owned(), |text, (old, new)| text.replace(old, new));
        let is_added = |line: &&str| !expected.lines().any(|other| other == *line);
        let added: Vec<&str> = written.lines().filter(is_added).collect();
        assert_eq!(added, ["[sources.lp-new]", "package_name = \"x\"", "repo = \"lp\""], "{written}");
        let is_lost = |line: &&str| !written.lines().any(|other| other == *line);
        assert_eq!(expected.lines().filter(is_lost).collect::<Vec<_>>(), [""; 0], "{written}");
        assert!(!written.contains("git_credentials") && !written.contains("metadata"), "{written}");
        let read = StateFiles::read(std::slice::from_ref(&file)).expect("a state").state;
        assert_eq!(read.block_rules.as_ref().map(Vec::len), Some(3), "{written}");
        let names = read.sources.iter().flat_map(BTreeMap::keys).collect::<Vec<_>>();
        assert_eq!(names, ["list", "lp", "lp-new"]);
        write(&exported, &file, Some("lp*")).expect("written");
        assert_eq!(fs::read_to_string(&file).expect("text"), written, "nothing differs");
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_its_link() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("site.toml"), folder.path().join("link.toml"));
        fs::write(&file, "format = 1\n").expect("a file");
        std::os::unix::fs::symlink("site.toml", &link).expect("a link");
        let state = State { format: FORMAT, sources: Some(BTreeMap::new()), ..State::default() };
        let exported = ExportedState { version: "1".to_owned(), state, comments: Vec::new() };
        for mode in [0o600, 0o664] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            write(&exported, &link, None).expect("written");
            assert!(fs::symlink_metadata(&link).expect("metadata").is_symlink());
            let now = fs::metadata(&file).expect("metadata").permissions().mode() & 0o777;
            assert_eq!(now, mode, "{now:o}");
        }
        assert!(fs::read_to_string(&file).expect("text").contains("sources"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "no other file is left");
        let pipe = folder.path().join("pipe.toml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let error = write(&exported, &pipe, None).expect_err("a pipe").to_string();
        assert!(error.ends_with("is not a regular file; without --to, the state is printed"), "{error}");
    }
}
