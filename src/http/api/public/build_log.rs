//! `GET /repos/{r}/packages/{name}/binaries/logs`: the last lines of the log of a package that this server builds from
//! git. For other packages, the response is an error that names the binary and its origin, which may have the build
//! log.

use super::lookup::{repository, requested_point};
use super::{Answer, PublicCall, Raw};
use crate::http::error::{Failure, truncate};
use api::git::GitBuildSummary;
use api::public::package::ShowBuildLog;
use base::model::kind::Supply;
use base::model::point::Point;
use content::serve;
use content::serve::binary_rows::target;
use formats::r::platform::{Arch, Platform};
use formats::r::version::RMinor;
use runtime::catalog::Repository;
use tasks::build::log::{self, PublicResult};

/// SECURITY: open to all clients, so the upstream server of the binaries is not named. For packages that are not built
/// from git: 404 with the origin of the binary for valid parameters, 400 for invalid ones.
pub(super) async fn show(
    call: PublicCall<'_>,
    repo: &str,
    package: &str,
    query: ShowBuildLog,
) -> Answer<Raw> {
    let repository = repository(&call.catalog, repo)?;
    if let Some(build) = of_git_build(&call, repository, package, &query).await? {
        return Ok(Raw::json(&build));
    }
    let point = requested_point(&call, repo, query.bioc_version.as_deref(), query.snapshot).await?;
    let reason = reason(&call, &point, package, &query).await?;
    Err(Failure::not_found(format!("this server does not build binaries, so it has no build logs: {reason}")))
}

/// Returns the last build of a package from git in one of the sources of the repository.
async fn of_git_build(
    call: &PublicCall<'_>,
    repo: &Repository,
    package: &str,
    query: &ShowBuildLog,
) -> Result<Option<GitBuildSummary>, Failure> {
    let sources = repo.sources();
    let version = given(query.version.as_ref());
    let Some(last) = log::last_build(&call.app.builds, &sources, package, version).await? else {
        return Ok(None);
    };
    // SECURITY: open to all clients that may read the repository.
    let (PublicResult { reason, lines }, build) = (last.public(), last.build);
    Ok(Some(GitBuildSummary {
        name: package.to_owned(),
        version: build.version,
        state: build.state,
        commit: build.commit,
        tag: build.tag,
        ended_at: build.ended_at.map(|at| at.to_string()),
        reason,
        log: lines,
    }))
}

/// Returns the text of a parameter, `None` if it is blank.
fn given(parameter: Option<&String>) -> Option<&str> {
    parameter.map(|text| text.trim()).filter(|text| !text.is_empty())
}

async fn reason(
    call: &PublicCall<'_>,
    point: &Point,
    package: &str,
    query: &ShowBuildLog,
) -> Result<String, Failure> {
    let state = &call.app.state;
    let required = |name, value| {
        let example = "distribution=noble&r_version=4.5";
        given(value)
            .ok_or_else(|| Failure::bad_request(format!("the parameter {name} is missing: {example}")))
    };
    let platforms = &state.config.load().platforms;
    let distribution = required("distribution", query.distribution.as_ref())?;
    let distribution = serve::find::distribution(platforms, distribution)?.clone();
    let r = required("r_version", query.r_version.as_ref())?;
    let r = RMinor::parse(r).ok_or_else(|| {
        Failure::bad_request(format!(
            "the parameter r_version: '{}' is not a minor version of R: write two numbers, such as 4.5",
            truncate(r)
        ))
    })?;
    let arch = given(query.arch.as_ref()).unwrap_or(Arch::X86_64.as_str());
    let is_available = |arch: &Arch| distribution.architectures.iter().any(|name| name == arch.as_str());
    let arch = Arch::of_spelling(arch).filter(is_available).ok_or_else(|| {
        Failure::bad_request(format!(
            "the parameter arch: {} has {}, not '{}'",
            distribution.name,
            distribution.architectures.join(" and "),
            truncate(arch)
        ))
    })?;
    let request = vec![(package.to_owned(), given(query.version.as_ref()).map(str::to_owned))];
    let detail = serve::info::packages(state, point, request).await?.into_iter().next().flatten();
    let detail =
        detail.ok_or_else(|| Failure::not_found(format!("Package '{}' not found", truncate(package))))?;
    let version = &detail.release.version;
    let platform = Platform { r, target: target(&distribution), arch };
    let binaries = serve::binary_rows::at_point(state, point, package).await?;
    let binary = binaries.into_iter().find(|binary| {
        let is_platform = (&binary.platform.r, &binary.platform.target) == (&platform.r, &platform.target);
        binary.version == *version
            && is_platform
            && (binary.any_arch || binary.platform.arch == platform.arch)
    });
    let Some(binary) = binary else {
        return Ok(format!(
            "there is no binary of {package} {version} for {platform}, so clients get the source package"
        ));
    };
    let source = call.catalog.source_by_id(detail.source);
    let name = match call.head.principal.source_name(&call.catalog, detail.source) {
        name if name.is_empty() => "its source".to_owned(),
        name => format!("the source '{name}'"),
    };
    let origin = match source.map(|source| source.kind.supply()) {
        Some(Supply::Uploads) => format!("was added to {name}"),
        Some(Supply::Mirror | Supply::Builds | Supply::Curated | Supply::Snapshot) | None => {
            format!("was provided to {name} by another server")
        }
    };
    Ok(format!(
        "the binary of {package} {version} for {platform} {origin} on {}; its builder has the log",
        binary.listed_at.day()
    ))
}
