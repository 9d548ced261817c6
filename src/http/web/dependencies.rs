//! The page of the packages that depend on a package, and the page of the packages that its installation requires.

use super::context::Context;
use super::project;
use crate::http::error::Failure;
use crate::r::dependency::DependencyKind;
use crate::serve;
use crate::serve::dependency_graph::{ReverseDependency, chain};
use crate::web::dependencies::{Closure, RequiredPackage};
use crate::web::dependents::{Dependent, Dependents};

/// Number of rows on a page.
const PER_PAGE: usize = 100;
/// Maximum page number; later pages are always empty.
const MAX_PAGE: usize = 1_000_000;
/// Maximum number of required packages on a page.
const MAX_ROWS: usize = 500;

/// Returns a page of the packages that depend on an R package, restricted to the field in the parameter `kind`.
///
/// # Errors
/// 404, 400 for parameters that are not valid, failures of the database or storage.
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
    let page = context.query.number("page", MAX_PAGE)?.unwrap_or(1).max(1);
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

/// Returns the page of the packages that the installation of an R package requires.
///
/// # Errors
/// 404, failures of the database or storage.
pub(super) async fn closure(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let app = context.app;
    let package = project::detail(&context, package).await?.release.package;
    let graph = serve::dependency_graph::of_point(&app.repositories, context.point).await?;
    let known_vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let required_packages = graph.required_by(&package);
    let names = || required_packages.iter().map(|required| required.name);
    let system_requirements = graph.requirements_of([package.as_str()]);
    let system_requirements =
        system_requirements.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let unknown_requirements = graph.without_description_of([package.as_str()]).count();
    let missing = graph.missing_of(&required_packages).into_iter().map(str::to_owned).collect();
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
        omitted: required_packages.len() - required.len(),
        required,
        missing,
        system_requirements,
        unknown_requirements,
        package,
        location: context.location,
    };
    Ok(closure.render(context.root))
}
