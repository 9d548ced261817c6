//! The quick starts of `docs/admin/access.md`, as printed: only addresses, tokens and paths are replaced.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{bearer, get};
use crate::support::browser::Browser;
use crate::support::http;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The address of the server in the document.
const ADDRESS: &str = "https://packages.example.org";
const INDEX: &str = "/team/latest/src/contrib/PACKAGES";

/// The text of the code blocks below a heading.
fn blocks(heading: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin/access.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("no heading {heading}"));
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').expect("a line with the language").1.to_owned()).collect()
}

/// Runs a script in a folder; returns its standard output. `setup` precedes it.
fn run(folder: &Path, setup: &str, script: &str) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_rspm")).parent().expect("a folder");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-euc", &format!("{setup}\n{script}")])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .output()
        .expect("sh runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}\n{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a script on the machine of the server; returns its standard output.
fn on_server(server: &Server, script: &str) -> String {
    let setup = format!("rspm() {{ command rspm --config '{}' \"$@\"; }}", server.config_file().display());
    run(server.dir(), &setup, script)
}

fn token_in(text: &str) -> String {
    let found = regex::Regex::new("rspm_[0-9A-Za-z]{36}").expect("valid").find(text);
    found.unwrap_or_else(|| panic!("no token: {text}")).as_str().to_owned()
}

#[test]
fn a_private_repository_is_for_the_team_and_ci_publishes_to_it() {
    let server = Server::start();
    let team = blocks("A private repository for a team");
    let reader = token_in(&on_server(&server, &team[0]));
    assert_eq!(get(&server, INDEX, None).status, 401);
    assert_eq!(get(&server, INDEX, Some(&bearer(&reader))).status, 200);
    let ci = blocks("Publishing from CI");
    let [create, publish, download] = &ci[..] else { panic!("{} blocks", ci.len()) };
    let token = token_in(&on_server(&server, create));
    // The job runs in a folder of its own, without the configuration of the server.
    let job = tempfile::tempdir().expect("a directory");
    let package = Tarball::new("mypackage", "1.0");
    std::fs::write(job.path().join(package.file()), package.bytes()).expect("written");
    let address = server.url("").trim_end_matches('/').to_owned();
    assert!(publish.contains(ADDRESS) && publish.contains("rspm_…"), "{publish}");
    let publish = publish.replace(ADDRESS, &address).replace("rspm_…", &token);
    run(job.path(), "", &format!("{publish}\n{download}\n./rspm --version"));
    let index = get(&server, INDEX, Some(&bearer(&reader))).text();
    assert!(index.contains("Package: mypackage"), "{index}");
}

#[test]
fn people_sign_in_with_the_company() {
    let provider = OpenIdProvider::mock();
    provider.set_user("ann", &json!({"groups": ["data-science"], "preferred_username": "ann"}));
    let sign_in = blocks("Company sign-in");
    let [configuration, apply] = &sign_in[..] else { panic!("{} blocks", sign_in.len()) };
    let port = free_port();
    let mut lines = configuration.clone();
    for (printed, actual) in [
        (ADDRESS, format!("http://127.0.0.1:{port}")),
        ("https://login.example.com", provider.issuer()),
        ("/etc/rstudio-pm/client-secret", "{dir}/client-secret".to_owned()),
    ] {
        assert!(lines.contains(printed), "{printed}: {lines}");
        lines = lines.replace(printed, &actual);
    }
    let builder = Builder::default().env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512));
    let mut server = builder.gcfg(&format!("[HTTP]\nListen = 127.0.0.1:{port}\n{lines}")).prepare();
    let secret = server.dir().join("client-secret");
    std::fs::write(&secret, "secret\n").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).expect("changed");
    server.launch();
    on_server(&server, &blocks("A private repository for a team")[0]);
    let (verdict, findings) = server.check_result("Sign-in");
    assert!(verdict == "pass" && findings.join(" ").contains("data-science"), "{verdict}: {findings:?}");
    on_server(&server, apply);
    let browser = Browser::new();
    let page = browser.get(&server.url("/team/latest/"));
    let page = browser.post(&page.url, &[("sub", "ann")], "same-origin");
    assert_eq!((page.status, page.url.as_str()), (200, server.url("/team/latest/").as_str()), "{page:?}");
    let cookie = format!("ppm={}", browser.cookie("ppm").expect("a session"));
    assert_eq!(http::request("GET", &server.url(INDEX), &[("Cookie", &cookie)], b"").status, 200);
}
