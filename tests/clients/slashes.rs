//! Addresses with an empty segment, as clients form them from a repository address that ends in a slash.

use super::{add, curl, expected_output, r, repository};
use crate::support::http;
use crate::support::nginx::Nginx;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn fill(server: &Server) {
    server.rspm_stdout("create source --name=team");
    repository(server, "prod", &["team"]);
    add(server, "team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "2.0")]);
}

#[test]
fn an_empty_segment_is_read_as_one_slash() {
    let server = Server::start();
    fill(&server);
    // pkgcache, remotes, and a proxy whose prefix ends in a slash.
    for (path, clean) in [
        ("/prod/latest//src/contrib/PACKAGES.gz", "/prod/latest/src/contrib/PACKAGES.gz"),
        ("/prod/latest//src/contrib/Meta/archive.rds", "/prod/latest/src/contrib/Meta/archive.rds"),
        ("//prod/latest/src/contrib/alpha_2.0.tar.gz", "/prod/latest/src/contrib/alpha_2.0.tar.gz"),
        ("/prod//latest/src//contrib///PACKAGES", "/prod/latest/src/contrib/PACKAGES"),
        ("//__ping__", "/__ping__"),
        ("/__api__//repos", "/__api__/repos"),
    ] {
        let clean = server.get(clean);
        for method in ["GET", "HEAD"] {
            let response = http::request(method, &server.url(path), &[], b"");
            assert_eq!(
                (response.status, response.header("etag")),
                (200, clean.header("etag")),
                "{method} {path}"
            );
            assert!(method == "HEAD" || response.body == clean.body, "{path}");
        }
    }
    assert_eq!(server.get("/prod/latest//src/contrib/../../PACKAGES").status, 400);
    assert_eq!(server.get("/prod/latest//%2e%2e/PACKAGES").status, 400);
    let response = http::request("POST", &server.url("/__api__//url"), &[], b"{}");
    assert_eq!(response.status, 400, "a request with a body needs the exact address");
}

#[test]
fn remotes_finds_archived_versions_below_an_address_that_ends_in_a_slash() {
    let server = Server::start();
    fill(&server);
    let code = "remotes::install_version('alpha', '1.0', repos = args[[1]], quiet = TRUE, upgrade = 'never', INSTALL_opts = fast)
        say('archived', as.character(packageVersion('alpha')))";
    assert_eq!(r(code, &[&server.url("/prod/latest/")]), expected_output(&[("archived", "1.0")]));
}

#[test]
fn a_proxy_that_joins_a_prefix_and_a_path_with_two_slashes_works() {
    let server = Builder::default().gcfg("[Server]\nAddress = http://pm.example.org/packages").start();
    fill(&server);
    let proxy = Nginx::start(&format!("location /ppm/ {{ proxy_pass {}/packages//; }}", server.url("")));
    let response = curl(&[], &format!("{}/ppm/prod/latest/src/contrib/PACKAGES", proxy.url()));
    assert_eq!(response.status, 200);
}
