//! Fills a blank database with the dump of a backup, and compares it with the manifest before it is committed.

use std::io::{BufReader, Read};

use super::dump::reader::{DumpReader, Item};
use super::dump::{DumpError, TableSummary};
use super::error::BackupError;
use super::folder::{Folder, dump_path};
use super::manifest::{Manifest, Probe};
use super::migrate::{MigrateError, OnProgress, Progress, compare_tables, restore};
use super::snapshot::{probe_entries, render, table_entry};
use base::config::Config;
use store::db::identity::remove_servers;
use store::db::migrate::newest_migration;
use store::db::schema::Schema;
use store::db::transfer::destination::{Destination, ExistingFiles};

type Dump = DumpReader<zstd::Decoder<'static, BufReader<BufReader<Box<dyn Read + Send>>>>>;

/// Reads the dump of a backup without a database, and compares its tables with the manifest.
pub(super) fn read_dump(folder: &Folder, manifest: &Manifest) -> Result<Vec<TableSummary>, BackupError> {
    let path = dump_path(manifest.dump.sha256);
    folder.read_verified(&path, &manifest.dump, &mut |_| Ok(()))?;
    let dump_error = |source| BackupError::DumpFile { path: folder.location(&path), source };
    let mut dump = open(folder, manifest)?;
    let mut tables = Vec::new();
    while let Some(item) = dump.next_item().map_err(dump_error)? {
        if let Item::EndOfTable(summary) = item {
            tables.push(summary);
        }
    }
    if tables.iter().map(table_entry).ne(manifest.tables.iter().cloned()) {
        return Err(folder.damaged(&path, "has different tables than its manifest"));
    }
    Ok(tables)
}

fn open(folder: &Folder, manifest: &Manifest) -> Result<Dump, BackupError> {
    let path = dump_path(manifest.dump.sha256);
    let (file, _) = folder.open_file(&path)?;
    let reader = DumpReader::open(BufReader::with_capacity(1 << 20, file));
    reader.map_err(|source: DumpError| BackupError::DumpFile { path: folder.location(&path), source })
}

/// Refuses a backup with a schema of a newer program.
pub(super) fn check_schema(manifest: &Manifest) -> Result<(), BackupError> {
    for (name, level) in &manifest.levels {
        let schema = [Schema::Core, Schema::Usage].into_iter().find(|schema| schema.as_str() == name);
        let newest_level = schema.map_or(0, newest_migration);
        if *level > newest_level {
            return Err(BackupError::Refused(format!(
                "the backup {} has migration {level} of the schema '{name}'; this version of rstudio-pm supports migrations up to \
                 {newest_level}: install version {} or a newer one",
                manifest.created, manifest.version
            )));
        }
    }
    Ok(())
}

/// Fills the blank database of a configuration. A schema of an older program is migrated. The caller commits it.
pub(super) fn fill(
    config: &Config,
    folder: &Folder,
    manifest: &Manifest,
    existing: ExistingFiles,
    progress: OnProgress<'_>,
) -> Result<Destination, BackupError> {
    let dump = open(folder, manifest)?;
    let key = dump.head().key;
    let levels = dump.head().levels.clone();
    let mut destination = Destination::create(config, config.database.provider, &levels, existing)?;
    let tables = restore(Ok(dump), &mut destination)?;
    progress(Progress::Indexing);
    destination.finish_tables()?;
    compare_tables(&mut destination, key, &tables, progress)?;
    // The servers of the backup do not use this database: a migration need not wait for them.
    remove_servers(destination.conn()?)?;
    destination.migrate()?;
    progress(Progress::Rendering);
    let probes = probe_entries(&render(destination.conn()?)?);
    compare_probes(&manifest.probes, &probes)?;
    Ok(destination)
}

/// Compares the documents of a restored database with those of the server that was backed up.
fn compare_probes(expected: &[Probe], actual: &[Probe]) -> Result<(), BackupError> {
    if expected == actual {
        return Ok(());
    }
    let differing = expected.iter().zip(actual).find(|(expected, actual)| expected != actual);
    let name = differing.map_or("list", |(expected, _)| &expected.name).to_owned();
    Err(MigrateError::Document(name).into())
}
