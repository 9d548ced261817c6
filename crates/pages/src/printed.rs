//! The line that is visible only on a printed page: its server, repository and state.

use maud::{Markup, html};

use super::text::visible;

/// The server and the time of the content of a page, for pages that people print as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The address of the server.
    pub server: String,
    /// Publication time of the newest state on the page, RFC 3339, if it is known. The browser prints the current time; a
    /// page that contained it would have a different `ETag` for each request.
    pub published: Option<String>,
}

impl Printed {
    /// Renders the line; `snapshots` are one or two snapshots of the repository, the earlier one first.
    pub fn render(&self, repo: &str, snapshots: &[&str]) -> Markup {
        html! {
            p.printed {
                "rstudio-pm " (env!("CARGO_PKG_VERSION")) " at " (visible(&self.server)) ", repository " (repo) ", "
                @for (at, snapshot) in snapshots.iter().enumerate() {
                    @if at > 0 { " to " }
                    span.whole { (snapshot) }
                }
                @if let Some(published) = &self.published { "; published " span.whole { (published) } }
            }
        }
    }
}
