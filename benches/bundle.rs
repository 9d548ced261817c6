//! A bundle of the size of CRAN: the first sync, a sync without changes, memory, READMEs; and packages served from a
//! bundle relative to the same bytes from storage and from nginx.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rstudio_pm::bundle::record::{ReleaseRecord, SnapshotRecord};
use rstudio_pm::bundle::segment::{LinesWriter, ReadmeText};
use rstudio_pm::bundle::{
    Fields, Head, Product, ProductOrigin, ProductState, Readme, Record, RecordObject, SegmentRef, head,
    self_digest,
};
use rstudio_pm::model::digest::Md5;
use rstudio_pm::model::time::{Day, Timestamp};
use rstudio_pm::r::packages;
use rstudio_pm::r::rds::RdsLimits;
use rstudio_pm::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};

use super::mirror::{Mirror, PACKAGES, RELEASES};
use super::nginx::{Nginx, fetch, wrk};
use super::report::{Report, median};
use super::server::{Server, package};

/// Number of releases per segment, as in the downloader.
const SEGMENT_RELEASES: usize = 10_000;
const ROUNDS: usize = 5;
const SECONDS: u32 = 2;
/// Number of READMEs requested in sequence.
const READMES: usize = 21;

pub(crate) fn run(report: &mut Report) {
    measure_syncs(report);
    measure_requests(report);
}

/// Measures syncs. They need no package files, so the bundle has records only.
fn measure_syncs(report: &mut Report) {
    let (mirror, folder) = (Mirror::write(), tempfile::tempdir().expect("a folder"));
    let start = Instant::now();
    let names = write(folder.path(), Path::new(mirror.url().trim_start_matches("file://")));
    eprintln!("  a bundle was written in {:.0} s", start.elapsed().as_secs_f64());
    drop(mirror);
    let url = super::postgres::server().schema();
    let postgres = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = {url}");
    for (engine, gcfg_lines) in [("SQLite", ""), ("PostgreSQL", postgres.as_str())] {
        let server =
            Server::start(&format!("[CRAN]\nURL = file://{}\n{gcfg_lines}", folder.path().display()));
        let timed_rspm = |args: &[&str]| {
            let start = Instant::now();
            server.rspm(args);
            start.elapsed().as_secs_f64()
        };
        let (first_time, peak) = (timed_rspm(&["sync", "--quiet"]), server.memory("VmHWM"));
        let second_time = timed_rspm(&["sync", "--quiet"]);
        let mut row =
            |name: String, value: String, target| report.row(name, value.clone(), "—", value, target);
        row(
            format!("first sync of a bundle of {RELEASES} releases ({PACKAGES} current), {engine}"),
            format!("{first_time:.2} s"),
            "< 10 s",
        );
        row(format!("memory during this sync, {engine}"), format!("{peak:.0} MB"), "≤ 200 MB");
        row(
            format!("sync of the bundle with nothing new, {engine}"),
            format!("{:.0} ms", second_time * 1e3),
            "< 1000 ms",
        );
        if engine == "SQLite" {
            server.rspm(&["create", "repo", "--name=bench"]);
            server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
            let readme_names = names.iter().step_by(names.len() / READMES).take(READMES);
            let mut times: Vec<f64> = readme_names.map(|name| readme_time(&server, name)).collect();
            let first_readme_time = times.remove(0);
            row(
                format!("a README from the bundle (the first one {first_readme_time:.0} ms)"),
                format!("{:.0} ms", median(times)),
                "",
            );
            row("memory after these READMEs".to_owned(), format!("{:.0} MB", server.memory("VmRSS")), "");
        }
        server.stop();
    }
}

/// The response time, in milliseconds, of the details of a package with a README.
fn readme_time(server: &Server, name: &str) -> f64 {
    let url = server.url(&format!("/__api__/repos/bench/packages/{name}"));
    let start = Instant::now();
    let output = Command::new("curl").args(["--silent", "--fail", &url]).output().expect("curl is installed");
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("# {name}")), "{name}: {text:.300}");
    milliseconds
}

/// Generates words that compress poorly.
fn words(seed: &str, count: usize) -> String {
    let bytes: Vec<u8> = (0..count.div_ceil(8))
        .flat_map(|n| self_digest::digest(format!("{seed} {n}").as_bytes()).0)
        .collect();
    bytes.chunks(4).take(count).map(|four| hex::encode(&four[..2 + usize::from(four[3] % 2)]) + " ").collect()
}

/// Writes a bundle of the mirror, as the downloader would; returns the names of the listed packages.
fn write(root: &Path, mirror: &Path) -> Vec<String> {
    let contrib = mirror.join("src/contrib");
    let read = |file: &str| fs::read(contrib.join(file)).expect("just written");
    let text = packages::decode_text(&read("PACKAGES.gz"), 1 << 30).expect("an index").into_owned();
    let records = packages::records(&text).map(|record| record.expect("a record"));
    let index: HashMap<&str, _> = records.map(|record| (record.package, record)).collect();
    let current = read_current_meta(&read("Meta/current.rds")[..], RdsLimits::META).expect("a table");
    let archive = read_archive_meta(&read("Meta/archive.rds")[..], RdsLimits::META).expect("a table");
    let names = current.iter().map(|row| row.package.clone()).collect();
    let mut rows: Vec<(MetaRow<String>, bool)> = archive.into_iter().map(|row| (row, false)).collect();
    rows.extend(current.into_iter().map(|row| (row, true)));
    rows.sort_by_key(|(row, _)| row.mtime);
    let last_day: Day = rows.last().expect("releases").0.mtime.day();
    let (mut state, mut segments) = (ProductState::default(), Vec::<SegmentRef>::new());
    let segment_count = rows.len().div_ceil(SEGMENT_RELEASES);
    for (number, rows) in rows.chunks(SEGMENT_RELEASES).enumerate() {
        let serial = number as u64 + 1;
        let prev = segments.last().map(|segment| segment.file.sha256);
        let mut lines = LinesWriter::segment(&Product::Cran, serial, prev);
        let mut readmes = LinesWriter::readmes();
        let mut size = 0;
        for (row, is_listed) in rows {
            let stanza =
                is_listed.then(|| String::from_utf8_lossy(index[row.package.as_str()].stanza).into_owned());
            let (release, readme) = release(row, stanza);
            size += row.size;
            let record = Record::Release(Box::new(release));
            state.apply(&record).expect("it fits");
            lines.push(&record);
            readmes.push(&readme);
        }
        if number + 1 == segment_count {
            let (packages, state) = (state.listed_count(), state.digest());
            lines.push(&Record::Snapshot(SnapshotRecord { day: last_day, packages, state, listing: None }));
        }
        let records = lines.record_count();
        let put = |lines: LinesWriter, subfolder: &str| {
            let (bytes, file) = lines.pack(subfolder, serial).expect("memory");
            let path = root.join(Product::Cran.path(&file.path));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("written");
            file
        };
        segments.push(SegmentRef {
            serial,
            from: rows[0].0.mtime.day(),
            to: last_day,
            file: put(lines, "log"),
            records,
            objects: rows.len() as u64,
            objects_size: size,
            prev,
            readmes: Some(put(readmes, "doc")),
        });
    }
    assert_eq!(state.listed_count(), PACKAGES);
    let head = Head {
        format: head::FORMAT.to_owned(),
        product: Product::Cran.to_string(),
        schema: Product::Cran.schema(),
        min_reader: 1,
        serial: segments.len() as u64,
        snapshot: last_day,
        created: Timestamp(last_day.end().0),
        packages: PACKAGES,
        subset: None,
        files: None,
        base: None,
        upstream: ProductOrigin { address: "https://cran.example".to_owned(), serial: None },
        earlier: Vec::new(),
        chain: Head::chain_of(&segments),
        segments,
    };
    fs::write(root.join(Product::Cran.head_path()), head.bytes()).expect("written");
    let (marker, version) = Product::Cran.marker().expect("it has one");
    fs::write(root.join(marker), version).expect("written");
    names
}

/// A release with about two kilobytes of DESCRIPTION, and its README.
fn release(row: &MetaRow<String>, stanza: Option<String>) -> (ReleaseRecord, ReadmeText) {
    let version = row.file.trim_start_matches(&format!("{}_", row.package)).trim_end_matches(".tar.gz");
    let sha256 = self_digest::digest(row.file.as_bytes());
    let md5 = stanza.as_deref().and_then(|text| text.split_once("MD5sum: "));
    let md5 = md5.and_then(|(_, rest)| rest.lines().next()?.trim().parse::<Md5>().ok());
    let text = format!("# {}\n\n{}\n", row.package, words(&row.file, 300));
    let readme = ReadmeText { sha256: self_digest::digest(text.as_bytes()), text };
    let field = |tag: &str, value: String| (tag.to_owned(), value);
    let desc = Fields(vec![
        field("Package", row.package.clone()),
        field("Version", version.to_owned()),
        field("Title", words(&row.file, 8)),
        field("Authors@R", words(&row.package, 40)),
        field("Description", words(&row.file, 120)),
        field("License", "MIT + file LICENSE".to_owned()),
        field("Encoding", "UTF-8".to_owned()),
        field("Imports", "methods, stats, utils, rlang (>= 1.0.0)".to_owned()),
        field("Suggests", "testthat (>= 3.0.0), knitr, rmarkdown".to_owned()),
        field("NeedsCompilation", "no".to_owned()),
        field("Packaged", row.mtime.to_string()),
        field("Author", words(&row.package, 40)),
        field("Maintainer", "A <a@example.org>".to_owned()),
        field("Repository", "CRAN".to_owned()),
        field("Date/Publication", row.mtime.to_string()),
    ]);
    let release = ReleaseRecord {
        folder: None,
        name: row.package.clone(),
        version: version.to_owned(),
        day: row.mtime.day(),
        published: Some(row.mtime),
        archived: false,
        obj: RecordObject {
            sha256,
            size: row.size,
            md5: md5.unwrap_or_else(|| Md5(sha256.0[..16].try_into().expect("sixteen"))),
            ext: "tar.gz".to_owned(),
        },
        index: stanza,
        desc: Some(desc),
        compiled: Some(false),
        readme: Some(Readme { name: "README.md".to_owned(), sha256: readme.sha256 }),
    };
    (release, readme)
}

/// Downloads a bundle of two packages with the downloader.
fn download_bundle(folder: &Path) -> (PathBuf, Vec<PathBuf>) {
    let (mirror, bundle) = (folder.join("mirror"), folder.join("bundle"));
    let contrib = mirror.join("src/contrib");
    fs::create_dir_all(&contrib).expect("a folder");
    let sizes = [("kb100", 100 << 10), ("mb20", 20 << 20)];
    let files: Vec<PathBuf> = sizes.map(|(name, size)| package(&contrib, name, size)).into();
    let index = sizes.map(|(name, _)| format!("Package: {name}\nVersion: 1.0.0\nLicense: MIT\n"));
    fs::write(contrib.join("PACKAGES"), index.join("\n")).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_rspm-offline-downloader"))
        .args(["get", "cran", "--requirements-url", "none", "--base-url"])
        .arg(format!("file://{}", mirror.display()))
        .arg("--destination")
        .arg(&bundle)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (bundle, files)
}

/// Measures requests of packages from a bundle, from storage and from nginx.
fn measure_requests(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let (bundle, files) = download_bundle(folder.path());
    let server = Server::start(&format!("[CRAN]\nURL = file://{}", bundle.display()));
    server.rspm(&["sync", "--quiet"]);
    server.rspm(&["create", "source", "--name=files"]);
    for file in &files {
        server.rspm(&["add", "--source=files", &format!("--path={}", file.display())]);
    }
    for (repo, source) in [("bundled", "cran"), ("stored", "files")] {
        server.rspm(&["create", "repo", &format!("--name={repo}")]);
        server.rspm(&["subscribe", &format!("--repo={repo}"), &format!("--source={source}")]);
    }
    let nginx = Nginx::start();
    let copy = folder.path().join("copy");
    for (file, size_label, connections) in
        [("kb100", "100 kB", 1), ("kb100", "100 kB", 64), ("mb20", "20 MB", 1), ("mb20", "20 MB", 8)]
    {
        let path = |repo: &str| server.url(&format!("/{repo}/latest/src/contrib/{file}_1.0.0.tar.gz"));
        let (bundle_url, stored_url) = (path("bundled"), path("stored"));
        fetch(&bundle_url, &copy);
        let name = format!("{file}-{connections}");
        nginx.serve(&name, &fs::read(&copy).expect("just fetched"));
        let nginx_url = nginx.url(&name);
        fetch(&nginx_url, &copy);
        fetch(&stored_url, &copy);
        let urls = [&bundle_url, &stored_url, &nginx_url];
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let mut rates = [0.0; 3];
            // The order rotates.
            for position in (0..urls.len()).map(|n| (n + round) % urls.len()) {
                rates[position] = wrk(urls[position], connections, SECONDS, &[]);
            }
            rounds.push(rates);
        }
        let median_of = |value: &dyn Fn(&[f64; 3]) -> f64| median(rounds.iter().map(value).collect());
        for (position, reference) in [(1, "stored"), (2, "nginx")] {
            report.row(
                format!("{size_label} tarball from a bundle, {connections} connections"),
                format!("{:.0}/s", median_of(&|rates| rates[0])),
                format!("{reference} {:.0}/s", median_of(&|rates| rates[position])),
                format!("{:.2}", median_of(&|rates| rates[0] / rates[position])),
                "≥ 0.9",
            );
        }
    }
}
