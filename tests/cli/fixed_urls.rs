//! `rspm url create`: fixed URLs, and what they serve later.

use super::{add, team};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The packages of the index at a URL of the server, as `name version`.
fn listing(server: &Server, url: &str) -> Vec<String> {
    let path = url.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(url);
    let answer = server.get(&format!("{path}/src/contrib/PACKAGES"));
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    let text = answer.text();
    let field = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_default().trim().to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records.map(|record| format!("{} {}", field(record, "Package:"), field(record, "Version:"))).collect()
}

fn create(server: &Server, flags: &str) -> String {
    let output = server.rspm(&format!("url create --repo=prod {flags}"));
    assert_eq!(output.code, 0, "{flags}: {}", output.err);
    assert_eq!(output.out.lines().count(), 1, "the URL alone is on standard output: {}", output.out);
    output.out.trim().to_owned()
}

/// True if the last part of the URL has the form `YYYY-MM-DD-NNNNNN`.
fn has_alias(url: &str) -> bool {
    let name = url.rsplit('/').next().unwrap_or_default();
    name.len() == 17 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[test]
fn a_locked_url_serves_the_same_packages_after_every_change() {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    let url = create(&server, "--lock");
    assert!(url.contains("/prod/") && has_alias(&url), "{url}");
    assert_eq!(create(&server, "--lock"), url, "one state has one URL");
    let before = listing(&server, &url);
    assert_eq!(before, ["alpha 1.0"]);
    let index = |url: &str| {
        let path = &url[url.find("/prod/").expect("a path")..];
        server.get(&format!("{path}/src/contrib/PACKAGES"))
    };
    let tag = index(&url).header("etag").expect("an entity tag").to_owned();

    add(&server, "team", &[Tarball::new("alpha", "1.1"), Tarball::new("beta", "1.0")]);
    server.rspm_stdout("create source --name=extra");
    add(&server, "extra", &[Tarball::new("gamma", "1.0")]);
    server.rspm_stdout("subscribe --repo=prod --source=extra");
    server.rspm_stdout("edit repo --name=prod --new-name=prod2");
    server.rspm_stdout("edit repo --name=prod2 --new-name=prod");
    assert_eq!(listing(&server, &url), before);
    assert_eq!(index(&url).header("etag"), Some(tag.as_str()));
    let mut server = server;
    server.restart();
    assert_eq!(listing(&server, &url), before);
    let later = create(&server, "--lock");
    assert!(later != url && has_alias(&later), "{later}");
    assert_eq!(listing(&server, &later), ["alpha 1.1", "beta 1.0", "gamma 1.0"]);
    let trail = server.rspm_stdout("audit list");
    assert!(trail.contains("create fixed URL"), "{trail}");
}

#[test]
fn a_source_may_have_another_state_than_the_others() {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    let number = newest_transaction(&server);
    add(&server, "team", &[Tarball::new("alpha", "1.1")]);
    server.rspm_stdout("create source --name=extra");
    add(&server, "extra", &[Tarball::new("gamma", "1.0")]);
    server.rspm_stdout("subscribe --repo=prod --source=extra");
    let url = create(&server, &format!("--snapshot=team:{number}"));
    assert_eq!(listing(&server, &url), ["alpha 1.0", "gamma 1.0"]);
    add(&server, "extra", &[Tarball::new("gamma", "2.0")]);
    assert_eq!(listing(&server, &url), ["alpha 1.0", "gamma 2.0"], "only team is fixed");
    let locked = create(&server, &format!("--snapshot=team:{number} --lock"));
    add(&server, "extra", &[Tarball::new("gamma", "3.0")]);
    assert_eq!(listing(&server, &locked), ["alpha 1.0", "gamma 2.0"]);
    // Files, archives and pages of the fixed state.
    let path = &locked[locked.find("/prod/").expect("a path")..];
    assert_eq!(server.get(&format!("{path}/src/contrib/alpha_1.0.tar.gz")).status, 200);
    assert_eq!(server.get(&format!("{path}/src/contrib/Archive/gamma/gamma_1.0.tar.gz")).status, 200);
    assert_eq!(server.get(&format!("{path}/")).status, 200);
    assert_eq!(server.get(&format!("{path}/web/changes/")).status, 200);
}

/// The number of the newest transaction.
fn newest_transaction(server: &Server) -> i64 {
    let url = create(server, "--lock --no-alias");
    url.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a transaction")
}

#[test]
fn a_day_or_a_transaction_needs_no_alias() {
    let server = Builder::default().gcfg("[Server]\nAddress = https://packages.example.org/pm").start();
    server.local_repository("prod", &[Tarball::new("alpha", "1.0")]);
    let output = server.rspm("url create --repo=prod");
    assert_eq!(
        (output.out.as_str(), output.err.as_str()),
        ("https://packages.example.org/pm/prod/latest\n", "")
    );
    assert!(newest_transaction(&server) > 0);
    for (flags, words) in [
        ("--repo=nothing", "there is no repository"),
        ("--repo=prod --snapshot=nothing:1 --lock", "there is no source 'nothing'"),
        ("--repo=prod --snapshot=cran:1", "does not subscribe to the source 'cran'"),
        ("--repo=prod --snapshot=prod:99", "there is no transaction 99"),
        ("--repo=prod --snapshot=prod:2 --snapshot=prod:2", "twice"),
        ("--repo=prod --snapshot=prod:2000-01-01", "no state as old"),
        ("--repo=prod --snapshot=prod:2026-01-01-000001", "choose a day or a transaction"),
        ("--repo=prod --snapshot=prod:1 --no-alias", "omit --no-alias"),
        ("--repo=prod --date=2000-01-01", "history starts at"),
        ("--repo=prod --date=2999-01-01", "is in the future"),
        ("--repo=prod --date=yesterday", "is not a day"),
        ("--repo=prod@3.20 --lock", "of type"),
    ] {
        let error = server.refused(&format!("url create {flags}"));
        assert!(error.contains(words), "{flags}: {error}");
    }
    for path in ["/prod/2026-01-01-000077/src/contrib/PACKAGES", "/prod/2026-01-01-77/src/contrib/PACKAGES"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_fixed_url_belongs_to_one_repository_and_ends_with_it() {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    let url = create(&server, "--lock");
    let name = url.rsplit('/').next().expect("a name").to_owned();
    server.repository("other", "team");
    let status = |repo: &str| server.get(&format!("/{repo}/{name}/src/contrib/PACKAGES")).status;
    assert_eq!((status("prod"), status("other")), (200, 404));
    server.rspm_stdout("delete repo --name=prod");
    server.repository("prod", "team");
    assert_eq!(status("prod"), 404);
}
