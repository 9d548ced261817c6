//! Looks up repositories, sources and distributions by name; errors suggest the nearest name.

use super::RepoError;
use base::config::platforms::{Distribution, Os, Platforms};
use runtime::catalog::{Catalog, Repository, Source};

/// Finds the repository of that name or number.
pub fn repo<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Repository, RepoError> {
    catalog.repo_by_name_or_id(name).ok_or_else(|| {
        // SECURITY: hidden and authenticated repositories are not disclosed to clients that guess names.
        let is_open = |repo: &&Repository| !repo.hidden && !repo.authenticated;
        let names = catalog.repos.iter().filter(is_open).map(|repo| repo.name.as_str());
        unknown("repository", name, names, "rspm list repos shows all")
    })
}

pub fn source<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Source, RepoError> {
    catalog.source(name).ok_or_else(|| {
        // SECURITY: as for repositories.
        let is_open = |source: &&Source| !catalog.is_private(source.id);
        let names = catalog.sources.iter().filter(is_open).map(|source| source.name.as_str());
        unknown("source", name, names, "rspm list sources shows all")
    })
}

/// Finds the distribution of that name or alias.
pub fn distribution<'a>(platforms: &'a Platforms, name: &str) -> Result<&'a Distribution, RepoError> {
    let by_name = || platforms.distributions.iter().find(|d| d.name == name && d.os != Os::Linux);
    platforms.linux(name).or_else(by_name).ok_or_else(|| {
        let names = platforms.distributions.iter().map(|d| d.name.as_str());
        RepoError::Invalid(
            unknown("distribution", name, names, "rspm list distributions shows all").to_string(),
        )
    })
}

/// Creates the error for an unknown name: with the nearest name, otherwise with the command that lists all names.
fn unknown<'a>(
    noun: &str,
    name: &str,
    names: impl Iterator<Item = &'a str>,
    hint: &'static str,
) -> RepoError {
    let excerpt: String = name.chars().take(128).collect();
    match nearest(&excerpt, names) {
        Some(suggestion) => {
            RepoError::NotFound(format!("there is no {noun} '{excerpt}'; did you mean '{suggestion}'?"))
        }
        None => RepoError::Unknown { message: format!("there is no {noun} '{excerpt}'"), hint },
    }
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let similarity = |other: &str| strsim::jaro_winkler(&name, &other.to_lowercase());
    let candidates = names.map(|other| (similarity(other), other)).filter(|(score, _)| *score > 0.8);
    candidates.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_misspelt_name_has_the_nearest_name() {
        let message =
            |name, known: &[&'static str]| unknown("source", name, known.iter().copied(), "look").to_string();
        assert_eq!(
            message("interal", &["cran", "internal"]),
            "there is no source 'interal'; did you mean 'internal'?"
        );
        assert_eq!(message("x", &["cran"]), "there is no source 'x'; look");
    }
}
