//! The page of the packages that depend on a package, and the page of the packages that its installation requires.

use std::collections::{BTreeSet, HashMap};

use super::context::Context;
use super::{choice, project};
use crate::http::api::public::sysreqs::wire;
use crate::http::error::Failure;
use base::config::platforms::{Distribution, Os};
use content::serve::dependency_graph::{DependencyGraph, ReverseDependency, VersionCondition, chain};
use content::serve::info::{PackageDetail, Release};
use content::serve::{self, RepoError, requirements};
use formats::r::dependency::DependencyKind;
use formats::r::sysreqs::MatchedRule;
use pages::dependencies::{
    Closure, MissingPackage, Refusal, RequiredPackage, SystemNeeds, SystemPackages, UnmetCondition,
};
use pages::dependents::{Dependent, Dependents};

const PER_PAGE: usize = 100;
const MAX_ROWS: usize = 500;

/// Returns a page of the packages that depend on an R package, restricted to the field in the parameter `kind`.
pub(super) async fn dependents(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let detail = project::detail(&context, package).await?;
    let graph = serve::dependency_graph::of_point(&context.app.repositories, context.point).await?;
    let kind = match context.query.get("kind").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match DependencyKind::ALL.into_iter().find(|kind| kind.field() == text) {
            Some(kind) => Some(kind),
            None => {
                let fields = DependencyKind::ALL.map(DependencyKind::field).join(", ");
                return Err(Failure::bad_request(format!("the parameter kind must be one of {fields}")));
            }
        },
    };
    let page = context.query.page()?;
    let reverse_dependencies: Vec<ReverseDependency<'_>> =
        graph.reverse_dependencies(&detail.release.package).collect();
    let count_of_kind =
        |kind: DependencyKind| reverse_dependencies.iter().filter(|dependent| dependent.kind == kind).count();
    let counts = DependencyKind::ALL.map(|kind| (kind.field(), count_of_kind(kind))).to_vec();
    let mut selected_dependents: Vec<&ReverseDependency<'_>> = reverse_dependencies
        .iter()
        .filter(|dependent| kind.is_none_or(|kind| dependent.kind == kind))
        .collect();
    selected_dependents.sort_by_key(|dependent| (dependent.name, dependent.kind));
    let condition = |dependent: &ReverseDependency<'_>| {
        let requirement = dependent.requirement;
        requirement.map(|(operator, version)| format!("{} {version}", operator.as_str())).unwrap_or_default()
    };
    let rows =
        selected_dependents.iter().skip(PER_PAGE * (page - 1)).take(PER_PAGE).map(|dependent| Dependent {
            name: dependent.name.to_owned(),
            kind: dependent.kind.field(),
            condition: condition(dependent),
        });
    let dependents = Dependents {
        rows: rows.collect(),
        pages: selected_dependents.len().div_ceil(PER_PAGE),
        page,
        counts,
        kind: kind.map(DependencyKind::field),
        package: detail.release.package,
        location: context.location,
    };
    Ok(dependents.render(context.root))
}

pub(super) async fn closure(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let app = context.app;
    let Release { package, version, blocked, .. } = project::detail(&context, package).await?.release;
    // Reads stored archives, whose requirements the graph has then.
    let system_packages = system_packages(&context, &package).await?;
    let graph = serve::dependency_graph::of_point(&app.repositories, context.point).await?;
    let refusal = match blocked {
        _ if graph.lists(&package) => None,
        Some(reason) => Some(Refusal::Blocked { version, reason }),
        None => Some(Refusal::NotListed),
    };
    let known_vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let required_packages = graph.required_by(&package);
    let names = || required_packages.iter().map(|required| required.name);
    let system_requirements = graph.requirements_of([package.as_str()]);
    let system_requirements =
        system_requirements.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let unknown_requirements = graph.without_description_of([package.as_str()]).count();
    let missing = missing(&context, graph.missing_of(&required_packages)).await?;
    let requested = names().take(MAX_ROWS).map(|name| (name.to_owned(), None)).collect();
    let details = serve::info::packages(&app.state, context.point, requested).await?;
    let rows =
        required_packages.iter().zip(details).enumerate().filter_map(|(position, (required, detail))| {
            let detail = detail?;
            Some(RequiredPackage {
                name: required.name.to_owned(),
                vulnerabilities: known_vulnerabilities
                    .of(detail.source, required.name, &detail.release.version)
                    .len(),
                size: detail.release.size,
                version: detail.release.version,
                chain: chain(&required_packages, position).into_iter().map(str::to_owned).collect(),
            })
        });
    let required: Vec<RequiredPackage> = rows.collect();
    let closure = Closure {
        system_packages,
        unmet: unmet(&graph, &required_packages, &required),
        omitted: required_packages.len() - required.len(),
        required,
        refusal,
        missing,
        system_requirements,
        unknown_requirements,
        package,
        location: context.location,
    };
    Ok(closure.render(context.root))
}

/// Returns the conditions that the listed versions of `required` do not meet.
fn unmet(
    graph: &DependencyGraph,
    required_packages: &[serve::dependency_graph::RequiredPackage<'_>],
    required: &[RequiredPackage],
) -> Vec<UnmetCondition> {
    let versions: HashMap<&str, &str> =
        required.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    let unmet = |condition: VersionCondition<'_>| {
        let VersionCondition { dependent, dependency, requirement } = condition;
        let version = versions.get(dependency).filter(|version| !requirement.is_met_by(version))?;
        Some(UnmetCondition {
            dependent: dependent.to_owned(),
            dependency: dependency.to_owned(),
            condition: format!("{} {}", requirement.operator.as_str(), requirement.version),
            version: (*version).to_owned(),
        })
    };
    graph.conditions_of(required_packages).into_iter().filter_map(unmet).collect()
}

/// Returns the packages that the snapshot does not list, with the block rule or the name guard that is the reason.
async fn missing(context: &Context<'_>, names: BTreeSet<&str>) -> Result<Vec<MissingPackage>, Failure> {
    let Context { app, point, .. } = *context;
    let requested = names.iter().take(MAX_ROWS).map(|name| ((*name).to_owned(), None)).collect();
    let details = serve::info::packages(&app.state, point, requested).await?;
    let details = details.into_iter().chain(std::iter::repeat_with(|| None));
    let package = |(name, detail): (&str, Option<PackageDetail>)| {
        let blocked =
            detail.and_then(|detail| detail.release.blocked).map(|reason| format!("blocked by {reason}"));
        let guarded = || {
            let guarded = serve::name_guards::guarded(&app.state, point, name)?;
            Some(format!("guarded by {}", guarded.reason))
        };
        MissingPackage { name: name.to_owned(), reason: blocked.or_else(guarded) }
    };
    Ok(names.into_iter().zip(details).map(package).collect())
}

/// Returns the packages of the system in the parameter `platform`, named as on the page of a repository;
/// another text selects none, because links of other servers may name unknown systems.
async fn system_packages(context: &Context<'_>, package: &str) -> Result<SystemPackages, Failure> {
    let app = context.app;
    let platforms = app.state.config.load().platforms.clone();
    let is_offered = |d: &&Distribution| {
        d.os == Os::Linux && d.has_status_row && d.has_system_requirements && !d.is_hidden
    };
    let offered: Vec<&Distribution> = platforms.distributions.iter().filter(is_offered).collect();
    let requested = context.query.get("platform").unwrap_or_default();
    let selected = offered.iter().find(|distribution| choice::is_named(distribution, requested));
    let needs = match selected {
        Some(distribution) => system_needs(context, package, distribution).await?,
        None => None,
    };
    let system = |d: &&Distribution| (d.name.clone(), d.display.clone());
    Ok(SystemPackages {
        systems: offered.iter().map(system).collect(),
        selected: selected.map(|distribution| distribution.name.clone()),
        needs,
    })
}

/// Returns the packages of a system; `None` if the server has no rules.
async fn system_needs(
    context: &Context<'_>,
    package: &str,
    distribution: &Distribution,
) -> Result<Option<SystemNeeds>, Failure> {
    let Distribution { rules_name, rules_release, .. } = distribution;
    let (repositories, roots) = (&context.app.repositories, [package.to_owned()]);
    let loaded =
        requirements::of_point(repositories, context.point, rules_name, rules_release, Some(&roots)).await;
    let requirements = match loaded {
        Ok(requirements) => requirements,
        Err(RepoError::NoRules) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let matches: Vec<(&str, Vec<MatchedRule<'_>>)> = requirements.of([package]).collect();
    let installer = requirements.system().installer();
    let by_package =
        |(name, rules): &(&str, Vec<MatchedRule<'_>>)| ((*name).to_owned(), wire(rules, installer).packages);
    let by_package: Vec<(String, Vec<String>)> = matches.iter().map(by_package).collect();
    let rules: Vec<MatchedRule<'_>> = matches.into_iter().flat_map(|(_, rules)| rules).collect();
    let all = wire(&rules, installer);
    let action = |action: api::public::sysreqs::Action| {
        // A script is an address; it is named and not executed.
        action.command.or_else(|| action.script.map(|script| format!("# run the script {script}")))
    };
    let install = (!all.packages.is_empty()).then(|| format!("{installer} {}", all.packages.join(" ")));
    let (before, after) = (all.pre_install.into_iter(), all.post_install.into_iter());
    let commands = before.filter_map(action).chain(install).chain(after.filter_map(action));
    let unknown = requirements.unknown(Some(&roots)).len();
    Ok(Some(SystemNeeds { by_package, commands: commands.collect(), unknown }))
}
