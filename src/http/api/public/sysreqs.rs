//! `…/sysreqs`: system requirements of packages, with the commands to install them.

use std::collections::HashSet;
use std::hash::Hash;

use super::lookup::repository;
use super::{Answer, PublicCall, RequestBody};
use crate::http::error::Failure;
use api::public::sysreqs::Requirements as WireRequirements;
use api::public::sysreqs::{
    Action, Dependency, DescriptionRequirements, Needs, OfDescription, OfPackage, OfPackages,
    PackageRequirements, Requirement,
};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use content::serve;
use content::serve::requirements::Requirements;
use formats::r::dependency::DependencyKind;
use formats::r::description::Description;
use formats::r::sysreqs::{self, MatchedRule};

/// Maximum number of names of packages with unknown requirements in a response.
const MAX_UNKNOWN_NAMES: usize = 100;

/// `GET /repos/{r}/sysreqs`: requirements of all packages, or of named packages and their dependencies.
pub(super) async fn of_packages(
    call: PublicCall<'_>,
    repo: &str,
    query: OfPackages,
) -> Answer<WireRequirements> {
    let (names, is_all) = (query.pkgname, query.all);
    if !is_all && names.is_empty() {
        return Err(Failure::bad_request(
            "name packages with the parameter pkgname (it may be repeated), or set all=true",
        ));
    }
    let roots = (!is_all).then(|| names.clone());
    let requirements =
        load_requirements(&call, repo, query.distribution, query.release, roots.as_deref()).await?;
    let (unknown_count, unknown) = unknown_names(&requirements, roots.as_deref());
    // Takes milliseconds for all of CRAN, so it does not run on an async thread.
    let response = tokio::task::spawn_blocking(move || {
        let installer = requirements.system().installer();
        let wire = |(name, needs): (&str, Vec<MatchedRule<'_>>)| Requirement {
            name: name.to_owned(),
            requirements: wire(&needs, installer),
        };
        let requirements: Vec<Requirement> = if is_all {
            requirements.of_all().map(wire).collect()
        } else {
            requirements.of(names.iter().map(String::as_str)).map(wire).collect()
        };
        let each = || requirements.iter().map(|requirement| &requirement.requirements);
        WireRequirements {
            install_scripts: distinct(each().flat_map(|needs| &needs.install_scripts)),
            pre_install: distinct(each().flat_map(|needs| &needs.pre_install)),
            post_install: distinct(each().flat_map(|needs| &needs.post_install)),
            requirements,
            unknown_count,
            unknown,
        }
    });
    response.await.map_err(|_| Failure::unavailable("the server is stopping", 5))
}

/// `GET /repos/{r}/packages/{name}/sysreqs`: requirements of one package and its dependencies, by rule.
pub(super) async fn of_package(
    call: PublicCall<'_>,
    repo: &str,
    name: &str,
    query: OfPackage,
) -> Answer<PackageRequirements> {
    let roots = [name.to_owned()];
    let requirements =
        load_requirements(&call, repo, query.distribution, query.release, Some(&roots)).await?;
    if !requirements.lists(name) {
        let excerpt: String = name.chars().take(128).collect();
        let text = format!("Package '{excerpt}' not found");
        let point = newest_point(&call, repo).await?;
        return Err(serve::name_guards::missing_in_lists(&call.app.state, &point, name, text).into());
    }
    let (unknown_count, unknown) = unknown_names(&requirements, Some(&roots));
    let installer = requirements.system().installer();
    let mut matches: Vec<(&str, Vec<MatchedRule<'_>>)> = requirements.of([name]).collect();
    // The requirements of the package itself come first; the sort is stable for the others.
    matches.sort_by_key(|(package, _)| *package != name);
    let mut distinct = HashSet::new();
    let matched_rules: Vec<MatchedRule<'_>> =
        matches.into_iter().flat_map(|(_, needs)| needs).filter(|need| distinct.insert(need.rule)).collect();
    let dependency =
        |need: &MatchedRule<'_>| Dependency { name: need.rule.to_owned(), needs: wire(&[*need], installer) };
    Ok(PackageRequirements {
        name: name.to_owned(),
        source_files: matched_rules.iter().map(|need| format!("{}.json", need.rule)).collect(),
        dependencies: matched_rules.iter().map(dependency).collect(),
        unknown_count,
        unknown,
    })
}

/// `POST /repos/{r}/sysreqs`: requirements of the package that a DESCRIPTION describes, and of its dependencies, with
/// `suggests=true` including its suggested packages.
pub(super) async fn of_description(
    call: PublicCall<'_>,
    repo: &str,
    query: OfDescription,
    body: RequestBody,
) -> Answer<DescriptionRequirements> {
    let description = Description::from_bytes(&body.bytes).map_err(|error| error.to_string());
    let description = description.and_then(|description| {
        if description.fields().next().is_some() {
            Ok(description)
        } else {
            Err("it has no field".to_owned())
        }
    });
    let description = description
        .map_err(|error| Failure::bad_request(format!("the body is not a valid DESCRIPTION: {error}")))?;
    let kinds: &[DependencyKind] = if query.suggests {
        &[
            DependencyKind::Depends,
            DependencyKind::Imports,
            DependencyKind::LinkingTo,
            DependencyKind::Suggests,
        ]
    } else {
        &[DependencyKind::Depends, DependencyKind::Imports, DependencyKind::LinkingTo]
    };
    let roots = kinds.iter().flat_map(|kind| description.dependencies(*kind));
    let roots: Vec<String> = roots.map(|dependency| dependency.name.to_owned()).collect();
    let requirements =
        load_requirements(&call, repo, query.distribution, query.release, Some(&roots)).await?;
    let (unknown_count, unknown) = unknown_names(&requirements, Some(&roots));
    let matching_rules =
        requirements.of_text(description.non_empty("SystemRequirements").unwrap_or_default());
    let package = description.package().unwrap_or_default();
    let mut packages = vec![(package, matching_rules)];
    // Circular dependencies lead back to the package itself.
    packages.extend(requirements.of(roots.iter().map(String::as_str)).filter(|(name, _)| *name != package));
    packages.retain(|(_, needs)| !needs.is_empty());
    let installer = requirements.system().installer();
    let dependency = |(name, needs): &(&str, Vec<MatchedRule<'_>>)| Dependency {
        name: (*name).to_owned(),
        needs: wire(needs, installer),
    };
    let dependencies: Vec<Dependency> = packages.iter().map(dependency).collect();
    let each = || dependencies.iter().map(|dependency| &dependency.needs);
    Ok(DescriptionRequirements {
        install_scripts: distinct(each().flat_map(|needs| &needs.install_scripts)),
        pre_install: distinct(each().flat_map(|needs| &needs.pre_install)),
        post_install: distinct(each().flat_map(|needs| &needs.post_install)),
        dependencies,
        unknown_count,
        unknown,
    })
}

/// Returns the number of packages with unknown requirements, and the first names.
fn unknown_names(requirements: &Requirements, roots: Option<&[String]>) -> (usize, Vec<String>) {
    let mut names = requirements.unknown(roots);
    let count = names.len();
    names.truncate(MAX_UNKNOWN_NAMES);
    (count, names)
}

/// Loads the requirements of packages at the newest point of a repository, on the system of `distribution` and
/// `release`: of `roots` and their dependencies, or of all packages.
async fn load_requirements(
    call: &PublicCall<'_>,
    repo: &str,
    distribution: Option<String>,
    release: Option<String>,
    roots: Option<&[String]>,
) -> Result<Requirements, Failure> {
    let required = |name, value: Option<String>| {
        let missing = || {
            Failure::bad_request(format!(
                "the parameter {name} is missing; for example: distribution=ubuntu&release=22.04"
            ))
        };
        value.filter(|text| !text.trim().is_empty()).ok_or_else(missing)
    };
    let distribution = required("distribution", distribution)?;
    let release = required("release", release)?;
    let point = newest_point(call, repo).await?;
    let repositories = &call.app.repositories;
    Ok(serve::requirements::of_point(repositories, &point, &distribution, &release, roots).await?)
}

async fn newest_point(call: &PublicCall<'_>, repo: &str) -> Result<Point, Failure> {
    let name = repository(&call.catalog, repo)?.name.as_str();
    Ok(serve::point::resolve(&call.app.repositories, name, Snapshot::Latest).await?)
}

/// Returns the packages and the commands that rules name; `installer` is the command that installs packages.
pub(in crate::http) fn wire(needs: &[MatchedRule<'_>], installer: &str) -> Needs {
    let packages: Vec<String> = distinct(needs.iter().flat_map(|need| need.packages));
    let action =
        |action: &sysreqs::Action| Action { command: action.command.clone(), script: action.script.clone() };
    Needs {
        install_scripts: packages.iter().map(|name| format!("{installer} {name}")).collect(),
        packages,
        pre_install: distinct(
            needs.iter().flat_map(|need| need.pre_install).map(action).collect::<Vec<_>>().iter(),
        ),
        post_install: distinct(
            needs.iter().flat_map(|need| need.post_install).map(action).collect::<Vec<_>>().iter(),
        ),
    }
}

/// Returns each value once, at its first position.
fn distinct<'a, T: Clone + Eq + Hash + 'a>(values: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut unique = HashSet::new();
    values.filter(|value| unique.insert(*value)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::r::sysreqs::{OsRelease, RuleBase, Rules};

    #[test]
    fn an_answer_has_one_command_for_each_package_without_duplicates() {
        let document = br#"{"systems":[{"os":"linux","distribution":"centos","versions":["7"]}],"rules":{
            "gdal":{"patterns":["gdal"],"dependencies":[{"packages":["gdal-devel","gdal"],"constraints":[{"os":"linux"}],
                "pre_install":[{"command":"epel"}],"post_install":[{"script":"after.sh"}]}]},
            "geos":{"patterns":["geos"],"dependencies":[{"packages":["geos-devel","gdal"],"constraints":[{"os":"linux"}],
                "pre_install":[{"command":"epel"}]}]}}}"#;
        let rules = Rules::new(RuleBase::from_document(document).expect("a base")).expect("rules");
        let system = OsRelease::new("centos", "7");
        let needs = wire(&rules.requirements("gdal, geos", &system), system.installer());
        assert_eq!(needs.packages, ["gdal-devel", "gdal", "geos-devel"]);
        assert_eq!(needs.install_scripts[2], "yum install -y geos-devel");
        assert_eq!(
            serde_json::to_string(&(needs.pre_install, needs.post_install)).expect("JSON"),
            r#"[[{"command":"epel"}],[{"script":"after.sh"}]]"#
        );
    }
}
