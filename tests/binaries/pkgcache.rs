//! Where pkgcache, the core of pak, expects the files of our indexes: its rule, written from its source
//! (`R/packages-gz.R`, `R/platform.R`), applied to every index with binaries.

use super::{add, get, kind_of};
use crate::support::binary;
use crate::support::rscript;
use crate::support::server::{Builder, Server};

/// The fields of a record that the rule uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    package: String,
    version: String,
    platform: Option<String>,
    file: Option<String>,
    path: Option<String>,
}

impl Record {
    /// The file, relative to the folder of the index. `read_as` is the platform that pkgcache assumes for the folder.
    fn target(&self, read_as: &str) -> String {
        if let Some(file) = &self.file {
            return file.clone();
        }
        let platform = self.platform.as_deref().unwrap_or(read_as);
        let usual = format!("{}_{}{}", self.package, self.version, extension(platform));
        self.path.as_ref().map_or_else(|| usual.clone(), |path| format!("{path}/{usual}"))
    }
}

/// The part of a file name after the version.
fn extension(platform: &str) -> String {
    const WINDOWS: [&str; 4] =
        ["windows", "i386+x86_64-w64-mingw32", "x86_64-w64-mingw32", "i386-w64-mingw32"];
    let system = platform.splitn(3, '-').nth(2).unwrap_or_default();
    if platform == "source" {
        ".tar.gz".to_owned()
    } else if WINDOWS.contains(&platform) {
        ".zip".to_owned()
    } else if platform == "macos" || system.starts_with("darwin") {
        ".tgz".to_owned()
    } else {
        format!("_R_{platform}.tar.gz")
    }
}

/// The records of an index, also in the format of R's `write.dcf`.
fn records(text: &str) -> Vec<Record> {
    let of = |record: &str| {
        let field = |name: &str| {
            let line = record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned)
        };
        Record {
            package: field("Package").expect("each record has one"),
            version: field("Version").expect("each record has one"),
            platform: field("Platform"),
            file: field("File"),
            path: field("Path"),
        }
    };
    text.split("\n\n").filter(|record| !record.trim().is_empty()).map(of).collect()
}

/// The records of an index, which must be equal in its three forms.
fn index(server: &Server, contrib: &str) -> Vec<Record> {
    let plain = records(&get(server, &format!("{contrib}/PACKAGES"), None).text());
    let gz = get(server, &format!("{contrib}/PACKAGES.gz"), None);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(gz.body.as_slice()), &mut text)
        .expect("gzip");
    assert_eq!(records(&text), plain, "{contrib}/PACKAGES.gz");
    let code = "write.dcf(readRDS(gzcon(url(commandArgs(TRUE)[[1]], 'rb'))), stdout(), width = 1e4)";
    let rds = rscript::run(code, &[server.url(&format!("{contrib}/PACKAGES.rds"))]);
    assert_eq!(records(&rds), plain, "{contrib}/PACKAGES.rds");
    plain
}

/// Asserts that every file is where the rule expects it, and that it is a binary if the record has a platform.
fn assert_served_by_rule(server: &Server, contrib: &str, read_as: &str) -> Vec<Record> {
    let records = index(server, contrib);
    for record in &records {
        let target = format!("{contrib}/{}", record.target(read_as));
        let answer = get(server, &target, Some("libcurl/8.5.0 r-curl/5.2 httr/1.4"));
        assert_eq!(answer.status, 200, "{target}: {}\n{record:?}", answer.text());
        if record.platform.is_some() {
            assert!(kind_of(&answer).starts_with("binary "), "{target}: {}", kind_of(&answer));
        }
    }
    records
}

fn with_platform(records: &[Record]) -> Vec<&str> {
    records.iter().filter(|record| record.platform.is_some()).map(|record| record.package.as_str()).collect()
}

/// A second server that fetches its binaries from the first by `BinaryURL`.
fn start_mirror(first: &Server, r: &str, sources: &[std::path::PathBuf]) -> Server {
    let url = first.url(&format!("/prod/latest/bin/linux/noble-x86_64/{r}"));
    let server = Builder::default().gcfg(&format!("[CRAN]\nBinaryURL = {url}")).env("NO_PROXY", "*").start();
    let contrib = server.dir().join("no-mirror/src/contrib");
    std::fs::create_dir_all(&contrib).expect("a directory");
    let mut index = String::new();
    for source in sources {
        let file = source.file_name().expect("a name").to_str().expect("text");
        std::fs::copy(source, contrib.join(file)).expect("copied");
        let (package, version) = file.trim_end_matches(".tar.gz").split_once('_').expect("a version");
        index.push_str(&format!("Package: {package}\nVersion: {version}\n\n"));
    }
    std::fs::write(contrib.join("PACKAGES"), index).expect("written");
    server.sync().expect("a valid mirror");
    server.repository("prod", "cran");
    server
}

#[test]
fn pkgcache_finds_every_file_of_every_index() {
    let first = Server::start();
    let examples = first.team_with_examples();
    let [greeting, tally, _] = &examples;
    add(&first, &[greeting, tally], "noble");
    add(&first, &[greeting], "macos");
    let r = binary::r_version();
    let second = start_mirror(&first, &r, &examples.clone().map(|example| example.source));
    for server in [&first, &second] {
        for contrib in ["src/contrib", "__linux__"] {
            let contrib = match contrib {
                "__linux__" => "/prod/__linux__/noble/latest/src/contrib".to_owned(),
                plain => format!("/prod/latest/{plain}"),
            };
            assert!(
                with_platform(&assert_served_by_rule(server, &contrib, "source")).is_empty(),
                "{contrib}"
            );
        }
        let explicit = format!("/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib");
        let records = assert_served_by_rule(server, &explicit, "source");
        assert_eq!(records.len(), 3);
        assert_eq!(with_platform(&records), ["tally"], "the compiled package");
        let other = format!("/prod/latest/bin/linux/noble-arm64/{r}/src/contrib");
        assert!(with_platform(&assert_served_by_rule(server, &other, "source")).is_empty());
        // The list has the packages with a binary: pkgcache uses its file names in the folder of `src/contrib`.
        let listed = index(server, &format!("/prod/latest/bin/linux/{r}-noble/contrib/{r}"));
        assert_eq!(with_platform(&listed), ["tally"]);
        for record in &listed {
            let source = get(server, &format!("/prod/latest/src/contrib/{}", record.target("source")), None);
            assert_eq!(source.status, 200, "{record:?}");
        }
    }
    let status = first.get("/__api__/status").json();
    let folder = status["macos_urls"][&r]["arm64"].as_str().expect("known").to_owned();
    let records = assert_served_by_rule(
        &first,
        &format!("/prod/latest/bin/macosx/{folder}/contrib/{r}"),
        "aarch64-apple-darwin20",
    );
    assert_eq!(records.len(), 1);
}

#[test]
fn a_binary_is_also_served_by_the_file_name_that_r_gives_it() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    let request = |arch: &str, file: &str| {
        get(&server, &format!("/prod/latest/bin/linux/noble-{arch}/{r}/src/contrib/{file}"), None)
    };
    let by_plain_name = request("x86_64", "tally_0.2.1.tar.gz");
    let by_r_name = request("x86_64", "tally_0.2.1_R_x86_64-pc-linux-gnu.tar.gz");
    assert_eq!((by_r_name.status, &by_r_name.body), (200, &by_plain_name.body));
    assert_eq!(kind_of(&by_r_name), format!("binary {r}-noble"));
    assert_eq!(by_r_name.header("etag"), by_plain_name.header("etag"));
    for (arch, file) in [
        ("x86_64", "tally_0.2.1_R_aarch64-unknown-linux-gnu.tar.gz"),
        ("x86_64", "tally_0.2.1_R_x86_64-apple-darwin20.tar.gz"),
        ("x86_64", "tally_0.2.1_R_sparc-sun-solaris2.10.tar.gz"),
        ("x86_64", "tally_9.9_R_x86_64-pc-linux-gnu.tar.gz"),
        ("x86_64", "ledger_2.0-1_R_x86_64-pc-linux-gnu.tar.gz"),
        ("arm64", "tally_0.2.1_R_aarch64-unknown-linux-gnu.tar.gz"),
    ] {
        let answer = request(arch, file);
        assert_eq!(answer.status, 404, "{arch} {file}: never a source under the name of a binary");
    }
    let plain = "/prod/latest/src/contrib/tally_0.2.1_R_x86_64-pc-linux-gnu.tar.gz";
    assert_eq!(get(&server, plain, None).status, 404, "a tree of sources has no binaries");
}
