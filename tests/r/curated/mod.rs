//! Curated sources of CRAN and snapshots of CRAN.

mod blocked;
mod clients;
mod closures;
mod days;
mod definitions;
mod history;
mod plans;
mod problems;
mod snapshots;
mod states;

use std::path::PathBuf;

use crate::support::cran_history::CranHistory;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;

fn package(name: &str, version: &str) -> Tarball {
    Tarball::new(name, version).field("NeedsCompilation: no")
}

fn app(version: &str, lib: &str) -> Tarball {
    package("app", version)
        .field(&format!("Imports: lib ({lib}), util"))
        .field("LinkingTo: hdr")
        .field("Suggests: extra, absent")
        .field("Enhances: bonus")
}

/// Day 0 is 2025-10-09. app 1.0 on the 10th and lib 1.5 on the 11th are superseded on the 13th.
fn cran() -> CranHistory {
    let mut cran = CranHistory::default();
    for name in ["lib", "util", "other", "deep", "hdr", "bonus"] {
        cran.publish(0, &package(name, "1.0"));
    }
    cran.publish(0, &package("extra", "1.0").field("Imports: deep"));
    cran.publish(1, &app("1.0", ">= 1.0"));
    cran.publish(2, &package("lib", "1.5"));
    cran.publish(2, &package("ring1", "1.0").field("Imports: ring2"));
    cran.publish(2, &package("ring2", "1.0").field("Imports: ring1"));
    cran.publish(2, &package("future", "1.0").field("Depends: R (>= 99), future").field("Imports: stats"));
    cran.publish(4, &package("lib", "2.0"));
    cran.publish(4, &app("2.0", ">= 1.5"));
    cran.publish(4, &package("strict", "1.0").field("Imports: lib (== 1.5), app (>= 2.0)"));
    cran.publish(4, &package("tight", "1.0").field("Imports: lib (<= 1.0)"));
    cran.publish(4, &package("broken", "1.0").field("Imports: nothere"));
    cran.publish(5, &package("other", "2.0"));
    cran
}

/// A server with the curated source `subset`, the only one of the repository `prod`, and the days of [`cran`].
struct Curated {
    web: Upstream,
    server: Server,
}

fn start() -> Curated {
    let web = Upstream::empty();
    cran().serve(&web);
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", web.url())).start();
    server.rspm_stdout("sync");
    server.rspm_stdout("backfill --since=2025-10-01 --rate=1000");
    server.rspm_stdout("create source --name=subset --type=curated-cran");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=subset");
    Curated { web, server }
}

impl Curated {
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.server.dir().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// `rspm update` with a definition of these bytes.
    fn update(&self, definition: impl AsRef<[u8]>, flags: &str) -> RspmOutput {
        let file = self.file("packages.txt", definition);
        self.server.rspm(&format!("update --source=subset --file-in={} {flags}", file.display()))
    }

    /// Publishes a definition at a day; returns the transaction.
    fn commit(&self, definition: &str, day: &str) -> u64 {
        let output = self.update(definition, &format!("--snapshot={day} --commit"));
        assert_eq!((output.code, output.err.as_str()), (0, ""), "{}", output.out);
        transaction(&output.out)
    }

    /// `package version` of the packages of a snapshot.
    fn listed(&self, snapshot: impl std::fmt::Display) -> Vec<String> {
        listed(&self.server, &format!("/prod/{snapshot}"))
    }
}

/// `package version` of the packages in the index of a repository.
fn listed(server: &Server, repository: &str) -> Vec<String> {
    let answer = server.get(&format!("{repository}/src/contrib/PACKAGES"));
    assert_eq!(answer.status, 200, "{repository}: {}", answer.text());
    let text = answer.text();
    let value = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_default().to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records.map(|record| format!("{} {}", value(record, "Package: "), value(record, "Version: "))).collect()
}

/// The transaction in the output of a commit.
fn transaction(out: &str) -> u64 {
    let text = out.rsplit_once("was updated in transaction ").map(|(_, text)| text.trim_end());
    text.and_then(|text| text.strip_suffix('.')?.parse().ok()).unwrap_or_else(|| panic!("{out}"))
}

/// The lines `name version` and the change of the rows of a plan in JSON.
fn changes(plan: &serde_json::Value) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = plan["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            format!(
                "{} {} {}",
                text(&package["name"]),
                text(&package["release"]["version"]),
                text(&package["state"])
            )
        })
        .collect()
}
