//! Details of releases: the DESCRIPTION, the README's digest, the system requirements.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, ReleaseId, Seq, TreeId};

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Detail from "detail" {
        /// The DESCRIPTION, byte for byte; empty if only the README is known.
        pub description: Vec<u8>,
        /// SHA-256 of the README in storage.
        pub readme: Option<Sha256> = "readme_sha256",
    }
}

pub fn get(c: &mut dyn Conn, release: ReleaseId) -> Result<Option<Detail>, DbError> {
    c.first(select!(Detail, "WHERE release_id = $1"), &[release.into()])
}

/// Writes the details of a release, replacing existing ones.
pub fn put(c: &mut dyn Conn, release: ReleaseId, detail: &Detail) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO detail (release_id, description, readme_sha256) VALUES ($1, $2, $3) \
        ON CONFLICT (release_id) DO UPDATE SET description = excluded.description, \
        readme_sha256 = excluded.readme_sha256";
    let readme = Value::opt_text(detail.readme);
    c.execute(PUT, &[release.into(), detail.description.as_slice().into(), readme]).map(drop)
}

/// Returns the DESCRIPTIONs of releases, in the order of `releases`; `None` if a release has none.
pub fn descriptions(c: &mut dyn Conn, releases: &[ReleaseId]) -> Result<Vec<Option<Vec<u8>>>, DbError> {
    const GET: &str = "SELECT description FROM detail WHERE release_id = $1";
    let params: Vec<Vec<Value>> = releases.iter().map(|release| vec![(*release).into()]).collect();
    let results = c.many::<Vec<u8>>(GET, &params)?.into_iter();
    Ok(results.map(|rows| rows.into_iter().next().filter(|text| !text.is_empty())).collect())
}

row! {
    /// A listed release, with its package.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedDetail from "life l JOIN package p ON p.id = l.package_id LEFT JOIN detail d \
        ON d.release_id = l.release_id" {
        pub package: PackageId = "l.package_id",
        pub name: String = "p.name",
        /// Field `Path` of the record; empty for `src/contrib` itself.
        pub path: String = "l.path",
        pub release: ReleaseId = "l.release_id",
        /// Whether details are known.
        pub is_known: bool = "CASE WHEN d.release_id IS NULL THEN 0 ELSE 1 END",
    }
}

/// Returns the listed release of each package in a tree at a step: that of the record without a path, if there are several.
pub fn listed(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<ListedDetail>, DbError> {
    const LISTED: &str =
        select!(ListedDetail, "WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2");
    let mut listed: Vec<ListedDetail> = c.all(LISTED, &[tree.into(), seq.into()])?;
    listed.sort_unstable_by(|a, b| (a.package, &a.path).cmp(&(b.package, &b.path)));
    listed.dedup_by_key(|listed| listed.package);
    Ok(listed)
}

row! {
    /// A listed release with an index record but no details.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReleaseWithoutDetail {
        pub name: String,
        pub version: String,
        pub release: ReleaseId,
    }
}

/// Returns the releases without details that a tree lists at a step, except those in a subdirectory.
pub fn without_detail(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
) -> Result<Vec<ReleaseWithoutDetail>, DbError> {
    const MISSING: &str = "SELECT p.name, r.version, l.release_id FROM life l \
        JOIN package p ON p.id = l.package_id JOIN release r ON r.id = l.release_id \
        LEFT JOIN detail d ON d.release_id = l.release_id \
        WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2 AND l.path = '' \
        AND d.release_id IS NULL";
    c.all(MISSING, &[tree.into(), seq.into()])
}

row! {
    /// A source package in storage whose details have not been read yet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredArchive from "life l JOIN package p ON p.id = l.package_id JOIN file f \
        ON f.release_id = l.release_id AND f.role = 'source' AND f.platform = '' AND f.state = 1 JOIN blob b \
        ON b.sha256 = f.sha256 LEFT JOIN detail d ON d.release_id = l.release_id" {
        pub name: String = "p.name",
        pub release: ReleaseId = "l.release_id",
        /// The storage class of its blob.
        pub class: String = "b.class",
        pub sha256: Sha256 = "b.sha256",
        /// Size in bytes.
        pub size: i64 = "b.size",
    }
}

/// Returns the releases of [`without_detail`] whose source package is in storage, by name.
pub fn stored_without_detail(
    c: &mut dyn Conn,
    tree: TreeId,
    seq: Seq,
) -> Result<Vec<StoredArchive>, DbError> {
    const STORED: &str = select!(
        StoredArchive,
        "WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2 AND l.path = '' \
        AND d.release_id IS NULL ORDER BY p.name"
    );
    c.all(STORED, &[tree.into(), seq.into()])
}

/// The DESCRIPTION of a release, read from its archive or from CRAN's package database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseDescription {
    pub release: ReleaseId,
    /// The fields of the DESCRIPTION, as DCF.
    pub description: Vec<u8>,
    pub system_requirements: Option<String>,
}

/// Writes details of releases that have none; existing details are not replaced. At most 2,000 per call.
pub fn insert_missing(c: &mut dyn Conn, details: &[ReleaseDescription]) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO detail (release_id, description, system_requirements) VALUES ($1, $2, $3) \
        ON CONFLICT (release_id) DO NOTHING";
    let rows: Vec<Vec<Value>> = details
        .iter()
        .map(|detail| {
            let requirements = Value::opt_text(detail.system_requirements.as_ref());
            vec![detail.release.into(), detail.description.as_slice().into(), requirements]
        })
        .collect();
    c.execute_many(PUT, &rows).map(drop)
}

/// Writes details read from a release's archive, replacing existing ones, such as those of CRAN's package database.
pub fn put_from_archive(
    c: &mut dyn Conn,
    detail: &ReleaseDescription,
    readme: Option<Sha256>,
) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO detail (release_id, description, readme_sha256, system_requirements) \
        VALUES ($1, $2, $3, $4) ON CONFLICT (release_id) DO UPDATE SET description = excluded.description, \
        readme_sha256 = excluded.readme_sha256, system_requirements = excluded.system_requirements";
    let requirements = Value::opt_text(detail.system_requirements.as_ref());
    let description = detail.description.as_slice().into();
    let params = [detail.release.into(), description, Value::opt_text(readme), requirements];
    c.execute(PUT, &params).map(drop)
}

/// Returns the names and system requirements of packages listed in a tree at a step, as written by [`insert_missing`]
/// or [`put_from_archive`]. The requirements of other packages are in their index records.
pub fn requirements(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<(String, String)>, DbError> {
    const FIND: &str = "SELECT p.name, d.system_requirements FROM life l \
        JOIN package p ON p.id = l.package_id JOIN detail d ON d.release_id = l.release_id \
        WHERE l.tree_id = $1 AND l.state = 0 AND l.from_seq <= $2 AND l.to_seq > $2 AND l.path = '' \
        AND d.system_requirements IS NOT NULL";
    c.all(FIND, &[tree.into(), seq.into()])
}
