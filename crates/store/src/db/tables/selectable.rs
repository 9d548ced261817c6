//! The releases of R packages that a curated source can select, and those that it has selected.

use super::{Conn, DbError};
use crate::db::engine::columns::row;
use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId, Seq, TreeId};
use base::model::time::Timestamp;

row! {
    /// A release that is listed in `src/contrib` itself, or archived.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SelectableRelease {
        pub name: String,
        pub package: PackageId,
        pub release: ReleaseId,
        pub version: String,
        pub state: LifeState,
        /// The step that began the life.
        pub from: Seq,
        /// The number of its record; if it has no record, the number in its life.
        pub variant: i64,
        /// Publication time upstream, if known.
        pub published_at: Option<Timestamp>,
        /// Size of its source package in bytes, if known.
        pub size: Option<i64>,
        /// Its record: of the life of a listed release, the newest of an archived one; `None` if no index had it.
        pub stanza: Option<Vec<u8>> = _,
    }
}

/// Calls `f` with each listed release of a tree at a step, in any order.
pub fn each_listed(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    f: &mut dyn FnMut(SelectableRelease),
) -> Result<(), DbError> {
    const LIST: &str = "SELECT p.name, l.package_id, l.release_id, r.version, l.state, l.from_seq, l.variant, \
        r.published_at, f.size, k.stanza FROM life l JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
        JOIN record k ON k.release_id = l.release_id AND k.variant = l.variant \
        LEFT JOIN file f ON f.release_id = l.release_id AND f.role = 'source' AND f.platform = '' WHERE l.tree_id = $1 AND l.state = 0 AND l.path = '' AND l.from_seq <= $2 AND l.to_seq > $2";
    c.each(LIST, &[tree.into(), seq.into()], &mut |row| {
        let (release, stanza): (SelectableRelease, Vec<u8>) = row.decode()?;
        f(SelectableRelease { stanza: Some(stanza), ..release });
        Ok(())
    })
}

/// Returns the listed and archived releases of some packages in a tree at a step.
pub fn of_packages(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
    names: &[String],
) -> Result<Vec<SelectableRelease>, DbError> {
    const FIND: &str = "SELECT p.name, l.package_id, l.release_id, r.version, l.state, l.from_seq, l.variant, \
        r.published_at, f.size FROM package p JOIN life l ON l.tree_id = $1 AND l.state IN (0, 1) AND l.package_id = p.id AND l.path = '' \
        AND l.from_seq <= $2 AND l.to_seq > $2 JOIN release r ON r.id = l.release_id \
        LEFT JOIN file f ON f.release_id = l.release_id AND f.role = 'source' AND f.platform = '' WHERE p.name = $3 AND p.language = 'r'";
    // The records of a source package have the numbers 0, -1, …; the newest one has the lowest.
    const RECORDS: &str =
        "SELECT variant, stanza FROM record WHERE release_id = $1 AND variant <= 0 ORDER BY variant";
    let params: Vec<Vec<_>> =
        names.iter().map(|name| vec![tree.into(), seq.into(), name.as_str().into()]).collect();
    let mut releases: Vec<SelectableRelease> = c.many(FIND, &params)?.into_iter().flatten().collect();
    let params: Vec<Vec<_>> = releases.iter().map(|release| vec![release.release.into()]).collect();
    let records = c.many::<(i64, Vec<u8>)>(RECORDS, &params)?;
    for (release, records) in releases.iter_mut().zip(records) {
        let is_its_record = |(variant, _): &(i64, Vec<u8>)| {
            release.state == LifeState::Archived || *variant == release.variant
        };
        if let Some((variant, stanza)) = records.into_iter().find(is_its_record) {
            (release.variant, release.stanza) = (variant, Some(stanza));
        }
    }
    Ok(releases)
}
