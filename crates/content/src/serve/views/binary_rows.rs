//! Lists the binaries of a package by version, platform and time.

use std::collections::HashSet;

use crate::serve::selection::allowed::View;
use crate::serve::selection::{allowed, name_guards};
use crate::serve::{RepoError, find};
use base::config::platforms::{Distribution, Os};
use base::model::digest::Sha256;
use base::model::ids::{ReleaseId, Seq, SourceId, TreeId};
use base::model::point::{Point, PointTree};
use base::model::time::Timestamp;
use formats::r::layout::PackageFile;
use formats::r::platform::{ANY_ARCH, BinaryTarget, Platform};
use formats::r::version;
use runtime::state::State;
use store::db::binary::Binary;
use store::db::file::FileState;
use store::db::tree::Role;
use store::db::{self, Conn, DbError, life};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryRow {
    pub version: String,
    pub platform: Platform,
    /// Whether the binary runs on every architecture; then the architecture of `platform` has no meaning.
    pub any_arch: bool,
    pub file: String,
    pub sha256: Option<Sha256>,
    pub size: Option<i64>,
    /// Time at which the binary was first listed.
    pub listed_at: Timestamp,
    pub stored: bool,
}

pub fn target(distribution: &Distribution) -> BinaryTarget {
    match distribution.os {
        Os::Linux => BinaryTarget::Linux(distribution.name.clone()),
        Os::MacOs => BinaryTarget::MacOs,
        Os::Windows => BinaryTarget::Windows,
    }
}

/// Returns a source's binaries of a package, not removed: newest version first, then by platform, newest first.
pub async fn in_source(state: &State, source: &str, package: &str) -> Result<Vec<BinaryRow>, RepoError> {
    let source = find::source(&state.catalog.get(), source)?.id;
    let (lists, package) = (lists(state, &[source]), package.to_owned());
    Ok(state.db.read(move |c| rows(c, source, &lists, &package)).await?)
}

/// Like [`in_source`], for the source that owns the package at a point, and only the versions that the point
/// lists or archives and no rule blocks.
pub async fn at_point(state: &State, point: &Point, package: &str) -> Result<Vec<BinaryRow>, RepoError> {
    let sources: Vec<SourceId> = point.trees.iter().map(PointTree::origin).collect();
    let (lists, trees, name) = (lists(state, &sources), View::of(state, point), package.to_owned());
    let rows = state.db.read(move |c| {
        let Some(tree) = allowed::owner(c, &trees, &name)? else { return Ok(None) };
        let Some(id) = db::package::by_name(c, tree.source, &name)? else { return Ok(None) };
        if tree.presence(c, id, &name)?.is_none() {
            return Ok(None);
        }
        let heads: Vec<BinaryListHead> =
            lists.iter().copied().filter(|list| list.0 == tree.origin()).collect();
        let mut rows = self::rows(c, tree.origin(), &heads, &name)?;
        let versions = allowed_versions(c, &tree, &name)?;
        rows.retain(|row| versions.contains(&row.version));
        Ok(Some(rows))
    });
    let excerpt: String = package.chars().take(128).collect();
    let text = format!("there is no package '{excerpt}' in this snapshot");
    rows.await?.ok_or_else(|| name_guards::missing_in_lists(state, point, package, text))
}

/// Returns the versions of a package that a tree lists or archives, without blocked ones. SECURITY: lists of
/// binaries have later versions, of a source that the client may no longer read.
fn allowed_versions(c: &mut dyn Conn, tree: &View, package: &str) -> Result<HashSet<String>, DbError> {
    let decided = tree.decided(c, package)?;
    let blocked: HashSet<ReleaseId> =
        decided.iter().filter(|it| it.is_blocked()).map(|it| it.release.release).collect();
    let releases = life::package_detail(c, tree.tree, tree.seq, package)?.into_iter();
    Ok(releases.filter(|it| !blocked.contains(&it.release)).map(|it| it.version).collect())
}

fn lists(state: &State, sources: &[SourceId]) -> Vec<BinaryListHead> {
    let catalog = state.catalog.get();
    let trees = catalog.trees.iter().filter(|t| t.role == Role::Binary && sources.contains(&t.source));
    trees.filter_map(|tree| Some((tree.source, tree.id, tree.steps.last()?.seq))).collect()
}

type BinaryListHead = (SourceId, TreeId, Seq);

fn rows(
    c: &mut dyn Conn,
    source: SourceId,
    lists: &[BinaryListHead],
    package: &str,
) -> Result<Vec<BinaryRow>, DbError> {
    let Some(id) = db::package::by_name(c, source, package)? else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for (_, tree, seq) in lists {
        let binaries = db::binary::of_package(c, *tree, *seq, id)?;
        rows.extend(binaries.iter().filter(|binary| binary.removed_at.is_none()).filter_map(row));
    }
    rows.sort_by(|a, b| {
        let platform = |row: &BinaryRow| (row.platform.to_string(), row.any_arch);
        let newest = |a: &BinaryRow, b: &BinaryRow| b.listed_at.cmp(&a.listed_at);
        version::compare(&b.version, &a.version)
            .then_with(|| platform(a).cmp(&platform(b)))
            .then_with(|| newest(a, b))
    });
    Ok(rows)
}

fn row(binary: &Binary) -> Option<BinaryRow> {
    Some(BinaryRow {
        version: PackageFile::parse(&binary.name)?.version.to_owned(),
        platform: Platform::parse_database_form(&binary.platform)?,
        any_arch: binary.platform.rsplit_once('/').is_some_and(|(_, arch)| arch == ANY_ARCH),
        file: binary.name.clone(),
        sha256: binary.sha256,
        size: binary.size,
        listed_at: binary.at,
        stored: binary.state == FileState::Stored,
    })
}
