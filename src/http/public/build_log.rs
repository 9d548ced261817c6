//! `GET /repos/{r}/packages/{name}/binaries/logs`: the last lines of the log of a package that this server builds from
//! git. For other packages, the response is an error that names the binary and its origin, which may have the build
//! log.

use http::{Response, StatusCode};

use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::error::truncate;
use crate::http::permission::Principal;
use crate::http::response;
use crate::http::target::Query;
use api::git::GitBuildSummary;
use base::model::point::Point;
use base::model::source::SourceKind;
use content::serve;
use content::serve::binary_rows::target;
use formats::r::platform::{Arch, Platform};
use formats::r::version::RMinor;
use runtime::catalog::{Catalog, Repository};
use tasks::build::log::{self, PublicResult};

/// Returns the response for a package that is built from git in one of the sources of the repository; `None` for other
/// packages.
pub(super) async fn of_git_build(
    app: &App,
    repo: &Repository,
    package: &str,
    query: &Query,
) -> Result<Option<Response<Body>>, Failure> {
    let version = query.get("version").map(str::trim).filter(|text| !text.is_empty());
    let sources = repo.sources();
    let Some(last) = log::last_build(&app.builds, &sources, package, version).await? else {
        return Ok(None);
    };
    // SECURITY: open to all clients that may read the repository.
    let (PublicResult { reason, lines }, build) = (last.public(), last.build);
    let body = GitBuildSummary {
        name: package.to_owned(),
        version: build.version,
        state: build.state.as_str().to_owned(),
        commit: build.commit,
        tag: build.tag,
        ended_at: build.ended_at.map(|at| at.to_string()),
        reason,
        log: lines,
    };
    Ok(Some(response::json(StatusCode::OK, &body)))
}

/// Returns the error response: 404 with the origin of the binary for valid parameters, 400 for invalid ones.
///
/// SECURITY: open to all clients, so the upstream server of the binaries is not named.
pub(super) async fn failure(
    app: &App,
    catalog: &Catalog,
    principal: &Principal,
    point: &Point,
    package: &str,
    query: &Query,
) -> Failure {
    match reason(app, catalog, principal, point, package, query).await {
        Ok(reason) => Failure::not_found(format!(
            "this server does not build binaries, so it has no build logs: {reason}"
        )),
        Err(failure) => failure,
    }
}

async fn reason(
    app: &App,
    catalog: &Catalog,
    principal: &Principal,
    point: &Point,
    package: &str,
    query: &Query,
) -> Result<String, Failure> {
    let parameter = |name| query.get(name).map(str::trim).filter(|text| !text.is_empty());
    let required = |name| {
        let example = "distribution=noble&r_version=4.5";
        parameter(name)
            .ok_or_else(|| Failure::bad_request(format!("the parameter {name} is missing: {example}")))
    };
    let platforms = &app.state.config.load().platforms;
    let distribution = serve::find::distribution(platforms, required("distribution")?)?.clone();
    let r = required("r_version")?;
    let r = RMinor::parse(r).ok_or_else(|| {
        Failure::bad_request(format!(
            "the parameter r_version: '{}' is not a minor version of R: write two numbers, such as 4.5",
            truncate(r)
        ))
    })?;
    let arch = parameter("arch").unwrap_or(Arch::X86_64.as_str());
    let is_available = |arch: &Arch| distribution.architectures.iter().any(|name| name == arch.as_str());
    let arch = Arch::of_spelling(arch).filter(is_available).ok_or_else(|| {
        Failure::bad_request(format!(
            "the parameter arch: {} has {}, not '{}'",
            distribution.name,
            distribution.architectures.join(" and "),
            truncate(arch)
        ))
    })?;
    let request = vec![(package.to_owned(), parameter("version").map(str::to_owned))];
    let detail = serve::info::packages(&app.state, point, request).await?.into_iter().next().flatten();
    let detail =
        detail.ok_or_else(|| Failure::not_found(format!("Package '{}' not found", truncate(package))))?;
    let version = &detail.release.version;
    let platform = Platform { r, target: target(&distribution), arch };
    let binaries = serve::binary_rows::at_point(&app.state, point, package).await?;
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
    let source = catalog.source_by_id(detail.source);
    let name = match principal.source_name(catalog, detail.source) {
        name if name.is_empty() => "its source".to_owned(),
        name => format!("the source '{name}'"),
    };
    let origin = match source.map(|source| source.kind) {
        Some(SourceKind::Local) => format!("was added to {name}"),
        _ => format!("was provided to {name} by another server"),
    };
    Ok(format!(
        "the binary of {package} {version} for {platform} {origin} on {}; its builder has the log",
        binary.listed_at.day()
    ))
}
