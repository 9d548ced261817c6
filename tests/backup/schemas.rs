//! Backups with an older schema, which is migrated, and with a newer one, which is refused.

use rstudio_pm::backup::dump::TableSummary;
use rstudio_pm::backup::dump::reader::{DumpReader, Item};
use rstudio_pm::backup::dump::writer::DumpWriter;
use rstudio_pm::backup::manifest::{Manifest, TableEntry};
use rstudio_pm::backup::part::Part;
use rstudio_pm::db::migrate::{MIGRATIONS, newest_migration};
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::transfer::row::{Field, Fields, RowBlock};
use rstudio_pm::db::transfer::tables::{FIRST_DUMP_SCHEMA, tables_at};
use rstudio_pm::model::digest::Sha256;
use sha2::Digest;

use super::machines::{back_up, blank, folder, manifests, server};
use super::servers::answers;
use crate::support::server::Server;

/// Returns the rows of the table `migration` up to a migration number.
fn rows_up_to(block: &RowBlock, level: i64) -> RowBlock {
    let (mut fields, mut result) = (Fields::new(&block.bytes), RowBlock { rows: 0, bytes: Vec::new() });
    for _ in 0..block.rows {
        let row: [Field<'_>; 5] = std::array::from_fn(|_| fields.read().expect("a value"));
        if matches!(row[0], Field::Int(number) if number <= level) {
            row.into_iter().for_each(|field| result.push(field));
            result.rows += 1;
        }
    }
    result
}

/// Converts a dump to the format of a program whose newest migration is `level`.
fn dump_of_level(dump: &[u8], level: i64) -> (Vec<u8>, Vec<TableSummary>) {
    let mut reader = DumpReader::open(dump).expect("a dump");
    let mut head = reader.head().clone();
    let core = head.levels.iter_mut().find(|(schema, _)| *schema == Schema::Core).expect("packages");
    core.1 = level;
    let mut writer = DumpWriter::create(Vec::new(), &head).expect("a Vec takes every write");
    let (mut summaries, mut is_included, mut name) = (Vec::new(), false, "");
    while let Some(item) = reader.next_item().expect("a dump") {
        match item {
            Item::Table(table) => {
                is_included = table.schema != Schema::Core
                    || tables_at(Schema::Core, level).any(|other| other == table);
                name = table.name;
                if is_included {
                    writer.begin_table(table).expect("a Vec takes every write");
                }
            }
            Item::Rows(block) if is_included && name == "migration" => {
                writer.rows(&rows_up_to(block, level)).expect("a Vec takes every write");
            }
            Item::Rows(block) if is_included => writer.rows(block).expect("a Vec takes every write"),
            Item::EndOfTable(_) if is_included => {
                summaries.push(writer.end_table().expect("a Vec takes every write"));
            }
            Item::Rows(_) | Item::EndOfTable(_) => {}
        }
    }
    (writer.finish().expect("a Vec takes every write"), summaries)
}

/// Rewrites the backup of a server as one whose newest migration is `level`.
fn rewrite(server: &Server, level: i64) {
    let folder = folder(server);
    let mut manifest: Manifest =
        serde_json::from_value(manifests(server)[0]["manifest"].clone()).expect("a manifest");
    let dump = std::fs::read(folder.join(format!("db/{}.dump", manifest.dump.sha256))).expect("readable");
    let (dump, summaries) = dump_of_level(&dump, level);
    manifest.dump = Part { sha256: Sha256(sha2::Sha256::digest(&dump).into()), size: dump.len() as u64 };
    manifest.tables = summaries
        .iter()
        .map(|TableSummary { table, digest, .. }| TableEntry {
            table: format!("{}.{}", table.schema.as_str(), table.name),
            rows: digest.rows,
            digest: digest.to_string(),
        })
        .collect();
    manifest.levels.iter_mut().filter(|(name, _)| name == "core").for_each(|(_, number)| *number = level);
    std::fs::write(folder.join(format!("db/{}.dump", manifest.dump.sha256)), dump).expect("written");
    let document = serde_json::json!({ "manifest": manifest, "sha256": manifest.sha256().to_string() });
    std::fs::write(folder.join("manifests").join(manifest.name()), document.to_string()).expect("written");
}

#[test]
fn an_older_schema_is_restored_and_migrated_on_sqlite() {
    an_older_schema_is_restored_and_migrated("sqlite");
}

#[test]
fn an_older_schema_is_restored_and_migrated_on_postgresql() {
    an_older_schema_is_restored_and_migrated("postgres");
}

/// Restores a backup of each older schema on a server with a database of `provider`.
fn an_older_schema_is_restored_and_migrated(provider: &str) {
    let server = server("sqlite");
    let expected = answers(&server);
    back_up(&server);
    let count = manifests(&server)[0]["manifest"]["object_count"].clone();
    let newest = newest_migration(Schema::Core);
    let numbers = MIGRATIONS.iter().map(|migration| migration.number);
    for level in numbers.filter(|level| (FIRST_DUMP_SCHEMA..newest).contains(level)) {
        rewrite(&server, level);
        let from = format!("--from {}", folder(&server).display());
        assert_eq!(server.json(&format!("backup verify --full {from}"))["undamaged"], true);
        assert_eq!(server.json(&format!("backup test {from}"))["files"], count);
        let mut other = blank(provider);
        let restore = other.json(&format!("backup restore {from}"));
        assert_eq!(restore["copied"], count, "{level}: {restore}");
        other.launch();
        assert_eq!(answers(&other), expected, "{level}");
        assert_eq!(other.rspm("scrub --database").code, 0, "{level}");
        // A backup requires the newest schema.
        back_up(&other);
        let levels = manifests(&other)[0]["manifest"]["levels"].clone();
        assert_eq!(levels[0][1], newest_migration(Schema::Core), "{levels}");
        std::fs::remove_dir_all(folder(&server)).expect("removed");
        server.rspm_stdout(&format!("backup create --init --to {}", folder(&server).display()));
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let server = server("sqlite");
    back_up(&server);
    rewrite(&server, newest_migration(Schema::Core) + 1);
    let from = format!("--from {}", folder(&server).display());
    for command in ["verify", "test"] {
        let output = server.rspm(&format!("backup {command} {from}"));
        let text = output.out + &output.err;
        assert!(output.code == 1 && text.contains("supports migrations up to"), "{command}: {text}");
    }
    for provider in ["sqlite", "postgres"] {
        let other = blank(provider);
        let output = other.rspm(&format!("backup restore {from}"));
        assert_eq!(output.code, 1, "{}", output.out);
        assert!(
            output.err.contains("install version ") && output.err.contains(" or a newer one"),
            "{}",
            output.err
        );
        assert!(!other.dir().join("data/db/rstudio-pm.db").exists());
    }
}
