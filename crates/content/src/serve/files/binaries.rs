//! Selects the binary of a release to serve, by platform, architecture and snapshot date.

use super::located::LocatedFile;
use super::remote_binaries;
use crate::serve::documents::negotiate::{self, BinarySelector, PlatformChoice, is_visible, pick, runs_on};
use crate::serve::r::document::{BinaryIndex, RDocument};
use crate::serve::{RepoError, Repositories};
use base::config::platforms::Distribution;
use base::model::digest::Sha256;
use base::model::ids::{Seq, SourceId, TreeId};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::r::layout::IndexFormat;
use formats::r::platform::Platform;
use formats::r::version::RMinor;
use runtime::catalog::Catalog;
use runtime::state::State;
use store::db;
use store::db::binary::Binary;
use store::db::tree::Role;

/// Returns label, tree and newest published step of each binary list of a source that has a published step.
pub(in crate::serve) fn heads(
    catalog: &Catalog,
    source: SourceId,
) -> impl Iterator<Item = (&str, TreeId, Seq)> {
    let is_list = move |tree: &&runtime::catalog::Tree| tree.source == source && tree.role == Role::Binary;
    let lists = catalog.trees.iter().filter(is_list);
    lists.filter_map(|tree| Some((tree.label.as_str(), tree.id, tree.steps.last()?.seq)))
}

/// Returns tree and newest published step of the binary list with this label.
pub(in crate::serve) fn head(catalog: &Catalog, source: SourceId, label: &str) -> Option<(TreeId, Seq)> {
    heads(catalog, source).find(|(other, ..)| *other == label).map(|(_, tree, seq)| (tree, seq))
}

pub fn choose_platform(
    state: &State,
    distribution: &Distribution,
    client: &negotiate::ClientPlatform<'_>,
) -> PlatformChoice {
    negotiate::choose(distribution, client, |r| may_exist(state, &distribution.name, r))
}

/// Returns the selector of a platform's binaries at a snapshot.
pub fn selector(state: &State, platform: Platform, snapshot: Snapshot) -> BinarySelector {
    BinarySelector { platform, until: end_of(state, snapshot) }
}

/// Returns the instant that separates the binaries of a snapshot from later ones.
fn end_of(state: &State, snapshot: Snapshot) -> Timestamp {
    match snapshot {
        Snapshot::Latest => Timestamp(i64::MAX),
        Snapshot::Date(day) => day.end(),
        Snapshot::Transaction(id) => {
            let instant = state.catalog.get().instant(id);
            Timestamp(instant.map_or(i64::MAX, |instant| instant.0.saturating_add(1)))
        }
        Snapshot::Alias(alias) => state.catalog.get().fixed_url_end(alias).unwrap_or(Timestamp(i64::MAX)),
    }
}

/// Returns the binary to serve instead of a source package, if there is one. May query servers that negotiate
/// binaries; fails if none answered.
pub async fn find(
    repositories: &Repositories,
    source: &LocatedFile,
    selector: &BinarySelector,
) -> Result<Option<LocatedFile>, RepoError> {
    let head = head(&repositories.state.catalog.get(), source.source(), &selector.platform.label());
    if let Some((tree, seq)) = head {
        let (package, release) = source.release();
        let binaries = repositories
            .state
            .db
            .read(move |c| db::binary::of_release(c, tree, seq, package, release))
            .await?;
        if let Some(binary) = pick(&binaries, selector.platform.arch, selector.until) {
            return Ok(Some(source.with_binary(binary, &selector.platform)));
        }
    }
    remote_binaries::find(repositories, source, &selector.platform).await
}

/// Returns the binary of a source package with this digest, including replaced ones.
pub async fn find_by_digest(
    state: &State,
    source: &LocatedFile,
    selector: &BinarySelector,
    sha256: Sha256,
) -> Result<Option<LocatedFile>, RepoError> {
    let BinarySelector { platform, until } = selector;
    let (package, release) = source.release();
    if let Some((tree, seq)) = head(&state.catalog.get(), source.source(), &platform.label()) {
        let binaries = state.db.read(move |c| db::binary::of_release(c, tree, seq, package, release));
        let is_match = |binary: &&Binary| {
            binary.sha256 == Some(sha256) && runs_on(binary, platform.arch) && is_visible(binary, *until)
        };
        if let Some(binary) = binaries.await?.iter().rfind(is_match) {
            return Ok(Some(source.with_binary(binary, platform)));
        }
    }
    let discovered_binary = remote_binaries::discovered_binary_of(state, release, platform)
        .await?
        .filter(|discovered_binary| discovered_binary.sha256 == Some(sha256));
    Ok(discovered_binary.map(|discovered_binary| source.with_discovered_binary(discovered_binary, platform)))
}

/// Returns the index of a point with binaries: of all packages, or only of those with a binary.
pub fn document(
    state: &State,
    point: &Point,
    selector: &BinarySelector,
    with_source_packages: bool,
    format: IndexFormat,
) -> RDocument {
    let catalog = state.catalog.get();
    let label = selector.platform.label();
    let head = |source| head(&catalog, source, &label).map(|(tree, seq)| (source, tree, seq));
    let heads: Vec<_> = point.trees.iter().filter_map(|tree| head(tree.origin())).collect();
    if !heads.is_empty() {
        let selector = selector.clone();
        return RDocument::Binaries(BinaryIndex { selector, with_source_packages, format, heads });
    }
    if with_source_packages { RDocument::Packages(format) } else { RDocument::Empty(format) }
}

/// Returns whether there may be binaries for a distribution and R: a source lists them, or R is configured.
pub fn may_exist(state: &State, distribution: &str, r: RMinor) -> bool {
    let label = format!("{r}-{distribution}");
    let is_configured = state.config.load().platforms.r_versions.contains(&r.to_string());
    is_configured || has_binary_list(&state.catalog.get(), |name| name == label)
}

/// Returns whether any source has a published binary list whose label matches.
pub fn has_binary_list(catalog: &Catalog, is_match: impl Fn(&str) -> bool) -> bool {
    catalog
        .trees
        .iter()
        .any(|tree| tree.role == Role::Binary && !tree.steps.is_empty() && is_match(&tree.label))
}
