//! Facts about the releases of a tree, which block rules are applied to.

use std::collections::HashMap;

use super::{Conn, DbError, Row};
use crate::db::engine::columns::row;
use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId, Seq, TreeId};
use base::model::time::Timestamp;

row! {
    /// A release that is listed or archived at a step.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct TreeRelease {
        pub name: String,
        /// The name in lower case.
        pub normalized_name: String,
        pub package: PackageId,
        pub release: ReleaseId,
        pub state: LifeState,
        /// Field `Path` of the record; empty for `src/contrib` itself.
        pub path: String,
        pub version: String,
        /// Publication time upstream, if known.
        pub published_at: Option<Timestamp>,
        /// Whether an index record is known; a release without one cannot be listed.
        pub has_record: bool,
    }
}

/// The lives that begin at or before a step, with the columns of [`ReleaseLife`].
macro_rules! lives {
    ($rest:literal) => {
        concat!(
            "SELECT p.name, p.normalized_name, l.package_id, l.release_id, l.state, l.path, r.version, r.published_at, \
             (SELECT COUNT(*) FROM record c WHERE c.release_id = l.release_id AND c.variant <= 0), l.from_seq, l.to_seq \
             FROM life l JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
             WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.from_seq <= $2 ",
            $rest
        )
    };
}

/// Returns the releases of a tree at a step, all or only those of `package`, in unspecified order.
pub fn at_step(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: Option<PackageId>,
) -> Result<Vec<TreeRelease>, DbError> {
    const OF_PACKAGE: &str = lives!("AND l.to_seq > $2 AND l.package_id = $3");
    match package {
        None => c.all(lives!("AND l.to_seq > $2"), &[tree.into(), seq.into()]),
        Some(package) => c.all(OF_PACKAGE, &[tree.into(), seq.into(), package.into()]),
    }
}

row! {
    /// The steps during which a release is listed or archived.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReleaseLife {
        pub release: TreeRelease,
        pub from: Seq,
        /// The first step after it.
        pub to: Seq,
    }
}

/// Returns the lives of the releases of a package that begin at or before the step `seq`, in unspecified order.
pub fn lives(c: &mut dyn Conn, tree: TreeId, seq: Seq, package: &str) -> Result<Vec<ReleaseLife>, DbError> {
    c.all(lives!("AND p.name = $3"), &[tree.into(), seq.into(), package.into()])
}

/// Returns the first step of each release in a tree, for all releases or only those of `package`.
pub fn first_steps(
    c: &mut dyn Conn,
    tree: TreeId,
    package: Option<PackageId>,
) -> Result<HashMap<ReleaseId, Seq>, DbError> {
    const ALL: &str = "SELECT release_id, MIN(from_seq) FROM life WHERE tree_id = $1 GROUP BY release_id";
    const ONE: &str = "SELECT release_id, MIN(from_seq) FROM life WHERE tree_id = $1 AND state IN (0, 1) \
        AND package_id = $2 GROUP BY release_id";
    let rows = match package {
        None => c.all(ALL, &[tree.into()])?,
        Some(package) => c.all(ONE, &[tree.into(), package.into()])?,
    };
    Ok(rows.into_iter().collect())
}

/// Calls `each` with the metadata of each release of a tree at a step, all or only those of `package`: the newest
/// record of the source package in an index, or a DESCRIPTION. A release may have both, in this order, or none.
pub fn metadata(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    package: Option<PackageId>,
    each: &mut dyn FnMut(ReleaseId, Vec<u8>),
) -> Result<(), DbError> {
    const RECORDS: &str = "SELECT l.release_id, r.stanza FROM life l JOIN record r ON r.release_id = l.release_id \
        AND r.variant = (SELECT min(v.variant) FROM record v WHERE v.release_id = l.release_id AND v.variant <= 0) \
        WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.from_seq <= $2 AND l.to_seq > $2";
    const DETAILS: &str = "SELECT l.release_id, d.description FROM life l JOIN detail d ON d.release_id = l.release_id \
        WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.from_seq <= $2 AND l.to_seq > $2";
    const PACKAGE_RECORDS: &str = "SELECT l.release_id, r.stanza FROM life l \
        JOIN record r ON r.release_id = l.release_id \
        AND r.variant = (SELECT min(v.variant) FROM record v WHERE v.release_id = l.release_id AND v.variant <= 0) \
        WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.from_seq <= $2 AND l.to_seq > $2 AND l.package_id = $3";
    const PACKAGE_DETAILS: &str = "SELECT l.release_id, d.description FROM life l \
        JOIN detail d ON d.release_id = l.release_id WHERE l.tree_id = $1 AND l.state IN (0, 1) \
        AND l.from_seq <= $2 AND l.to_seq > $2 AND l.package_id = $3";
    let mut row = |row: Row| {
        let (release, metadata) = row.decode()?;
        each(release, metadata);
        Ok(())
    };
    match package {
        None => {
            c.each(RECORDS, &[tree.into(), seq.into()], &mut row)?;
            c.each(DETAILS, &[tree.into(), seq.into()], &mut row)
        }
        Some(package) => {
            let params = [tree.into(), seq.into(), package.into()];
            c.each(PACKAGE_RECORDS, &params, &mut row)?;
            c.each(PACKAGE_DETAILS, &params, &mut row)
        }
    }
}

/// Calls `each` with the metadata of each release of a package at any step, as [`metadata`] for one step.
pub fn metadata_of_all_steps(
    c: &mut dyn Conn,
    tree: TreeId,
    package: PackageId,
    each: &mut dyn FnMut(ReleaseId, Vec<u8>),
) -> Result<(), DbError> {
    const RECORDS: &str = "SELECT DISTINCT r.release_id, r.stanza FROM life l \
        JOIN record r ON r.release_id = l.release_id \
        AND r.variant = (SELECT min(v.variant) FROM record v WHERE v.release_id = l.release_id AND v.variant <= 0) \
        WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.package_id = $2";
    const DETAILS: &str = "SELECT DISTINCT d.release_id, d.description FROM life l \
        JOIN detail d ON d.release_id = l.release_id \
        WHERE l.tree_id = $1 AND l.state IN (0, 1) AND l.package_id = $2";
    let mut row = |row: Row| {
        let (release, metadata) = row.decode()?;
        each(release, metadata);
        Ok(())
    };
    let params = [tree.into(), package.into()];
    c.each(RECORDS, &params, &mut row)?;
    c.each(DETAILS, &params, &mut row)
}

/// Returns the newest record of the source package of each of these releases, in their order; `None` for a release that
/// no index of source packages listed. Records of source packages have the numbers 0, -1, -2, …, the newest the lowest;
/// those of binaries have numbers above 0.
pub fn records(c: &mut dyn Conn, releases: &[ReleaseId]) -> Result<Vec<Option<Vec<u8>>>, DbError> {
    const FIND: &str =
        "SELECT stanza FROM record WHERE release_id = $1 AND variant <= 0 ORDER BY variant LIMIT 1";
    let params: Vec<_> = releases.iter().map(|release| vec![(*release).into()]).collect();
    let records = c.many(FIND, &params)?.into_iter();
    Ok(records.map(|rows| rows.into_iter().next()).collect())
}
