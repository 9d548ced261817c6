//! Copies the database to another provider, and verifies that both have the same content before the copy is committed.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::dump::reader::{DumpReader, Item};
use super::dump::writer::DumpWriter;
use super::dump::{DigestKey, DumpError, Head, RowDigest, RowHasher, TableSummary};
use base::config::{Config, Provider};
use content::serve::digests::{self, DocumentDigest};
use store::db::schema::Schema;
use store::db::transfer::destination::{Destination, ExistingFiles};
use store::db::transfer::reading::RowSink;
use store::db::transfer::row::RowBlock;
use store::db::transfer::source::TransferSource;
use store::db::transfer::tables::Table;
use store::db::transfer::{occupancy, tables};
use store::db::{DbError, node};

/// Number of documents that are rendered from both databases.
const DOCUMENTS: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Db(#[from] DbError),
    /// The dump in the pipe is damaged.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// A server had a heartbeat in the last half minute.
    #[error(
        "a server uses the database: {0}; stop it: systemctl stop rstudio-pm. If it was killed, wait for half a minute"
    )]
    Serving(String),
    #[error("could not copy the rows: {0}")]
    Io(#[from] io::Error),
    #[error(
        "the copy of table {table} differs: {expected_rows} rows with digest {expected}, and {found_rows} rows with \
         digest {found}; nothing was changed"
    )]
    Table { table: &'static str, expected_rows: u64, expected: RowDigest, found_rows: u64, found: RowDigest },
    #[error("the document {0} differs between the database and its copy; nothing was changed")]
    Document(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Copying { table: &'static str, rows: u64 },
    Indexing,
    Comparing(&'static str),
    Rendering,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Progress::Copying { table, rows } => write!(f, "{table}: {rows} rows"),
            Progress::Indexing => f.write_str("creating indexes"),
            Progress::Comparing(table) => write!(f, "comparing {table}"),
            Progress::Rendering => f.write_str("comparing repositories"),
        }
    }
}

/// Callback for the current step; several threads call it.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

#[derive(Clone, Debug)]
pub struct MigrationResult {
    /// The tables that were copied, with the digests of their rows in both databases.
    pub tables: Vec<TableSummary>,
    /// The documents that were rendered from both databases.
    pub documents: Vec<DocumentDigest>,
    /// Whether an interrupted run had copied the usage data already.
    pub usage_exists: bool,
    pub elapsed: Duration,
}

/// Copies the database of the provider `from` to that of `to`; both are unchanged after an error. Blocks.
pub fn migrate(
    config: &Config,
    from: Provider,
    to: Provider,
    progress: OnProgress<'_>,
) -> Result<MigrationResult, MigrateError> {
    let start = Instant::now();
    let mut source = TransferSource::open(config, from, to)?;
    // A server without a connection at this moment holds no lock, but has a recent heartbeat.
    let servers = node::serving_names(source.conn()?)?;
    if !servers.is_empty() {
        return Err(MigrateError::Serving(servers.join(", ")));
    }
    let key = DigestKey::of(source.conn()?)?;
    let usage_exists = has_same_usage(config, &mut source, to, key)?;
    let mut head = Head { key, levels: source.schema_versions().to_vec() };
    head.levels.retain(|(schema, _)| !(usage_exists && *schema == Schema::Usage));
    let mut destination = Destination::create(config, to, &head.levels, ExistingFiles::Refused)?;
    let summaries = copy(&mut source, &mut destination, &head, progress)?;
    progress(Progress::Indexing);
    destination.finish_tables()?;
    let documents = compare(&mut source, &mut destination, key, &summaries, progress)?;
    destination.commit()?;
    Ok(MigrationResult { tables: summaries, documents, usage_exists, elapsed: start.elapsed() })
}

/// Returns whether the destination has exactly the usage data of the source, by a run that was interrupted
/// between its commits. Other usage data is refused when its tables are created.
fn has_same_usage(
    config: &Config,
    source: &mut TransferSource,
    to: Provider,
    key: DigestKey,
) -> Result<bool, DbError> {
    let is_used = source.has_usage()
        && occupancy(config, to, Schema::Core)?.is_none()
        && occupancy(config, to, Schema::Usage)?.is_some();
    if !is_used {
        return Ok(false);
    }
    let Some(mut usage) = TransferSource::open_usage(config, to, to)? else { return Ok(false) };
    for table in tables::of(Schema::Usage) {
        let (mut source_rows, mut copied_rows) = (DigestSink::new(key), DigestSink::new(key));
        source.read(table, &mut source_rows)?;
        usage.read(table, &mut copied_rows)?;
        if source_rows.0.digest() != copied_rows.0.digest() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies all rows: another thread reads them and writes a dump, this thread reads the dump and writes the rows.
fn copy(
    source: &mut TransferSource,
    destination: &mut Destination,
    head: &Head,
    progress: OnProgress<'_>,
) -> Result<Vec<TableSummary>, MigrateError> {
    let (input, output) = io::pipe()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || dump(source, output, head, progress));
        let restore_result = restore(DumpReader::open(io::BufReader::new(input)), destination);
        let write_result = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If one side fails, the other side also fails, because the pipe is closed.
        match (write_result, restore_result) {
            (Ok(_), restore_result) => restore_result,
            (Err(DumpSourceError::Output(_)), Err(error)) => Err(error),
            (Err(DumpSourceError::Output(error)), Ok(_)) => Err(error.into()),
            (Err(DumpSourceError::Db(error)), _) => Err(error.into()),
        }
    })
}

#[derive(Debug, thiserror::Error)]
pub enum DumpSourceError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("could not write the dump: {0}")]
    Output(#[from] io::Error),
}

/// Writes a dump of the schemas of `head`.
pub fn dump<W: Write>(
    source: &mut TransferSource,
    output: W,
    head: &Head,
    progress: OnProgress<'_>,
) -> Result<Vec<TableSummary>, DumpSourceError> {
    let mut sink =
        DumpSink { writer: DumpWriter::create(output, head)?, rows: 0, output_error: None, progress };
    let mut summaries = Vec::new();
    for table in head.levels.iter().flat_map(|(schema, level)| tables::tables_at(*schema, *level)) {
        sink.writer.begin_table(table)?;
        sink.rows = 0;
        if let Err(error) = source.read(table, &mut sink) {
            return Err(sink.output_error.map_or(DumpSourceError::Db(error), DumpSourceError::Output));
        }
        summaries.push(sink.writer.end_table()?);
    }
    sink.writer.finish()?.flush()?;
    Ok(summaries)
}

struct DumpSink<'a, W: Write> {
    writer: DumpWriter<zstd::Encoder<'static, W>>,
    rows: u64,
    /// The error of the output that ended the reading.
    output_error: Option<io::Error>,
    progress: OnProgress<'a>,
}

impl<W: Write> RowSink for DumpSink<'_, W> {
    fn rows(&mut self, table: &'static Table, block: &RowBlock) -> Result<(), DbError> {
        if let Err(error) = self.writer.rows(block) {
            self.output_error = Some(error);
            return Err(DbError::Closed);
        }
        self.rows += u64::from(block.rows);
        (self.progress)(Progress::Copying { table: table.name, rows: self.rows });
        Ok(())
    }
}

/// Fills a database with the rows of a dump.
pub fn restore<R: io::Read>(
    dump: Result<DumpReader<R>, DumpError>,
    destination: &mut Destination,
) -> Result<Vec<TableSummary>, MigrateError> {
    let mut dump = dump?;
    let mut summaries = Vec::new();
    while let Some(item) = dump.next_item()? {
        match item {
            Item::Table(table) => destination.begin_table(table)?,
            Item::Rows(block) => destination.write(block)?,
            Item::EndOfTable(summary) => {
                destination.end_table()?;
                summaries.push(summary);
            }
        }
    }
    Ok(summaries)
}

/// Compares the rows of the copy with their digests, and documents that are rendered from both databases.
fn compare(
    source: &mut TransferSource,
    destination: &mut Destination,
    key: DigestKey,
    summaries: &[TableSummary],
    progress: OnProgress<'_>,
) -> Result<Vec<DocumentDigest>, MigrateError> {
    std::thread::scope(|scope| {
        let expected = scope.spawn(|| digests::sample(source.conn()?, DOCUMENTS));
        compare_tables(destination, key, summaries, progress)?;
        progress(Progress::Rendering);
        let actual = digests::sample(destination.conn()?, DOCUMENTS)?;
        let expected = expected.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let differing = expected.iter().zip(&actual).find(|(a, b)| a != b);
        match differing.map(|(document, _)| document.name.clone()) {
            Some(name) => Err(MigrateError::Document(name)),
            None if expected.len() != actual.len() => Err(MigrateError::Document("list".to_owned())),
            None => Ok(actual),
        }
    })
}

/// Reads the rows of the copy back and compares them with their digests.
pub(super) fn compare_tables(
    destination: &mut Destination,
    key: DigestKey,
    copied: &[TableSummary],
    progress: OnProgress<'_>,
) -> Result<(), MigrateError> {
    for summary in copied {
        progress(Progress::Comparing(summary.table.name));
        let mut sink = DigestSink::new(key);
        destination.read(summary.table, &mut sink)?;
        let (expected, found) = (summary.digest, sink.0.digest());
        if expected != found {
            let (expected_rows, found_rows) = (expected.rows, found.rows);
            let table = summary.table.name;
            return Err(MigrateError::Table { table, expected_rows, expected, found_rows, found });
        }
    }
    Ok(())
}

pub(super) struct DigestSink(pub(super) RowHasher);

impl DigestSink {
    pub(super) fn new(key: DigestKey) -> DigestSink {
        DigestSink(RowHasher::new(key))
    }
}

impl RowSink for DigestSink {
    fn rows(&mut self, table: &'static Table, block: &RowBlock) -> Result<(), DbError> {
        block.for_each_row(table, |row| self.0.add(row)).map_err(DbError::refuse)
    }
}
