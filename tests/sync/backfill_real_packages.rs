//! Back-fill of real packages: the version of each day agrees with the date in each archive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rstudio_pm::model::time::{Day, SECOND, Timestamp};
use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::description::Description;
use rstudio_pm::r::rds;
use rstudio_pm::r::rds::packages::read_package_table;

use crate::support::cran_history::{backfill, state};
use crate::support::data;
use crate::support::db::Engine;
use crate::support::sync_backend::SyncBackend;

/// Publication time of each version of a package, by `Date/Publication` of its DESCRIPTION.
type Publications = BTreeMap<String, Vec<(Timestamp, String)>>;

fn archives(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            archives(&entry, paths);
        } else if entry.to_string_lossy().ends_with(".tar.gz") {
            paths.push(entry);
        }
    }
}

fn publications(mirror: &Path) -> (Publications, usize) {
    let mut paths = Vec::new();
    archives(&mirror.join("src/contrib"), &mut paths);
    let (mut publications, mut undated_count) = (Publications::new(), 0);
    for path in paths {
        let file = std::fs::File::open(&path).expect("readable");
        let (_, raw) = archive::read_description(file, ArchiveLimits::default()).expect("a package");
        let description = Description::from_bytes(&raw).expect("a DESCRIPTION");
        let date_text = description.get("Date/Publication").unwrap_or_default();
        // `2025-02-15 00:50:02 UTC`, and without the zone in older ones.
        let text = date_text.trim_end_matches(" UTC").replace(' ', "T");
        let Ok(at) = text.parse::<jiff::civil::DateTime>() else {
            undated_count += 1;
            continue;
        };
        let at = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second();
        let name = description.package().expect("a name").to_owned();
        let version = description.version().expect("a version").to_owned();
        publications.entry(name).or_default().push((Timestamp(at * SECOND), version));
    }
    publications.values_mut().for_each(|versions| versions.sort());
    (publications, undated_count)
}

fn day_before(day: Day) -> Day {
    Timestamp(day.start().0 - 1).day()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_filled_days_list_the_versions_that_real_archives_declare() {
    let mirror = data::path("cran-mirror");
    let (publications, undated_count) = publications(&mirror);
    let server = SyncBackend::new(Engine::Sqlite, &format!("file://{}", mirror.display())).await;
    // After the newest release.
    server.advance_clock(500 * 86_400);
    server.sync().await.expect("a valid mirror");
    let message = backfill(&server, "2010-01-01".parse().expect("a day")).await.expect("a valid mirror");
    assert!(!message.contains("left out"), "{message}");
    let (mut match_count, mut mismatches) = (0, Vec::new());
    for (package, versions) in &publications {
        let mut days: Vec<Day> = versions.iter().map(|(at, _)| at.day()).collect();
        // The day itself, the one before it, and the one after.
        days.extend(versions.iter().flat_map(|(at, _)| [day_before(at.day()), at.day().end().day()]));
        days.sort_unstable();
        days.dedup();
        for day in days {
            let expected =
                versions.iter().rev().find(|(at, _)| *at < day.end()).map(|(_, version)| version.as_str());
            let state = state(&server, day).await.unwrap_or_default();
            let listed = state.listed();
            let actual =
                listed.iter().find_map(|line| line.strip_prefix(package.as_str())?.strip_prefix(' '));
            if actual == expected {
                match_count += 1;
            } else {
                mismatches
                    .push(format!("{package} on {day}: {actual:?}, but its archives declare {expected:?}"));
            }
        }
    }
    println!(
        "{match_count} right, {} wrong, {undated_count} archives without a date\n{}",
        mismatches.len(),
        mismatches.join("\n")
    );
    assert!(match_count >= 200, "{match_count} right: {mismatches:#?}");
    check_2018(&server).await;
    // `Date/Publication` is written when a package is accepted, the file time when it is put in place: midnight may be
    // between them, and before 2024 the date was local time labeled UTC.
    assert!(mismatches.len() * 50 <= match_count, "{mismatches:#?}");
}

/// Compares with CRAN's own list of 2018-01-15, as far as the mirror has those files.
async fn check_2018(server: &SyncBackend) {
    let file = std::fs::read(data::path("cran-db-2018/packages.rds")).expect("readable");
    let table = read_package_table(&file[..], rds::RdsLimits::META).expect("a table");
    let state = state(server, "2018-01-15".parse().expect("a day")).await.expect("a state");
    let listed = state.listed();
    let lists = |record| {
        let (name, version) = (table.get(record, "Package")?, table.get(record, "Version")?);
        Some(format!("{name} {version}"))
    };
    let packages_of_2018: Vec<String> = (0..table.len()).filter_map(lists).collect();
    assert!(listed.len() >= 3, "{listed:?}");
    for line in &listed {
        assert!(packages_of_2018.contains(line), "{line} was not on CRAN on that day");
    }
    println!(
        "{} packages listed on 2018-01-15, all of them in CRAN's own database of that day",
        listed.len()
    );
}
