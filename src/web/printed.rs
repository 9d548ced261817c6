//! The line that is visible only on a printed page: its server, repository and state.

use maud::{Markup, html};

use super::text::visible;

/// Where and when the content of a page was valid, for pages that people print as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The address of the server.
    pub server: String,
    /// When the newest state of the page was published, RFC 3339. The time of the print is in the header of the browser:
    /// a page with the time of its request would have another `ETag` each time.
    pub published: Option<String>,
}

impl Printed {
    /// Returns the line; `snapshots` names one or two of a repository.
    #[must_use]
    pub fn render(&self, repo: &str, snapshots: &str) -> Markup {
        html! {
            p.printed {
                "rstudio-pm " (env!("CARGO_PKG_VERSION")) " at " (visible(&self.server)) ", repository " (repo) ", "
                (snapshots)
                @if let Some(published) = &self.published { "; published " (published) }
            }
        }
    }
}
