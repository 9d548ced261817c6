//! The packages of an operating system that the installation of an R package requires.

use super::choice;
use super::context::Context;
use crate::http::api::public::sysreqs::wire;
use crate::http::error::Failure;
use base::config::platforms::{Distribution, Os};
use content::serve::{RepoError, requirements};
use formats::r::sysreqs::MatchedRule;
use pages::dependencies::{SystemNeeds, SystemPackages};

/// Returns the packages of the system in the parameter `platform`, whose names are those of the page of a repository;
/// another text in it selects none, because links of other servers may name systems that this one does not know.
pub(super) async fn of_package(context: &Context<'_>, package: &str) -> Result<SystemPackages, Failure> {
    let app = context.app;
    let platforms = app.state.config.load().platforms.clone();
    let is_offered = |d: &&Distribution| {
        d.os == Os::Linux && d.has_status_row && d.has_system_requirements && !d.is_hidden
    };
    let offered: Vec<&Distribution> = platforms.distributions.iter().filter(is_offered).collect();
    let requested = context.query.get("platform").unwrap_or_default();
    let selected = offered.iter().find(|distribution| choice::is_named(distribution, requested));
    let needs = match selected {
        Some(distribution) => needs(context, package, distribution).await?,
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
async fn needs(
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
