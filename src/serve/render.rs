//! Renders the documents of a point from its rows: merged by name, encoded once.

use std::collections::{HashMap, HashSet};
use std::io;

use bytes::Bytes;
use libdeflater::{CompressionError, CompressionLvl, Compressor};
use sha2::Digest;

use super::binary_selector::{BinarySelector, pick};
use super::document::{BinaryIndex, Document, EncodedDocument, IndexEncoding};
use crate::db::binary::Binary;
use crate::db::life::{FileInfo, ListedRelease};
use crate::db::{self, Conn, DbError};
use crate::model::digest::Sha256;
use crate::model::ids::{PackageId, ReleaseId};
use crate::model::point::PointTree;
use crate::model::time::{Day, Timestamp};
use crate::r::binary_index;
use crate::r::database;
use crate::r::packages::{self, BINARY_FIELDS, SOURCE_FIELDS};
use crate::r::platform::Target;
use crate::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};
use crate::r::rds::matrix::{matrix, write_matrix};
use crate::r::version;

/// The encoder of the bytes, as recorded in `rendered.encoder`.
pub(super) const ENCODER: &str = "libdeflate-6";

/// Buffer space for a compressed document beyond half of its plain size, in bytes.
const SLACK: usize = 4 << 10;
/// Releases whose details are read in one query.
const DETAILS_PAGE: usize = 500;
/// Size of a package database beyond which details are left out, in bytes: three times that of CRAN.
const MAX_DETAILS: usize = 160 << 20;

/// The rows of a document.
#[derive(Debug)]
pub(super) enum Rows {
    /// Index records, merged, in index order.
    Listed(Vec<ListedRelease>),
    /// Archived files, merged: by package, oldest first.
    Archived(Vec<FileInfo>),
    /// Listed files, merged.
    Current(Vec<FileInfo>),
}

/// Reads the rows of `document`. The trees are those of a point; on a name conflict the earlier tree wins.
pub(super) fn rows(c: &mut dyn Conn, trees: &[PointTree], document: &Document) -> Result<Rows, DbError> {
    match document {
        Document::Packages | Document::PackagesGz | Document::PackagesRds => {
            Ok(Rows::Listed(listed(c, trees)?))
        }
        Document::ArchiveRds => Ok(Rows::Archived(archived(c, trees)?)),
        Document::CurrentRds => {
            let mut blend = MergedRows::default();
            for tree in trees {
                blend.add(db::life::listed_files(c, tree.tree, tree.seq)?, |row| &row.name);
            }
            Ok(Rows::Current(blend.sorted(FileInfo::order)))
        }
        Document::PackageDatabase { .. } => Ok(Rows::Listed(listed_with_details(c, trees)?)),
        Document::Empty(_) => Ok(Rows::Listed(Vec::new())),
        Document::Binaries(index) => Ok(Rows::Listed(listed_with_binaries(c, trees, index)?)),
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
        let new = self.rows.iter().skip(first);
        self.names.extend(new.map(|row| name(row).to_owned()));
    }

    fn sorted(mut self, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<T> {
        // The rows consist of sorted runs, which the stable sort merges.
        self.rows.sort_by(order);
        self.rows
    }
}

fn listed(c: &mut dyn Conn, trees: &[PointTree]) -> Result<Vec<ListedRelease>, DbError> {
    if let [only] = trees {
        return db::life::listed(c, only.tree, only.seq);
    }
    let mut blend = MergedRows::default();
    for tree in trees {
        blend.add(db::life::listed(c, tree.tree, tree.seq)?, |row| &row.name);
    }
    let rows = blend.sorted(ListedRelease::order);
    for twins in rows.windows(2).filter(|pair| pair[0].fold == pair[1].fold && pair[0].name != pair[1].name) {
        tracing::warn!(
            "the packages '{}' and '{}' of one repository differ only in case; they cannot be installed side by side everywhere",
            twins[0].name,
            twins[1].name
        );
    }
    Ok(rows)
}

/// Listed records, with the record of the binary instead of the source package's where there is one. The owner of a
/// package is the same as without binaries: the first source that lists it.
fn listed_with_binaries(
    c: &mut dyn Conn,
    trees: &[PointTree],
    index: &BinaryIndex,
) -> Result<Vec<ListedRelease>, DbError> {
    let BinaryIndex { selector: BinarySelector { platform, until }, full, heads, .. } = index;
    let mut blend = MergedRows::default();
    for tree in trees {
        let mut rows = db::life::listed(c, tree.tree, tree.seq)?;
        let mut known: HashMap<ReleaseId, Vec<Binary>> = HashMap::new();
        if let Some((_, list, head)) = heads.iter().find(|(source, ..)| *source == tree.source) {
            for binary in db::binary::all(c, *list, *head)? {
                known.entry(binary.release).or_default().push(binary);
            }
        }
        let picked = |release| known.get(&release).and_then(|binaries| pick(binaries, platform.arch, *until));
        let in_time = |binary: &&Binary| binary.at < *until;
        let alone = !*full && !matches!(platform.target, Target::Linux(_));
        let lacking =
            |row: &&ListedRelease| row.path.is_empty() && picked(row.release).filter(in_time).is_none();
        let lacking: HashSet<PackageId> =
            rows.iter().filter(|_| alone).filter(lacking).map(|row| row.package).collect();
        let older = older_binaries(c, *tree, &known, &lacking, &picked, &in_time)?;
        for row in &mut rows {
            let of_listed = picked(row.release).filter(|_| row.path.is_empty());
            match older.get(&row.package).copied().filter(|_| row.path.is_empty()).or(of_listed) {
                Some(binary) => row.stanza = binary_index::with_file(&binary.stanza, &binary.name),
                None if *full => {}
                None => row.stanza.clear(),
            }
        }
        blend.add(rows, |row| &row.name);
    }
    let mut rows = blend.sorted(ListedRelease::order);
    rows.retain(|row| !row.stanza.is_empty());
    Ok(rows)
}

/// For Windows and macOS trees, which contain only binaries: for packages whose listed version has no binary in time,
/// selects the newest archived version that has one. So a package does not vanish while its newest version is being
/// built, and a version that the index of a day contained stays in it, because later binaries are not in time.
fn older_binaries<'a>(
    c: &mut dyn Conn,
    tree: PointTree,
    known: &'a HashMap<ReleaseId, Vec<Binary>>,
    lacking: &HashSet<PackageId>,
    picked: &dyn Fn(ReleaseId) -> Option<&'a Binary>,
    in_time: &dyn Fn(&&'a Binary) -> bool,
) -> Result<HashMap<PackageId, &'a Binary>, DbError> {
    let built: HashSet<PackageId> =
        known.values().flatten().map(|binary| binary.package).filter(|id| lacking.contains(id)).collect();
    let mut newest: HashMap<PackageId, (String, &Binary)> = HashMap::new();
    for (package, release, version) in db::binary::archived(c, tree.tree, tree.seq, built)? {
        let Some(binary) = picked(release).filter(|binary| in_time(binary)) else { continue };
        let newer = |(known, _): &(String, &Binary)| version::compare(&version, known).is_gt();
        if newest.get(&package).is_none_or(newer) {
            newest.insert(package, (version, binary));
        }
    }
    Ok(newest.into_iter().map(|(package, (_, binary))| (package, binary)).collect())
}

/// Listed packages with all known details instead of their index records.
fn listed_with_details(c: &mut dyn Conn, trees: &[PointTree]) -> Result<Vec<ListedRelease>, DbError> {
    let mut blend = MergedRows::default();
    let mut size = 0;
    for tree in trees {
        let mut rows = db::life::listed(c, tree.tree, tree.seq)?;
        rows.retain(|row| row.path.is_empty() && !blend.names.contains(&row.name));
        let names = db::life::names(c, tree.tree, tree.seq)?;
        let published: HashMap<PackageId, Day> =
            names.into_iter().filter_map(|row| Some((row.package, row.published_at?.day()))).collect();
        for chunk in rows.chunks_mut(DETAILS_PAGE) {
            let releases: Vec<ReleaseId> = chunk.iter().map(|row| row.release).collect();
            // The remaining packages are listed without details.
            let details = if size < MAX_DETAILS {
                db::detail::descriptions(c, &releases)?
            } else {
                vec![None; chunk.len()]
            };
            for (row, detail) in chunk.iter_mut().zip(details) {
                let published = published.get(&row.package).copied();
                row.stanza = database::record(&row.stanza, detail.as_deref(), published);
                size += row.stanza.len();
            }
        }
        blend.add(rows, |row| &row.name);
    }
    Ok(blend.sorted(ListedRelease::order))
}

/// Archived files, each name from its owner: the first tree that lists it, else the first that archived it.
fn archived(c: &mut dyn Conn, trees: &[PointTree]) -> Result<Vec<FileInfo>, DbError> {
    if let [only] = trees {
        return db::life::archived(c, only.tree, only.seq);
    }
    let mut listed: Vec<HashSet<String>> = Vec::with_capacity(trees.len());
    for tree in trees {
        let names = db::life::names(c, tree.tree, tree.seq)?.into_iter().map(|row| row.name);
        listed.push(names.filter(|name| !listed.iter().any(|owned| owned.contains(name))).collect());
    }
    let mut blend = MergedRows::default();
    for (place, tree) in trees.iter().enumerate() {
        let foreign =
            |name: &str| listed.iter().enumerate().any(|(i, owned)| i != place && owned.contains(name));
        let mut rows = db::life::archived(c, tree.tree, tree.seq)?;
        rows.retain(|row| !foreign(&row.name));
        blend.add(rows, |row| &row.name);
    }
    Ok(blend.sorted(FileInfo::order))
}

/// Encodes a document from its rows. CPU-bound: must be called off the async threads.
pub(super) fn encode(document: &Document, rows: &Rows) -> io::Result<EncodedDocument> {
    match (document, rows) {
        (Document::Packages, Rows::Listed(rows)) => text(rows),
        (Document::PackagesGz, Rows::Listed(rows)) => gzip(&plain(rows)?),
        (Document::PackagesRds, Rows::Listed(rows)) => {
            let stanzas: Vec<&[u8]> = stanzas(rows).collect();
            gzip(&matrix(&SOURCE_FIELDS, &stanzas)?)
        }
        (Document::Binaries(index), Rows::Listed(rows)) => match index.form {
            IndexEncoding::Text => text(rows),
            IndexEncoding::Gz => gzip(&plain(rows)?),
            IndexEncoding::Rds => {
                let stanzas: Vec<&[u8]> = stanzas(rows).collect();
                gzip(&matrix(&SOURCE_FIELDS, &stanzas)?)
            }
        },
        (Document::PackageDatabase { .. }, Rows::Listed(rows)) => {
            let stanzas: Vec<&[u8]> = stanzas(rows).collect();
            gzip_stream(|out| write_matrix(out, &SOURCE_FIELDS, &stanzas))
        }
        (Document::ArchiveRds, Rows::Archived(rows)) => {
            let mut table = Vec::new();
            write_archive_meta(&mut table, &meta(rows))?;
            gzip(&table)
        }
        (Document::CurrentRds, Rows::Current(rows)) => {
            let mut table = Vec::new();
            write_current_meta(&mut table, &meta(rows))?;
            gzip(&table)
        }
        (Document::Empty(IndexEncoding::Text), _) => {
            Ok(EncodedDocument { content: digest(b""), bytes: Bytes::new() })
        }
        (Document::Empty(IndexEncoding::Gz), _) => gzip(b""),
        (Document::Empty(IndexEncoding::Rds), _) => gzip(&matrix(BINARY_FIELDS, &[] as &[&[u8]])?),
        (_, Rows::Listed(_) | Rows::Archived(_) | Rows::Current(_)) => {
            Err(io::Error::other("rows of another document"))
        }
    }
}

/// The plain text of an index.
fn plain(rows: &[ListedRelease]) -> io::Result<Vec<u8>> {
    // At most two line ends per record: the text is allocated once.
    let mut text = Vec::with_capacity(stanzas(rows).map(|stanza| stanza.len() + 2).sum());
    packages::render(&mut text, stanzas(rows))?;
    Ok(text)
}

fn text(rows: &[ListedRelease]) -> io::Result<EncodedDocument> {
    let text = plain(rows)?;
    Ok(EncodedDocument { content: digest(&text), bytes: text.into() })
}

/// Decompresses a `.gz` document.
pub(super) fn gunzip(encoded: &EncodedDocument) -> io::Result<EncodedDocument> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(encoded.bytes.as_ref()), &mut text)?;
    Ok(EncodedDocument { content: encoded.content, bytes: text.into() })
}

fn stanzas(rows: &[ListedRelease]) -> impl Iterator<Item = &[u8]> {
    rows.iter().map(|row| row.stanza.as_slice())
}

/// Converts rows for the tables of `Meta`. A mirror without `Meta` declares no times: such files get the epoch, because
/// clients only need their names.
fn meta(rows: &[FileInfo]) -> Vec<MetaRow<&str>> {
    let mut table = Vec::with_capacity(rows.len());
    for row in rows {
        let size = u64::try_from(row.size.unwrap_or(0)).unwrap_or(0);
        let mtime = row.published_at.unwrap_or(Timestamp(0));
        table.push(MetaRow { package: row.name.as_str(), file: row.file.as_str(), size, mtime });
    }
    table
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Compresses a document. The header contains no time, so that equal rows give equal bytes. It is compressed in one
/// call, which makes libdeflate fast; an index has only a few megabytes.
fn gzip(plain: &[u8]) -> io::Result<EncodedDocument> {
    let content = digest(plain);
    let level = CompressionLvl::new(6).map_err(|e| io::Error::other(format!("{e:?}")))?;
    let mut encoder = Compressor::new(level);
    // An index compresses to less than half; the worst-case buffer is several times larger than what is used.
    let most = encoder.gzip_compress_bound(plain.len());
    let mut bytes = vec![0; most.min(plain.len() / 2 + SLACK)];
    let size = match encoder.gzip_compress(plain, &mut bytes) {
        Err(CompressionError::InsufficientSpace) => {
            bytes = vec![0; most];
            encoder.gzip_compress(plain, &mut bytes)
        }
        done => done,
    };
    bytes.truncate(size.map_err(io::Error::other)?);
    bytes.shrink_to_fit();
    Ok(EncodedDocument { content, bytes: bytes.into() })
}

/// Compresses a document larger than an index, as a stream; speed matters less there.
fn gzip_stream(write: impl FnOnce(&mut HashingEncoder) -> io::Result<()>) -> io::Result<EncodedDocument> {
    let mut out = HashingEncoder { out: packages::gzip(Vec::new()), hash: sha2::Sha256::new() };
    write(&mut out)?;
    let mut bytes = out.out.finish()?;
    bytes.shrink_to_fit();
    Ok(EncodedDocument { content: Sha256(out.hash.finalize().into()), bytes: bytes.into() })
}

/// A writer that hashes and compresses.
struct HashingEncoder {
    out: flate2::write::GzEncoder<Vec<u8>>,
    hash: sha2::Sha256,
}

impl io::Write for HashingEncoder {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(piece)?;
        self.hash.update(&piece[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
