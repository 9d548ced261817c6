//! Names that a local or git source of a repository has in common with the other sources of the repository.

use std::collections::HashSet;

use crate::serve::selection::allowed::View;
use crate::serve::selection::point;
use crate::serve::{RepoError, Repositories, find, project};
use base::model::ids::SourceId;
use base::model::kind::Layout;
use base::model::project_name::ProjectName;
use base::model::snapshot::Snapshot;
use formats::r::bioconductor::{BioconductorVersion, Part};
use store::db::{Conn, DbError, project_file};

/// Maximum number of names in a warning.
const MAX_EXAMPLES: usize = 3;

struct SharedNames {
    /// The source that precedes the other one in the repository.
    first: SourceId,
    second: SourceId,
    names: Vec<String>,
}

/// Warns about names that `source` and another source of the repository both list. Pairs of two own sources, or of two
/// mirrors, are left out, as are names that a guard hides in one of the two. `version` is that of Bioconductor.
pub async fn warnings(
    repositories: &Repositories,
    repo: &str,
    source: &str,
    version: Option<BioconductorVersion>,
) -> Result<Vec<String>, RepoError> {
    let state = &repositories.state;
    let catalog = state.catalog.get();
    let (repo, source) = (find::repo(&catalog, repo)?, find::source(&catalog, source)?.id);
    let layout = repo.kind.layout();
    let part = version.filter(|_| repo.kind.has_parts()).map(Part::whole);
    let point = point::resolve_part(repositories, repo.name.as_str(), part, Snapshot::Latest).await?;
    let views = View::of(state, &point);
    let own: HashSet<SourceId> =
        views.iter().map(|view| view.source).filter(|source| catalog.is_own(*source)).collect();
    let query = state.db.read(move |c| shared_names(c, &views, &own, source, layout));
    let sentence = |shared: SharedNames| {
        let SharedNames { first, second, names } = shared;
        let (first, second) = (catalog.source_name(first), catalog.source_name(second));
        let examples = names.iter().take(MAX_EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
        let (packages, pronoun) = match names.len() {
            1 => (format!("the package '{examples}'"), "it"),
            count if count <= MAX_EXAMPLES => (format!("{count} packages: {examples}"), "them"),
            count => (format!("{count} packages, such as {examples}"), "them"),
        };
        format!(
            "the sources {first} and {second} both have {packages}; {first}, which precedes {second} in the repository '{}', \
             provides {pronoun}. rspm audit names lists such names; rspm create name-guard hides those of the other source",
            repo.name
        )
    };
    Ok(query.await?.into_iter().map(sentence).collect())
}

fn shared_names(
    c: &mut dyn Conn,
    views: &[View],
    own: &HashSet<SourceId>,
    source: SourceId,
    layout: Layout,
) -> Result<Vec<SharedNames>, DbError> {
    let mut shared: Vec<SharedNames> = Vec::new();
    let is_source = |view: &View| view.source == source;
    for (own_position, own_view) in views.iter().enumerate().filter(|(_, view)| own.contains(&view.source)) {
        let is_pair =
            |other: &View| !own.contains(&other.source) && (is_source(own_view) || is_source(other));
        if !views.iter().any(is_pair) {
            continue;
        }
        let own_names = listed_names(c, own_view, layout)?;
        for (position, other) in views.iter().enumerate().filter(|(_, view)| is_pair(view)) {
            let names = names_of_both(c, &own_names, other, layout)?;
            let (first, second) = match own_position < position {
                true => (own_view.source, other.source),
                false => (other.source, own_view.source),
            };
            // A source, such as Bioconductor, may have several trees.
            match shared.iter_mut().find(|known| (known.first, known.second) == (first, second)) {
                Some(known) => known.names.extend(names),
                None => shared.push(SharedNames { first, second, names }),
            }
        }
    }
    for found in &mut shared {
        found.names.sort_unstable();
        found.names.dedup();
    }
    shared.retain(|found| !found.names.is_empty());
    Ok(shared)
}

/// Returns the names that a local or git source lists and no guard hides in it.
fn listed_names(c: &mut dyn Conn, view: &View, layout: Layout) -> Result<HashSet<String>, DbError> {
    match layout {
        Layout::Lists => Ok(view.names(c)?.into_iter().map(|listed| listed.name).collect()),
        Layout::Projects => {
            let projects = project_file::projects(c, view.tree, view.seq)?.into_iter();
            let listed = projects.filter(|project| project.is_listed && !view.hides(&project.name));
            Ok(listed.map(|project| project.name).collect())
        }
    }
}

/// Returns those of these names that a tree lists and no guard hides in it.
fn names_of_both(
    c: &mut dyn Conn,
    names: &HashSet<String>,
    view: &View,
    layout: Layout,
) -> Result<Vec<String>, DbError> {
    match layout {
        Layout::Lists => {
            let listed = view.names(c)?.into_iter().map(|listed| listed.name);
            Ok(listed.filter(|name| names.contains(name)).collect())
        }
        Layout::Projects => {
            let mut both = Vec::new();
            for name in names {
                let project = ProjectName::folded(name.as_str());
                if project::owner::owner(c, std::slice::from_ref(view), &project)?.is_some() {
                    both.push(name.clone());
                }
            }
            Ok(both)
        }
    }
}
