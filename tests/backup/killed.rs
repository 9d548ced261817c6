//! A migration that is killed at any point: the source is unchanged, and the target is blank or complete.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rstudio_pm::config::Provider;
use rstudio_pm::db::schema::Schema;

use super::installation::{Installation, other};
use crate::support::kills::points;

fn check_killed_migration(first: Provider) {
    let points = points(8);
    let installation = Installation::with_data(first, 2_000);
    let expected = installation.dry_run(first).tables;
    let start = Instant::now();
    installation.json(&[]);
    let mut duration = start.elapsed();
    installation.clear(other(first));
    let (mut point, mut completed_runs) = (0, 0);
    while point < points {
        let mut command = installation.command(&[]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(duration * point / points + Duration::from_millis(2));
        child.kill().expect("it is our child");
        child.wait().expect("it ended");
        assert_eq!(installation.dry_run(first).tables, expected, "the source after {point}/{points}");
        match installation.existing_objects(other(first)) {
            // Usage data is committed first; the next run keeps it.
            [None, _] => point += 1,
            // The commit preceded the kill: try again with an earlier kill.
            _ => {
                assert_eq!(installation.dry_run(other(first)).tables, expected, "a complete copy at {point}");
                installation.clear(other(first));
                duration = duration * 3 / 4;
                completed_runs += 1;
                assert!(completed_runs < 50 + points, "it is never killed at {point}/{points}");
            }
        }
    }
    installation.json(&[]);
    assert_eq!(installation.dry_run(other(first)).tables, expected);
}

#[test]
fn a_migration_from_sqlite_to_postgresql() {
    check_killed_migration(Provider::Sqlite);
}

#[test]
fn a_migration_from_postgresql_to_sqlite() {
    check_killed_migration(Provider::Postgres);
}

/// The package and the usage database have separate commits.
#[test]
fn after_the_first_commit_the_next_run_keeps_equal_usage_data() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::with_usage_url(first);
        installation.fill(20);
        installation.json(&[]);
        let expected = installation.dry_run(first).tables;
        // The state after the first commit.
        installation.clear_packages(other(first));
        let [core, usage] = installation.existing_objects(other(first));
        assert!(core.is_none() && usage.is_some());
        let result = installation.json(&[]);
        assert_eq!(result["usage_was_there"], true);
        assert_eq!(installation.dry_run(other(first)).tables, expected);
    }
}

#[test]
fn usage_data_that_differs_is_not_blank() {
    let installation = Installation::with_data(Provider::Postgres, 20);
    let other = Installation::with_data(Provider::Sqlite, 20);
    let (from, to) = (other.config(Provider::Sqlite), installation.config(Provider::Sqlite));
    other.write(Schema::Usage, |c| super::sample::add_download_count(c));
    std::fs::create_dir_all(&to.sqlite.dir).expect("created");
    let name = Schema::Usage.file();
    std::fs::copy(from.sqlite.dir.join(name), to.sqlite.dir.join(name)).expect("copied");
    let error = installation.refused(&[]);
    assert!(error.contains("501 counts of downloads"), "{error}");
}
