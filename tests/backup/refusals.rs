//! Migrations that are refused, and the result of their dry run.

use rstudio_pm::backup::migrate::migrate;
use rstudio_pm::config::Provider;
use rstudio_pm::db::schema::Schema;
use rstudio_pm::db::{Db, DbError};

use super::installation::{Installation, other};
use crate::support::server::Program;

#[test]
fn a_database_that_is_not_blank_is_named_and_kept() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::with_data(first, 30);
        installation.json(&[]);
        let (second, expected) = (other(first), installation.dry_run(other(first)).tables);
        let error = installation.refused(&[]);
        let newest = rstudio_pm::db::migrate::MIGRATIONS.last().expect("migrations").number;
        let contents =
            format!("schema {newest} with 3 sources, 1 repositories, 40 transactions, 30 releases");
        assert!(error.contains("is not blank") && error.contains(&contents), "{error}");
        let output = installation.run(&["--dry-run"]);
        assert_eq!(output.code, Some(1), "{}", output.err);
        let line = format!("The database to fill is not blank: {contents}\n");
        assert!(
            output.out.contains(&line) && output.out.contains("500 counts of downloads"),
            "{}",
            output.out
        );
        assert_eq!(installation.dry_run(second).tables, expected);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::with_data(first, 30);
        let result = installation.json(&["--dry-run"]);
        assert_eq!((&result["possible"], &result["problem_count"]), (&true.into(), &0.into()), "{result}");
        assert_eq!(installation.existing_objects(other(first)), [None, None]);
        let text = installation.run(&["--dry-run"]).out;
        assert!(text.contains("A migration is possible and takes about 1 s. Nothing was written."), "{text}");
        assert!(text.lines().any(|line| line.starts_with("release") && line.contains(" 30 ")), "{text}");
    }
}

#[test]
fn values_that_postgresql_cannot_store_are_named_with_table_and_row() {
    let installation = Installation::with_data(Provider::Sqlite, 10);
    installation.write(Schema::Core, |c| {
        c.execute("UPDATE repo SET description = 'a' || char(0) || 'b'", &[])?;
        c.execute("UPDATE life SET note = CAST(x'c328' AS TEXT) WHERE release_id = 3", &[])?;
        c.execute("UPDATE file SET size = 'many' WHERE id = 2", &[])?;
        c.execute("UPDATE record SET stanza = 'text' WHERE release_id = 4", &[]).map(drop)
    });
    let output = installation.run(&["--dry-run"]);
    assert_eq!(output.code, Some(1), "{}", output.err);
    for line in [
        "Cannot be copied: table repo, row id = 1, column description: a NUL character (byte 1), which PostgreSQL cannot \
         store",
        "Cannot be copied: table file, row id = 2, column size: text where an integer is expected",
        "Cannot be copied: table record, row release_id = 4, variant = 0, column stanza: text where bytes is expected",
        "column note: text that is not UTF-8 (byte 0)",
        "A migration is not possible. Nothing was written.",
    ] {
        assert!(output.out.contains(line), "{line}\n{}", output.out);
    }
    let error = installation.refused(&[]);
    assert!(error.contains("table ") && error.contains(", row "), "{error}");
    assert_eq!(installation.existing_objects(Provider::Postgres), [None, None]);
}

#[test]
fn a_schema_that_is_not_the_newest_is_refused() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::with_data(first, 10);
        let programs = tempfile::tempdir().expect("a directory");
        let next_version = programs.path().join("migrate");
        std::os::unix::fs::symlink(Program::Next.path(), &next_version).expect("a link");
        let error = installation.refused_by(&next_version.display().to_string(), &[]);
        assert!(error.contains("start the server once"), "{error}");
        let newer = Installation::with_data(first, 10);
        newer.write(Schema::Core, |c| {
            const NEWER: &str = "INSERT INTO migration (number, name, at, expand_only, version) \
                VALUES (900, 'future', 0, 1, '9.8.7')";
            c.execute(NEWER, &[]).map(drop)
        });
        let error = newer.refused(&[]);
        assert!(error.contains("schema 900"), "{error}");
        assert_eq!(newer.existing_objects(other(first)), [None, None]);
    }
}

#[test]
fn a_missing_database_is_not_created() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::new(first);
        let error = installation.refused(&[]);
        assert!(error.starts_with("there is no database to migrate: "), "{error}");
        assert_eq!(installation.existing_objects(first), [None, None]);
        assert!(!installation.config(first).sqlite.dir.exists());
    }
}

#[test]
fn without_a_second_database_the_property_is_named() {
    let installation = Installation::with_data(Provider::Sqlite, 10);
    let gcfg = std::fs::read_to_string(installation.config_file()).expect("readable");
    let (text, _) = gcfg.split_once("[Postgres]").expect("the section");
    std::fs::write(installation.config_file(), text).expect("written");
    let error = installation.refused(&[]);
    assert!(error.starts_with("Postgres.URL: is not set"), "{error}");
}

#[test]
fn a_log_without_its_database_is_not_applied_to_the_new_one() {
    let installation = Installation::with_data(Provider::Postgres, 10);
    let dir = &installation.config(Provider::Sqlite).sqlite.dir;
    std::fs::create_dir_all(dir).expect("created");
    std::fs::write(dir.join("rstudio-pm.db-wal"), b"frames").expect("written");
    let error = installation.refused(&[]);
    assert!(error.contains("rstudio-pm.db-wal without its database"), "{error}");
}

#[test]
fn a_changed_copy_is_never_committed() {
    // A trigger simulates a database error: it changes a row during the copy.
    let installation = Installation::with_data(Provider::Sqlite, 10);
    let server = crate::support::postgres::server();
    let config = installation.config(Provider::Postgres);
    let url = &config.postgres.url.as_ref().expect("a URL").0;
    let (_, schema) = url.rsplit_once('=').expect("the schema");
    server.sql(&format!(
        "CREATE FUNCTION {schema}.spoil() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF current_schema() = '{schema}' AND EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = '{schema}' \
             AND tablename = 'repo') THEN \
             UPDATE {schema}.repo SET description = 'spoilt'; \
           END IF; END $$; \
         CREATE EVENT TRIGGER {schema}_spoil ON ddl_command_end WHEN TAG IN ('CREATE INDEX') \
           EXECUTE FUNCTION {schema}.spoil()"
    ));
    let result =
        migrate(&installation.config(Provider::Sqlite), Provider::Sqlite, Provider::Postgres, &|_| {});
    server.sql(&format!("DROP EVENT TRIGGER {schema}_spoil"));
    let error = result.expect_err("the copy differs").to_string();
    assert!(error.starts_with("the copy of table repo differs: 1 rows"), "{error}");
    assert_eq!(installation.existing_objects(Provider::Postgres), [None, None]);
}

#[test]
fn a_migration_and_a_server_exclude_each_other() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::with_data(first, 10);
        let config = installation.config(first);
        let server = Db::open(&config).expect("it opens");
        // A connection of a server is opened for its first transaction.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(server.read(|c| rstudio_pm::db::clock::get(c))).expect("it answers");
        let error = installation.refused(&[]);
        let expected = match first {
            Provider::Sqlite => "is locked by another process",
            Provider::Postgres => "a server uses the database",
        };
        assert!(error.contains(expected), "{error}");
        server.close();
        let source = rstudio_pm::db::transfer::source::TransferSource::open(&config, first, other(first));
        let source = source.unwrap_or_else(|e| panic!("{e}"));
        let error = Db::open(&config).err().expect("it is being copied");
        assert!(matches!(error, DbError::Locked { .. } | DbError::Copying { .. }), "{error}");
        drop(source);
        installation.json(&[]);
    }
}

#[test]
fn a_server_whose_connection_is_interrupted_is_noticed_by_its_heartbeat() {
    let installation = Installation::with_data(Provider::Postgres, 10);
    let beat = |age: i64| {
        let now = jiff::Timestamp::now().as_microsecond();
        installation.write(Schema::Core, move |c| {
            const BEAT: &str = "INSERT INTO node (id, name, address, version, schema, started_at, beat_at, clock_ahead, \
                mode, mode_at, message, config, classes) VALUES ('00', 'pm7', '', '', 1, 0, CAST($1 AS BIGINT), 0, \
                'online', 0, '', '', '') ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at";
            c.execute(BEAT, &[(now - age * 1_000_000).into()]).map(drop)
        });
    };
    beat(-5);
    let error = installation.refused(&[]);
    assert!(error.contains("a server uses the database: pm7"), "{error}");
    assert_eq!(installation.existing_objects(Provider::Sqlite), [None, None]);
    beat(600);
    installation.json(&[]);
}

#[test]
fn wrong_usage_is_refused_with_code_2() {
    let installation = Installation::new(Provider::Sqlite);
    for arguments in [&["--to", "mysql"][..], &["--output-format=xml"], &["extra"]] {
        assert_eq!(installation.run(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(installation.run(&["--help"]).out.contains("--dry-run"));
}
