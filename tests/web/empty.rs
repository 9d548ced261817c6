//! Commands that pages without content name: executed as printed, they work.

use rstudio_pm::pages::administration::jobs::{self, Jobs};
use rstudio_pm::pages::administration::{AdministrationFrame, AdministrationSection};
use rstudio_pm::pages::frame::Root;

use super::document::{self, unescape};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{advisories, data, http};

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
    run(server, &line);
    let after = page(server, path);
    assert!(!after.contains(text), "{line}: {path} is still empty: {after}");
}

/// Executes a command with a shell in which `rspm` is on the PATH.
fn run(server: &Server, line: &str) -> String {
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
        .args(["-c", line])
        .current_dir(server.dir())
        .env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").expect("a PATH")))
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_commands_of_empty_pages_fill_them() {
    let mirror = data::path("cran-mirror");
    let gcfg =
        format!("[CRAN]\nURL = file://{}\n[Vulnerabilities]\nURL = file://{{dir}}/own", mirror.display());
    let server = Builder::default().gcfg(&gcfg).start();
    advisories::folder(&server.dir().join("own"), &[advisories::record("RSEC-1", "CRAN", "cli", "99.0")]);
    // Over HTTP, because it has the address of the server.
    let first_page = server.get("/").text();
    assert!(first_page.contains("There is no repository yet"), "{first_page}");
    // The first list: an R repository.
    let list = first_page.split("<ol class=\"commands\">").nth(1).expect("commands");
    let list = list.split("</ol>").next().expect("an end");
    let commands: Vec<String> = list
        .split("<code>")
        .skip(1)
        .map(|rest| unescape(rest.split("</code>").next().expect("an end")))
        .collect();
    let [create, subscribe, sync, install] = commands.as_slice() else { panic!("{commands:?}") };
    run(&server, create);
    run(&server, subscribe);
    assert_eq!(sync, &command(&page(&server, "/__ui__/admin/jobs/"), "No job has ended yet"));
    fill(&server, "/__ui__/admin/jobs/", "No job has ended yet");
    let library = server.dir().join("library");
    std::fs::create_dir_all(&library).expect("a folder");
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", install]).env("R_LIBS_USER", &library).output().expect("sh runs");
    assert!(output.status.success(), "{install}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(library.join("praise/DESCRIPTION").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = "cran";
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

#[test]
fn each_list_without_rows_names_a_command_that_works() {
    let mirror = data::path("cran-mirror");
    let gcfg = format!("[CRAN]\nURL = file://{}\n", mirror.display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create repo --name=prod");
    let (overview, packages, changes) =
        ("/prod/latest/", "/prod/latest/web/packages/", "/prod/latest/web/changes/");
    // Each page of a repository without a source names the command that subscribes it.
    let subscribe = "rspm subscribe --repo=prod --source=cran";
    for (path, text) in [
        (overview, "Nothing was published yet"),
        (packages, "The repository is empty"),
        (changes, "No earlier day has other packages"),
    ] {
        assert_eq!(command(&page(&server, path), text), subscribe, "{path}");
    }
    server.rspm_stdout("create repo --name=live --changes=promotion");
    let line = command(&page(&server, "/live/latest/"), "No source is subscribed");
    assert_eq!(line, "rspm promote --from=NAME --to=live", "a subscription is refused");
    fill(&server, overview, "Nothing was published yet");
    // Then the one that reads the list of the source.
    assert_eq!(command(&page(&server, overview), "The repository is empty"), "rspm sync --type=CRAN");
    assert_eq!(
        command(&page(&server, changes), "No earlier day has other packages"),
        "rspm sync --type=CRAN"
    );
    fill(&server, packages, "The repository is empty");
    assert!(!page(&server, overview).contains("The repository is empty"));
    let binaries = format!("{packages}cli/binaries/");
    let line = command(&page(&server, &binaries), "No list of binaries");
    assert!(run(&server, &line).contains("cli"), "{line}");
    // A search without results is not an empty repository.
    assert!(!page(&server, &format!("{packages}?q=zzzz")).contains("The repository is empty"));
    // A local source.
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=own");
    server.rspm_stdout("subscribe --repo=own --source=team");
    let line = command(&page(&server, "/own/latest/web/packages/"), "The repository is empty");
    assert_eq!(line, "rspm add --source=team --path=FILE");
    assert_eq!(command(&page(&server, "/own/latest/"), "The repository is empty"), line);
    let tarball = Tarball::new("alpha", "1.0");
    std::fs::write(server.dir().join("FILE"), tarball.bytes()).expect("written");
    std::fs::rename(server.dir().join("FILE"), server.dir().join(tarball.file())).expect("renamed");
    run(&server, &line.replace("FILE", &tarball.file()));
    assert!(!page(&server, "/own/latest/web/packages/").contains("The repository is empty"));
    let changes = page(&server, "/own/latest/web/changes/");
    assert!(
        changes.contains("No earlier day has other packages.") && !changes.contains("An administrator"),
        "{changes}"
    );
}

#[test]
fn schedules_that_are_not_known_are_in_the_output_of_the_command_on_the_page() {
    let server = Server::start();
    // A list without schedules is the answer of a database that does not respond.
    let without_schedules = AdministrationFrame {
        root: Root::of_path("/__ui__/admin/jobs/"),
        section: AdministrationSection::Jobs,
        object: None,
        form_token: None,
        done: None,
        rejected: None,
    };
    let line = command(&jobs::list(&without_schedules, &Jobs::default()), "did not return the schedules");
    assert!(run(&server, &line).contains("sync"), "{line}");
    assert!(!page(&server, "/__ui__/admin/jobs/").contains("did not return the schedules"));
}
