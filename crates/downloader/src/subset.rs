//! Subsets: the packages of `--file-in` with their dependencies. Pure.

use std::collections::{BTreeSet, HashMap};

use super::inventory::Inventory;
use formats::bundle::Record;
use formats::r::dependency::DependencyKind;
use formats::r::description::Description;
use formats::r::name;

/// Kinds of dependencies that `R CMD INSTALL` needs.
const INSTALL_KINDS: [DependencyKind; 3] =
    [DependencyKind::Depends, DependencyKind::Imports, DependencyKind::LinkingTo];

/// Parses a list of packages, one per line; the version in a line such as `package==version` is ignored; `#` begins a
/// comment. The error is the first invalid line, with its number.
pub(super) fn names(text: &str) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(line.len());
        let (package, rest) = line.split_at(end);
        let constraint = rest.trim_start();
        let is_valid = constraint.is_empty() || constraint.starts_with(['=', '<', '>', '!', '(', '@', ',']);
        if !name::is_package(package) || !is_valid {
            return Err(format!(
                "line {}: '{}' is not the name of a package",
                index + 1,
                line.escape_debug()
            ));
        }
        names.insert(package.to_owned());
    }
    if names.is_empty() {
        return Err("the file names no package".to_owned());
    }
    Ok(names)
}

/// Returns the requested packages and their dependencies as two lists of names: the packages that upstream has,
/// and the packages that it does not have.
pub(super) fn add_dependencies(
    requested_packages: &BTreeSet<String>,
    inventory: &Inventory,
) -> (BTreeSet<String>, Vec<String>) {
    let mut index_records: HashMap<&str, Vec<&str>> = HashMap::new();
    for file in &inventory.files {
        // Only the dependencies of the listed release are needed.
        index_records.entry(&file.name).or_default().extend(file.index.as_deref().filter(|_| file.is_listed));
    }
    let (mut packages, mut unknown_names) = (BTreeSet::new(), Vec::new());
    let mut queue: Vec<String> = requested_packages.iter().cloned().collect();
    while let Some(package) = queue.pop() {
        let Some(records) = index_records.get(package.as_str()) else {
            unknown_names.push(package);
            continue;
        };
        if !packages.insert(package.clone()) {
            continue;
        }
        for record in records {
            let Ok(description) = Description::from_bytes(record.as_bytes()) else { continue };
            let dependencies = INSTALL_KINDS.into_iter().flat_map(|kind| description.dependencies(kind));
            let names: Vec<String> = dependencies.map(|dependency| dependency.name.to_owned()).collect();
            queue.extend(
                names
                    .into_iter()
                    .filter(|name| name != "R" && !name::is_base(name) && !packages.contains(name)),
            );
        }
    }
    unknown_names.sort();
    unknown_names.dedup();
    (packages, unknown_names)
}

/// Drops the files and events of all packages that are not in `names`.
pub(super) fn restrict(inventory: &mut Inventory, names: &BTreeSet<String>) {
    inventory.files.retain(|file| names.contains(&file.name));
    inventory.events.retain(|record| match record {
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
        let mut inventory = Inventory { files: rows, ..Inventory::default() };
        let requested_packages = ["a1", "missing"].map(str::to_owned).into();
        let (packages, unknown_names) = add_dependencies(&requested_packages, &inventory);
        assert_eq!(packages, ["a1", "b2", "c3", "d4"].map(str::to_owned).into());
        assert_eq!(unknown_names, ["missing", "removed"]);
        restrict(&mut inventory, &packages);
        assert_eq!(inventory.files.len(), 4);
    }
}
