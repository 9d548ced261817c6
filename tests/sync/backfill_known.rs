//! Real packages: what was the version on a day, by the date that stands in each archive itself?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rstudio_pm::model::time::{Day, SECOND, Timestamp};
use rstudio_pm::r::archive::{self, Limits};
use rstudio_pm::r::description::Description;
use rstudio_pm::r::rds;
use rstudio_pm::r::rds::packages::read_packages_matrix;

use crate::support::cran_history::{backfill, state};
use crate::support::data;
use crate::support::db::Engine;
use crate::support::sync_backend::Server;

/// When each version of a package was published, by `Date/Publication` of its DESCRIPTION.
type Published = BTreeMap<String, Vec<(Timestamp, String)>>;

fn archives(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            archives(&entry, into);
        } else if entry.to_string_lossy().ends_with(".tar.gz") {
            into.push(entry);
        }
    }
}

fn published(mirror: &Path) -> (Published, usize) {
    let mut paths = Vec::new();
    archives(&mirror.join("src/contrib"), &mut paths);
    let (mut published, mut undated) = (Published::new(), 0);
    for path in paths {
        let file = std::fs::File::open(&path).expect("readable");
        let (_, raw) = archive::read_description(file, Limits::default()).expect("a package");
        let description = Description::from_bytes(&raw).expect("a DESCRIPTION");
        let stamp = description.get("Date/Publication").unwrap_or_default();
        // `2025-02-15 00:50:02 UTC`, and without the zone in older ones.
        let text = stamp.trim_end_matches(" UTC").replace(' ', "T");
        let Ok(at) = text.parse::<jiff::civil::DateTime>() else {
            undated += 1;
            continue;
        };
        let at = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second();
        let name = description.package().expect("a name").to_owned();
        let version = description.version().expect("a version").to_owned();
        published.entry(name).or_default().push((Timestamp(at * SECOND), version));
    }
    published.values_mut().for_each(|versions| versions.sort());
    (published, undated)
}

fn before(day: Day) -> Day {
    Timestamp(day.start().0 - 1).day()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_versions_of_real_packages_are_told_for_their_days() {
    let mirror = data::path("cran-mirror");
    let (published, undated) = published(&mirror);
    let server = Server::new(Engine::Sqlite, &format!("file://{}", mirror.display())).await;
    // After the newest of them.
    server.pass(500 * 86_400);
    server.sync().await.expect("a good mirror");
    let told = backfill(&server, "2010-01-01".parse().expect("a day")).await.expect("a good mirror");
    assert!(!told.contains("left out"), "{told}");
    let (mut right, mut wrong) = (0, Vec::new());
    for (package, versions) in &published {
        let mut days: Vec<Day> = versions.iter().map(|(at, _)| at.day()).collect();
        // The day itself, the one before it, and the one after.
        days.extend(versions.iter().flat_map(|(at, _)| [before(at.day()), at.day().end().day()]));
        days.sort_unstable();
        days.dedup();
        for day in days {
            let expected =
                versions.iter().rev().find(|(at, _)| *at < day.end()).map(|(_, version)| version.as_str());
            let state = state(&server, day).await.unwrap_or_default();
            let listed = state.listed();
            let found = listed.iter().find_map(|line| line.strip_prefix(package.as_str())?.strip_prefix(' '));
            if found == expected {
                right += 1;
            } else {
                wrong.push(format!("{package} on {day}: {found:?}, and its archives say {expected:?}"));
            }
        }
    }
    println!("{right} right, {} wrong, {undated} archives without a date\n{}", wrong.len(), wrong.join("\n"));
    assert!(right >= 200, "{right} right: {wrong:#?}");
    of_2018(&server).await;
    // An archive's own stamp is written when it is accepted, its time when it is put in place: they may lie on both
    // sides of midnight, and before 2024 the stamp was local time called UTC.
    assert!(wrong.len() * 50 <= right, "{wrong:#?}");
}

/// CRAN's own list of 2018-01-15, as far as the mirror has those files.
async fn of_2018(server: &Server) {
    let file = std::fs::read(data::path("cran-db-2018/packages.rds")).expect("readable");
    let table = read_packages_matrix(&file[..], rds::Limits::META).expect("a table");
    let state = state(server, "2018-01-15".parse().expect("a day")).await.expect("a state");
    let told = state.listed();
    let lists = |record| {
        let (name, version) = (table.get(record, "Package")?, table.get(record, "Version")?);
        Some(format!("{name} {version}"))
    };
    let then: Vec<String> = (0..table.len()).filter_map(lists).collect();
    assert!(told.len() >= 3, "{told:?}");
    for line in &told {
        assert!(then.contains(line), "{line} was not on CRAN on that day");
    }
    println!("{} of the listed on 2018-01-15, as CRAN's own database of that day has them", told.len());
}
