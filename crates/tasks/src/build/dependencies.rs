//! The packages that the build of an R package installs: its build dependencies and their dependencies, from a
//! repository of this server. The sandbox receives their files in the order of installation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use futures_util::StreamExt;

use super::Builds;
use super::failure::BuildFailure;
use super::needs::{self, Needs};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use builder::message::{MAX_DEPENDENCIES, RDependency};
use content::serve::located::FileBody;
use content::serve::{RepoError, dependency_graph, file, find, point};
use formats::r::closure::{ClosureMember, ClosureRoot, DependencyIndex, Kinds};
use formats::r::version::{is_numeric, is_package_version};
use runtime::catalog::{Catalog, Repository};
use store::db::git_builder::GitBuilder;

/// Maximum size of all packages together in bytes: a third of the file system of a build.
const MAX_BYTES: u64 = 1 << 30;

/// The packages that a build installs.
#[derive(Default)]
pub(super) struct Dependencies {
    pub(super) packages: Vec<RDependency>,
    /// The concatenated files of `packages`, open for reading only; `None` without packages.
    pub(super) file: Option<File>,
    /// The reasons why some dependencies are not installed.
    pub(super) notes: Vec<String>,
    /// Whether a missing package may be available later, because a mirror did not answer.
    pub(super) is_incomplete: bool,
}

/// A package to install, with the requirements on its version.
#[derive(Debug, PartialEq, Eq)]
struct SelectedDependency {
    name: String,
    version: String,
    requirements: Vec<String>,
}

/// Collects the packages that are needed to build a source tree; also returns the tree.
pub(super) async fn collect(
    builds: &Builds,
    builder: &GitBuilder,
    mut tree: File,
) -> Result<(File, Dependencies), BuildFailure> {
    let builds_vignettes = builder.vignettes;
    let needs = tokio::task::spawn_blocking(move || {
        needs::of_tree(&mut tree, builds_vignettes).map(|needs| (tree, needs))
    });
    let (tree, needs) = needs.await.map_err(|error| BuildFailure::Temporary(error.to_string()))??;
    if needs.is_empty() {
        return Ok((tree, Dependencies::default()));
    }
    let name = match repository(builds, builder) {
        Ok(name) => name,
        Err(note) => return Ok((tree, Dependencies { notes: vec![note], ..Dependencies::default() })),
    };
    let point = point::resolve(&builds.repositories, &name, Snapshot::Latest).await?;
    let index = dependency_graph::index_of_point(&builds.repositories, &point).await?;
    let selection = tokio::task::spawn_blocking(move || select(&index, &needs, &name));
    let (selected, mut notes) =
        selection.await.map_err(|error| BuildFailure::Temporary(error.to_string()))?;
    let directory = builds.state.config.load().server.temp_dir.clone();
    let mut dependencies = copy(builds, &point, selected, directory).await?;
    notes.append(&mut dependencies.notes);
    Ok((tree, Dependencies { notes, ..dependencies }))
}

/// Returns the repository from which packages are installed, or the reason why there is none.
fn repository(builds: &Builds, builder: &GitBuilder) -> Result<String, String> {
    let (catalog, config) = (builds.state.catalog.get(), builds.state.config.load());
    let configured = config.git.r_repository.as_str();
    let repository = match configured {
        "" => subscriber(&catalog, builder)?,
        name => find::repo(&catalog, name).map_err(|error| format!("Git.RRepository: {error}"))?,
    };
    match repository.kind.language() == builds.language(builder) {
        true => Ok(repository.name.to_string()),
        false => Err(format!("the repository '{configured}' of Git.RRepository has no R packages")),
    }
}

/// Returns the only repository that subscribes to the source of a builder.
fn subscriber<'a>(catalog: &'a Catalog, builder: &GitBuilder) -> Result<&'a Repository, String> {
    let repositories: Vec<&Repository> =
        catalog.repos.iter().filter(|repo| repo.subscribes_to(builder.source)).collect();
    let names: Vec<&str> = repositories.iter().map(|repo| repo.name.as_str()).take(10).collect();
    match repositories.as_slice() {
        [only] => Ok(only),
        [] => Err(
            "no repository subscribes to the source of the builder, and Git.RRepository names none, so no \
                   packages were installed for the build"
                .to_owned(),
        ),
        _ => Err(format!(
            "several repositories subscribe to the source of the builder ({}), and Git.RRepository names none of them, so \
             no packages were installed for the build",
            names.join(", ")
        )),
    }
}

/// Selects the build dependencies of a package and their dependencies from the index of a repository, in the order
/// of installation; also returns the reasons why some are missing.
fn select(
    index: &DependencyIndex,
    needs: &Needs,
    repository: &str,
) -> (Vec<SelectedDependency>, Vec<String>) {
    let roots: Vec<ClosureRoot<'_>> =
        needs.keys().map(|name| ClosureRoot { name, kinds: Kinds::STRONG }).collect();
    let closure = index.closure(&roots, Kinds::STRONG);
    let mut notes = Vec::new();
    let mut missing: BTreeSet<&str> = closure.unknown_roots.iter().map(String::as_str).collect();
    missing.extend(closure.missing.iter().map(|missing| missing.name));
    if !missing.is_empty() {
        let names: Vec<&str> = missing.into_iter().take(20).collect();
        notes.push(format!("the repository '{repository}' lists no {}", names.join(", ")));
    }
    let mut requirements: BTreeMap<&str, BTreeSet<String>> =
        needs.iter().map(|(name, requirements)| (name.as_str(), requirements.clone())).collect();
    for (name, requirement) in index.strong_requirements(&closure) {
        if is_numeric(requirement.version) {
            let text = format!("{} {}", requirement.operator.as_str(), requirement.version);
            requirements.entry(name).or_default().insert(text);
        }
    }
    let mut order = index.installation_order(&closure);
    order.retain(|member| is_package_version(member.version));
    if order.len() > MAX_DEPENDENCIES {
        notes.push(format!(
            "the build needs {} packages, more than the {MAX_DEPENDENCIES} that are installed for a build; install them in \
             Git.RLibrary",
            order.len()
        ));
        return (Vec::new(), notes);
    }
    let selected = order.into_iter().map(|ClosureMember { name, version, .. }| SelectedDependency {
        name: name.to_owned(),
        version: version.to_owned(),
        requirements: requirements.remove(name).into_iter().flatten().collect(),
    });
    (selected.collect(), notes)
}

/// Copies files of packages into one file. One that no mirror delivers is left out: the build may succeed without it.
async fn copy(
    builds: &Builds,
    point: &Point,
    selected: Vec<SelectedDependency>,
    directory: PathBuf,
) -> Result<Dependencies, BuildFailure> {
    let mut dependencies = Dependencies::default();
    if selected.is_empty() {
        return Ok(dependencies);
    }
    // The sandbox gets a read-only descriptor.
    let mut target = tempfile::NamedTempFile::new_in(directory)?;
    let file = File::open(target.path())?;
    let mut total = 0;
    for SelectedDependency { name, version, requirements } in selected {
        let size = match append(builds, point, &name, &version, &mut target, MAX_BYTES - total).await {
            Ok(Some(size)) => size,
            Ok(None) => {
                let note = format!(
                    "the packages that the build needs have more than {} MB; install them in Git.RLibrary",
                    MAX_BYTES >> 20
                );
                return Ok(Dependencies { notes: vec![note], ..Dependencies::default() });
            }
            // The repository may have changed since the list was read.
            Err(error @ (RepoError::NotFound(_) | RepoError::Blocked(_) | RepoError::Guarded(_))) => {
                dependencies.notes.push(error.to_string());
                continue;
            }
            Err(error @ RepoError::Upstream { .. }) => {
                dependencies.notes.push(format!("{name} {version}: {}", error.phrase()));
                tracing::warn!(package = name, version, %error, "could not fetch a package for a build");
                // A part of the package may have been written.
                target.as_file().set_len(total)?;
                target.seek(SeekFrom::Start(total))?;
                if error.may_succeed_later() {
                    dependencies.is_incomplete = true;
                    break;
                }
                continue;
            }
            Err(error) => return Err(BuildFailure::Temporary(format!("{name} {version}: {error}"))),
        };
        total += size;
        dependencies.packages.push(RDependency { name, version, size, requirements });
    }
    target.flush()?;
    dependencies.file = (!dependencies.packages.is_empty()).then_some(file);
    Ok(dependencies)
}

/// Appends a source package to a file; returns its size in bytes, or `None` if it is larger than `limit`.
async fn append(
    builds: &Builds,
    point: &Point,
    name: &str,
    version: &str,
    target: &mut tempfile::NamedTempFile,
    limit: u64,
) -> Result<Option<u64>, RepoError> {
    let path = format!("{name}_{version}.tar.gz");
    let located = file::locate(&builds.repositories, point, name, version, &path, false).await?;
    if located.size.is_some_and(|size| size > limit) {
        return Ok(None);
    }
    let write_error =
        |error: std::io::Error| RepoError::Storage(store::storage::StorageError::Other(error.to_string()));
    match file::open(&builds.repositories, &located, None).await?.body {
        FileBody::Memory(bytes) => {
            target.write_all(&bytes).map_err(write_error)?;
            Ok(Some(bytes.len() as u64))
        }
        FileBody::Stream(mut pieces) => {
            let mut size = 0;
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                size += piece.len() as u64;
                if size > limit {
                    return Ok(None);
                }
                target.write_all(&piece).map_err(write_error)?;
            }
            Ok(Some(size))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::r::description::Description;

    fn index(text: &str) -> DependencyIndex {
        let mut index = DependencyIndex::default();
        for record in text.split("\n\n") {
            let description = Description::from_bytes(record.as_bytes()).unwrap();
            let name = description.package().unwrap().to_owned();
            index.insert(&name, description.version().unwrap(), &description);
        }
        index
    }

    fn needs(names: &[&str]) -> Needs {
        names.iter().map(|name| ((*name).to_owned(), BTreeSet::from([">= 0.1".to_owned()]))).collect()
    }

    #[test]
    fn needs_are_selected_with_their_closure_in_the_order_of_installation() {
        let index = index(
            "Package: engine\nVersion: 2.0\nImports: helper (>= 1.0), gone\nSuggests: unused\n\n\
             Package: helper\nVersion: 1.1\nDepends: R (>= 3.5)\n\nPackage: unused\nVersion: 1.0",
        );
        let (selected, notes) = select(&index, &needs(&["engine", "helper", "absent"]), "dev");
        let texts: Vec<String> = selected
            .iter()
            .map(|s| format!("{} {} [{}]", s.name, s.version, s.requirements.join(", ")))
            .collect();
        assert_eq!(texts, ["helper 1.1 [>= 0.1, >= 1.0]", "engine 2.0 [>= 0.1]"]);
        assert_eq!(notes, ["the repository 'dev' lists no absent, gone"]);
    }

    #[test]
    fn more_packages_than_the_limit_are_not_installed() {
        let text: Vec<String> = (0..=MAX_DEPENDENCIES)
            .map(|number| format!("Package: p{number}\nVersion: 1.0\nImports: p{}", number + 1))
            .collect();
        let (selected, notes) = select(&index(&text.join("\n\n")), &needs(&["p0"]), "dev");
        assert!(selected.is_empty() && notes[1].contains("Git.RLibrary"), "{notes:?}");
    }
}
