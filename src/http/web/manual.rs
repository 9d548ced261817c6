//! The pages of the manual.

use http::Response;

use super::answer;
use super::context;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use pages::manual::{ManualPage, contents};

/// Answers with the page `name`, or with the list of all pages if `name` is empty.
pub(in crate::http) fn answer(
    app: &App,
    name: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let root = context::root(app, head);
    let html = match name {
        "" => contents(root),
        name => ManualPage::find(name)
            .ok_or_else(|| {
                Failure::not_found("the manual does not have this page; all pages are at /__docs__/")
            })?
            .render(root),
    };
    Ok(answer::page(head, html, false))
}
