//! The dry run of a migration: reads everything and writes nothing.

use std::time::Duration;

use super::dump::{DigestKey, RowDigest, RowHasher};
use super::migrate::{OnProgress, Progress};
use base::config::{Config, Provider};
use store::db::DbError;
use store::db::schema::Schema;
use store::db::transfer::occupancy;
use store::db::transfer::reading::{Problem, RowSink};
use store::db::transfer::row::RowBlock;
use store::db::transfer::source::TransferSource;
use store::db::transfer::tables::Table;

/// Estimated number of rows per second of a migration.
const ROWS_PER_SECOND: u64 = 100_000;
const MAX_PROBLEMS: usize = 100;

#[derive(Clone, Debug)]
pub struct DryRunResult {
    pub tables: Vec<(&'static Table, RowDigest)>,
    /// The first values that the destination cannot store.
    pub problems: Vec<Problem>,
    /// Number of all values that the destination cannot store.
    pub problem_count: u64,
    /// The existing contents of the destination, for each schema; empty if it is blank.
    pub existing_objects: Vec<String>,
    pub estimate: Duration,
}

impl DryRunResult {
    pub fn is_possible(&self) -> bool {
        self.problem_count == 0 && self.existing_objects.is_empty()
    }
}

/// Reads the database of the provider `from` and inspects the database of the provider `to`. Blocks.
pub fn dry_run(
    config: &Config,
    from: Provider,
    to: Provider,
    progress: OnProgress<'_>,
) -> Result<DryRunResult, DbError> {
    let mut source = TransferSource::open(config, from, to)?;
    let key = DigestKey::of(source.conn()?)?;
    let mut existing_objects = Vec::new();
    for schema in [Schema::Core, Schema::Usage] {
        existing_objects.extend(occupancy(config, to, schema)?);
    }
    let mut sink = DryRunSink { hasher: RowHasher::new(key), problems: Vec::new(), count: 0, progress };
    let mut tables = Vec::new();
    for table in source.tables() {
        sink.hasher = RowHasher::new(key);
        source.read(table, &mut sink)?;
        tables.push((table, sink.hasher.digest()));
    }
    let rows: u64 = tables.iter().map(|(_, digest)| digest.rows).sum();
    let estimate = Duration::from_secs(1 + rows / ROWS_PER_SECOND);
    Ok(DryRunResult {
        tables,
        problems: sink.problems,
        problem_count: sink.count,
        existing_objects,
        estimate,
    })
}

struct DryRunSink<'a> {
    hasher: RowHasher,
    problems: Vec<Problem>,
    count: u64,
    progress: OnProgress<'a>,
}

impl RowSink for DryRunSink<'_> {
    fn rows(&mut self, table: &'static Table, block: &RowBlock) -> Result<(), DbError> {
        block.for_each_row(table, |row| self.hasher.add(row)).map_err(DbError::refuse)?;
        (self.progress)(Progress::Copying { table: table.name, rows: self.hasher.digest().rows });
        Ok(())
    }

    fn problem(&mut self, problem: Problem) -> Result<(), DbError> {
        self.count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
        Ok(())
    }
}
