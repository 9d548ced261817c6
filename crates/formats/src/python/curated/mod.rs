//! Definitions of curated sources of Python packages: requirements files and lock files, the rules that follow from
//! them, and the plan of an update. Pure.

mod bad_definition;
pub mod candidates;
pub mod dependencies;
pub mod plan;
pub mod rule;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::environment::Environment;
use super::lock_file;
use super::marker::Marker;
use super::requirement::{Requirement, VersionsOrUrl};
use super::requirements_file::{self, Entry};
use super::version::Pep440Version;
pub use bad_definition::{BadPythonDefinition, MAX_PROJECTS};
use bad_definition::{MAX_FILES, MAX_LINES};
use base::model::definition_file::{included_files, included_path};
use base::model::digest::Sha256;
use base::model::errors::ErrorList;
use base::model::project_name::ProjectName;
use base::model::text::count_of;
use dependencies::Dependencies;
use rule::{Alternative, ProjectRule};

/// The origin of the lines of the current definition in messages about a new one.
pub const CURRENT_DEFINITION: &str = "the current definition";

/// Maximum size in bytes of what constraints add to rules: a copy for each line of a package but the first.
const MAX_RESTRICTIONS: usize = 8 << 20;
/// Maximum number of notices; further ones are counted.
const MAX_NOTICES: usize = 100;

/// Maximum number of packages that are left out in the message about a definition without others.
const MAX_SKIPPED: usize = 10;

/// A file of a definition: its path relative to the directory of the main file, and its bytes.
pub type NamedFile<'a> = (&'a str, &'a [u8]);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PythonDefinition {
    pub rules: BTreeMap<ProjectName, ProjectRule>,
    /// The file and the line that first name each project, for messages.
    pub origins: BTreeMap<ProjectName, String>,
    /// The extras with which lines name a project. They do not restrict files, but determine its dependencies.
    pub extras: BTreeMap<ProjectName, BTreeSet<ProjectName>>,
    /// Restrictions of constraints files for projects that no line names. They restrict dependencies.
    pub constraints: BTreeMap<ProjectName, Alternative>,
    /// Notices for users about omitted and ignored parts.
    pub notices: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether a lock file allows only files whose digests it lists, not all files of the listed versions.
    pub strict: bool,
}

/// Returns the error for the first NUL character of a file.
fn nul((name, content): NamedFile<'_>) -> Option<BadPythonDefinition> {
    let origin = if name.contains('\0') {
        format!("the file name '{}'", name.escape_debug())
    } else if content.contains(&0) {
        let line = content.iter().take_while(|byte| **byte != 0).filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}, line {line}")
    } else {
        return None;
    };
    Some(BadPythonDefinition::Nul(origin))
}

/// Reads all files of a definition. Constraints are those to which others refer with `-c`.
pub fn read(
    files: &[NamedFile<'_>],
    options: ReadOptions,
) -> Result<PythonDefinition, ErrorList<BadPythonDefinition>> {
    read_for(files, options, &[])
}

/// Like [`read`], without the requirements whose environment markers are false in all of these environments. Without
/// environments, markers are ignored.
pub fn read_for(
    files: &[NamedFile<'_>],
    options: ReadOptions,
    environments: &[Environment],
) -> Result<PythonDefinition, ErrorList<BadPythonDefinition>> {
    let Some((main, _)) = files.first() else {
        return Err(BadPythonDefinition::Empty("the definition".to_owned()).into());
    };
    if files.len() > MAX_FILES {
        return Err(BadPythonDefinition::TooManyFiles(files.len()).into());
    }
    if let Some(nul) = files.iter().find_map(|file| nul(*file)) {
        return Err(nul.into());
    }
    let mut reader = DefinitionReader { files, options, environments, ..DefinitionReader::default() };
    for name in reading_order(files) {
        if !reader.read.contains(&(name.to_owned(), true))
            && let Err(defect) = reader.file(name, false, None)
        {
            reader.errors.push(defect);
        }
    }
    let mut restrictions_size = 0;
    for (name, (origin, restriction)) in &reader.constraints {
        if let Some(rule) = reader.definition.rules.get_mut(name) {
            restrictions_size += rule.alternatives().len().saturating_sub(1) * restriction.size();
            if restrictions_size > MAX_RESTRICTIONS {
                reader.errors.push(BadPythonDefinition::LongConstraints(origin.clone()));
                break;
            }
            if let Err(error) = rule.restrict(restriction) {
                reader.errors.push(BadPythonDefinition::Versions { origin: origin.clone(), error });
            }
        }
    }
    let DefinitionReader { mut definition, mut errors, markers, left_out, constraints, skipped, .. } = reader;
    let unnamed = constraints.into_iter().filter(|(name, _)| !definition.rules.contains_key(name));
    definition.constraints = unnamed.map(|(name, (_, restriction))| (name, restriction)).collect();
    match definition.rules.len() {
        0 if errors.is_empty() && left_out.is_some() => {
            errors.push(BadPythonDefinition::OtherEnvironments((*main).to_owned()));
        }
        0 if errors.is_empty() => errors.push(empty(main, &skipped)),
        count if count > MAX_PROJECTS => errors.push(BadPythonDefinition::TooMany(count)),
        _ => {}
    }
    let omitted_count = definition.notices.len().saturating_sub(MAX_NOTICES);
    if omitted_count > 0 {
        definition.notices.truncate(MAX_NOTICES);
        definition.notices.push(format!("… and {omitted_count} more notices"));
    }
    if let Some((origin, count)) = markers {
        definition.notices.push(format!(
            "{origin}: environment markers are ignored ({count} in all): files for all platforms are selected"
        ));
    }
    if let Some((origin, count)) = left_out {
        let requirements = count_of(count, "requirement is", "requirements are");
        definition.notices.push(format!(
            "{origin}: {requirements} left out; the environment markers exclude the requested versions of Python and \
             platforms"
        ));
    }
    errors.or_value(definition)
}

/// Returns the names of the files: the first one, those to which no other refers, and the rest.
fn reading_order<'a>(files: &[NamedFile<'a>]) -> Vec<&'a str> {
    let [(main, _), others @ ..] = files else { return Vec::new() };
    if others.is_empty() {
        return vec![*main];
    }
    let mut referenced = HashSet::new();
    for (name, bytes) in files {
        let paths = included_files(&String::from_utf8_lossy(bytes));
        referenced.extend(paths.iter().map(|path| included_path(name, path)));
    }
    let names = others.iter().map(|(name, _)| *name);
    let (inner, outer): (Vec<&str>, Vec<&str>) = names.partition(|name| referenced.contains(*name));
    std::iter::once(*main).chain(outer).chain(inner).collect()
}

#[derive(Default)]
struct DefinitionReader<'a> {
    files: &'a [NamedFile<'a>],
    options: ReadOptions,
    /// The environments for which markers are evaluated; empty if they are ignored.
    environments: &'a [Environment],
    definition: PythonDefinition,
    /// Restrictions from constraints files, by project, each with the file and line of the last one.
    constraints: BTreeMap<ProjectName, (String, Alternative)>,
    /// The files that were read, each with a flag that is true if it was read as constraints. A file may be read
    /// once as requirements and once as constraints.
    read: HashSet<(String, bool)>,
    /// The origin of the first marker, and the number of markers.
    markers: Option<(String, usize)>,
    /// The origin of the first requirement that is left out, and the number of such requirements.
    left_out: Option<(String, usize)>,
    /// Notices about packages that are not from the index.
    skipped: Vec<String>,
    errors: ErrorList<BadPythonDefinition>,
}

/// Returns the error for a definition without a project, with the packages that were left out.
fn empty(main: &str, skipped: &[String]) -> BadPythonDefinition {
    if skipped.is_empty() {
        return BadPythonDefinition::Empty(main.to_owned());
    }
    let mut text = skipped.iter().take(MAX_SKIPPED).cloned().collect::<Vec<_>>().join("; ");
    if skipped.len() > MAX_SKIPPED {
        text += &format!("; and {} more", skipped.len() - MAX_SKIPPED);
    }
    BadPythonDefinition::OtherOrigins { file: main.to_owned(), skipped: text }
}

impl PythonDefinition {
    /// Adds the dependencies of its projects.
    pub fn add_dependencies(&mut self, dependencies: &Dependencies) -> Result<(), BadPythonDefinition> {
        for (name, rule) in &dependencies.rules {
            self.rules.insert(name.clone(), rule.clone());
            self.origins.insert(name.clone(), "the dependencies".to_owned());
        }
        match self.rules.len() {
            count if count > MAX_PROJECTS => Err(BadPythonDefinition::TooMany(count)),
            _ => Ok(()),
        }
    }
}

impl DefinitionReader<'_> {
    /// Reads a file, and the files to which it refers. `reference` is the place that refers to it: a file, a line, and
    /// the path as written there. Returns a defect of the whole file; the reader collects those of lines.
    fn file(
        &mut self,
        name: &str,
        is_constraint: bool,
        reference: Option<(&str, usize, &str)>,
    ) -> Result<(), BadPythonDefinition> {
        if !self.read.insert((name.to_owned(), is_constraint)) {
            return Ok(());
        }
        let files = self.files;
        let Some((_, bytes)) = files.iter().find(|(other, _)| *other == name) else {
            let (file, line, path) = reference.unwrap_or((name, 1, name));
            return Err(BadPythonDefinition::Missing { file: file.to_owned(), line, path: path.to_owned() });
        };
        if is_lock_file(bytes) {
            if let Some((file, line, path)) = reference.filter(|_| is_constraint) {
                return Err(BadPythonDefinition::LockConstraint {
                    file: file.to_owned(),
                    line,
                    path: path.to_owned(),
                });
            }
            return self.lock_file(name, bytes);
        }
        let (content, errors) = requirements_file::read(bytes);
        self.errors
            .append(errors, |error| BadPythonDefinition::Requirements { file: name.to_owned(), error });
        for (line, option) in content.ignored {
            let of_index = ": packages are selected from PyPI";
            let reason = if requirements_file::names_an_index(&option) { of_index } else { "" };
            let notice = format!("{name}, line {line}: the option {option} is ignored{reason}");
            self.definition.notices.push(notice);
        }
        for skipped in content.skipped {
            let line = skipped.line;
            self.skip(format!("{name}, line {line}: {skipped}"));
        }
        for entry in content.entries {
            let result = match entry {
                Entry::Requirement { line, text, requirement, sha256 } => {
                    let origin = format!("{name}, line {line}");
                    // In a file that constraints include by `-r`, requirements are constraints too.
                    self.requirement(origin, &text, requirement, sha256, is_constraint)
                }
                Entry::File { line, path, is_constraint: names_constraints } => {
                    let included = included_path(name, &path);
                    let is_constraint = is_constraint || names_constraints;
                    self.file(&included, is_constraint, Some((name, line, &path)))
                }
            };
            if let Err(defect) = result {
                self.errors.push(defect);
            }
        }
        Ok(())
    }

    fn skip(&mut self, notice: String) {
        self.definition.notices.push(notice.clone());
        self.skipped.push(notice);
    }

    fn requirement(
        &mut self,
        origin: String,
        text: &str,
        requirement: Requirement,
        sha256: Vec<Sha256>,
        is_constraint: bool,
    ) -> Result<(), BadPythonDefinition> {
        if requirement.marker.as_ref().is_some_and(|marker| self.leaves_out(&origin, marker)) {
            return Ok(());
        }
        let versions = match &requirement.constraint {
            VersionsOrUrl::Versions(versions) => versions.as_str(),
            // Unreachable: the reader of requirements files skips addresses.
            VersionsOrUrl::Url(_) => text,
        };
        if sha256.len() > MAX_LINES {
            return Err(BadPythonDefinition::TooManyLines { origin, name: requirement.name });
        }
        let alternative = Alternative::new(versions, sha256)
            .map_err(|error| BadPythonDefinition::Versions { origin: origin.clone(), error })?;
        if is_constraint {
            let restriction = match self.constraints.remove(&requirement.name) {
                Some((_, other)) => other
                    .restricted(&alternative)
                    .map_err(|error| BadPythonDefinition::Versions { origin: origin.clone(), error })?,
                None => alternative,
            };
            self.constraints.insert(requirement.name, (origin, restriction));
        } else {
            let name = requirement.name.clone();
            self.add(requirement.name, origin, alternative)?;
            if !requirement.extras.is_empty() {
                self.definition.extras.entry(name).or_default().extend(requirement.extras);
            }
        }
        Ok(())
    }

    fn lock_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), BadPythonDefinition> {
        let content = lock_file::parse(bytes)
            .map_err(|error| BadPythonDefinition::LockFile { file: name.to_owned(), error })?;
        let origin = format!("{name} ({})", content.kind);
        for skipped in content.skipped {
            let package: String = skipped.name.escape_debug().take(120).collect();
            self.skip(format!("{name}: '{package}' is left out: {}", skipped.reason));
        }
        for package in content.packages {
            match package.marker.as_deref().map(Marker::parse) {
                Some(Ok(marker)) if self.leaves_out(&origin, &marker) => continue,
                // A marker that cannot be parsed counts as true.
                Some(Err(_)) => self.count_marker(&origin),
                Some(Ok(_)) | None => {}
            }
            let sha256: Vec<Sha256> = package.files.iter().filter_map(|file| file.sha256).collect();
            if self.options.strict && sha256.is_empty() {
                self.errors
                    .push(BadPythonDefinition::NoDigest { origin: origin.clone(), name: package.name });
                continue;
            }
            let operator = if Pep440Version::lenient(&package.version).is_valid() { "==" } else { "===" };
            let sha256 = if self.options.strict { sha256 } else { Vec::new() };
            let alternative = Alternative::new(&format!("{operator}{}", package.version), sha256)
                .map_err(|error| BadPythonDefinition::Versions { origin: origin.clone(), error })?;
            self.add(package.name, origin.clone(), alternative)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: ProjectName,
        origin: String,
        alternative: Alternative,
    ) -> Result<(), BadPythonDefinition> {
        let rule = self.definition.rules.entry(name.clone()).or_default();
        if rule.alternatives().len() >= MAX_LINES {
            return Err(BadPythonDefinition::TooManyLines { origin, name });
        }
        rule.add(alternative);
        self.definition.origins.entry(name).or_insert(origin);
        Ok(())
    }

    /// Returns whether a requirement with this marker is left out. Counts ignored markers and left out requirements.
    fn leaves_out(&mut self, origin: &str, marker: &Marker) -> bool {
        if self.environments.is_empty() {
            self.count_marker(origin);
            return false;
        }
        let is_left_out = !self.environments.iter().any(|environment| environment.may_apply(marker));
        if is_left_out {
            self.left_out.get_or_insert_with(|| (origin.to_owned(), 0)).1 += 1;
        }
        is_left_out
    }

    fn count_marker(&mut self, origin: &str) {
        self.markers.get_or_insert_with(|| (origin.to_owned(), 0)).1 += 1;
    }
}

/// Returns true for a lock file: its first line begins a table or an object, or assigns a value to a key.
fn is_lock_file(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| line.starts_with(['{', '[']) || line.contains(" = "))
}

/// Returns a definition with the lines of another one. The constraints of the current one restrict the added lines, as
/// they would in its files; those of the added one restrict only its own lines, and projects that no line names.
pub fn extended(
    current: &PythonDefinition,
    mut added: PythonDefinition,
) -> Result<PythonDefinition, BadPythonDefinition> {
    let mut restrictions_size = 0;
    for (name, restriction) in &current.constraints {
        let origin = format!("{CURRENT_DEFINITION}, the constraint of '{name}'");
        let bad = |error| BadPythonDefinition::Versions { origin: origin.clone(), error };
        if let Some(rule) = added.rules.get_mut(name) {
            restrictions_size += rule.alternatives().len().saturating_sub(1) * restriction.size();
            if restrictions_size > MAX_RESTRICTIONS {
                return Err(BadPythonDefinition::LongConstraints(origin));
            }
            rule.restrict(restriction).map_err(bad)?;
            continue;
        }
        let joined = match added.constraints.get(name) {
            Some(other) => other.restricted(restriction).map_err(bad)?,
            None => restriction.clone(),
        };
        added.constraints.insert(name.clone(), joined);
    }
    for (name, rule) in &current.rules {
        let rules = added.rules.entry(name.clone()).or_default();
        let added_rule = std::mem::replace(rules, rule.clone());
        added_rule.alternatives().iter().cloned().for_each(|alternative| rules.add(alternative));
        added.origins.entry(name.clone()).or_insert_with(|| CURRENT_DEFINITION.to_owned());
        added.constraints.remove(name);
    }
    for (name, extras) in &current.extras {
        added.extras.entry(name.clone()).or_default().extend(extras.iter().cloned());
    }
    Ok(added)
}

/// Writes a definition as a requirements file, after single packages were added or removed.
pub fn requirements(definition: &PythonDefinition) -> String {
    let line = |(name, rule): (&ProjectName, &ProjectRule)| {
        let extras: Vec<&str> =
            definition.extras.get(name).into_iter().flatten().map(ProjectName::as_str).collect();
        match extras.as_slice() {
            [] => rule.requirements(name.as_str()),
            extras => rule.requirements(&format!("{name}[{}]", extras.join(","))),
        }
    };
    definition.rules.iter().map(line).collect()
}

/// Writes the constraints of a definition as a constraints file; empty without constraints.
pub fn constraints(definition: &PythonDefinition) -> String {
    definition.constraints.iter().map(|(name, restriction)| format!("{name}{restriction}\n")).collect()
}

#[cfg(test)]
mod tests;
