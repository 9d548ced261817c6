//! Binaries from other servers: listed by a sync, fetched on request, verified, and replaced by the source if they are
//! invalid.

use sha2::Digest;

use super::{add, get, install};
use crate::support::binary_server::{self, AGENT, TREE};
use crate::support::fixtures::until;
use crate::support::http::Answer;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};
use crate::support::{binary, data};

/// A server with a mirror of these packages in its own directory, and with these binary servers.
fn server(packages: &[&str], urls: &[String]) -> Server {
    let lines: String = urls.iter().map(|url| format!("BinaryURL = {url}\n")).collect();
    let gcfg = format!("[CRAN]\n{lines}[Server]\nServiceLog = {{dir}}/service.log");
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    binary_server::write_sources(&server.dir().join("no-mirror"), packages);
    server
}

/// Syncs, creates the repository `r` the first time, and returns the message of the sync.
fn synced(server: &Server) -> String {
    let message = server.sync().expect("a valid mirror");
    if server.get("/r/latest/src/contrib/PACKAGES").status == 404 {
        server.repository("r", "cran");
    }
    message
}

fn kind(answer: &Answer) -> (u16, &str, Option<&str>) {
    (answer.status, answer.header("x-package-type").unwrap_or("none"), answer.header("x-package-binary-tag"))
}

const BINARY: (u16, &str, Option<&str>) = (200, "binary", Some("4.5-noble"));
const SOURCE: (u16, &str, Option<&str>) = (200, "source", None);

fn get_binary(server: &Server, package: &str) -> Answer {
    get(server, &format!("/r/__linux__/noble/latest/src/contrib/{package}_1.0.tar.gz"), Some(AGENT))
}

fn transactions(server: &Server) -> serde_json::Value {
    server.json("info --source=cran")["last_transaction"]["id"].clone()
}

/// `package_version` of the records of an index.
fn listed(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let field = |record: &str, name: &str| {
        let line = record.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {record}")).to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records.map(|r| format!("{}_{}", field(r, "Package: "), field(r, "Version: "))).collect()
}

#[test]
fn windows_binaries_of_a_mirror_are_listed_and_fetched_on_request() {
    let mirror = data::path("cran-mirror");
    let url = format!("file://{}", mirror.display());
    let gcfg = format!("[CRAN]\nURL = {url}\nBinaryURL = {url}");
    let server = Builder::default().gcfg(&gcfg).start();
    let message = synced(&server);
    let tree = mirror.join("bin/windows/contrib/4.5");
    let index = get(&server, "/r/latest/bin/windows/contrib/4.5/PACKAGES", None);
    let names = listed(&index);
    let contrib = mirror.join("src/contrib");
    let has_source = |name: &String| {
        let (package, _) = name.split_once('_').expect("a version");
        let archived = contrib.join(format!("Archive/{package}/{name}.tar.gz"));
        contrib.join(format!("{name}.tar.gz")).exists() || archived.exists()
    };
    let entries = std::fs::read_dir(&tree).expect("a tree").flatten();
    let zips = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".zip")?.to_owned()));
    let mut expected: Vec<String> = zips.filter(has_source).collect();
    expected.sort_by_key(|name| name.to_lowercase());
    assert_eq!(names, expected, "binaries of versions with a source");
    assert!(names.len() > 5);
    assert!(
        message.contains("; binaries were synced (transaction 2): ") && !message.contains("were not updated"),
        "{message}"
    );
    let records = index.text();
    for name in &names {
        let file = format!("{name}.zip");
        let answer = get(&server, &format!("/r/latest/bin/windows/contrib/4.5/{file}"), None);
        assert_eq!(kind(&answer), (200, "binary", Some("4.5-win")), "{file}");
        assert!(
            answer.body == std::fs::read(tree.join(&file)).expect("on the mirror"),
            "{file}: the bytes of upstream"
        );
        let digest = hex::encode(sha2::Sha256::digest(&answer.body));
        until("it is stored by its digest", || {
            let answer = get(&server, &format!("/r/latest/bin/windows/contrib/4.5/{file}"), None);
            answer.header("etag") == Some(format!("\"{digest}\"").as_str())
        });
    }
    assert_eq!(records.matches("RVersion: 4.5").count(), names.len(), "{records}");
    assert!(!records.contains("Path:") && !records.contains("MD5sum"));
    let before = transactions(&server);
    assert!(server.sync().expect("the same mirror").ends_with("nothing changed"));
    assert_eq!(transactions(&server), before);
    let mac = get(&server, "/r/latest/bin/macosx/big-sur-arm64/contrib/4.5/PACKAGES", None);
    assert!(listed(&mac).is_empty(), "a tree that the mirror lacks is no error");
    let none = get(&server, "/r/latest/bin/windows/contrib/9.9/PACKAGES", None);
    assert!(listed(&none).is_empty());
}

#[test]
fn binaries_of_a_second_server_are_listed_fetched_once_and_stored() {
    let mut second = Server::start();
    let [greeting, tally, ledger] = second.team_with_examples();
    add(&second, &[&greeting, &tally], "bookworm");
    let r = binary::r_version();
    let url = second.url(&format!("/prod/latest/bin/linux/bookworm-x86_64/{r}"));
    let server = server(&[], &[url]);
    let contrib = server.dir().join("no-mirror/src/contrib");
    let mut index = String::new();
    for example in [&greeting, &tally, &ledger] {
        let needs = if example.package == "ledger" { "Imports: greeting, tally\n" } else { "" };
        index.push_str(&format!("Package: {}\nVersion: {}\n{needs}\n", example.package, example.version));
        let file = example.source.file_name().expect("a name");
        std::fs::copy(&example.source, contrib.join(file)).expect("copied");
    }
    std::fs::write(contrib.join("PACKAGES"), index).expect("written");
    let message = synced(&server);
    assert!(message.contains("binaries were synced (transaction 2): 2 new"), "{message}");
    let explicit = format!("/r/latest/bin/linux/bookworm-x86_64/{r}/src/contrib");
    let records = get(&server, &format!("{explicit}/PACKAGES"), None).text();
    let of = |package: &str| {
        let begins = format!("Package: {package}\n");
        records.split("\n\n").find(|record| record.starts_with(&begins)).expect("listed").to_owned()
    };
    for field in [
        format!("Built: R {r}."),
        "Platform: x86_64-pc-linux-gnu".to_owned(),
        format!("RVersion: {r}"),
        "SHA256: ".to_owned(),
        "Filesize: ".to_owned(),
    ] {
        assert!(of("tally").contains(&field), "{field}: {}", of("tally"));
    }
    assert!(!of("ledger").contains("Built:"), "it has no binary");

    let repository = format!("/r/latest/bin/linux/bookworm-x86_64/{r}");
    let built = install::install(&server, &repository, "default");
    assert_eq!(built[..2], ["greeting binary RSPM RSPM", "tally binary RSPM RSPM"]);
    assert!(built[2].starts_with("ledger source"), "{built:?}");

    let path = "/r/__linux__/bookworm/latest/src/contrib/tally_0.2.1.tar.gz";
    let agent = format!("R ({r}.9 x86_64-pc-linux-gnu x86_64 linux-gnu)");
    let served = get(&server, path, Some(&agent));
    assert_eq!(kind(&served), (200, "binary", Some(format!("{r}-bookworm").as_str())));
    assert!(
        of("tally").contains(&hex::encode(sha2::Sha256::digest(&served.body))),
        "the digest of the index"
    );
    second.stop();
    assert_eq!(get(&server, path, Some(&agent)).body, served.body, "it is stored");
    let message = server.sync().expect("the mirror of the sources exists");
    assert!(message.contains(&format!("the binaries of {r}-bookworm were not updated: ")), "{message}");
    let arm = get(&server, path, Some(&agent.replace("x86_64", "aarch64")));
    assert_eq!(arm.header("x-package-type"), Some("source"), "never that of another processor");
}

#[test]
fn an_invalid_binary_is_replaced_by_the_source() {
    let names = [
        "good", "html", "gone", "other", "machine", "plain", "minor", "cut", "digest", "system", "noise",
        "rds",
    ];
    let upstream = binary_server::start(&names);
    let path = |name: &str| format!("{TREE}/{name}_1.0.tar.gz");
    let arm = "Built: R 4.5.0; aarch64-unknown-linux-gnu; 2026-01-01 00:00:00 UTC; unix";
    let mut index = String::new();
    let mut put = |name: &str, bytes: Vec<u8>| {
        index.push_str(&binary_server::record(name, "1.0", &bytes));
        upstream.put(&path(name), bytes);
    };
    put("good", binary_server::binary("good", "1.0").bytes());
    put("other", binary_server::binary("another", "1.0").bytes());
    put("machine", binary_server::binary_with("machine", "1.0", binary_server::BUILT, 183).bytes());
    put("plain", Tarball::new("plain", "1.0").bytes());
    put(
        "minor",
        binary_server::binary_with("minor", "1.0", &binary_server::BUILT.replace("4.5.0", "4.4.0"), 62)
            .bytes(),
    );
    put("system", binary_server::binary_with("system", "1.0", arm, 183).bytes());
    let whole = binary_server::binary("cut", "1.0").bytes();
    put("cut", whole[..whole.len() / 2].to_vec());
    put("noise", vec![7; 5000]);
    put("rds", Tarball::new("rds", "1.0").field(binary_server::BUILT).bytes());
    for name in ["html", "gone", "digest"] {
        put(name, binary_server::binary(name, "1.0").bytes());
    }
    upstream.put(&format!("{TREE}/PACKAGES"), index);
    upstream.always(&path("html"), Fault::Html);
    upstream.remove(&path("gone"));
    upstream.put(&path("digest"), binary_server::binary("digest", "1.0").with("more", "bytes").bytes());
    let server = server(&names, &[binary_server::url(&upstream)]);
    let message = synced(&server);
    assert!(message.contains(&format!("{} new", names.len())), "{message}");
    assert_eq!(kind(&get_binary(&server, "good")), BINARY);
    for (name, reason) in [
        ("html", "upstream's html_1.0.tar.gz"),
        ("gone", "gone_1.0.tar.gz is not on the mirror"),
        ("other", "DESCRIPTION has 'another' 1.0"),
        ("machine", "the library 'machine/libs/machine.so' is built for Linux on arm64"),
        ("plain", "this is a source package"),
        ("minor", "built for R 4.4 on Linux (x86_64), not for 4.5-noble"),
        ("system", "built for R 4.5 on Linux (arm64), not for 4.5-noble"),
        ("cut", "upstream's cut_1.0.tar.gz for 4.5-noble is refused"),
        ("digest", "upstream's digest_1.0.tar.gz"),
        ("noise", "upstream's noise_1.0.tar.gz for 4.5-noble is refused"),
        ("rds", "there is no 'rds/Meta/package.rds'"),
    ] {
        let answer = get_binary(&server, name);
        assert_eq!(kind(&answer), SOURCE, "{name}");
        assert!(answer.body == Tarball::new(name, "1.0").bytes(), "{name}: the whole source");
        server.wait_for_log(reason);
        until("the service log has it", || {
            let log = std::fs::read_to_string(server.dir().join("service.log")).expect("there");
            let line = log.lines().find(|line| line.contains(&format!("\"name\":\"{name}\"")));
            line.is_some_and(|line| {
                line.contains("\"failed_service\":\"service_error_fetch\"") && line.contains(reason)
            })
        });
    }
    let stored = std::fs::read_dir(server.dir().join("data/binaries")).map(Iterator::count);
    assert!(stored.is_ok_and(|count| count > 0), "the valid one is stored");
    assert_eq!(server.json("list binaries --source=cran --name=good")[0]["stored"], true);
    assert_eq!(server.json("list binaries --source=cran --name=machine")[0]["stored"], false);
}

#[test]
fn a_damaged_binary_is_fetched_again_and_replaced() {
    let upstream = binary_server::start(&["alpha"]);
    let mut server = server(&["alpha"], &[binary_server::url(&upstream)]);
    synced(&server);
    let original = get_binary(&server, "alpha");
    assert_eq!(kind(&original), BINARY);
    let sum = hex::encode(sha2::Sha256::digest(&original.body));
    until("the row has it as stored", || {
        server.json("list binaries --source=cran --name=alpha")[0]["stored"] == true
    });
    let object = server.dir().join(format!("data/binaries/binaries/{}/{sum}", &sum[..2]));
    let mut damaged = std::fs::read(&object).expect("stored");
    *damaged.last_mut().expect("not empty") ^= 1;
    std::fs::write(&object, &damaged).expect("written");
    server.restart();
    upstream.take_requests();
    let second = get_binary(&server, "alpha");
    assert_eq!((kind(&second), second.body == original.body), (BINARY, true));
    server.wait_for_log("fetching it again");
    let file = format!("{TREE}/alpha_1.0.tar.gz");
    assert_eq!(upstream.take_requests().iter().filter(|request| request.path == file).count(), 1);
    until("it is replaced", || std::fs::read(&object).is_ok_and(|bytes| bytes == original.body));
    // Several times: the first requests may still join the running fetch.
    for _ in 0..30 {
        let third = get_binary(&server, "alpha");
        assert_eq!((kind(&third), third.body == original.body), (BINARY, true));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(upstream.take_requests().is_empty(), "from storage");
}

#[test]
fn an_unavailable_binary_server_affects_its_binaries_alone() {
    let upstream = binary_server::start(&["alpha", "beta"]);
    let index = format!("{TREE}/PACKAGES");
    upstream.always(&index, Fault::Html);
    let server = server(&["alpha", "beta"], &[binary_server::url(&upstream)]);
    let message = synced(&server);
    assert!(message.contains("2 packages added"), "{message}");
    assert!(
        message.contains("; the binaries of 4.5-noble were not updated: ") && message.contains("HTML"),
        "{message}"
    );
    assert_eq!(kind(&get_binary(&server, "alpha")), SOURCE);
    upstream.always(&index, Fault::NoValidators);
    let message = server.sync().expect("a valid mirror");
    assert!(message.starts_with("cran is up to date; no package changed; binaries were synced"), "{message}");
    assert_eq!(kind(&get_binary(&server, "alpha")), BINARY);
    upstream.always(&format!("{TREE}/beta_1.0.tar.gz"), Fault::Status(503, ""));
    assert_eq!(kind(&get_binary(&server, "beta")), SOURCE);
    server.wait_for_log("503");
}

#[test]
fn an_index_that_lost_a_fifth_is_accepted_at_the_second_manual_sync() {
    let names: Vec<String> = ('a'..='z').map(|letter| format!("pkg{letter}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let upstream = binary_server::start(&names);
    let server = server(&names, &[binary_server::url(&upstream)]);
    synced(&server);
    binary_server::publish(&upstream, &names[..13]);
    let message = server.sync().expect("the sources are synced");
    assert!(message.contains("13 of 26 packages are no longer in the index"), "{message}");
    let message = server.sync().expect("confirmed");
    assert!(!message.contains("no longer"), "{message}");
    assert_eq!(kind(&get_binary(&server, "pkgz")), BINARY, "a binary listed once stays available");
}

#[test]
fn added_and_removed_binaries_change_no_version_of_an_older_snapshot() {
    let upstream = binary_server::start(&["alpha"]);
    let server = server(&["alpha"], &[binary_server::url(&upstream)]);
    synced(&server);
    let full = "bin/linux/noble-x86_64/4.5/src/contrib";
    let frozen = transactions(&server).as_i64().expect("a number");
    let index = |snapshot: &str| get(&server, &format!("/r/{snapshot}/{full}/PACKAGES"), None);
    let before = index(&frozen.to_string()).text();
    let first = get_binary(&server, "alpha").body;

    // A rebuilt binary of the same version, a binary of a version without a source, and one for another processor.
    let rebuilt = binary_server::binary("alpha", "1.0").with("more", "of it").bytes();
    let next_version = binary_server::binary("alpha", "1.1").bytes();
    let other_processor = binary_server::record("alpha", "1.0", b"x").replace("x86_64-pc", "aarch64-unknown");
    let records = [
        binary_server::record("alpha", "1.0", &rebuilt),
        binary_server::record("alpha", "1.1", &next_version),
        other_processor,
    ]
    .concat();
    upstream.put(&format!("{TREE}/alpha_1.0.tar.gz"), rebuilt.clone());
    upstream.put(&format!("{TREE}/alpha_1.1.tar.gz"), next_version);
    upstream.put(&format!("{TREE}/PACKAGES"), records);
    assert!(server.sync().expect("good").contains(": 1 new"));
    assert!(get_binary(&server, "alpha").body == rebuilt, "the newest binary");
    let old = format!("/r/{frozen}/{full}/alpha_1.0.tar.gz");
    assert!(get(&server, &old, None).body == first, "the older snapshot retains its own");
    assert_eq!(index(&frozen.to_string()).text(), before);

    // The source is added, and its binary with it although the index of binaries is unchanged.
    binary_server::write_sources(&server.dir().join("no-mirror"), &["alpha_1.1"]);
    let message = server.sync().expect("good");
    assert!(message.contains("1 updated") && message.contains(": 1 new"), "{message}");
    assert_eq!(listed(&index("latest")), ["alpha_1.1"]);
    assert!(index("latest").text().contains("Built:"));
    assert_eq!(index(&frozen.to_string()).text(), before);
    let archived = "/r/__linux__/noble/latest/src/contrib/Archive/alpha/alpha_1.0.tar.gz";
    let answer = get(&server, archived, Some(AGENT));
    assert_eq!(
        (kind(&answer), answer.body == rebuilt),
        (BINARY, true),
        "binaries of archived releases are served"
    );
    assert!(server.sync().expect("good").ends_with("nothing changed"));
}

#[test]
fn the_index_for_windows_lists_the_newest_version_with_a_binary() {
    let tree = "bin/windows/contrib/4.5";
    let upstream = Upstream::empty();
    let offer = |version: &str| {
        upstream.put(&format!("{tree}/PACKAGES"), format!("Package: alpha\nVersion: {version}\n"));
    };
    offer("1.0");
    let server = server(&["alpha"], &[upstream.url()]);
    synced(&server);
    let index = |snapshot: &str| listed(&get(&server, &format!("/r/{snapshot}/{tree}/PACKAGES"), None));
    assert_eq!(index("latest"), ["alpha_1.0"]);
    binary_server::write_sources(&server.dir().join("no-mirror"), &["alpha_1.1"]);
    server.sync().expect("good");
    let between = transactions(&server).to_string();
    assert_eq!(index("latest"), ["alpha_1.0"], "the previous version stays until the next binary");
    offer("1.1");
    assert!(server.sync().expect("good").contains(": 1 new"));
    assert_eq!(index("latest"), ["alpha_1.1"]);
    assert_eq!(index(&between), ["alpha_1.0"], "a binary added later changes no version");
}

#[test]
fn the_first_of_two_addresses_is_preferred_and_the_second_is_the_fallback() {
    let first = binary_server::start(&["alpha"]);
    let second = binary_server::start(&["alpha", "beta"]);
    let server = server(&["alpha", "beta"], &[binary_server::url(&first), binary_server::url(&second)]);
    assert!(synced(&server).contains(": 2 new"));
    first.remove(&format!("{TREE}/alpha_1.0.tar.gz"));
    assert_eq!(kind(&get_binary(&server, "alpha")), BINARY, "the second has the same bytes");
    assert_eq!(kind(&get_binary(&server, "beta")), BINARY);
    let paths: Vec<String> = first.take_requests().into_iter().map(|request| request.path).collect();
    assert!(paths.contains(&format!("{TREE}/alpha_1.0.tar.gz")), "{paths:?}");
}

#[test]
fn files_are_fetched_from_the_address_in_the_index_of_another_server() {
    let file_server = Upstream::empty();
    let bytes = binary_server::binary("alpha", "1.0").bytes();
    file_server.put("releases/alpha_1.0_b1_R4.5.tar.gz", bytes.clone());
    let upstream = Upstream::empty();
    let record = binary_server::record("alpha", "1.0", &bytes);
    let more = format!(
        "File: alpha_1.0_b1_R4.5.tar.gz\nDownloadURL: {}/releases/alpha_1.0_b1_R4.5.tar.gz\n",
        file_server.url()
    );
    upstream.put(&format!("{TREE}/PACKAGES"), record.trim_end().to_owned() + "\n" + &more);
    let server = server(&["alpha"], &[binary_server::url(&upstream)]);
    synced(&server);
    let answer = get_binary(&server, "alpha");
    assert_eq!((kind(&answer), answer.body == bytes), (BINARY, true));
    let index = get(&server, &format!("/r/latest/{TREE}/PACKAGES"), None).text();
    assert!(
        !index.contains("DownloadURL") && index.contains("\nFile: alpha_1.0.tar.gz\n"),
        "our own name: {index}"
    );
}

#[test]
fn a_real_index_of_another_server_is_accepted() {
    let upstream = Upstream::empty();
    let tree = "bin/linux/noble-aarch64/4.5/src/contrib";
    let index = std::fs::read(data::path("linux-index/ubuntu-24.04-aarch64-4.5/PACKAGES.gz")).expect("there");
    upstream.put(&format!("{tree}/PACKAGES.gz"), index);
    let index_text = data::path("linux-index/ubuntu-24.04-aarch64-4.5/PACKAGES");
    let text = std::fs::read_to_string(index_text).expect("there");
    let field = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)).expect(tag).trim().to_owned()
    };
    let records: Vec<&str> = text.split("\n\n").take(3).collect();
    let packages: Vec<String> =
        records.iter().map(|r| format!("{}_{}", field(r, "Package:"), field(r, "Version:"))).collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let server = server(&packages, &[format!("{}/bin/linux/noble-aarch64/4.5", upstream.url())]);
    let message = synced(&server);
    assert!(message.contains(": 3 new") && !message.contains("were not updated"), "{message}");
    let index = get(&server, &format!("/r/latest/{tree}/PACKAGES"), None).text();
    assert_eq!(index.matches("\nBuilt: R 4.5.0").count(), 3, "{index}");
    for record in records {
        assert!(index.contains(&format!("\nSHA256: {}\n", field(record, "SHA256:"))), "{index}");
    }
}

/// A server with a mirror of the examples that requests binaries from a second one by negotiation, and that second one.
fn start_negotiating(snapshot: &str) -> (Server, Server) {
    let second = Server::start();
    let [greeting, tally, ledger] = second.team_with_examples();
    add(&second, &[&greeting, &tally], "noble");
    let server = server(&[], &[second.url(&format!("/prod/__linux__/{{distribution}}/{snapshot}"))]);
    let contrib = server.dir().join("no-mirror/src/contrib");
    let mut index = String::new();
    for example in [&greeting, &tally, &ledger] {
        index.push_str(&format!(
            "Package: {}\nVersion: {}\nLicense: MIT\n\n",
            example.package, example.version
        ));
        let file = example.source.file_name().expect("a name");
        std::fs::copy(&example.source, contrib.join(file)).expect("copied");
    }
    std::fs::write(contrib.join("PACKAGES"), index).expect("written");
    (server, second)
}

#[test]
fn binaries_of_a_negotiating_server_are_requested_one_by_one_and_listed_by_the_next_sync() {
    let (server, mut second) = start_negotiating("latest");
    assert!(!synced(&server).contains("binaries were synced"), "there is no index of them");
    let r = binary::r_version();
    let agent = |arch: &str| format!("R ({r}.9 {arch}-pc-linux-gnu {arch} linux-gnu)");
    let request = |package: &str, arch: &str| {
        get(&server, &format!("/r/__linux__/noble/latest/src/contrib/{package}.tar.gz"), Some(&agent(arch)))
    };
    let tag = format!("{r}-noble");
    let tally = request("tally_0.2.1", "x86_64");
    assert_eq!(kind(&tally), (200, "binary", Some(tag.as_str())));
    assert_eq!(kind(&request("tally_0.2.1", "aarch64")), SOURCE, "it has none for that processor");
    assert_eq!(kind(&request("ledger_2.0-1", "x86_64")), SOURCE, "it has no binary");
    let arm = request("greeting_1.0.0", "aarch64");
    assert_eq!(kind(&arm), (200, "binary", Some(format!("{tag}-arm64").as_str())), "one for every processor");
    let index =
        || get(&server, &format!("/r/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES"), None).text();
    assert!(!index().contains("Built:"));
    // The rows of fetched files are written a short time later.
    let mut listed = Vec::new();
    until("both are listed", || {
        listed.push(server.sync().expect("good"));
        index().contains("Built:") && index().contains(&hex::encode(sha2::Sha256::digest(&tally.body)))
    });
    assert!(
        listed.last().is_some_and(|message| message.contains("no package changed; binaries were synced")),
        "{listed:?}"
    );
    until("all is listed", || server.sync().expect("good").ends_with("nothing changed"));
    let record =
        index().split("\n\n").find(|record| record.starts_with("Package: tally")).expect("listed").to_owned();
    let digest = hex::encode(sha2::Sha256::digest(&tally.body));
    for field in [
        format!("Built: R {r}."),
        format!("RVersion: {r}"),
        format!("SHA256: {digest}"),
        "License: MIT".to_owned(),
    ] {
        assert!(record.contains(&field), "{field}: {record}");
    }
    second.stop();
    assert_eq!(request("tally_0.2.1", "x86_64").body, tally.body, "stored by digest");
    let away = request("greeting_1.0.0", "x86_64");
    assert_eq!(
        kind(&away),
        SOURCE,
        "the copy for the other processor is another file, and the server is unavailable"
    );
}

#[test]
fn a_wrong_or_missing_answer_of_a_negotiating_server_affects_the_binary_alone() {
    let upstream = Upstream::empty();
    let path = |name: &str| {
        format!("__linux__/noble/latest/src/contrib/{name}_1.0.tar.gz?r_version=4.5&arch=x86_64")
    };
    let headers = "X-Package-Type: binary\r\nX-Package-Binary-Tag: 4.5-noble";
    upstream.put(&path("good"), binary_server::binary("good", "1.0").bytes());
    upstream.put(&path("liar"), Tarball::new("liar", "1.0").bytes());
    upstream.put(&path("silent"), binary_server::binary("silent", "1.0").bytes());
    for name in ["good", "liar"] {
        upstream.always(&path(name), Fault::ExtraHeader(headers));
    }
    upstream.always(&path("away"), Fault::Status(503, ""));
    let names = ["good", "liar", "silent", "away", "none"];
    let server = server(&names, &[format!("{}/__linux__/noble/latest", upstream.url())]);
    synced(&server);
    assert_eq!(kind(&get_binary(&server, "good")), BINARY);
    let request =
        upstream.take_requests().into_iter().find(|request| request.path == path("good")).expect("a request");
    assert_eq!(request.headers["user-agent"], "R/4.5.0 R (4.5.0 x86_64-pc-linux-gnu x86_64 linux-gnu)");
    for name in ["liar", "silent", "away", "none"] {
        assert_eq!(kind(&get_binary(&server, name)), SOURCE, "{name}");
    }
    server.wait_for_log("this is a source package");
    server.wait_for_log("503");
    upstream.take_requests();
    assert_eq!(kind(&get_binary(&server, "none")), SOURCE);
    assert!(upstream.take_requests().is_empty(), "the missing binary is remembered");
}
