//! Renders the documents of an R repository: reads the rows of a point, merges them by name and encodes them.

use std::collections::{HashMap, HashSet};
use std::io;

use bytes::Bytes;

use super::document::{BinaryIndex, Listing, RDocument, RRows};
use super::listing;
use crate::serve::documents::encoding::{EncodedDocument, gzip, gzip_stream};
use crate::serve::documents::negotiate::{BinarySelector, pick};
use crate::serve::selection::allowed::{View, owner};
use base::model::change::LifeState;
use base::model::digest::Sha256;
use base::model::ids::{PackageId, ReleaseId};
use base::model::time::{Day, Timestamp};
use formats::r::description::check::{self, ServedRecord};
use formats::r::layout::IndexFormat;
use formats::r::packages::{self, BINARY_FIELDS, SOURCE_FIELDS};
use formats::r::platform::BinaryTarget;
use formats::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};
use formats::r::rds::matrix::{matrix, write_matrix};
use formats::r::{binary_index, description, version};
use store::db::binary::Binary;
use store::db::life::{FileInfo, ListedRelease};
use store::db::{self, Conn, DbError};

const DETAILS_PAGE: usize = 500;
/// Size of a package database beyond which details are omitted, in bytes: three times that of CRAN.
const MAX_DETAIL_BYTES: usize = 160 << 20;

/// Reads the rows of `document`, with records rewritten for R. Of several trees with a package, the first one applies.
pub(in crate::serve) fn rows(
    c: &mut dyn Conn,
    trees: &[View],
    document: &RDocument,
) -> Result<RRows, DbError> {
    let mut rows = read_rows(c, trees, document)?;
    if let RRows::Listed(rows) = &mut rows {
        rows.retain_mut(|row| match check::served_record(&row.stanza) {
            ServedRecord::Unchanged => true,
            ServedRecord::Rewritten(stanza) => {
                row.stanza = stanza;
                true
            }
            ServedRecord::Omitted => false,
        });
    }
    Ok(rows)
}

fn read_rows(c: &mut dyn Conn, trees: &[View], document: &RDocument) -> Result<RRows, DbError> {
    match document {
        RDocument::Packages(_) => Ok(RRows::Listed(listed(c, trees)?)),
        RDocument::ArchiveRds => Ok(RRows::Archived(archived_files(c, trees)?)),
        RDocument::CurrentRds => Ok(RRows::Current(listed_files(c, trees)?)),
        RDocument::Listing(listing) => match listing {
            Listing::Sources => Ok(RRows::Current(listed_files(c, trees)?)),
            Listing::Archive => Ok(RRows::Archived(archived_files(c, trees)?)),
            Listing::Package(name) => Ok(RRows::Archived(archived_files_of(c, trees, name)?)),
            Listing::Binaries(index) => Ok(RRows::Listed(listed_with_binaries(c, trees, index)?)),
            Listing::Empty => Ok(RRows::Listed(Vec::new())),
        },
        RDocument::PackageDatabase { .. } => Ok(RRows::Listed(listed_with_details(c, trees)?)),
        RDocument::Empty(_) => Ok(RRows::Listed(Vec::new())),
        RDocument::Binaries(index) => Ok(RRows::Listed(listed_with_binaries(c, trees, index)?)),
    }
}

/// Rows of several trees; each name is taken from the first tree that has it.
struct MergedRows<T> {
    rows: Vec<T>,
    names: HashSet<String>,
}

impl<T> Default for MergedRows<T> {
    fn default() -> MergedRows<T> {
        MergedRows { rows: Vec::new(), names: HashSet::new() }
    }
}

impl<T> MergedRows<T> {
    fn add(&mut self, rows: Vec<T>, name: impl Fn(&T) -> &str) {
        let first = self.rows.len();
        self.rows.extend(rows.into_iter().filter(|row| !self.names.contains(name(row))));
        let new_rows = self.rows.iter().skip(first);
        self.names.extend(new_rows.map(|row| name(row).to_owned()));
    }

    /// Adds names that no later tree provides.
    fn add_names(&mut self, names: Vec<String>) {
        self.names.extend(names);
    }

    fn into_sorted(mut self, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<T> {
        // The rows consist of sorted runs, which the stable sort merges.
        self.rows.sort_by(order);
        self.rows
    }
}

fn listed(c: &mut dyn Conn, trees: &[View]) -> Result<Vec<ListedRelease>, DbError> {
    if let [only] = trees {
        return only.listed(c);
    }
    let mut merged = MergedRows::default();
    for tree in trees {
        merged.add(tree.listed(c)?, |row| &row.name);
        merged.add_names(tree.hidden_names(c)?);
    }
    let rows = merged.into_sorted(ListedRelease::order);
    for pair in rows
        .windows(2)
        .filter(|pair| pair[0].normalized_name == pair[1].normalized_name && pair[0].name != pair[1].name)
    {
        tracing::warn!(
            "the packages '{}' and '{}' of one repository differ only in case; only one can be installed on a file system that ignores case",
            pair[0].name,
            pair[1].name
        );
    }
    Ok(rows)
}

/// Returns the listed records, each replaced by its binary's, if any. The owner of a package does not change.
fn listed_with_binaries(
    c: &mut dyn Conn,
    trees: &[View],
    index: &BinaryIndex,
) -> Result<Vec<ListedRelease>, DbError> {
    let BinaryIndex { selector: BinarySelector { platform, until }, with_source_packages, heads, .. } = index;
    // R expects the names of files for `linux.binary` in another form than this server's.
    let needs_file = !with_source_packages && matches!(platform.target, BinaryTarget::Linux(_));
    let mut merged = MergedRows::default();
    for tree in trees {
        let mut rows = tree.listed(c)?;
        let mut by_release: HashMap<ReleaseId, Vec<Binary>> = HashMap::new();
        if let Some((_, list, head)) = heads.iter().find(|(source, ..)| *source == tree.origin()) {
            for binary in db::binary::all(c, *list, *head)? {
                by_release.entry(binary.release).or_default().push(binary);
            }
        }
        let select =
            |release| by_release.get(&release).and_then(|binaries| pick(binaries, platform.arch, *until));
        let is_in_time = |binary: &&Binary| binary.at < *until;
        let only_binaries = !*with_source_packages && !matches!(platform.target, BinaryTarget::Linux(_));
        let lacks_binary =
            |row: &&ListedRelease| row.path.is_empty() && select(row.release).filter(is_in_time).is_none();
        let packages_without_binary: HashSet<PackageId> =
            rows.iter().filter(|_| only_binaries).filter(lacks_binary).map(|row| row.package).collect();
        let archived_binaries =
            older_binaries(c, tree, &by_release, &packages_without_binary, &select, &is_in_time)?;
        for row in &mut rows {
            let listed_binary = select(row.release).filter(|_| row.path.is_empty());
            match archived_binaries
                .get(&row.package)
                .copied()
                .filter(|_| row.path.is_empty())
                .or(listed_binary)
            {
                Some(binary) => {
                    row.stanza = binary_index::with_file(&binary.stanza, &binary.name, needs_file)
                }
                None if *with_source_packages => {}
                None => row.stanza.clear(),
            }
        }
        merged.add(rows, |row| &row.name);
        merged.add_names(tree.hidden_names(c)?);
    }
    let mut rows = merged.into_sorted(ListedRelease::order);
    rows.retain(|row| !row.stanza.is_empty());
    Ok(rows)
}

/// Selects older binaries for Windows and macOS trees: for packages whose listed version has no binary in
/// time, the newest archived version that has one. Thus a package does not disappear while its newest version
/// is being built, and later binaries do not remove a version from a past day.
fn older_binaries<'a>(
    c: &mut dyn Conn,
    tree: &View,
    by_release: &'a HashMap<ReleaseId, Vec<Binary>>,
    packages_without_binary: &HashSet<PackageId>,
    select: &dyn Fn(ReleaseId) -> Option<&'a Binary>,
    is_in_time: &dyn Fn(&&'a Binary) -> bool,
) -> Result<HashMap<PackageId, &'a Binary>, DbError> {
    let packages_with_archived_binary: HashSet<PackageId> = by_release
        .values()
        .flatten()
        .map(|binary| binary.package)
        .filter(|id| packages_without_binary.contains(id))
        .collect();
    let mut newest: HashMap<PackageId, (String, &Binary)> = HashMap::new();
    for (package, release, version) in
        db::binary::archived_releases(c, tree.tree, tree.seq, packages_with_archived_binary)?
    {
        if tree.is_blocked(c, release)? {
            continue;
        }
        let Some(binary) = select(release).filter(|binary| is_in_time(binary)) else { continue };
        let is_newer = |(other, _): &(String, &Binary)| version::compare(&version, other).is_gt();
        if newest.get(&package).is_none_or(is_newer) {
            newest.insert(package, (version, binary));
        }
    }
    Ok(newest.into_iter().map(|(package, (_, binary))| (package, binary)).collect())
}

/// Returns the listed packages with all known details instead of their index records.
fn listed_with_details(c: &mut dyn Conn, trees: &[View]) -> Result<Vec<ListedRelease>, DbError> {
    let mut merged = MergedRows::default();
    let mut size = 0;
    for tree in trees {
        let mut rows = tree.listed(c)?;
        rows.retain(|row| row.path.is_empty() && !merged.names.contains(&row.name));
        let names = tree.names(c)?;
        let published: HashMap<PackageId, Day> =
            names.into_iter().filter_map(|row| Some((row.package, row.published_at?.day()))).collect();
        for chunk in rows.chunks_mut(DETAILS_PAGE) {
            let releases: Vec<ReleaseId> = chunk.iter().map(|row| row.release).collect();
            // The remaining packages are listed without details.
            let details = if size < MAX_DETAIL_BYTES {
                db::detail::descriptions(c, &releases)?
            } else {
                vec![None; chunk.len()]
            };
            for (row, detail) in chunk.iter_mut().zip(details) {
                let published = published.get(&row.package).copied();
                row.stanza = description::database_record(&row.stanza, detail.as_deref(), published);
                size += row.stanza.len();
            }
        }
        merged.add(rows, |row| &row.name);
        merged.add_names(tree.hidden_names(c)?);
    }
    Ok(merged.into_sorted(ListedRelease::order))
}

fn listed_files(c: &mut dyn Conn, trees: &[View]) -> Result<Vec<FileInfo>, DbError> {
    let mut merged = MergedRows::default();
    for tree in trees {
        merged.add(tree.listed_files(c)?, |row| &row.name);
        merged.add_names(tree.hidden_names(c)?);
    }
    Ok(merged.into_sorted(FileInfo::order))
}

/// Returns the archived files of a package, as [`archived_files`], without reading those of others.
fn archived_files_of(c: &mut dyn Conn, trees: &[View], name: &str) -> Result<Vec<FileInfo>, DbError> {
    let Some(tree) = owner(c, trees, name)? else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for file in tree.package_detail(c, name)? {
        if file.state == LifeState::Archived && !tree.is_blocked(c, file.release)? {
            let (size, published_at) = (file.size, file.published_at);
            let name = name.to_owned();
            files.push(FileInfo { normalized_name: name.clone(), name, file: file.name, size, published_at });
        }
    }
    files.sort_unstable_by(FileInfo::order);
    Ok(files)
}

/// Returns the archived files, each name from its owner: the first tree that lists it, else the first that archived it.
fn archived_files(c: &mut dyn Conn, trees: &[View]) -> Result<Vec<FileInfo>, DbError> {
    if let [only] = trees {
        return only.archived_files(c);
    }
    let mut listed: Vec<HashSet<String>> = Vec::with_capacity(trees.len());
    for tree in trees {
        let names = tree.names(c)?.into_iter().map(|row| row.name).chain(tree.hidden_names(c)?);
        listed.push(names.filter(|name| !listed.iter().any(|owned| owned.contains(name))).collect());
    }
    let mut merged = MergedRows::default();
    for (position, tree) in trees.iter().enumerate() {
        let is_foreign =
            |name: &str| listed.iter().enumerate().any(|(i, owned)| i != position && owned.contains(name));
        let mut rows = tree.archived_files(c)?;
        rows.retain(|row| !is_foreign(&row.name));
        merged.add(rows, |row| &row.name);
        merged.add_names(tree.hidden_names(c)?);
    }
    Ok(merged.into_sorted(FileInfo::order))
}

pub(in crate::serve) fn constant(document: &RDocument) -> Option<EncodedDocument> {
    match document {
        RDocument::Empty(format) => Some(encode_empty(*format).expect("writing to a Vec cannot fail")),
        RDocument::Packages(_)
        | RDocument::ArchiveRds
        | RDocument::CurrentRds
        | RDocument::PackageDatabase { .. }
        | RDocument::Binaries(_)
        | RDocument::Listing(_) => None,
    }
}

/// Encodes a document from its rows. CPU-bound: must not be called on the async threads.
pub(in crate::serve) fn encode(document: &RDocument, rows: &RRows) -> io::Result<EncodedDocument> {
    match (document, rows) {
        (
            RDocument::Packages(format) | RDocument::Binaries(BinaryIndex { format, .. }),
            RRows::Listed(rows),
        ) => match format {
            IndexFormat::Text => encode_text(rows),
            IndexFormat::Gz => gzip(&index_text(rows)?),
            IndexFormat::Rds => {
                let stanzas: Vec<&[u8]> = stanzas(rows).collect();
                gzip(&matrix(&SOURCE_FIELDS, &stanzas)?)
            }
        },
        (RDocument::PackageDatabase { .. }, RRows::Listed(rows)) => {
            let stanzas: Vec<&[u8]> = stanzas(rows).collect();
            gzip_stream(|out| write_matrix(out, &SOURCE_FIELDS, &stanzas))
        }
        (RDocument::ArchiveRds, RRows::Archived(rows)) => {
            let mut table = Vec::new();
            write_archive_meta(&mut table, &meta(rows))?;
            gzip(&table)
        }
        (RDocument::CurrentRds, RRows::Current(rows)) => {
            let mut table = Vec::new();
            write_current_meta(&mut table, &meta(rows))?;
            gzip(&table)
        }
        (RDocument::Empty(format), _) => encode_empty(*format),
        (RDocument::Listing(listing), rows) => {
            let html = listing::html(listing, rows);
            Ok(EncodedDocument { content: Sha256::of(html.as_bytes()), bytes: html.into() })
        }
        (_, RRows::Listed(_) | RRows::Archived(_) | RRows::Current(_)) => {
            Err(io::Error::other("rows of another document"))
        }
    }
}

fn encode_empty(format: IndexFormat) -> io::Result<EncodedDocument> {
    match format {
        IndexFormat::Text => Ok(EncodedDocument { content: Sha256::of(b""), bytes: Bytes::new() }),
        IndexFormat::Gz => gzip(b""),
        IndexFormat::Rds => gzip(&matrix(BINARY_FIELDS, &[] as &[&[u8]])?),
    }
}

fn index_text(rows: &[ListedRelease]) -> io::Result<Vec<u8>> {
    // Each record has at most two line ends, so the text is allocated once.
    let mut text = Vec::with_capacity(stanzas(rows).map(|stanza| stanza.len() + 2).sum());
    packages::render(&mut text, stanzas(rows))?;
    Ok(text)
}

fn encode_text(rows: &[ListedRelease]) -> io::Result<EncodedDocument> {
    let text = index_text(rows)?;
    Ok(EncodedDocument { content: Sha256::of(&text), bytes: text.into() })
}

fn stanzas(rows: &[ListedRelease]) -> impl Iterator<Item = &[u8]> {
    rows.iter().map(|row| row.stanza.as_slice())
}

/// Converts rows for the tables of `Meta`. Without `Meta`, the time is the epoch: clients need only names.
fn meta(rows: &[FileInfo]) -> Vec<MetaRow<&str>> {
    let mut table = Vec::with_capacity(rows.len());
    for row in rows {
        let size = u64::try_from(row.size.unwrap_or(0)).unwrap_or(0);
        let mtime = row.published_at.unwrap_or(Timestamp(0));
        table.push(MetaRow { package: row.name.as_str(), file: row.file.as_str(), size, mtime });
    }
    table
}
