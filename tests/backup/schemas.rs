//! Backups with an older schema, which is migrated, and with a newer one, which is refused.

use std::process::Command;

use rstudio_pm::db::migrate::newest_migration;
use rstudio_pm::db::schema::Schema;
use tempfile::TempDir;

use super::machines::{back_up, blank, database, folder, manifests, server};
use super::servers::answers;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Program, Server};

/// Installs `rspm` and `rstudio-pm` of the next version, which has one more migration.
fn next_version() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::copy(env!("CARGO_BIN_EXE_rspm"), dir.path().join("rspm")).expect("copied");
    std::fs::copy(Program::Next.path(), dir.path().join("rstudio-pm")).expect("copied");
    dir
}

/// Runs an installed `rspm` with the configuration of a server.
fn rspm(programs: &TempDir, server: &Server, line: &str) -> RspmOutput {
    let mut command = Command::new(programs.path().join("rspm"));
    command.arg("--config").arg(server.config_file()).args(line.split(' '));
    command.output().expect("rspm runs").into()
}

/// Restores a backup with the program of the next version on a server with a database of `provider`.
fn an_older_schema_is_restored_and_migrated(provider: &str) {
    let (server, programs) = (server("sqlite"), next_version());
    let expected = answers(&server);
    back_up(&server);
    let from = format!("--from {}", folder(&server).display());
    let mut other = Builder::default().program(Program::Next).gcfg(&database(provider)).prepare();
    for command in ["verify --full", "test", "restore"] {
        let output = rspm(&programs, &other, &format!("backup {command} {from}"));
        assert_eq!(output.code, 0, "{command}: {output:?}");
    }
    other.launch();
    assert_eq!(answers(&other), expected);
    assert_eq!(rspm(&programs, &other, "scrub --database").code, 0);
    back_up(&other);
    let levels = manifests(&other)[0]["manifest"]["levels"].clone();
    assert_eq!(levels[0][1], newest_migration(Schema::Core) + 1, "{levels}");
}

#[test]
fn an_older_schema_is_restored_and_migrated_on_sqlite() {
    an_older_schema_is_restored_and_migrated("sqlite");
}

#[test]
fn an_older_schema_is_restored_and_migrated_on_postgresql() {
    an_older_schema_is_restored_and_migrated("postgres");
}

#[test]
fn a_newer_schema_is_refused() {
    let server = Builder::default().program(Program::Next).gcfg(&database("sqlite")).start();
    back_up(&server);
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
