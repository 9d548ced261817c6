//! The data that all pages of a snapshot need.

use std::sync::Arc;

use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::login;
use crate::http::login::permission::Principal;
use crate::http::net::Client;
use crate::http::target::Query;
use base::model::ids::{Seq, SourceId};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::history::ListingScope;
use formats::r::bioconductor::Part;
use pages::first_packages::FirstPackages;
use pages::frame::{Account, Location, Printed, Root};
use pages::text::segment;
use runtime::catalog::{Catalog, Repository, Source};

/// Returns the root of the server for the page of a request, with the link to sign in or out.
pub(super) fn root(app: &App, head: &RequestHead<'_>) -> Root {
    let account = match head.principal {
        Principal::Anonymous => Account::SignedOut(login::start_address(head)),
        Principal::Token(_) | Principal::Administrator => Account::SignedIn,
    };
    Root::of_path(head.path)
        .with_account(login::is_configured(app).then_some(account))
        .with_administration(head.principal.is_administrator())
}

/// Returns when the state of a snapshot was published, if known. The point of a day before the first
/// subscriptions of a repository has their later time, which is not returned.
pub(super) fn published(catalog: &Catalog, point: &Point, snapshot: Snapshot) -> Option<Timestamp> {
    let is_before_end = |at: Timestamp| match snapshot {
        Snapshot::Latest => true,
        Snapshot::Date(day) => at < day.end(),
        Snapshot::Transaction(id) => catalog.instant(id).is_none_or(|end| at <= end),
        Snapshot::Alias(alias) => catalog.fixed_url_end(alias).is_none_or(|end| at <= end),
    };
    point.modified.filter(|at| is_before_end(*at))
}

pub(super) struct Context<'a> {
    pub(super) app: &'a App,
    pub(super) catalog: &'a Arc<Catalog>,
    pub(super) repo: &'a Repository,
    pub(super) point: &'a Point,
    /// The part of a Bioconductor repository that the page shows.
    pub(super) part: Option<Part>,
    pub(super) snapshot: Snapshot,
    pub(super) location: Location,
    pub(super) root: Root,
    pub(super) query: &'a Query,
    pub(super) principal: &'a Principal,
    pub(super) client: Client,
    pub(super) base: &'a str,
}

/// Returns the sources that a client may read, in order. SECURITY: one that was subscribed once may be private now.
pub(super) fn readable_sources<'a>(
    catalog: &'a Catalog,
    principal: &Principal,
    ids: &[SourceId],
) -> Vec<&'a Source> {
    let known = ids.iter().filter_map(|id| catalog.source_by_id(*id));
    known.filter(|source| principal.may_read_source(catalog, source)).collect()
}

/// The first state of a mirrored source, in which all its packages are new.
pub(super) struct FirstState {
    pub(super) at: Timestamp,
    /// `first sync`, or `first day of the back-fill`.
    pub(super) kind: &'static str,
    pub(super) source: String,
}

impl FirstState {
    pub(super) fn of(catalog: &Catalog, source: &Source) -> Option<FirstState> {
        let step = catalog.first_step(source)?;
        let kind = if step.seq > Seq(0) { "first sync" } else { "first day of the back-fill" };
        Some(FirstState { at: step.at, kind, source: source.name.to_string() })
    }

    /// Returns a text such as `first sync of cran`.
    pub(super) fn text(&self) -> String {
        format!("{} of {}", self.kind, self.source)
    }
}

/// Returns the command by which a repository gets its first packages; `sources` are those that the client may read.
pub(super) fn first_packages(repo: &Repository, name: &str, sources: &[&Source]) -> FirstPackages {
    let source = sources.first().map(|source| (source.kind, source.name.to_string()));
    FirstPackages { repo: name.to_owned(), kind: repo.kind, changes: repo.changes, source }
}

impl Context<'_> {
    /// Returns the command by which the repository gets its first packages; `None` for an earlier snapshot.
    pub(super) fn first_packages(&self) -> Option<FirstPackages> {
        (self.snapshot == Snapshot::Latest).then(|| {
            let sources = readable_sources(self.catalog, self.principal, &self.repo.sources());
            first_packages(self.repo, &self.location.repo, &sources)
        })
    }

    pub(super) fn printed(&self) -> Printed {
        let published = published(self.catalog, self.point, self.snapshot).map(|at| at.to_string());
        Printed { server: self.base.to_owned(), published }
    }

    pub(super) fn listing_scope(&self) -> ListingScope<'_> {
        let Context { catalog, repo, point, part, snapshot, .. } = *self;
        ListingScope { catalog, repo, part, snapshot, point }
    }

    /// Returns an address in the API of the repository, with parameters for this snapshot and Bioconductor version.
    pub(super) fn api(&self, rest: &str) -> String {
        let repo = segment(&self.location.repo);
        let address = format!("{}__api__/repos/{repo}/{rest}", self.root);
        let snapshot = Some(&*self.location.snapshot).filter(|snapshot| *snapshot != "latest");
        let parameters = [("snapshot", snapshot), ("bioc_version", self.root.bioconductor())];
        let present = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        present.fold(address, |address, (name, value)| {
            let sign = if address.contains('?') { '&' } else { '?' };
            format!("{address}{sign}{name}={}", segment(value))
        })
    }
}
