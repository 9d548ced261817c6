//! Binaries for macOS: added, and fetched from the trees of a CRAN mirror.

use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::Digest;

use super::get;
use crate::support::binary::{self, Example};
use crate::support::fixtures::until;
use crate::support::rscript;
use crate::support::server::{Builder, Server};
use crate::support::upstream::Upstream;

const ARM: &str = "aarch64-apple-darwin20";
const INTEL: &str = "x86_64-apple-darwin20";

/// The header of a macOS library.
fn dylib(cpu: u32) -> Vec<u8> {
    let mut head = [0xfeed_facf_u32.to_le_bytes(), cpu.to_le_bytes()].concat();
    head.resize(4096, 0);
    head
}

fn machine(platform: &str) -> u32 {
    if platform == ARM { 0x0100_000c } else { 0x0100_0007 }
}

/// An archive as R builds it on macOS, with its folders, for this R version; with `cpu`, the library and its symbols.
fn tgz(example: &Example, r: &str, platform: &str, cpu: Option<u32>) -> Vec<u8> {
    let libraries: Vec<(&str, Vec<u8>)> = match cpu {
        None => Vec::new(),
        Some(cpu) => vec![
            ("tally.so", dylib(cpu)),
            ("tally.so.dSYM/Contents/Info.plist", b"<plist/>".to_vec()),
            ("tally.so.dSYM/Contents/Resources/DWARF/tally.so", dylib(cpu)),
        ],
    };
    let built = format!("R {r}.1; {platform}; 2026-01-01 00:00:00 UTC; unix");
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut folders: Vec<String> = Vec::new();
    for (path, bytes) in example.files_for(&built, &libraries) {
        for (at, _) in path.match_indices('/') {
            let folder = path[..=at].to_owned();
            if !folders.contains(&folder) {
                let mut header = tar::Header::new_ustar();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                tar.append_data(&mut header, &folder, std::io::empty()).expect("a folder");
                folders.push(folder);
            }
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, &path, bytes.as_slice()).expect("a file");
    }
    tar.into_inner().expect("a tar").finish().expect("a gzip")
}

/// A record in the form of CRAN's index for macOS.
fn record(example: &Example, r: &str, platform: &str, bytes: &[u8]) -> String {
    let archs = if platform.is_empty() { "" } else { "Archs: tally.so.dSYM\n" };
    format!(
        "Package: {}\nVersion: {}\nDepends: R (>= 3.5)\nLicense: MIT + file LICENSE\nBuilt: R {r}.1; {platform}; \
         2026-01-01 00:00:00 UTC; unix\n{archs}MD5sum: {}\nSHA256sum: {}\n\n",
        example.package,
        example.version,
        hex::encode(md5::Md5::digest(bytes)),
        hex::encode(sha2::Sha256::digest(bytes))
    )
}

const ARM_45: &str = "bin/macosx/big-sur-arm64/contrib/4.5";
const INTEL_45: &str = "bin/macosx/big-sur-x86_64/contrib/4.5";
const ARM_46: &str = "bin/macosx/sonoma-arm64/contrib/4.6";
const INTEL_46: &str = "bin/macosx/big-sur-x86_64/contrib/4.6";

/// A CRAN mirror with the examples, and binaries of two of them for two versions of R and both processors. In its tree
/// for Intel and R 4.6, the library is for the other processor, unlike its record.
fn mirror(examples: &[Example; 3]) -> Upstream {
    let [greeting, tally, _] = examples;
    let web = Upstream::empty();
    let mut index = String::new();
    for example in examples {
        index.push_str(&format!(
            "Package: {}\nVersion: {}\nLicense: MIT\n\n",
            example.package, example.version
        ));
        let name = example.source.file_name().expect("a name").to_string_lossy().into_owned();
        web.put(&format!("src/contrib/{name}"), std::fs::read(&example.source).expect("built"));
    }
    web.put("src/contrib/PACKAGES", index);
    for (tree, r, platform) in
        [(ARM_45, "4.5", ARM), (INTEL_45, "4.5", INTEL), (ARM_46, "4.6", ARM), (INTEL_46, "4.6", INTEL)]
    {
        let wrong = tree == INTEL_46;
        let cpu = machine(if wrong { ARM } else { platform });
        let compiled = tgz(tally, r, platform, Some(cpu));
        let without_code = tgz(greeting, r, "", None);
        let mut index = record(tally, r, platform, &compiled);
        web.put(&format!("{tree}/tally_0.2.1.tgz"), compiled);
        if tree != INTEL_45 {
            index.push_str(&record(greeting, r, "", &without_code));
            web.put(&format!("{tree}/greeting_1.0.0.tgz"), without_code);
        }
        // A version without a source package.
        index.push_str(&record(tally, r, platform, b"x").replace("0.2.1", "0.3.0"));
        web.put(&format!("{tree}/PACKAGES"), index);
    }
    web
}

/// A server with this mirror after its first sync, and the message of the sync.
fn synced(web: &Upstream) -> (Server, String) {
    let gcfg = format!("[CRAN]\nURL = {0}\nBinaryURL = {0}", web.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    let message = server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    (server, message)
}

fn listed(server: &Server, tree: &str) -> Vec<String> {
    let answer = get(server, &format!("/r/latest/{tree}/PACKAGES"), None);
    assert_eq!(answer.status, 200, "{tree}: {}", answer.text());
    let text = answer.text();
    text.lines().filter_map(|line| line.strip_prefix("Package: ")).map(str::to_owned).collect()
}

/// Reads the tree and the file with R, independently of the platform of the installed R.
const READ: &str = r#"
args <- commandArgs(TRUE)
known <- available.packages(args[[1]], filters = list(), fields = "RVersion")
setwd(args[[2]])
file <- paste0("tally_", known["tally", "Version"], ".tgz")
download.file(paste0(args[[1]], "/", file), file, quiet = TRUE)
untar(file)
cat(paste(rownames(known), collapse = " "), known["tally", "RVersion"],
    read.dcf("tally/DESCRIPTION", "Built"), file.exists("tally/libs/tally.so.dSYM/Contents/Info.plist"))
"#;

#[test]
fn binaries_of_a_mirror_are_listed_by_r_version_and_processor_and_fetched_on_request() {
    let examples = binary::examples();
    let web = mirror(&examples);
    let (server, message) = synced(&web);
    assert!(
        message.contains("; binaries were synced (transaction 2): 7 new")
            && !message.contains("were not updated"),
        "{message}"
    );
    let status = server.get("/__api__/status").json();
    for (r, arm, intel) in
        [("4.5", "big-sur-arm64", "big-sur-x86_64"), ("4.6", "sonoma-arm64", "big-sur-x86_64")]
    {
        let folders = &status["macos_urls"][r];
        assert_eq!((folders["arm64"].as_str(), folders["x86_64"].as_str()), (Some(arm), Some(intel)), "{r}");
    }
    for (tree, expected) in [
        (ARM_45, &["greeting", "tally"][..]),
        (INTEL_45, &["tally"]),
        (ARM_46, &["greeting", "tally"]),
        // Folders that do not exist for these versions of R.
        ("bin/macosx/sonoma-arm64/contrib/4.5", &[]),
        ("bin/macosx/big-sur-arm64/contrib/4.6", &[]),
        ("bin/macosx/big-sur-arm64/contrib/4.4", &[]),
        ("bin/macosx/contrib/4.2", &[]),
    ] {
        assert_eq!(listed(&server, tree), expected, "{tree}");
    }
    let index = get(&server, &format!("/r/latest/{ARM_45}/PACKAGES"), None).text();
    let tally = index.split("\n\n").find(|record| record.starts_with("Package: tally\n")).expect("listed");
    let bytes = web.bytes(&format!("{ARM_45}/tally_0.2.1.tgz"));
    for field in [
        "Version: 0.2.1".to_owned(),
        format!("Built: R 4.5.1; {ARM}; 2026-01-01 00:00:00 UTC; unix"),
        format!("Platform: {ARM}"),
        "RVersion: 4.5".to_owned(),
        "Archs: tally.so.dSYM".to_owned(),
        format!("SHA256: {}", hex::encode(sha2::Sha256::digest(&bytes))),
    ] {
        assert!(tally.lines().any(|line| line == field), "{field}: {tally}");
    }
    web.take_requests();
    for (tree, file, tag) in [
        (ARM_45, "tally_0.2.1.tgz", "4.5-macos-arm64"),
        (ARM_45, "greeting_1.0.0.tgz", "4.5-macos-arm64"),
        (INTEL_45, "tally_0.2.1.tgz", "4.5-macos"),
        (ARM_46, "tally_0.2.1.tgz", "4.6-macos-arm64"),
    ] {
        let path = format!("/r/latest/{tree}/{file}");
        let first = get(&server, &path, None);
        let headers = (first.status, first.header("x-package-type"), first.header("x-package-binary-tag"));
        assert_eq!(headers, (200, Some("binary"), Some(tag)), "{path}: {}", first.text());
        let bytes = web.bytes(&format!("{tree}/{file}"));
        assert!(first.body == bytes, "{path}: the bytes of upstream");
        let digest = format!("\"{}\"", hex::encode(sha2::Sha256::digest(&bytes)));
        until("it is stored by its digest", || {
            get(&server, &path, None).header("etag") == Some(digest.as_str())
        });
        let requests = web.take_requests();
        assert_eq!(
            requests.iter().filter(|request| request.path == format!("{tree}/{file}")).count(),
            1,
            "{requests:?}"
        );
    }
    let contrib = server.url(&format!("/r/latest/{ARM_45}"));
    let read = rscript::run(READ, &[contrib.as_str(), &server.dir().display().to_string()]);
    assert_eq!(read, format!("greeting tally 4.5 R 4.5.1; {ARM}; 2026-01-01 00:00:00 UTC; unix TRUE"));
    let binaries = server.json("list binaries --source=cran --name=tally");
    let platforms: Vec<&str> =
        binaries.as_array().expect("rows").iter().filter_map(|row| row["platform"].as_str()).collect();
    assert_eq!(platforms, ["4.5-macos", "4.5-macos-arm64", "4.6-macos", "4.6-macos-arm64"]);
    assert!(server.sync().expect("the same mirror").ends_with("nothing changed"));
}

#[test]
fn requests_of_macos_are_explained_and_code_for_another_processor_is_never_served() {
    let examples = binary::examples();
    let web = mirror(&examples);
    let (server, _) = synced(&web);
    let explain = |agent: &str| {
        let agent = agent.replace(' ', "~");
        server.json(&format!("explain r tally --distribution=macos --user-agent={agent}"))
    };
    for (agent, platform, tree) in [
        ("R (4.5.2 aarch64-apple-darwin20 aarch64 darwin20)", "4.5-macos-arm64", ARM_45),
        ("R (4.5.2 x86_64-apple-darwin20 x86_64 darwin20)", "4.5-macos", INTEL_45),
        ("R (4.6.0 aarch64-apple-darwin24 aarch64 darwin24)", "4.6-macos-arm64", ARM_46),
    ] {
        let explanation = explain(agent);
        let url = format!("/r/latest/{tree}/tally_0.2.1.tgz");
        assert_eq!(
            (&explanation["file"]["platform"], &explanation["file"]["url"]),
            (&platform.into(), &url.clone().into()),
            "{explanation}"
        );
        assert!(
            explanation["answer"].as_str().expect("text").ends_with(&format!("GET {url}")),
            "{explanation}"
        );
        let answer = get(&server, &url, Some(agent));
        assert_eq!((answer.status, answer.header("x-package-binary-tag")), (200, Some(platform)), "{url}");
    }
    let old = explain("R (4.4.1 aarch64-apple-darwin20 aarch64 darwin20)");
    assert!(
        old["answer"]
            .as_str()
            .expect("text")
            .contains("there is no binary of tally 0.2.1 for 4.4-macos-arm64"),
        "{old}"
    );
    let answer = get(&server, "/r/latest/bin/macosx/big-sur-arm64/contrib/4.4/tally_0.2.1.tgz", None);
    assert_eq!(answer.status, 404, "{}", answer.text());

    // An error of the mirror: R would install the binary, and loading it would end the session.
    let url = format!("/r/latest/{INTEL_46}/tally_0.2.1.tgz");
    let answer = get(&server, &url, None);
    assert_eq!(answer.status, 502, "{}", answer.text());
    server.wait_for_log("the library 'tally/libs/tally.so' is built for macOS on arm64");
    assert_eq!(
        get(&server, &url.replace("tally_0.2.1", "greeting_1.0.0"), None).status,
        200,
        "the others are served"
    );
}

/// Reads both `Repository` fields of an archive with R.
const REPOSITORY_FIELDS: &str = r#"
file <- commandArgs(TRUE)[[1]]
untar(file, exdir = "out")
at <- normalizePath(file.path("out", list.files("out")))
cat(basename(at), read.dcf(file.path(at, "DESCRIPTION"), "Repository"),
    readRDS(file.path(at, "Meta", "package.rds"))$DESCRIPTION[["Repository"]])
"#;

#[test]
fn an_archive_for_macos_is_added_rewritten_and_served_for_its_processor_alone() {
    let server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    let write = |bytes: Vec<u8>| -> PathBuf {
        let path = server.dir().join("tally_0.2.1.tgz");
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let line =
        |path: &PathBuf| format!("add binary --source=team --distribution=macos --path={}", path.display());
    for (platform, arch) in [(ARM, "arm64"), (INTEL, "x86_64")] {
        let path = write(tgz(&tally, "4.5", platform, Some(machine(platform))));
        assert_eq!(
            server.rspm_stdout(&line(&path)),
            format!("Added tally with version 0.2.1 for macos and R 4.5 for {arch}\n")
        );
    }
    let mut bodies = Vec::new();
    for (tree, tag) in [(ARM_45, "4.5-macos-arm64"), (INTEL_45, "4.5-macos")] {
        let answer = get(&server, &format!("/prod/latest/{tree}/tally_0.2.1.tgz"), None);
        assert_eq!((answer.status, answer.header("x-package-binary-tag")), (200, Some(tag)), "{tree}");
        let path = server.dir().join("served.tgz");
        std::fs::write(&path, &answer.body).expect("written");
        assert_eq!(rscript::run(REPOSITORY_FIELDS, &[path]), "tally RSPM RSPM", "{tree}");
        bodies.push(answer.body);
    }
    assert!(bodies[0] != bodies[1]);
    let refusal = server.refused(&line(&write(tgz(&tally, "4.6", ARM, Some(machine(INTEL))))));
    assert!(refusal.contains("'tally/libs/tally.so' is built for macOS on x86_64"), "{refusal}");
    let path = write(tgz(&tally, "4.6", ARM, Some(machine(ARM))));
    let refusal = server.refused(&line(&path).replace("=macos", "=noble"));
    assert!(refusal.contains("is built for macOS, and noble is not"), "{refusal}");
}
