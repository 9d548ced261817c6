//! `rspm explain`: each decision, and that its result is what a client receives.

use serde_json::Value;

use super::{add, get};
use crate::support::binary;
use crate::support::fixtures::until;
use crate::support::mirror::{Entry, Mirror};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn agent(r: &str, processor: &str) -> String {
    format!("R ({r} {processor}-pc-linux-gnu {processor} linux-gnu)")
}

/// The JSON of `rspm explain`; spaces in flags are written `~`.
fn explain(server: &Server, line: &str) -> Value {
    server.json(&format!("explain {line}"))
}

/// The decisions of one topic: subject, state, whether it is selected.
fn decisions(explanation: &Value, topic: &str) -> Vec<(String, String, bool)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = explanation["decisions"].as_array().expect("decisions").iter();
    all.filter(|decision| decision["topic"] == topic)
        .map(|decision| (text(&decision["subject"]), text(&decision["state"]), decision["selected"] == true))
        .collect()
}

/// The three examples, with binaries of `greeting` and `tally` for Ubuntu.
fn server() -> Server {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    server
}

/// Asserts that the explained address serves what is explained: kind, tag, digest; returns the explanation.
fn assert_served(server: &Server, line: &str, header: Option<&str>) -> Value {
    let header_flag = header.map(|h| format!(" --user-agent={}", h.replace(' ', "~"))).unwrap_or_default();
    let explanation = explain(server, &format!("{line}{header_flag}"));
    let file = &explanation["file"];
    let url = file["url"].as_str().unwrap_or_else(|| panic!("no file: {explanation}"));
    let answer = get(server, url, header);
    assert_eq!(answer.status, 200, "{url}");
    assert_eq!(answer.header("x-package-type"), file["type"].as_str(), "{explanation}");
    assert_eq!(answer.header("x-package-binary-tag"), file["platform"].as_str(), "{explanation}");
    let etag = format!("\"{}\"", file["sha256"].as_str().expect("stored"));
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    assert_eq!(answer.body.len() as u64, file["size"].as_u64().expect("stored"));
    assert!(
        explanation["answer"].as_str().expect("a sentence").ends_with(&format!("GET {url}")),
        "{explanation}"
    );
    explanation
}

#[test]
fn every_client_receives_the_explained_file() {
    let server = server();
    let r = binary::r_version();
    let (x86, arm) = (agent(&format!("{r}.9"), "x86_64"), agent(&format!("{r}.9"), "aarch64"));
    let mac = format!("R ({r}.1 aarch64-apple-darwin20 aarch64 darwin20)");
    for (package, header, kind, failed) in [
        ("tally", Some(x86.as_str()), "binary", None),
        ("tally", Some(arm.as_str()), "source", Some("service_error_fetch")),
        ("greeting", Some(arm.as_str()), "binary", None),
        ("ledger", Some(x86.as_str()), "source", Some("service_error_fetch")),
        ("tally", None, "source", Some("ua_error_none")),
        ("tally", Some("libcurl/8.5.0"), "source", Some("ua_error_unsupported_os")),
        ("tally", Some("Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)"), "source", Some("ua_error_no_r")),
        ("tally", Some(mac.as_str()), "source", Some("ua_error_distro_mismatch")),
        ("tally", Some(agent("9.9.1", "x86_64").as_str()), "source", Some("match_error_no_best_match")),
    ] {
        let explanation = assert_served(&server, &format!("prod {package} --distribution=noble"), header);
        assert_eq!(explanation["file"]["type"], kind, "{explanation}");
        assert_eq!(explanation["no_binary_reason"].as_str(), failed, "{explanation}");
    }
    let explanation = assert_served(&server, "prod tally", Some(&x86));
    assert_eq!(
        (&explanation["file"]["type"], &explanation["no_binary_reason"]),
        (&"source".into(), &Value::Null)
    );
    assert_eq!(decisions(&explanation, "distribution")[0].0, "none");
}

#[test]
fn the_text_lists_the_steps_with_their_rules() {
    let server = server();
    let r = binary::r_version();
    let header = agent(&format!("{r}.9"), "x86_64").replace(' ', "~");
    let text = server.rspm_stdout(&format!("explain prod tally --distribution=noble --user-agent={header}"));
    let mut rest = text.as_str();
    for part in [
        "Snapshot\n* latest: its newest change is from 20",
        "      the newest published state of every source; it may still change\n",
        "Sources, in order\n* team: lists 0.2.1 (state of 20",
        "      the first source that lists a name owns it, regardless of the versions\n",
        "Release\n* tally 0.2.1: current",
        "      the version that the index lists\n",
        "Distribution\n* noble: Ubuntu 24.04",
        &format!("Client\n* R ({r}.9 x86_64-pc-linux-gnu x86_64 linux-gnu): R {r}.9 on Linux, x86_64\n"),
        &format!("Platform\n* {r}-noble: best\n"),
        &format!("Binaries\n* {r}-noble/x86_64: of 20"),
        "      the newest from before the snapshot's end\n",
        "File\n* /prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz: stored, ",
        "      SHA-256 ",
        "\nThe client gets\n  the binary ",
        " of tally 0.2.1 from team: GET /prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz\n",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("no '{part}' in:\n{rest}\nof\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert_eq!(rest, "");
}

#[test]
fn sources_are_listed_in_order_with_the_owner_of_the_name_and_the_reason() {
    let server = Server::start();
    for (source, versions) in [("first", vec!["2.0"]), ("second", vec!["1.0", "3.0"]), ("third", vec![])] {
        server.rspm_stdout(&format!("create source --name={source}"));
        for version in versions {
            server.add(source, &Tarball::new("alpha", version));
        }
    }
    server.add("second", &Tarball::new("beta", "1.0"));
    server.rspm_stdout("create repo --name=prod");
    for source in ["first", "second", "third"] {
        server.rspm_stdout(&format!("subscribe --repo=prod --source={source}"));
    }
    let decision_texts = |explanation: &Value| -> Vec<String> {
        let short = |(subject, reason, selected): (String, String, bool)| {
            let reason = reason.split(" (state").next().expect("a text").to_owned();
            format!("{}{subject}: {reason}", if selected { "*" } else { "" })
        };
        decisions(explanation, "source").into_iter().map(short).collect()
    };
    let explanation = assert_served(&server, "prod alpha", None);
    assert_eq!(
        decision_texts(&explanation),
        ["*first: lists 2.0", "second: lists 3.0; in the archive: 1.0", "third: nothing was published yet"]
    );
    assert_eq!(
        (&explanation["file"]["source"], &explanation["file"]["version"]),
        (&"first".into(), &"2.0".into())
    );
    assert_eq!(explanation["decisions"][2]["rule"], "an earlier source owns the name");
    let explanation = assert_served(&server, "prod beta", None);
    assert_eq!(
        decision_texts(&explanation)[..2],
        ["first: does not have it", "*second: lists beta 1.0".replace("beta ", "").as_str()]
    );
    let explanation = explain(&server, "prod alpha --version=3.0");
    assert_eq!(explanation["file"], Value::Null);
    assert_eq!(explanation["answer"], "404: first owns the name alpha and has no version 3.0");
    let explanation = explain(&server, "prod gamma");
    assert_eq!(explanation["answer"], "404: no source of prod has gamma in this snapshot");
    server.rspm_stdout("remove package --name=alpha@all --source=first");
    let explanation = assert_served(&server, "prod alpha", None);
    assert_eq!(explanation["file"]["source"], "second");
    server.rspm_stdout("reorder --repo=prod --sources=third,second,first");
    let explanation = assert_served(&server, "prod alpha --version=1.0", None);
    assert_eq!(
        (&explanation["file"]["class"], &explanation["file"]["version"]),
        (&"archived".into(), &"1.0".into())
    );
    assert_eq!(explanation["file"]["url"], "/prod/latest/src/contrib/Archive/alpha/alpha_1.0.tar.gz");
}

#[test]
fn a_date_and_a_transaction_select_other_snapshots() {
    let server = server();
    let before = server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a number");
    server.add("team", &Tarball::new("tally", "0.9.0"));
    let r = binary::r_version();
    let header = agent(&format!("{r}.0"), "x86_64");
    let explanation =
        assert_served(&server, &format!("prod tally --distribution=noble --date={before}"), Some(&header));
    assert_eq!(
        (&explanation["file"]["version"], &explanation["file"]["type"]),
        (&"0.2.1".into(), &"binary".into())
    );
    let explanation = assert_served(&server, "prod tally --distribution=noble", Some(&header));
    assert_eq!(
        (&explanation["file"]["version"], &explanation["file"]["type"]),
        (&"0.9.0".into(), &"source".into())
    );
    assert_eq!(
        decisions(&explanation, "binary"),
        [("none".to_owned(), "no binary of this version was added".to_owned(), false)]
    );
    let explanation =
        assert_served(&server, "prod tally --version=0.2.1 --distribution=noble", Some(&header));
    assert_eq!(
        (&explanation["file"]["class"], &explanation["file"]["type"]),
        (&"archived".into(), &"binary".into())
    );
}

#[test]
fn the_other_binaries_are_listed_with_the_reason() {
    let server = server();
    let r = binary::r_version();
    let examples = binary::examples();
    add(&server, &[&examples[1]], "jammy");
    let rules = |header: &str| -> Vec<String> {
        let header = header.replace(' ', "~");
        let explanation = explain(&server, &format!("prod tally --distribution=noble --user-agent={header}"));
        let all = explanation["decisions"].as_array().expect("decisions").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        all.filter(|decision| decision["topic"] == "binary")
            .map(|decision| format!("{} {}", text(&decision["subject"]), text(&decision["rule"])))
            .collect()
    };
    let jammy = format!("{r}-jammy/x86_64 for another version of R, or another system");
    let noble = format!("{r}-noble/x86_64");
    assert_eq!(
        rules(&agent(&format!("{r}.0"), "x86_64")),
        [format!("{noble} the newest from before the snapshot's end"), jammy.clone()]
    );
    assert_eq!(
        rules(&agent(&format!("{r}.0"), "aarch64")),
        [format!("{noble} for another architecture"), jammy]
    );
    assert_eq!(rules("curl/8")[0], format!("{noble} no binary fits the client"));
}

#[test]
fn a_lost_binary_is_detected_before_it_is_requested() {
    let server = server();
    let r = binary::r_version();
    std::fs::remove_dir_all(server.dir().join("data/binaries/binaries")).expect("removed");
    let header = agent(&format!("{r}.0"), "x86_64");
    let explanation = assert_served(&server, "prod tally --distribution=noble", Some(&header));
    assert_eq!(
        (&explanation["file"]["type"], &explanation["no_binary_reason"]),
        (&"source".into(), &"service_error_fetch".into())
    );
    let files = decisions(&explanation, "file");
    assert_eq!((files.len(), files[0].2, files[1].2), (2, false, true), "{files:?}");
    assert!(explanation["answer"].as_str().expect("text").contains("is not in storage"), "{explanation}");
}

#[test]
fn windows_and_macos_are_explained_by_the_files_of_their_trees() {
    let server = server();
    let r = binary::r_version();
    let examples = binary::examples();
    add(&server, &[&examples[0]], "macos");
    let mac = format!("R ({r}.1 aarch64-apple-darwin20 aarch64 darwin20)");
    let explanation = assert_served(&server, "prod greeting --distribution=macos", Some(&mac));
    assert_eq!(explanation["file"]["platform"], format!("{r}-macos-arm64"));
    let win = format!("R ({r}.1 x86_64-w64-mingw32 x86_64 mingw32)").replace(' ', "~");
    let explanation = explain(&server, &format!("prod greeting --distribution=windows --user-agent={win}"));
    assert_eq!(
        (&explanation["file"], &explanation["no_binary_reason"]),
        (&Value::Null, &"service_error_fetch".into())
    );
    assert!(
        explanation["answer"].as_str().expect("text").starts_with(
            "404 at the address of the binary, because there is no binary of greeting 1.0.0 for"
        ),
        "{explanation}"
    );
    let explanation = explain(&server, "prod greeting --distribution=windows --user-agent=curl");
    assert_eq!(decisions(&explanation, "match")[0].0, "no binary fits");
}

#[test]
fn a_file_of_a_mirror_is_explained_without_fetching_it() {
    let entry = Entry::new("far", "1.0", 1000);
    let mirror = Mirror::of(std::slice::from_ref(&entry), &[]);
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}\n", mirror.url())).start();
    server.sync().expect("the mirror exists");
    server.repository("prod", "cran");
    let explanation = explain(&server, "prod far");
    assert_eq!(explanation["file"]["stored"], false);
    assert_eq!(decisions(&explanation, "file")[0].1, "not fetched yet");
    assert!(mirror.requests(&entry.listed()).is_empty(), "the file was not requested");
    server.get("/prod/latest/src/contrib/far_1.0.tar.gz");
    until("the row has it", || explain(&server, "prod far")["file"]["stored"] == true);
    assert_served(&server, "prod far", None);
}

#[test]
fn a_request_that_cannot_be_explained_is_refused_with_the_remedy() {
    let server = server();
    for (line, expected) in [
        ("explain prd tally", "there is no repository 'prd'; did you mean 'prod'?"),
        (
            "explain prod tally --distribution=nobel",
            "there is no distribution 'nobel'; did you mean 'noble'?",
        ),
        ("explain prod tally --date=tomorrow", "'tomorrow' is not a snapshot: use latest, a date"),
        ("explain prod tally --date=2001-01-01", "no snapshot of this repository is as old as 2001-01-01"),
        ("explain prod tally --date=99999", "there is no transaction 99999"),
    ] {
        let output = server.refused(line);
        assert!(output.contains(expected), "{line}: {output}");
    }
    let line = |header: &str| format!("explain prod tally --distribution=noble --user-agent={header}");
    assert!(server.refused(&line("R~(\u{9b}31m")).contains("an encoded control character"));
    let output = server.rspm_stdout(&line("R~(\u{2028}"));
    assert!(output.contains("* tally 0.2.1: current") && !output.contains('\u{2028}'), "{output}");
}
