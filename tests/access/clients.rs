//! Real R and curl with an authenticated repository.

use std::process::Command;

use super::{private_repository, token};
use crate::support::rscript;
use crate::support::server::Server;

/// The repository's URL with user information.
fn url(server: &Server, userinfo: &str) -> String {
    format!("http://{userinfo}@{}/team/latest", server.host())
}

#[test]
fn r_installs_with_a_token_in_the_url_until_it_is_revoked() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let (reader, other) = (
        token(&server, "--scope=repos:read --repos=team"),
        token(&server, "--scope=sources:write --sources=team"),
    );
    let install = "args <- commandArgs(TRUE)
        for (repos in args) {
            library <- tempfile()
            dir.create(library)
            install.packages('alpha', lib = library, repos = repos, quiet = TRUE,
                INSTALL_opts = c('--no-docs', '--no-multiarch', '--no-test-load'))
            cat(as.character(packageVersion('alpha', lib.loc = library)), '\\n')
        }";
    let urls = [url(&server, &format!("__token__:{reader}")), url(&server, &reader)];
    assert_eq!(rscript::run(install, &urls), "1.0 \n1.0 \n");
    let count = "args <- commandArgs(TRUE)
        for (repos in args) {
            found <- suppressWarnings(nrow(available.packages(repos = repos)))
            cat(found, 'packages\\n')
        }";
    let refused = [url(&server, &other), format!("http://{}/team/latest", server.host())];
    assert_eq!(rscript::run(count, &urls), "1 packages\n1 packages\n");
    assert_eq!(rscript::run(count, &refused), "0 packages\n0 packages\n");
    server.rspm_stdout(&format!("revoke token --token={reader}"));
    assert_eq!(rscript::run(count, &urls), "0 packages\n0 packages\n");
}

#[test]
fn curl_gets_200_401_and_403_with_each_form_of_credentials() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let (reader, other) = (
        token(&server, "--scope=repos:read --repos=team"),
        token(&server, "--scope=sources:write --sources=team"),
    );
    let file = server.url("/team/latest/src/contrib/alpha_1.0.tar.gz");
    let netrc = server.dir().join("netrc");
    std::fs::write(&netrc, format!("machine 127.0.0.1 login __token__ password {reader}\n"))
        .expect("a writable directory");
    let status = |arguments: &[&str]| {
        let curl = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--noproxy", "*"])
            .args(arguments)
            .arg(&file)
            .output()
            .expect("curl is installed");
        String::from_utf8_lossy(&curl.stdout).into_owned()
    };
    assert_eq!(status(&["--netrc-file", &netrc.display().to_string()]), "200");
    assert_eq!(status(&["--oauth2-bearer", &reader]), "200");
    assert_eq!(status(&["--user", &format!("__token__:{reader}")]), "200");
    assert_eq!(status(&["--user", &format!("{reader}:")]), "200");
    assert_eq!(status(&["--anyauth", "--user", &format!("ann:{reader}")]), "200");
    assert_eq!(status(&[]), "401");
    assert_eq!(status(&["--user", "ann:wrong"]), "401");
    assert_eq!(status(&["--oauth2-bearer", &other]), "403");
}
