//! The page of an error.

use maud::html;

use super::frame::{Frame, Root};
use super::text::visible;

/// Returns the error page for a status; `phrase` describes the error, and may contain text of the request.
#[must_use]
pub fn page(root: Root, status: u16, reason: &str, phrase: &str) -> String {
    let frame = Frame::new(root, format!("{status} {reason}"));
    frame.render(&html! {
        h1 { (status) " " (reason) }
        p.prose { (visible(phrase)) }
        p { a href=(frame.root) { "All repositories" } }
    })
}
