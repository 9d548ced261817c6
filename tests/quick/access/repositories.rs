//! Authenticated repositories: their readers, the headers of responses, and the absence of their names elsewhere.

use super::{basic, bearer, get, private_repository, send, token};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const INDEX: &str = "/secretrepo/latest/src/contrib/PACKAGES";
const FILE: &str = "/secretrepo/latest/src/contrib/secretpkg_1.0.tar.gz";

fn start() -> Server {
    let server = Server::start();
    server.local_repository("open", &[Tarball::new("alpha", "1.0")]);
    private_repository(&server, "secretrepo", "secretpkg");
    server
}

#[test]
fn a_repository_needs_a_token_even_if_its_responses_are_cached() {
    let server = start();
    let reader = token(&server, "--scope=repos:read --repos=secretrepo");
    let other = token(&server, "--scope=repos:read --repos=open");
    for path in [INDEX, FILE] {
        // Later rounds are answered from the cache of addresses.
        for round in 0..3 {
            let response = get(&server, path, None);
            assert_eq!(response.status, 401, "{path} {round}");
            assert_eq!(
                response.header("www-authenticate"),
                Some(r#"Basic realm="secretrepo", charset="UTF-8""#)
            );
            let response = get(&server, path, Some(&bearer(&other)));
            assert_eq!(response.status, 403, "{path} {round}");
            assert_eq!(
                response.header("www-authenticate"),
                Some(r#"Bearer error="insufficient_scope", scope="repos:read""#)
            );
            assert!(
                response.text().contains("repos:read for the repository 'secretrepo'"),
                "{}",
                response.text()
            );
            for authorization in [
                bearer(&reader),
                basic("__token__", &reader),
                basic("alice@example.org", &reader),
                basic(&reader, ""),
            ] {
                let answer = get(&server, path, Some(&authorization));
                assert_eq!(answer.status, 200, "{path} {round}");
                assert_restricted(&answer);
            }
            assert_eq!(
                get(&server, path, Some(&basic("__token__", ""))).status,
                401,
                "a user name without a password"
            );
        }
        // A condition is evaluated only for a client that may read.
        let etag = get(&server, path, Some(&bearer(&reader))).header("etag").expect("known").to_owned();
        let conditional = |authorization: &[(&str, &str)]| {
            let headers = [&[("If-None-Match", &*etag)], authorization].concat();
            http::request("GET", &server.url(path), &headers, b"")
        };
        assert_eq!(conditional(&[]).status, 401, "{path}");
        assert_eq!(conditional(&[("Authorization", &bearer(&other))]).status, 403, "{path}");
        let response = conditional(&[("Authorization", &bearer(&reader))]);
        assert_eq!(response.status, 304, "{path}");
        assert_restricted(&response);
    }
    assert_eq!(send(&server, "HEAD", FILE, None, "").status, 401);
    assert_eq!(get(&server, "/secretrepo/latest/src/contrib/nothing_1.0.tar.gz", None).status, 401);
    assert_eq!(get(&server, "/open/latest/src/contrib/PACKAGES", None).status, 200);
    assert_eq!(get(&server, "/open/latest/src/contrib/PACKAGES", None).header("vary"), None);
}

fn assert_restricted(answer: &http::Answer) {
    let cache = answer.header("cache-control").expect("set");
    assert!(cache.starts_with("private, "), "{cache}");
    assert!(!cache.contains("public") && !cache.contains("must-revalidate"), "{cache}");
    assert_eq!(answer.header("vary"), Some("Authorization"));
}

#[test]
fn errors_of_an_authenticated_repository_are_for_one_client() {
    let server = start();
    server.rspm_stdout("create repo --name=secretpy --type=python --authenticated");
    let reader = bearer(&token(&server, "--scope=repos:read --repos=secretrepo,secretpy"));
    let cache_control = |path: &str, authorization: Option<&str>, status: u16| {
        let answer = get(&server, path, authorization);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        answer.header("cache-control").unwrap_or_else(|| panic!("{path}")).to_owned()
    };
    for path in [
        "/secretrepo/latest/web/packages/nothing/",
        "/secretrepo/latest/web/packages/secretpkg/?version=9",
        "/secretrepo/2001-01-01/web/packages/secretpkg/",
        "/secretrepo/latest/src/contrib/nothing_1.0.tar.gz",
        "/secretpy/latest/src/contrib/PACKAGES",
    ] {
        assert_eq!(cache_control(path, None, 401), "private, no-cache", "{path}");
        assert_eq!(cache_control(path, Some(&reader), 404), "private, no-cache", "{path}");
    }
    // Addresses that are not valid, for which no permission is required.
    for path in
        ["/secretrepo/2026-13-01/", "/secretrepo/latest/web/nothing/", "/secretrepo/x/src/contrib/PACKAGES"]
    {
        for authorization in [None, Some(reader.as_str())] {
            assert_eq!(cache_control(path, authorization, 404), "private, no-cache", "{path}");
        }
        assert_eq!(cache_control(&path.replace("secretrepo", "open"), None, 404), "no-cache", "{path}");
    }
    // A page of an open repository names the account.
    let page = "/open/latest/web/packages/alpha/";
    assert_eq!(cache_control(page, None, 200), "no-cache");
    assert_eq!(cache_control(page, Some(&reader), 200), "private, no-cache");
}

#[test]
fn authentication_is_switched_on_and_off_and_applies_to_cached_addresses() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let index = "/team/latest/src/contrib/PACKAGES";
    assert_eq!(get(&server, index, None).status, 200);
    assert_eq!(
        server.rspm_stdout("edit repo --name=team --authenticated"),
        "Repository: team - R - authenticated\n"
    );
    assert_eq!(get(&server, index, None).status, 401);
    assert_eq!(server.json("list repos")[0]["authenticated"], true);
    server.rspm_stdout("edit repo --name=team --new-name=crew");
    assert_eq!(get(&server, "/crew/latest/src/contrib/PACKAGES", None).status, 401);
    let opened = server.rspm("edit repo --name=crew --authenticated=false");
    assert_eq!((opened.code, opened.out.as_str()), (0, "Repository: crew - R\n"));
    let answer = get(&server, "/crew/latest/src/contrib/PACKAGES", None);
    assert_eq!((answer.status, answer.header("vary")), (200, None));
}

#[test]
fn new_repositories_are_authenticated_if_the_configuration_requires_it() {
    let server = Builder::default().gcfg("[Authentication]\nNewReposAuthByDefault = true").start();
    assert_eq!(server.json("create repo --name=a")["authenticated"], true);
    assert_eq!(server.json("create repo --name=b --authenticated=false")["authenticated"], false);
    assert_eq!(server.json("create repo --name=a --succeed-on-existing")["authenticated"], true);
    let error = server.refused("create repo --name=b --authenticated --succeed-on-existing");
    assert!(error.contains("exists already"), "an open repository is no success: {error}");
    assert_eq!(get(&server, "/a/latest/src/contrib/PACKAGES", None).status, 401);
    assert_eq!(get(&server, "/b", None).status, 302);
}

/// No address that lists or searches names the repository, its source or its package to a client without the scope.
#[test]
fn private_names_are_in_no_response_to_others() {
    let server = start();
    server.rspm_stdout("create repo --name=hiddenrepo");
    server.rspm_stdout("edit repo --name=hiddenrepo --hide");
    let reader = token(&server, "--scope=repos:read --repos=secretrepo");
    let other = token(&server, "--scope=repos:read --repos=open");
    let writer = token(&server, "--scope=sources:write --sources=open");
    // A download of the private package, so that it is counted.
    assert_eq!(get(&server, FILE, Some(&bearer(&reader))).status, 200);
    let paths = [
        "/",
        "/?q=secret",
        "/?q=hidden",
        "/client/",
        "/robots.txt",
        "/__ping__",
        "/__api__/status",
        "/__api__/repos",
        "/__api__/repos?type=R",
        "/__api__/sources",
        "/__api__/alerts",
        "/__api__/metrics/packages",
        "/__api__/swagger/doc.json",
        "/__api__/repos/1",
        "/__api__/repos/2",
        "/__api__/repos/3",
        "/__api__/repos/2/packages",
        "/2/latest/src/contrib/PACKAGES",
        "/__api__/repos/2/packages/secretpkg",
        "/__api__/sources/5",
        "/__api__/sources/5/packages",
        "/__api__/sources/5/transactions",
        "/__api__/sources/5/packages/secretpkg/releases",
        "/secretrep/latest/src/contrib/PACKAGES",
        "/hiddenrep/latest/src/contrib/PACKAGES",
        "/secretrepoo",
        "/open/latest/src/contrib/PACKAGES",
        "/open/latest/src/contrib/secretpkg_1.0.tar.gz",
        "/open/latest/",
        "/open/latest/web/packages/",
        "/open/latest/web/packages/?q=secret",
        "/secretrep/latest/web/packages/",
        "/__api__/repos/open/packages/secretpkg",
        "/__api__/repos/open/sources",
        "/__api__/repos/open/packages",
        "/__api__/admin/v1/repos",
        "/__api__/admin/v1/sources",
        "/__api__/admin/v1/sources/secretrep",
        "/__api__/admin/v1/repos/secretrep",
        "/__api__/admin/v1/repos/open/explain?package=secretpkg",
    ];
    let assert_no_private_name = |label: &str, text: &str, requested: &str| {
        for name in ["secretrepo", "secretpkg", "for secretrepo", "hiddenrepo"] {
            // An error may repeat what the client sent.
            if !requested.contains(name) {
                assert!(!text.contains(name), "{label} names {name}: {text}");
            }
        }
    };
    for path in paths {
        for authorization in [None, Some(bearer(&other)), Some(bearer(&writer))] {
            let answer = get(&server, path, authorization.as_deref());
            let text = format!("{:?} {}", answer.headers, answer.text());
            assert_no_private_name(&format!("{path} ({})", answer.status), &text, path);
            if path.contains("/repos/2") || path.contains("/sources/5") {
                assert!([401, 403].contains(&answer.status), "{path}: {}", answer.status);
            }
        }
    }
    for (path, body) in [
        ("/__api__/filter/packages", r#"{"repo": "open", "names": ["alpha", "secretpkg"]}"#),
        ("/__api__/repos/open/filter/packages", r#"{"names": ["alpha", "secretpkg"], "vulns": true}"#),
        ("/__api__/url", r#"{"repo": "3", "snapshot": "2099-01-01"}"#),
    ] {
        let answer = send(&server, "POST", path, Some(&bearer(&other)), body);
        assert_no_private_name(path, &answer.text(), body);
    }
    for body in [r#"{"repo": "secretrepo", "names": []}"#, r#"{"repo": "2", "names": ["secretpkg"]}"#] {
        assert_eq!(send(&server, "POST", "/__api__/filter/packages", None, body).status, 401);
        let response = send(&server, "POST", "/__api__/filter/packages", Some(&bearer(&other)), body);
        assert_eq!(response.status, 403);
    }
    assert_no_private_name("metrics", &server.metrics().text(), "");
    // With the scope, responses contain the names.
    let list = get(&server, "/__api__/repos", Some(&bearer(&reader))).json();
    let names: Vec<&str> =
        list.as_array().expect("a list").iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["open", "secretrepo"]);
    assert_eq!(list[1]["auth"], true);
    assert!(get(&server, "/", Some(&bearer(&reader))).text().contains("secretrepo"));
    let ini = |authorization: Option<&str>| {
        let mut fields = vec![("Accept", "text/ini")];
        fields.extend(authorization.map(|value| ("Authorization", value)));
        http::request("GET", &server.url("/open/__linux__/__api__/repos"), &fields, b"").text()
    };
    let lines: Vec<String> =
        ["open", "secretrepo"].map(|name| format!("{name}={}/{name}/latest\n", server.url(""))).into();
    assert_eq!(ini(None), lines[0]);
    assert_eq!(ini(Some(&bearer(&other))), lines[0]);
    assert_eq!(ini(Some(&bearer(&reader))), lines.concat());
    let sources = get(&server, "/__api__/sources", Some(&bearer(&reader))).text();
    assert!(sources.contains("secretrepo"), "{sources}");
    let filter = r#"{"repo": "secretrepo", "names": ["secretpkg"]}"#;
    let response = send(&server, "POST", "/__api__/filter/packages", Some(&basic("x", &reader)), filter);
    assert_eq!((response.status, response.text().contains("secretpkg")), (200, true));
}

#[test]
fn a_source_of_an_open_and_an_authenticated_repository_is_open() {
    let server = start();
    assert_eq!(get(&server, "/__api__/sources/secretrepo", None).status, 401);
    assert_eq!(server.rspm("subscribe --repo=open --source=secretrepo").code, 0);
    assert_eq!(get(&server, "/__api__/sources/secretrepo/packages", None).status, 200);
    server.rspm_stdout("unsubscribe --repo=open --source=secretrepo");
    assert_eq!(get(&server, "/__api__/sources/secretrepo/packages", None).status, 401);
    server.rspm_stdout("unsubscribe --repo=secretrepo --source=secretrepo");
    assert_eq!(
        get(&server, "/__api__/sources/secretrepo/packages", None).status,
        401,
        "snapshots of the authenticated repository still have it"
    );
}

/// An earlier snapshot of an open repository still has the packages of a source that only an authenticated repository
/// subscribes to now, but not its name.
#[test]
fn an_earlier_snapshot_does_not_name_a_source_that_is_private_now() {
    let server = start();
    // With a warning that the packages become public.
    assert_eq!(server.rspm("subscribe --repo=open --source=secretrepo").code, 0);
    server.add("secretrepo", &Tarball::new("secretpkg", "2.0"));
    let transactions = get(&server, "/__api__/sources/secretrepo/transactions", None).json();
    let number = transactions[0]["id"].as_i64().expect("the newest one");
    server.rspm_stdout("unsubscribe --repo=open --source=secretrepo");
    let other = bearer(&token(&server, "--scope=repos:read --repos=open"));
    let reader = bearer(&token(&server, "--scope=repos:read --repos=secretrepo"));
    let explain = format!("/__api__/admin/v1/repos/open/explain?package=secretpkg&date={number}");
    for (path, authorization) in [
        (format!("/open/{number}/web/packages/"), None),
        (format!("/open/{number}/web/packages/secretpkg/"), None),
        (format!("/__api__/repos/open/packages?snapshot={number}"), None),
        (format!("/__api__/repos/open/packages/secretpkg?snapshot={number}"), None),
        (explain, Some(other.as_str())),
    ] {
        let answer = get(&server, &path, authorization);
        assert_eq!((answer.status, answer.text().contains("secretpkg")), (200, true), "{path}");
        assert!(!answer.text().contains("secretrepo"), "{path}: {}", answer.text());
        let answer = get(&server, &path, Some(&reader));
        assert!(answer.text().contains("secretrepo"), "{path}: {}", answer.text());
    }
    let file = "/secretrepo/latest/src/contrib/secretpkg_2.0.tar.gz";
    assert_eq!(get(&server, file, Some(&reader)).status, 200);
    let downloads = |authorization: Option<&str>| {
        let package = format!("/__api__/repos/open/packages/secretpkg?snapshot={number}");
        let body = format!(r#"{{"repo": "open", "names": ["secretpkg"], "snapshot": "{number}"}}"#);
        let listed = send(&server, "POST", "/__api__/filter/packages", authorization, &body).json();
        let count = get(&server, &package, authorization).json()["downloads"]["count"].as_i64();
        (count, listed["downloads"].as_i64())
    };
    until("the download is counted", || downloads(Some(&reader)) == (Some(1), Some(1)));
    assert_eq!(downloads(None), (Some(0), Some(0)), "they are those of the authenticated repository");
}

/// A hidden repository can be requested by its number, and responses do not have its name or description.
#[test]
fn a_number_does_not_disclose_the_name_of_a_hidden_repository() {
    let server = Server::start();
    for (name, kind) in [("hiddenr", "r"), ("hiddenbioc", "bioconductor"), ("hiddenpy", "python")] {
        server.rspm_stdout(&format!("create repo --name={name} --type={kind} --description=for~{name}"));
        server.rspm_stdout(&format!("edit repo --name={name} --hide"));
    }
    server.rspm_stdout("create source --name=own");
    server.rspm_stdout("subscribe --repo=hiddenr --source=own");
    server.add("own", &Tarball::new("alpha", "1.0"));
    server.rspm_stdout("create source --name=ownpy --type=local-python");
    server.rspm_stdout("subscribe --repo=hiddenpy --source=ownpy");
    crate::support::python::package::add(
        &server,
        "ownpy",
        &crate::support::python::package::Package::new("alpha", "1.0"),
    );
    let reader = bearer(&token(&server, "--scope=repos:read --repos=*"));
    let (mut pages, mut api_answers) = (0, 0);
    for id in 1..=3 {
        for rest in [
            "",
            "/",
            "/latest",
            "/latest/",
            "/config.yaml",
            "/latest/config.yaml",
            "/latest/src/contrib/PACKAGES",
            "/latest/src/contrib/nothing_1.0.tar.gz",
            "/latest/packages/3.20/bioc/src/contrib/PACKAGES",
            "/latest/packages/release/bioc/src/contrib/PACKAGES",
            "/latest/web/packages/",
            "/latest/web/packages/alpha/",
            "/latest/web/packages/alpha/versions/",
            "/latest/web/packages/nothing/",
            "/?day=2020-01-01",
            "/latest/simple/",
            "/latest/simple/nothing",
            "/latest/simple/alpha/",
            "/latest/pypi/alpha/json",
            "/2020-01-01/",
            "/999999/",
        ] {
            for authorization in [None, Some(reader.as_str())] {
                let path = format!("/{id}{rest}");
                let answer = get(&server, &path, authorization);
                let text = format!("{:?} {}", answer.headers, answer.text());
                assert!(!text.contains("hidden"), "{path}: {} {text}", answer.status);
                pages += usize::from(answer.status == 200);
            }
        }
        for rest in ["packages", "packages/alpha", "packages/alpha/releases", "sources", "transaction-dates"]
        {
            let answer = get(&server, &format!("/__api__/repos/{id}/{rest}"), None);
            assert!(!answer.text().contains("hidden"), "{id} {rest}: {} {}", answer.status, answer.text());
            api_answers += usize::from(answer.status == 200);
        }
        let answer = get(&server, &format!("/__api__/admin/v1/repos/{id}"), Some(&reader));
        assert_eq!(
            (answer.status, answer.text().contains("hidden")),
            (404, false),
            "{id}: {}",
            answer.text()
        );
    }
    assert!(pages > 0 && api_answers > 0, "some are served");
    assert!(get(&server, "/hiddenr/latest/", None).text().contains("for hiddenr"), "by its name");
}

#[test]
fn a_source_that_is_opened_to_everybody_causes_a_warning() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    server.rspm_stdout("create repo --name=open");
    let output = server.rspm("subscribe --repo=open --source=team");
    assert_eq!(output.code, 0, "{}", output.err);
    let words = [
        "everyone who can connect to the server",
        "source 'team'",
        "'open' requires no token",
        "repository 'team'",
    ];
    assert!(words.iter().all(|word| output.err.contains(word)), "{}", output.err);
    let output = server.rspm("edit repo --name=team --authenticated=false");
    assert!(output.code == 0 && output.err.contains("can now read the repository 'team'"), "{}", output.err);
    for line in ["edit repo --name=team --authenticated=false", "edit repo --name=team --description=x"] {
        assert_eq!(server.rspm(line).err, "", "{line}: nothing is opened");
    }
    server.rspm_stdout("edit repo --name=team --authenticated");
    server.rspm_stdout("create repo --name=closed --authenticated");
    assert_eq!(server.rspm("subscribe --repo=closed --source=team").err, "");
}

#[test]
fn unencrypted_authenticated_repositories_are_a_warning_of_the_status() {
    let warns = |gcfg: &str| {
        let mut server = Builder::default().gcfg(gcfg).start();
        server.rspm_stdout("create repo --name=team --authenticated");
        let status = server.rspm_stdout("status -o json");
        server.restart();
        let words = "'team', are served without encryption";
        let warns = status.contains(words);
        if warns {
            server.wait_for_log(words);
        }
        warns
    };
    assert!(!warns(""), "a loopback address");
    assert!(warns("[HTTP]\nListen = 0.0.0.0:0"));
    assert!(!warns("[HTTP]\nListen = 0.0.0.0:0\n[Server]\nAddress = https://packages.example.org"));
}

#[test]
fn a_refusal_to_delete_a_source_names_no_repository_that_the_client_may_not_read() {
    let server = start();
    let name = "secretrepo";
    let writer = bearer(&token(&server, &format!("--scope=sources:write --sources={name}")));
    let path = format!("/__api__/admin/v1/sources/{name}");
    let refused = send(&server, "DELETE", &path, Some(&writer), "");
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("a repository that the token may not read"), "{}", refused.text());
    let command = server.rspm(&format!("delete source --name={name}"));
    assert!(command.err.contains("is subscribed to by 'secretrepo'"), "{}", command.err);
}
