//! Clients behind a reverse proxy with a path prefix, over HTTPS with a private authority, and with HTTP/2.

use super::{add, curl, expected_output, r, r_with, repository};
use crate::support::nginx::Nginx;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn fill(server: &Server) {
    server.rspm_stdout("create source --name=team");
    repository(server, "prod", &["team"]);
    add(server, "team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "2.0")]);
}

const INSTALL: &str = "say('packages', nrow(available.packages(repos = args[[1]])))
    install.packages('alpha', repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
    say('installed', as.character(packageVersion('alpha')))
    remotes::install_version('alpha', '1.0', repos = args[[1]], quiet = TRUE, upgrade = 'never', INSTALL_opts = fast)
    say('archived', as.character(packageVersion('alpha')))";

fn install_output() -> std::collections::BTreeMap<String, String> {
    expected_output(&[("packages", "1"), ("installed", "2.0"), ("archived", "1.0")])
}

#[test]
fn r_installs_through_a_reverse_proxy_with_a_path_prefix() {
    let server = Builder::default().gcfg("[Server]\nAddress = http://pm.example.org/packages").start();
    fill(&server);
    assert_eq!(server.json("info --repo=prod")["url"], "http://pm.example.org/packages/prod/latest");
    // `/packages/` is forwarded unchanged; `/stripped/` is removed.
    let proxy = Nginx::start(&format!(
        "location /packages/ {{ proxy_pass {0}; }} location /stripped/ {{ proxy_pass {0}/; }}",
        server.url("")
    ));
    for prefix in ["packages", "stripped"] {
        let output = r(INSTALL, &[&format!("{}/{prefix}/prod/latest", proxy.url())]);
        assert_eq!(output, install_output(), "{prefix}");
        let ping = curl(&[], &format!("{}/{prefix}/__ping__", proxy.url()));
        assert_eq!((ping.status, ping.text().as_str()), (200, "{}"), "{prefix}");
        let status = curl(&[], &format!("{}/{prefix}/__api__/status", proxy.url()));
        assert_eq!(status.status, 200, "{prefix}");
    }
    let response = curl(&[], &format!("{}/packages/prod/latest/src/contrib/PACKAGES.gz", proxy.url()));
    let header = format!("If-None-Match: {}", response.header("etag"));
    let revalidated = curl(
        &["--header", &header],
        &format!("{}/stripped/prod/latest/src/contrib/PACKAGES.gz", proxy.url()),
    );
    assert_eq!(revalidated.status, 304, "a cache in between can revalidate");
}

/// Writes a private authority and its certificate for 127.0.0.1; returns the file of the authority.
fn certificates(folder: &std::path::Path) -> std::path::PathBuf {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "A Private Authority");
    let key = KeyPair::generate().expect("a key");
    let file = folder.join("authority.pem");
    let signed = authority.self_signed(&key).expect("a certificate");
    std::fs::write(&file, signed.pem()).expect("written");
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server =
        CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("a certificate");
    std::fs::write(folder.join("server.pem"), server.pem()).expect("written");
    std::fs::write(folder.join("server.key"), key.serialize_pem()).expect("written");
    file
}

#[test]
fn r_and_curl_read_over_https_with_a_private_authority() {
    let folder = tempfile::tempdir().expect("a directory");
    let authority = certificates(folder.path());
    let server = Builder::default()
        .gcfg(&format!(
            "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {0}/server.pem\nKey = {0}/server.key",
            folder.path().display()
        ))
        .start();
    fill(&server);
    let url = server.urls().iter().find(|url| url.starts_with("https://")).expect("an HTTPS listener");
    let authority = authority.display().to_string();
    let index = format!("{url}/prod/latest/src/contrib/PACKAGES.gz");
    let plain = curl(&[], &server.url("/prod/latest/src/contrib/PACKAGES.gz"));
    for (option, protocol) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let response = curl(&["--cacert", &authority, option], &index);
        assert_eq!((response.status, response.protocol.as_str()), (200, protocol));
        assert!(response.body == plain.body && response.header("etag") == plain.header("etag"), "{option}");
        let header = format!("If-None-Match: {}", response.header("etag"));
        let revalidated = curl(&["--cacert", &authority, option, "--header", &header], &index);
        assert_eq!((revalidated.status, revalidated.body.len()), (304, 0), "{option}");
        let tarball = format!("{url}/prod/latest/src/contrib/alpha_2.0.tar.gz");
        let part = curl(&["--cacert", &authority, option, "--range", "5-14"], &tarball);
        assert_eq!((part.status, part.body.len()), (206, 10), "{option}");
        let head = curl(&["--cacert", &authority, option, "--head"], &tarball);
        assert_eq!((head.status, head.body.len()), (200, 0), "{option}");
    }
    for option in ["--http2", "--http1.1"] {
        let page = curl(&["--cacert", &authority, option], &format!("{url}/prod/latest/")).text();
        assert!(page.contains(&format!("{url}/prod/latest")), "{option}: {page}");
    }
    let output = r_with(INSTALL, &[&format!("{url}/prod/latest")], |command| {
        command.env("CURL_CA_BUNDLE", &authority);
    });
    assert_eq!(output, install_output());
}
