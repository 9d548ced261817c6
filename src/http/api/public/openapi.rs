//! The OpenAPI document of the public API, `/__api__/swagger/doc.json`, of which `docs/api/public.json` is a copy; and the
//! page that is generated from it, `/swagger/index.html`.

use maud::{Markup, html};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{InfoBuilder, OpenApi, PathItem, RefOr, Schema, Server};

use super::{Answer, PublicCall, Raw};
use crate::http::api::openapi;
use crate::http::web::answer;
use api::operations::public;
use pages::frame::{Frame, Root};

/// Returns the OpenAPI 3.1 document of the public API.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("rstudio-pm public API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The API for clients: repositories, packages, snapshots, system requirements."))
        .build();
    let mut schemas = Vec::new();
    let descriptions = public::public(&mut schemas);
    openapi::document(info, "/__api__", descriptions, schemas)
}

/// Returns the document with the base URL of this server.
pub(super) async fn show(call: PublicCall<'_>) -> Answer<Raw> {
    let mut document = document();
    document.servers = Some(vec![Server::new(call.base())]);
    Ok(Raw::json(&document))
}

/// Returns the page, which has no external content.
pub(super) async fn page(call: PublicCall<'_>) -> Answer<Raw> {
    let frame = Frame::new(Root::of_path(call.head.path), "Public API");
    let html = frame.render(&content(&frame.root));
    Ok(Raw(answer::page(call.head, html, false)))
}

fn content(root: &Root) -> Markup {
    let document = document();
    let schemas = document.components.map(|components| components.schemas).unwrap_or_default();
    html! {
        h1 { "Public API" }
        p.prose {
            (document.info.description.as_deref().unwrap_or_default())
            " OpenAPI document: " a href={ (root) "__api__/swagger/doc.json" } { "doc.json" }
            " (version " (document.info.version) "). A repository or a source is named by its number or its name. \
             Errors are "
            code { "{\"code\", \"error\", \"payload\"}" } "."
        }
        h2 { "Operations" }
        @for (path, item) in &document.paths.paths {
            @for (method, operation) in operations(item) { (self::operation(method, path, operation)) }
        }
        h2 { "Schemas" }
        @for (name, schema) in &schemas { (self::schema(name, schema)) }
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let get = item.get.as_ref().map(|operation| ("GET", operation));
    get.into_iter().chain(item.post.as_ref().map(|operation| ("POST", operation)))
}

fn operation(method: &str, path: &str, operation: &Operation) -> Markup {
    let is_in_query =
        |parameter: &&utoipa::openapi::path::Parameter| parameter.parameter_in == ParameterIn::Query;
    let parameters: Vec<_> = operation.parameters.iter().flatten().filter(is_in_query).collect();
    html! {
        h3 { code { (method) " " (path) } }
        p.prose { (operation.summary.as_deref().unwrap_or_default()) "." }
        @if !parameters.is_empty() { ul { @for parameter in parameters {
            li { code { (parameter.name) } ": " (parameter.description.as_deref().unwrap_or_default()) }
        } } }
    }
}

fn schema(name: &str, schema: &RefOr<Schema>) -> Markup {
    let RefOr::T(Schema::Object(object)) = schema else { return html! {} };
    html! {
        h3 id=(name) { (name) }
        p.prose { (object.description.as_deref().unwrap_or_default()) }
        ul { @for (field, property) in &object.properties { li { code { (field) } " " (description(property)) } } }
    }
}

fn description(property: &RefOr<Schema>) -> &str {
    match property {
        RefOr::T(Schema::Object(object)) => object.description.as_deref().unwrap_or_default(),
        RefOr::T(Schema::Array(array)) => array.description.as_deref().unwrap_or_default(),
        RefOr::T(_) | RefOr::Ref(_) => "",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_address_and_loads_nothing() {
        let text = super::content(&super::Root::of_path("/__api__/swagger/")).into_string();
        for part in ["GET /__api__/status", "POST /__api__/filter/packages", "pkgname", "SystemRequirements"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<script") && !text.contains("src=") && !text.contains("http://"));
    }
}
