//! The database part of a backup: a dump, documents and the list of files, all from one snapshot of the database.

use std::io::{self, Write};

use sha2::Digest;

use super::dump::{DigestKey, Head, TableSummary};
use super::error::BackupError;
use super::folder::{Folder, Part, dump_path};
use super::manifest::{Probe, TableEntry};
use super::migrate::{OnProgress, dump};
use base::config::Config;
use base::model::digest::{Fingerprint, Sha256};
use base::model::ids::Identity;
use content::serve::digests::{self, DocumentDigest};
use store::db::clock::ClockRow;
use store::db::durable_object::{self, DurableObject};
use store::db::schema::Schema;
use store::db::transfer::source::TransferSource;
use store::db::{clock, encryption_key, identity};

const DOCUMENTS: usize = 24;

pub(super) struct Snapshot {
    pub(super) database: Identity,
    pub(super) clock: ClockRow,
    pub(super) levels: Vec<(Schema, i64)>,
    pub(super) encryption_key: Option<Fingerprint>,
    pub(super) dump: Part,
    pub(super) tables: Vec<TableSummary>,
    pub(super) probes: Vec<DocumentDigest>,
    pub(super) objects: Vec<DurableObject>,
}

impl Snapshot {
    pub(super) fn table_entries(&self) -> Vec<TableEntry> {
        self.tables.iter().map(table_entry).collect()
    }

    pub(super) fn probe_entries(&self) -> Vec<Probe> {
        probe_entries(&self.probes)
    }
}

pub(super) fn table_entry(summary: &TableSummary) -> TableEntry {
    let TableSummary { table, digest, .. } = summary;
    let name = format!("{}.{}", table.schema.as_str(), table.name);
    TableEntry { table: name, rows: digest.rows, digest: digest.to_string() }
}

pub(super) fn probe_entries(documents: &[DocumentDigest]) -> Vec<Probe> {
    let probe = |document: &DocumentDigest| Probe { name: document.name.clone(), sha256: document.content };
    documents.iter().map(probe).collect()
}

pub(super) fn render(c: &mut dyn store::db::Conn) -> Result<Vec<DocumentDigest>, store::db::DbError> {
    digests::sample(c, DOCUMENTS)
}

/// Reads the database of this server, and writes its dump. `with_cache` lists files that a mirror has, too. Blocks.
pub(super) fn take(
    config: &Config,
    folder: &Folder,
    with_cache: bool,
    progress: OnProgress<'_>,
) -> Result<Snapshot, BackupError> {
    let mut source = TransferSource::open_shared(config)?;
    let levels = source.schema_versions().to_vec();
    let key = DigestKey::of(source.conn()?)?;
    let file = folder.create_unfinished()?;
    let mut output = HashingWriter::new(io::BufWriter::with_capacity(1 << 20, file));
    let tables = dump(&mut source, &mut output, &Head { key, levels: levels.clone() }, progress)?;
    let (writer, part) = output.finish();
    let place = folder.location("");
    let file =
        writer.into_inner().map_err(|error| BackupError::io("write to", &place)(error.into_error()))?;
    file.install(&dump_path(part.sha256), true)?;
    let mut objects = Vec::new();
    let mut add = |object| {
        objects.push(object);
        Ok(())
    };
    durable_object::each_package_object(source.conn()?, with_cache, &mut add)?;
    if let Some(usage) = source.usage_conn()? {
        durable_object::each_usage_object(usage, &mut add)?;
    }
    let core = source.conn()?;
    Ok(Snapshot {
        database: identity::get(core)?,
        clock: clock::get(core)?,
        encryption_key: encryption_key::get(core)?,
        probes: render(core)?,
        levels,
        dump: part,
        tables,
        objects,
    })
}

/// Writer that computes size and digest of its bytes.
struct HashingWriter<W> {
    inner: W,
    hasher: sha2::Sha256,
    size: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(inner: W) -> HashingWriter<W> {
        HashingWriter { inner, hasher: sha2::Sha256::new(), size: 0 }
    }

    fn finish(self) -> (W, Part) {
        (self.inner, Part { sha256: Sha256(self.hasher.finalize().into()), size: self.size })
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
