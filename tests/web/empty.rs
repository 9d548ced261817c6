//! Commands that pages without content name: executed as printed, they work.

use super::document::{self, unescape};
use crate::support::advisories;
use crate::support::data;
use crate::support::http;
use crate::support::server::{Builder, Server};

/// A page as an administrator on the machine of the server sees it.
fn page(server: &Server, path: &str) -> String {
    let answer = http::admin(&server.admin_socket(), "GET", path, b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    document::page(&answer, path);
    answer.text()
}

/// The command in the paragraph that contains a text.
fn command(html: &str, text: &str) -> String {
    let paragraph = html.split("<p").find(|part| part.contains(text));
    let paragraph =
        paragraph.unwrap_or_else(|| panic!("{text}: {html}")).split("</p>").next().expect("an end");
    let command =
        paragraph.split_once("<code>").expect("a command").1.split("</code>").next().expect("an end");
    unescape(command)
}

/// Executes the command of an empty page with a shell whose PATH has `rspm`; asserts that the page no longer has the text.
fn fill(server: &Server, path: &str, text: &str) {
    let line = command(&page(server, path), text);
    assert!(line.starts_with("rspm "), "{line}");
    let folder = server.dir().join("path");
    std::fs::create_dir_all(&folder).expect("a folder");
    let program = format!(
        "#!/bin/sh\nexec '{}' --config '{}' \"$@\"\n",
        env!("CARGO_BIN_EXE_rspm"),
        server.config_file().display()
    );
    let file = folder.join("rspm");
    std::fs::write(&file, program).expect("written");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").expect("a PATH")))
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let after = page(server, path);
    assert!(!after.contains(text), "{line}: {path} is still empty: {after}");
}

#[test]
fn the_commands_of_empty_pages_fill_them() {
    let mirror = data::path("cran-mirror");
    let gcfg =
        format!("[CRAN]\nURL = file://{}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.display());
    let server = Builder::default().gcfg(&gcfg).start();
    advisories::folder(&server.dir().join("own"), &[advisories::record("RSEC-1", "CRAN", "cli", "99.0")]);
    fill(&server, "/", "There is no repository yet");
    let repos = server.json("list repos");
    let name = repos[0]["name"].as_str().expect("a name").to_owned();
    let overview = format!("/{name}/latest/");
    fill(&server, &overview, "No source is subscribed");
    fill(&server, "/__ui__/admin/jobs/", "No job has ended yet");
    assert!(server.get(&format!("/{name}/latest/web/packages/cli/")).status == 200);
    let vulnerabilities = format!("/{name}/latest/web/vulnerabilities/");
    fill(&server, &vulnerabilities, "This server has no advisories");
    assert!(page(&server, &vulnerabilities).contains("RSEC-1"));
}

#[test]
fn an_empty_repository_names_the_source_of_its_kind() {
    let server = Server::start();
    server.rspm_stdout("create repo --name=py --type=python");
    fill(&server, "/py/latest/", "No source is subscribed");
    assert_eq!(server.json("info --repo=py")["sources"][0]["name"], "pypi");
}
