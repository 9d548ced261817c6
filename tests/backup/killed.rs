//! A migration that is killed at any point: the copied database is unharmed, and the other one is blank or complete.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rstudio_pm::config::Provider;
use rstudio_pm::db::schema::Schema;

use super::installation::{Installation, other};
use crate::support::kills::points;

fn killed_at_every_point(first: Provider) {
    let points = points(8);
    let installation = Installation::filled(first, 2_000);
    let before = installation.dry_run(first).tables;
    let start = Instant::now();
    installation.json(&[]);
    let mut duration = start.elapsed();
    installation.clear(other(first));
    let (mut point, mut completed) = (0, 0);
    while point < points {
        let mut command = installation.command(&[]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(duration * point / points + Duration::from_millis(2));
        child.kill().expect("it is our child");
        child.wait().expect("it ended");
        assert_eq!(installation.dry_run(first).tables, before, "the source after {point}/{points}");
        match installation.existing_objects(other(first)) {
            // Usage data is committed first; the next run keeps it.
            [None, _] => point += 1,
            // The commit preceded the kill: once more, earlier.
            _ => {
                assert_eq!(installation.dry_run(other(first)).tables, before, "a complete copy at {point}");
                installation.clear(other(first));
                duration = duration * 3 / 4;
                completed += 1;
                assert!(completed < 50 + points, "it is never killed at {point}/{points}");
            }
        }
    }
    installation.json(&[]);
    assert_eq!(installation.dry_run(other(first)).tables, before);
}

#[test]
fn from_sqlite_to_postgresql() {
    killed_at_every_point(Provider::Sqlite);
}

#[test]
fn from_postgresql_to_sqlite() {
    killed_at_every_point(Provider::Postgres);
}

/// The two files, or the two databases of PostgreSQL, cannot be committed at the same instant.
#[test]
fn between_its_two_commits_the_next_run_keeps_equal_usage_data() {
    for first in [Provider::Sqlite, Provider::Postgres] {
        let installation = Installation::with_usage_url(first);
        installation.fill(20);
        installation.json(&[]);
        let before = installation.dry_run(first).tables;
        // The state after the first commit.
        installation.clear_packages(other(first));
        let [core, usage] = installation.existing_objects(other(first));
        assert!(core.is_none() && usage.is_some());
        let result = installation.json(&[]);
        assert_eq!(result["usage_was_there"], true);
        assert_eq!(installation.dry_run(other(first)).tables, before);
    }
}

#[test]
fn usage_data_that_differs_is_not_blank() {
    let installation = Installation::filled(Provider::Postgres, 20);
    let other = Installation::filled(Provider::Sqlite, 20);
    let (from, to) = (other.config(Provider::Sqlite), installation.config(Provider::Sqlite));
    other.write(Schema::Usage, |c| super::sample::fill_usage_again(c));
    std::fs::create_dir_all(&to.sqlite.dir).expect("created");
    let name = Schema::Usage.file();
    std::fs::copy(from.sqlite.dir.join(name), to.sqlite.dir.join(name)).expect("copied");
    let error = installation.refused(&[]);
    assert!(error.contains("501 counts of downloads"), "{error}");
}
