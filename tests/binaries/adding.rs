//! `rspm add binary`: the facts it reads from archives, and the archives it refuses.

use std::io::{Read, Write};
use std::path::PathBuf;

use sha2::Digest;

use super::get;
use crate::support::binary;
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const GNU: &str = "x86_64-pc-linux-gnu";

fn add(file: &std::path::Path, distribution: &str) -> String {
    format!("add binary --source=team --path={} --distribution={distribution}", file.display())
}

#[test]
fn r_version_and_processor_are_read_from_the_archive() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    let r = binary::r_version();
    assert_eq!(
        server.rspm_stdout(&add(&greeting.binary, "bookworm")),
        format!("Added greeting with version 1.0.0 for bookworm and R {r} for any architecture\n")
    );
    assert_eq!(
        server.rspm_stdout(&add(&tally.binary, "bookworm")),
        format!("Added tally with version 0.2.1 for bookworm and R {r} for x86_64\n")
    );
    let error = server.refused(&add(&tally.binary, "bookworm"));
    assert!(error.starts_with("tally 0.2.1 is in the source 'team' for"), "{error}");
    assert!(error.contains("--replace") && error.contains("--succeed-on-existing"), "{error}");
    assert_eq!(
        server.rspm_stdout(&format!("{} --succeed-on-existing", add(&tally.binary, "bookworm"))),
        format!("Not added, already exists: tally with version 0.2.1 for bookworm and R {r} for x86_64\n")
    );
    let replaced = server.json(&format!("{} --replace", add(&tally.binary, "bookworm")));
    assert_eq!(replaced["packages"][0]["outcome"], "existing", "the same bytes");
    let listed = server.json("list packages --source=team");
    assert_eq!(listed["total"], 3, "binaries are not counted as packages: {listed}");
}

/// The content of a binary, made without R.
fn binary_tarball(package: &str, built: &str) -> Tarball {
    Tarball::new(package, "1.0").field(&format!("Built: {built}")).with("Meta/package.rds", "no rds")
}

fn elf(machine: u8) -> Vec<u8> {
    let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1];
    head.resize(18, 0);
    head.extend([machine, 0]);
    head.resize(4096, 0);
    head
}

fn file(server: &Server, tarball: &Tarball) -> PathBuf {
    let path = server.dir().join(tarball.file());
    std::fs::write(&path, tarball.bytes()).expect("written");
    path
}

#[test]
fn an_archive_that_is_no_binary_for_the_distribution_is_refused_with_the_remedy() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    let assert_refused = |line: &str, expected: &str| {
        let error = server.refused(line);
        assert!(error.contains(expected), "{line}\n{error}\n{expected}");
    };
    assert_refused(
        &add(&tally.binary, "bookwrm"),
        "there is no distribution 'bookwrm'; did you mean 'bookworm'?",
    );
    assert_refused(&add(&tally.binary, "macos"), "is built for Linux, and macos is not");
    assert_refused(&add(&tally.binary, "windows"), "is built for Linux, and windows is not");
    assert_refused(
        &add(&tally.source, "bookworm"),
        "this is a source package; build a binary of it with R CMD INSTALL --build",
    );
    assert_refused(
        &format!("add --source=team --path={}", tally.binary.display()),
        "this is a binary package (built for R",
    );
    server.rspm_stdout("create source --name=empty");
    let line = add(&greeting.binary, "bookworm").replace("team", "empty");
    assert_refused(&line, "the source 'empty' has no greeting 1.0.0; add its source package first");

    let mut arm =
        binary_tarball("alpha", "R 4.5.0; aarch64-unknown-linux-gnu; 2026-01-01 00:00:00 UTC; unix");
    arm.files.push(("libs/alpha.so".to_owned(), elf(62)));
    assert_refused(
        &add(&file(&server, &arm), "noble"),
        "the library 'alpha/libs/alpha.so' is built for Linux on x86_64",
    );
    let mut wrong = binary_tarball("beta", &format!("R 4.5.0; {GNU}; 2026-01-01 00:00:00 UTC; unix"));
    wrong.files.push(("libs/beta.so".to_owned(), elf(183)));
    assert_refused(
        &add(&file(&server, &wrong), "noble"),
        "is built for Linux on arm64, but according to DESCRIPTION the package is built for",
    );
    for (built, expected) in [
        ("junk", "Built has 'junk', which is not a version of R"),
        ("R 4.5.0; sparc-sun-linux-gnu; ; unix", "an architecture that is not supported"),
        ("R 4.5.0; x86_64-unknown-freebsd14; ; unix", "no supported operating system"),
        (&format!("R 4.5.0; {GNU}; ; unix"), "is not an RDS file"),
    ] {
        let expected = if expected == "is not an RDS file" { "not an RDS file" } else { expected };
        assert_refused(&add(&file(&server, &binary_tarball("gamma", built)), "noble"), expected);
    }
    let mut bare = Tarball::new("delta", "1.0").field(&format!("Built: R 4.5.0; {GNU}; ; unix"));
    assert_refused(&add(&file(&server, &bare), "noble"), "there is no 'delta/Meta/package.rds'");
    bare.files.push(("../../etc/passwd".to_owned(), b"x".to_vec()));
    assert_refused(&add(&file(&server, &bare), "noble"), "contains '..'");
    let damaged = server.dir().join("epsilon_1.0.tar.gz");
    let mut tar = Vec::new();
    let archive = Tarball::new("epsilon", "1.0").field(&format!("Built: R 4.5.0; {GNU}; ; unix")).bytes();
    flate2::read::GzDecoder::new(archive.as_slice()).read_to_end(&mut tar).expect("gzip");
    // Changes the checksum of the first header.
    tar[148] ^= 1;
    let mut encoder = rstudio_pm::r::packages::gzip(Vec::new());
    encoder.write_all(&tar).expect("a Vec takes it");
    std::fs::write(&damaged, encoder.finish().expect("a Vec takes it")).expect("written");
    let (advice, line) =
        ("build the package again with R CMD", format!("add --source=team --path={}", damaged.display()));
    assert_refused(&add(&damaged, "noble"), &format!("{advice} INSTALL --build"));
    assert_refused(&line, &format!("{advice} build"));
    let info = server.json("info --source=team");
    assert_eq!(info["packages"], 3, "{info}");
}

#[test]
fn no_binary_is_added_if_one_of_several_is_refused() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    let before = server.json("info --source=team")["last_transaction"]["id"].clone();
    let both = format!("{},{}", greeting.binary.display(), tally.binary.display());
    let line = format!("add binary --source=team --path={both} --distribution=");
    server.refused(&format!("{line}windows"));
    assert_eq!(server.json("info --source=team")["last_transaction"]["id"], before);
    let added = server.json(&format!("{line}bookworm"));
    assert_eq!(added["packages"].as_array().map(Vec::len), Some(2));
    let path_twice = format!("{},{}", tally.binary.display(), tally.binary.display());
    let line = format!("add binary --source=team --path={path_twice} --distribution=trixie");
    assert!(server.refused(&line).contains("is in the source 'team' for"), "the same binary twice");
}

/// Flips one bit of the stored object with this digest; returns its file.
fn damage(server: &Server, class: &str, sha256: &serde_json::Value) -> PathBuf {
    let sha256 = sha256.as_str().expect("a digest");
    let folder = server.dir().join(format!("data/{class}/{class}"));
    let object = folder.join(&sha256[..2]).join(sha256);
    let mut bytes = std::fs::read(&object).unwrap_or_else(|e| panic!("{}: {e}", object.display()));
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&object, bytes).expect("written");
    object
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

#[test]
fn a_damaged_binary_of_the_same_size_is_repaired_by_adding_it_again() {
    let mut server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    let line = add(&tally.binary, "noble");
    let stored = server.json(&line)["packages"][0]["sha256"].clone();
    let r = binary::r_version();
    let agent = format!("R ({r}.1 x86_64-pc-linux-gnu x86_64 linux-gnu)");
    let path = "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz";
    let served = |server: &Server| {
        let answer = get(server, path, Some(&agent));
        assert_eq!(answer.status, 200);
        (answer.header("x-package-type").unwrap_or_default().to_owned(), digest(&answer.body))
    };
    let original = ("binary".to_owned(), stored.as_str().expect("a digest").to_owned());
    assert_eq!(served(&server), original);
    let last = |server: &Server| server.json("info --source=team")["last_transaction"]["id"].clone();
    let transaction = last(&server);
    for flag in ["--succeed-on-existing", "--replace", ""] {
        damage(&server, "binaries", &stored);
        // A restart clears the cached content and the record of the last comparison.
        server.restart();
        assert_eq!(served(&server).0, "source", "{flag}: the damage is detected");
        let ran = server.rspm(&format!("{line} {flag}"));
        assert_eq!(ran.code == 0, !flag.is_empty(), "{flag}: {}", ran.err);
        assert_eq!(served(&server), original, "{flag}: at the next request");
    }
    assert_eq!(last(&server), transaction, "no list changed");
}

#[test]
fn a_damaged_source_package_of_the_same_size_is_repaired_by_adding_it_again() {
    let mut server = Server::start();
    let [greeting, ..] = server.team_with_examples();
    let path = "/prod/latest/src/contrib/greeting_1.0.0.tar.gz";
    let original = server.get(path).body;
    let object = damage(&server, "packages", &digest(&original).into());
    server.restart();
    assert_eq!(server.get(path).status, 503, "a damaged file is not served");
    let error = server.refused(&format!("add --source=team --path={}", greeting.source.display()));
    assert!(error.contains("is in the source 'team' already"), "{error}");
    // A refused command does not wait until the upload is stored.
    until("the stored file is replaced", || server.get(path).body == original);
    assert!(std::fs::read(object).expect("stored") == original);
}

#[test]
fn a_file_of_a_server_keeps_its_bytes_when_it_is_added_again_there_and_elsewhere() {
    let (server, other) = (Server::start(), Server::start());
    let [_, tally, _] = server.team_with_examples();
    server.rspm_stdout(&add(&tally.binary, "bookworm"));
    other.rspm_stdout("create source --name=team");
    let agent = format!("R ({}.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", binary::r_version());
    let path = server.dir().join("tally_0.2.1.tar.gz");
    for (address, line, kind) in [
        ("latest", format!("add --source=team --path={}", path.display()), "source"),
        ("__linux__/bookworm/latest", add(&path, "bookworm"), "binary"),
    ] {
        let served = get(&server, &format!("/prod/{address}/src/contrib/tally_0.2.1.tar.gz"), Some(&agent));
        assert_eq!((served.status, served.header("x-package-type")), (200, Some(kind)));
        std::fs::write(&path, &served.body).expect("written");
        let again = server.json(&format!("{line} --replace"));
        assert_eq!(again["packages"][0]["outcome"], "existing", "{kind}");
        // As the original server may have compressed it.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::copy(&mut flate2::read::GzDecoder::new(&served.body[..]), &mut encoder).expect("gzip");
        let compressed = encoder.finish().expect("gzip");
        assert!(compressed != served.body);
        std::fs::write(&path, &compressed).expect("written");
        let added = other.json(&line);
        assert_eq!(added["packages"][0]["sha256"], digest(&compressed), "{kind}");
    }
}

#[test]
fn an_alias_of_a_distribution_is_accepted_and_an_architecture_it_lacks_is_refused() {
    let own = "[Distribution \"ours\"]\nAlias = bookworm\n[Distribution \"armbox\"]\nArchitecture = arm64\n";
    let server = Builder::default().gcfg(own).start();
    let [_, tally, _] = server.team_with_examples();
    assert!(server.rspm_stdout(&add(&tally.binary, "ours")).contains("for ours and R"));
    let error = server.refused(&add(&tally.binary, "bookworm"));
    assert!(error.contains("is in the source 'team' for"), "{error}");
    let error = server.refused(&add(&tally.binary, "armbox"));
    assert!(error.contains("is built for x86_64, and armbox has arm64; `Architecture = x86_64`"), "{error}");
}
