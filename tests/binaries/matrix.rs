//! Every form of request for a binary, and its answer.

use super::{add, get, kind_of as kind};
use crate::support::binary;
use crate::support::http::Answer;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A `User-Agent` in R's form, for the R that built the binaries.
fn agent(processor: &str) -> String {
    let r = binary::r_version();
    format!("R ({r}.9 {processor}-pc-linux-gnu {processor} linux-gnu)")
}

fn x86() -> String {
    agent("x86_64")
}

/// Names of the packages of an index.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    text.lines().filter_map(|line| line.strip_prefix("Package: ")).map(str::to_owned).collect()
}

/// The three examples, with binaries of `greeting` and `tally` for Ubuntu.
fn server() -> Server {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    server
}

/// The spellings of the newest snapshot: `latest`, its day, its day with a suffix, its transaction.
fn snapshots(server: &Server) -> [String; 4] {
    let dates = server.get("/__api__/repos/prod/transaction-dates").json();
    let day = dates.as_array().and_then(|rows| {
        rows.iter()
            .filter_map(|row| row["alias"].as_str())
            .find(|alias| *alias != "latest")
            .map(str::to_owned)
    });
    let day = day.expect("something was published today");
    let last = server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a number");
    ["latest".to_owned(), day.clone(), format!("{day}+Y3JhbiwyOjQ1"), last.to_string()]
}

#[test]
fn an_index_below_a_distribution_equals_the_source_index_for_every_user_agent() {
    let server = server();
    for snapshot in snapshots(&server) {
        for file in ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds", "Meta/archive.rds"] {
            let plain = get(&server, &format!("/prod/{snapshot}/src/contrib/{file}"), None);
            for agent in [Some(x86().as_str()), Some("curl/8"), None] {
                let path = format!("/prod/__linux__/noble/{snapshot}/src/contrib/{file}");
                let answer = get(&server, &path, agent);
                assert_eq!((answer.status, &answer.body), (200, &plain.body), "{path} {agent:?}");
                assert_eq!(answer.header("vary"), None, "{path}");
            }
        }
    }
}

#[test]
fn the_user_agent_selects_the_binary_or_the_source() {
    let server = server();
    let r = binary::r_version();
    let tag = format!("binary {r}-noble");
    let long = "x".repeat(4000);
    let devel = x86().replace(&format!("({r}"), "(4.99");
    for snapshot in snapshots(&server) {
        let path = format!("/prod/__linux__/noble/{snapshot}/src/contrib/tally_0.2.1.tar.gz");
        for (agent, expected) in [
            (Some(format!("R/{r}.9 {}", x86())), tag.as_str()),
            (Some(x86()), tag.as_str()),
            (Some(format!("RStudio Server (2026.1); {}", x86())), tag.as_str()),
            (Some(format!("posit.cloud {}", x86())), tag.as_str()),
            (Some(format!("renv (1.1.5); R/{r}.9 {} on GitHub Actions", x86())), tag.as_str()),
            (Some(agent("aarch64")), "source"),
            (Some("libcurl/8.5.0".to_owned()), "source"),
            (Some("curl/8".to_owned()), "source"),
            (None, "source"),
            (Some("python-requests/2.9.1".to_owned()), "source"),
            (Some("Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)".to_owned()), "source"),
            (Some(format!("R ({r}.1 aarch64-apple-darwin20 aarch64 darwin20)")), "source"),
            (Some(devel.clone()), "source"),
            (Some(long.clone()), "source"),
        ] {
            let answer = get(&server, &path, agent.as_deref());
            assert_eq!(kind(&answer), expected, "{snapshot} {agent:?}");
            assert_eq!(answer.header("vary"), Some("User-Agent"), "{snapshot} {agent:?}");
            let disposition = Some("attachment; filename=\"tally_0.2.1.tar.gz\"");
            assert_eq!(answer.header("content-disposition"), disposition);
            assert_eq!(answer.header("cache-control"), Some("max-age=3600"));
        }
    }
}

#[test]
fn a_package_without_compiled_code_has_one_binary_for_every_processor() {
    let server = server();
    let r = binary::r_version();
    let path = "/prod/__linux__/noble/latest/src/contrib/greeting_1.0.0.tar.gz";
    assert_eq!(kind(&get(&server, path, Some(&agent("aarch64")))), format!("binary {r}-noble-arm64"));
    assert_eq!(kind(&get(&server, path, Some(&x86()))), format!("binary {r}-noble"));
    let path = "/prod/__linux__/noble/latest/src/contrib/ledger_2.0-1.tar.gz";
    assert_eq!(kind(&get(&server, path, Some(&x86()))), "source", "it has no binary");
}

#[test]
fn the_query_selects_without_a_user_agent() {
    let server = server();
    let r = binary::r_version();
    let base = "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz";
    for (query, expected) in [
        (format!("?r_version={r}&arch=x86_64"), format!("binary {r}-noble")),
        (format!("?r_version={r}.3&arch=x86_64"), format!("binary {r}-noble")),
        (format!("?r_version={r}&arch=arm64"), "source".to_owned()),
        (format!("?r_version={r}&arch=sparc"), "source".to_owned()),
        ("?r_version=9.9&arch=x86_64".to_owned(), "source".to_owned()),
        ("?r_version=x&arch=x86_64".to_owned(), "source".to_owned()),
        ("?other=1".to_owned(), "source".to_owned()),
    ] {
        assert_eq!(kind(&get(&server, &format!("{base}{query}"), Some("curl/8"))), expected, "{query}");
    }
    let answer = get(&server, &format!("{base}?r_version={r}&arch=x86_64"), None);
    assert_eq!(answer.header("vary"), None, "the address is sufficient");
    // SECURITY: without `Vary`, a proxy would give the binary to clients of every other R. The same file was just sent
    // without it.
    for (agent, expected) in
        [(x86(), format!("binary {r}-noble")), ("curl/8".to_owned(), "source".to_owned())]
    {
        for path in [base, &format!("{base}?r_version={r}&arch=x86_64"), base] {
            let answer = get(&server, path, Some(&agent));
            let is_plain = path == base;
            assert_eq!(answer.header("vary"), is_plain.then_some("User-Agent"), "{agent} {path}");
            if is_plain {
                assert_eq!(kind(&answer), expected, "{agent}");
            }
        }
    }
}

#[test]
fn the_explicit_tree_has_a_full_index_with_binaries() {
    let server = server();
    let r = binary::r_version();
    for snapshot in snapshots(&server) {
        for (arch, expected) in [
            ("x86_64", format!("binary {r}-noble")),
            ("aarch64", "source".into()),
            ("arm64", "source".into()),
        ] {
            let base = format!("/prod/{snapshot}/bin/linux/noble-{arch}/{r}/src/contrib");
            let index = get(&server, &format!("{base}/PACKAGES"), Some("libcurl/8.5.0"));
            assert_eq!(names(&index), ["greeting", "ledger", "tally"]);
            assert_eq!(
                kind(&get(&server, &format!("{base}/tally_0.2.1.tar.gz"), Some("libcurl/8"))),
                expected
            );
            let greeting = get(&server, &format!("{base}/greeting_1.0.0.tar.gz"), None);
            assert!(kind(&greeting).starts_with(&format!("binary {r}-noble")));
            assert_eq!(greeting.header("vary"), None);
        }
    }
    let base = format!("/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib");
    let text = get(&server, &format!("{base}/PACKAGES"), None).text();
    let tally = text.split("\n\n").find(|record| record.starts_with("Package: tally")).expect("listed");
    let file = get(&server, &format!("{base}/tally_0.2.1.tar.gz"), None);
    use sha2::Digest;
    let digest = hex::encode(sha2::Sha256::digest(&file.body));
    for line in [
        format!("Built: R {r}."),
        "Platform: x86_64-pc-linux-gnu".to_owned(),
        format!("RVersion: {r}"),
        format!("SHA256: {digest}"),
        format!("Filesize: {}", file.body.len()),
    ] {
        assert!(tally.lines().any(|have| have.starts_with(&line)), "{line}:\n{tally}");
    }
    assert_eq!(file.header("etag"), Some(format!("\"{digest}\"").as_str()));
    let ledger = text.split("\n\n").find(|record| record.starts_with("Package: ledger")).expect("listed");
    assert!(!ledger.contains("Built:"), "{ledger}");
    let gz = get(&server, &format!("{base}/PACKAGES.gz"), None);
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(gz.body.as_slice()), &mut plain)
        .expect("gzip");
    assert_eq!(plain, text);
    assert_eq!(get(&server, &format!("{base}/PACKAGES.rds"), None).status, 200);
}

#[test]
fn the_list_of_binaries_has_only_packages_with_a_binary() {
    let server = server();
    let r = binary::r_version();
    for snapshot in snapshots(&server) {
        let list = |name: &str, r: &str| {
            names(&get(
                &server,
                &format!("/prod/{snapshot}/bin/linux/{name}/contrib/{r}/PACKAGES"),
                Some("curl/8"),
            ))
        };
        assert_eq!(list(&format!("{r}-noble"), &r), ["greeting", "tally"]);
        assert_eq!(list(&format!("{r}-noble-arm64"), &r), ["greeting"]);
        assert!(list(&format!("{r}-jammy"), &r).is_empty());
        assert!(list("9.9-noble", "9.9").is_empty());
    }
}

#[test]
fn a_superseded_version_retains_its_binary() {
    let server = server();
    let r = binary::r_version();
    let before = snapshots(&server)[3].clone();
    server.add("team", &Tarball::new("tally", "0.9.0"));
    let tag = format!("binary {r}-noble");
    let archived = "src/contrib/Archive/tally/tally_0.2.1.tar.gz";
    let negotiated = format!("/prod/__linux__/noble/latest/{archived}");
    assert_eq!(kind(&get(&server, &negotiated, Some(&x86()))), tag);
    assert_eq!(kind(&get(&server, &negotiated, Some("curl/8"))), "source");
    assert_eq!(
        kind(&get(&server, &format!("/prod/latest/bin/linux/noble-x86_64/{r}/{archived}"), None)),
        tag
    );
    let newest = "/prod/__linux__/noble/latest/src/contrib/tally_0.9.0.tar.gz";
    assert_eq!(kind(&get(&server, newest, Some(&x86()))), "source");
    let list = |snapshot: &str| {
        names(&get(&server, &format!("/prod/{snapshot}/bin/linux/{r}-noble/contrib/{r}/PACKAGES"), None))
    };
    assert_eq!(list("latest"), ["greeting"], "the listed version of tally has no binary");
    assert_eq!(list(&before), ["greeting", "tally"]);
}

#[test]
fn a_binary_added_later_changes_no_version_of_an_older_snapshot() {
    let server = Server::start();
    let [_, tally, _] = server.team_with_examples();
    let r = binary::r_version();
    let before = snapshots(&server)[3].clone();
    let full = format!("/prod/{before}/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES");
    let versions = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|l| l.starts_with("Package:") || l.starts_with("Version:"))
            .map(str::to_owned)
            .collect()
    };
    let plain = get(&server, &full, None);
    assert!(!plain.text().contains("Built:"));
    server.add("team", &Tarball::new("tally", "0.9.0"));
    server.refused(&format!(
        "add binary --source=team --path={} --distribution=windows",
        tally.binary.display()
    ));
    add(&server, &[&tally], "noble");
    let after = get(&server, &full, None);
    assert_eq!(versions(&after.text()), versions(&plain.text()));
    assert!(after.text().contains("Built:"), "the binary is listed nevertheless");
    assert_ne!(after.header("etag"), plain.header("etag"));
    let source = get(&server, &format!("/prod/{before}/src/contrib/PACKAGES"), None).text();
    assert_eq!(versions(&after.text()), versions(&source));
}

#[test]
fn macos_and_windows_have_separate_trees() {
    let server = server();
    let r = binary::r_version();
    let examples = binary::examples();
    add(&server, &[&examples[0]], "macos");
    let folder =
        |arch: &str| server.get("/__api__/status").json()["macos_urls"][&r][arch].as_str().map(str::to_owned);
    let arm = folder("arm64").expect("R supports Apple's processors");
    let base = format!("/prod/latest/bin/macosx/{arm}/contrib/{r}");
    assert_eq!(names(&get(&server, &format!("{base}/PACKAGES"), None)), ["greeting"]);
    let file = get(&server, &format!("{base}/greeting_1.0.0.tgz"), None);
    assert_eq!(kind(&file), format!("binary {r}-macos-arm64"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"greeting_1.0.0.tgz\""));
    assert_eq!(get(&server, &format!("{base}/tally_0.2.1.tgz"), None).status, 404, "no binary");
    assert_eq!(
        get(&server, &format!("{base}/greeting_1.0.0.tar.gz"), None).status,
        404,
        "no sources in this tree"
    );
    let other = format!("/prod/latest/bin/macosx/some-other/contrib/{r}/PACKAGES");
    assert!(names(&get(&server, &other, None)).is_empty(), "a folder for no processor");
    for file in ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds"] {
        let empty = get(&server, &format!("/prod/latest/bin/windows/contrib/9.9/{file}"), None);
        assert_eq!(empty.status, 200, "{file}");
    }
    assert!(names(&get(&server, "/prod/latest/bin/windows/contrib/9.9/PACKAGES", None)).is_empty());
}

#[test]
fn unknown_names_are_not_found() {
    let server = server();
    let r = binary::r_version();
    for path in [
        "/prod/__linux__/doesnotexist/latest/src/contrib/tally_0.2.1.tar.gz".to_owned(),
        "/prod/__linux__/doesnotexist/latest/src/contrib/PACKAGES".to_owned(),
        "/prod/__linux__/windows/latest/src/contrib/PACKAGES".to_owned(),
        "/prod/__linux__/noble/latest/src/contrib/nothing_1.0.tar.gz".to_owned(),
        "/prod/__linux__/noble/latest/src/contrib/tally_9.9.tar.gz".to_owned(),
        "/nothing/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz".to_owned(),
        format!("/prod/latest/bin/linux/doesnotexist-x86_64/{r}/src/contrib/PACKAGES"),
        format!("/prod/latest/bin/linux/jammy-arm64/{r}/src/contrib/PACKAGES"),
        format!("/prod/latest/bin/linux/{r}-doesnotexist/contrib/{r}/PACKAGES"),
        format!("/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/nothing_1.0.tar.gz"),
    ] {
        let answer = get(&server, &path, Some(&x86()));
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn a_request_for_a_binary_missing_from_storage_gets_the_source() {
    let server = server();
    let path = "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz";
    // Before the first request, which would cache it in memory.
    let folder = server.dir().join("data/binaries/binaries");
    std::fs::remove_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    assert_eq!(kind(&get(&server, path, Some(&x86()))), "source");
    server.wait_for_log("could not serve the binary; serving the source package");
}

#[test]
fn the_status_answer_lists_the_distributions_with_binaries() {
    let server = server();
    let status = server.get("/__api__/status").json();
    let row = |name: &str| {
        let rows = status["distros"].as_array().expect("rows");
        rows.iter().find(|row| row["name"] == name).expect("known")["binaries"].clone()
    };
    assert_eq!((row("noble"), row("jammy"), row("windows")), (true.into(), false.into(), false.into()));
    assert_eq!(status["binaries_enabled"], true);
}

#[test]
fn the_date_of_an_index_advances_with_each_binary() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    let r = binary::r_version();
    let index = format!("/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES");
    let date = || {
        let answer = get(&server, &index, None);
        let date = answer.header("last-modified").expect("a date").to_owned();
        (httpdate::parse_http_date(&date).expect("a date"), date)
    };
    let (before, text) = date();
    add(&server, &[&greeting], "noble");
    let (first, _) = date();
    add(&server, &[&tally], "noble");
    let (second, _) = date();
    assert!(before < first && first < second);
    let answer =
        crate::support::http::request("GET", &server.url(&index), &[("If-Modified-Since", &text)], b"");
    assert_eq!(answer.status, 200);
}
