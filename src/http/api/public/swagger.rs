//! `/swagger/index.html`: the public API as a page, generated from its OpenAPI document. It has no
//! external content.

use maud::{Markup, html};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{PathItem, RefOr, Schema};

use super::{Answer, PublicCall, Raw, openapi};
use crate::http::web::answer;
use pages::frame::{Frame, Root};

pub(super) async fn page(call: PublicCall<'_>) -> Answer<Raw> {
    let frame = Frame::new(Root::of_path(call.head.path), "Public API");
    let html = frame.render(&content(&frame.root));
    Ok(Raw(answer::page(call.head, html, false)))
}

fn content(root: &Root) -> Markup {
    let document = openapi::document();
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
