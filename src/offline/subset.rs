//! Subsets: named packages with their dependencies. Pure.

use std::collections::{BTreeSet, HashMap};

use super::inventory::Inventory;
use crate::bundle::Record;
use crate::r::dependency::DependencyKind;
use crate::r::description::Description;
use crate::r::name;

/// Kinds of dependencies that `R CMD INSTALL` needs.
const NEEDED: [DependencyKind; 3] =
    [DependencyKind::Depends, DependencyKind::Imports, DependencyKind::LinkingTo];

/// Parses a list of packages, one per line; of `package==version` and the like only the name is used; `#` begins a
/// comment.
///
/// # Errors
/// The first invalid line, with its number.
pub(super) fn names(text: &str) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(line.len());
        let (found, rest) = line.split_at(end);
        let constraint = rest.trim_start();
        let fine = constraint.is_empty() || constraint.starts_with(['=', '<', '>', '!', '(', '@', ',']);
        if !name::is_package(found) || !fine {
            return Err(format!("line {}: '{}' is not the name of a package", at + 1, line.escape_debug()));
        }
        names.insert(found.to_owned());
    }
    if names.is_empty() {
        return Err("it names no package".to_owned());
    }
    Ok(names)
}

/// Returns the named packages with their dependencies, as far as upstream has them, and those that it lacks.
pub(super) fn closure(requested: &BTreeSet<String>, declared: &Inventory) -> (BTreeSet<String>, Vec<String>) {
    let mut needs: HashMap<&str, Vec<&str>> = HashMap::new();
    for row in &declared.files {
        // Only the listed release has its dependencies in the index, and it decides.
        needs.entry(&row.name).or_default().extend(row.index.as_deref().filter(|_| row.is_listed));
    }
    let (mut found, mut unknown) = (BTreeSet::new(), Vec::new());
    let mut next: Vec<String> = requested.iter().cloned().collect();
    while let Some(package) = next.pop() {
        let Some(records) = needs.get(package.as_str()) else {
            unknown.push(package);
            continue;
        };
        if !found.insert(package.clone()) {
            continue;
        }
        for record in records {
            let Ok(description) = Description::from_bytes(record.as_bytes()) else { continue };
            let dependencies = NEEDED.into_iter().flat_map(|kind| description.dependencies(kind));
            let more: Vec<String> = dependencies.map(|dependency| dependency.name.to_owned()).collect();
            next.extend(
                more.into_iter().filter(|name| name != "R" && !name::is_base(name) && !found.contains(name)),
            );
        }
    }
    unknown.sort();
    unknown.dedup();
    (found, unknown)
}

/// Drops the files and events of all other packages.
pub(super) fn restrict(declared: &mut Inventory, names: &BTreeSet<String>) {
    declared.files.retain(|row| names.contains(&row.name));
    declared.events.retain(|record| match record {
        Record::Archive(event) | Record::Restore(event) | Record::Remove(event) => {
            names.contains(&event.name)
        }
        Record::Release(_) | Record::Index(_) | Record::Snapshot(_) | Record::Unknown => true,
    });
}

#[cfg(test)]
mod tests {
    use super::super::inventory::UpstreamFile;
    use super::*;

    fn row(name: &str, fields: &str) -> UpstreamFile {
        UpstreamFile {
            folder: None,
            name: name.to_owned(),
            version: "1.0".to_owned(),
            ext: "tar.gz".to_owned(),
            paths: Vec::new(),
            size: None,
            published: None,
            md5: None,
            sha256: None,
            is_listed: true,
            index: Some(format!("Package: {name}\nVersion: 1.0\n{fields}")),
            record: None,
        }
    }

    #[test]
    fn a_list_has_a_package_on_each_line() {
        let text = "# ours\nR6\n\ndata.table >= 1.14 # newest\nglue==1.8.0\nMASS (>= 7)\n";
        assert_eq!(names(text), Ok(["MASS", "R6", "data.table", "glue"].map(str::to_owned).into()));
        assert!(names("R6\n../x\n").expect_err("no").contains("line 2"));
        assert!(names("two words\n").is_err() && names("# nothing\n").is_err());
    }

    #[test]
    fn the_requirements_of_a_package_are_included() {
        let rows = vec![
            row("a1", "Depends: R (>= 3.5), b2\nImports: methods, c3 (>= 1.0)\nSuggests: zz\n"),
            row("b2", "LinkingTo: d4\n"),
            row("c3", "Imports: a1, removed\n"),
            row("d4", ""),
            row("zz", ""),
        ];
        let mut declared = Inventory { files: rows, ..Inventory::default() };
        let requested = ["a1", "missing"].map(str::to_owned).into();
        let (found, unknown) = closure(&requested, &declared);
        assert_eq!(found, ["a1", "b2", "c3", "d4"].map(str::to_owned).into());
        assert_eq!(unknown, ["missing", "removed"]);
        restrict(&mut declared, &found);
        assert_eq!(declared.files.len(), 4);
    }
}
