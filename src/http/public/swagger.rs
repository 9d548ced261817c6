//! `/swagger/index.html`: the public API as a page, generated from its OpenAPI document. It has no scripts and no
//! external content.

use std::fmt::Write as _;

use http::Response;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{PathItem, RefOr, Schema};

use super::openapi;
use crate::http::body::Body;
use crate::http::pages::{escape, html_page};
use crate::http::response;

/// The API page.
pub(super) fn page() -> Response<Body> {
    response::page(html_page("Public API", &text()))
}

fn text() -> String {
    let document = openapi::document();
    let mut text = format!(
        "<p>{} OpenAPI document: <a href=\"doc.json\">doc.json</a> (version {}). A repository or a source is named \
         by its number or its name. Errors are <code>{{\"code\", \"error\", \"payload\"}}</code>.</p>",
        escape(document.info.description.as_deref().unwrap_or_default()),
        escape(&document.info.version),
    );
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            operation_text(&mut text, method, path, operation);
        }
    }
    let schemas = document.components.map(|components| components.schemas).unwrap_or_default();
    text.push_str("<h2>Schemas</h2>");
    for (name, schema) in &schemas {
        schema_text(&mut text, name, schema);
    }
    text
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let get = item.get.as_ref().map(|operation| ("GET", operation));
    get.into_iter().chain(item.post.as_ref().map(|operation| ("POST", operation)))
}

fn operation_text(text: &mut String, method: &str, path: &str, operation: &Operation) {
    let summary = operation.summary.as_deref().unwrap_or_default();
    let _ = write!(text, "<h3><code>{method} {}</code></h3><p>{}.</p>", escape(path), escape(summary));
    let parameters = operation
        .parameters
        .iter()
        .flatten()
        .filter(|parameter| parameter.parameter_in == ParameterIn::Query);
    let items: String = parameters
        .map(|parameter| {
            let description = parameter.description.as_deref().unwrap_or_default();
            format!("<li><code>{}</code>: {}</li>", escape(&parameter.name), escape(description))
        })
        .collect();
    if !items.is_empty() {
        let _ = write!(text, "<ul>{items}</ul>");
    }
}

fn schema_text(text: &mut String, name: &str, schema: &RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    let description = object.description.as_deref().unwrap_or_default();
    let _ = write!(text, "<h3 id=\"{0}\">{0}</h3><p>{1}</p><ul>", escape(name), escape(description));
    for (field, property) in &object.properties {
        let description = match property {
            RefOr::T(Schema::Object(object)) => object.description.as_deref().unwrap_or_default(),
            RefOr::T(Schema::Array(array)) => array.description.as_deref().unwrap_or_default(),
            RefOr::T(_) | RefOr::Ref(_) => "",
        };
        let _ = write!(text, "<li><code>{}</code> {}</li>", escape(field), escape(description));
    }
    text.push_str("</ul>");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_every_address_and_loads_nothing() {
        let text = super::text();
        for part in ["GET /__api__/status", "POST /__api__/filter/packages", "pkgname", "SystemRequirements"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<script") && !text.contains("src=") && !text.contains("http://"));
    }
}
