//! What all pages of a snapshot need.

use crate::catalog::{Catalog, Repository};
use crate::http::app::App;
use crate::http::target::Query;
use crate::model::point::Point;
use crate::web::frame::{Location, Root};
use crate::web::text::segment;

/// A snapshot, and the request for one of its pages.
pub(super) struct Context<'a> {
    pub(super) app: &'a App,
    pub(super) catalog: &'a Catalog,
    pub(super) repo: &'a Repository,
    pub(super) point: &'a Point,
    pub(super) location: Location,
    pub(super) root: Root,
    pub(super) query: &'a Query,
}

impl Context<'_> {
    /// The address of a path of the API of the repository in the state of this snapshot.
    pub(super) fn api(&self, rest: &str) -> Option<String> {
        let repo = segment(&self.location.repo);
        let address = format!("{}__api__/repos/{repo}/{rest}", self.root);
        if self.location.snapshot == "latest" {
            return Some(address);
        }
        let sign = if rest.contains('?') { '&' } else { '?' };
        Some(format!("{address}{sign}snapshot={}", segment(&self.location.snapshot)))
    }
}
