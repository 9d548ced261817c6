//! Pages of what depends on a package, what its installation requires, its binaries, and the file that a client gets.

use std::path::{Path, PathBuf};

use super::document;
use crate::support::data;
use crate::support::rules::folder;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A chain of packages, one of which is not listed.
fn chain() -> Server {
    let server = Server::start();
    server.local_repository(
        "team",
        &[
            Tarball::new("app", "1.0").field("Imports: middle (>= 1.0), stats"),
            Tarball::new("middle", "1.2").field("Depends: R (>= 3.5), base1\nLinkingTo: gone"),
            Tarball::new("base1", "0.1").field("SystemRequirements: GNU make <3>"),
            Tarball::new("tests", "1.0").field("Suggests: base1 (>= 0.1)"),
        ],
    );
    server
}

fn text(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    document::page(&answer, path);
    answer.text()
}

#[test]
fn an_installation_is_all_packages_with_the_chains_that_require_them() {
    let server = chain();
    let page = text(&server, "/team/latest/web/packages/app/dependencies/");
    for part in [
        "<strong>3 packages</strong>",
        "<td>app › middle</td>",
        "Not in this snapshot</span>: gone<",
        "GNU make &lt;3&gt;",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("stats") && !page.contains(">tests<"), "{page}");
}

#[test]
fn an_installation_has_the_packages_of_a_system() {
    let server = Builder::default().gcfg("[SystemRequirements]\nURL = file://{dir}/rules").start();
    server.local_repository(
        "team",
        &[
            Tarball::new("app", "1.0").field("Imports: low"),
            Tarball::new("low", "1.0").field("SystemRequirements: zlib and gmp"),
            Tarball::new("plain", "1.0").field("SystemRequirements: a good mood"),
        ],
    );
    let of = |package: &str, query: &str| {
        text(&server, &format!("/team/latest/web/packages/{package}/dependencies/{query}"))
    };
    assert!(of("app", "").contains("<option value=\"noble\">"), "{}", of("app", ""));
    assert!(!of("app", "").contains("has no rules"), "no system is selected");
    assert!(of("app", "?platform=noble").contains("<code>rspm sync --type=sysreqs</code>"));
    folder(&server.dir().join("rules"), &["zlib", "gmp"]);
    server.sync_of("sysreqs").expect("rules");
    let page = of("app", "?platform=noble");
    // As the API for programs.
    let api = "/__api__/repos/team/packages/app/sysreqs?distribution=ubuntu&release=24.04";
    let answer = server.get(api).json();
    let packages: Vec<&str> = answer["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|rule| rule["packages"].as_array().expect("a list"))
        .map(|name| name.as_str().expect("a name"))
        .collect();
    assert!(packages.len() >= 2, "{answer}");
    assert!(page.contains(&format!("<code>apt-get install -y {}</code>", packages.join(" "))), "{page}");
    assert!(page.contains(&format!("<li>low: {}</li>", packages.join(", "))), "{page}");
    assert!(page.contains("<option value=\"noble\" selected>"), "{page}");
    let by_release = of("app", "?platform=ubuntu-24.04");
    assert!(
        by_release.contains("<option value=\"noble\" selected>"),
        "as on the page of a repository: {by_release}"
    );
    assert!(of("plain", "?platform=noble").contains("The rules for system requirements name no package of"));
    assert!(!of("app", "?platform=plan9").contains("selected"));
}

#[test]
fn requirements_in_archives_that_were_not_read_are_unknown() {
    let mirror = data::path("cran-mirror");
    let sources = "[SystemRequirements]\nURL = file://{dir}/rules\n[CRAN]\nURL = file://";
    let server = Builder::default().gcfg(&format!("{sources}{}", mirror.display())).start();
    server.rspm_stdout("create repo --name=team");
    server.rspm_stdout("subscribe --repo=team --source=cran");
    server.rspm_stdout("sync --type=CRAN");
    folder(&server.dir().join("rules"), &["zlib", "gmp"]);
    server.sync_of("sysreqs").expect("rules");
    // Its dependency backports was not requested, either.
    let page = text(&server, "/team/latest/web/packages/checkmate/dependencies/?platform=noble");
    assert!(page.contains("Whether the installation requires packages of Ubuntu 24.04"), "{page}");
    assert!(!page.contains("name no package of"), "{page}");
}

#[test]
fn an_installation_that_fails_has_its_reasons() {
    let server = Server::start();
    server.local_repository(
        "team",
        &[
            Tarball::new("app", "1.0").field("Imports: low (>= 2.0), bad, ours\nLinkingTo: low (>= 2.0)"),
            Tarball::new("low", "1.9").field("Depends: R (>= 99.0)"),
            Tarball::new("bad", "1.0"),
        ],
    );
    let path = "/team/latest/web/packages/app/dependencies/";
    let unmet = "<li>app needs low &gt;= 2.0; this snapshot lists 1.9</li>";
    assert_eq!(text(&server, path).matches(unmet).count(), 1, "{}", text(&server, path));
    server.rspm_stdout("create blocklist-rule --package-name=bad --description=unwanted");
    server.rspm_stdout("create source --name=own");
    server.rspm_stdout("create name-guard --name=ours --source=own");
    let page = text(&server, path);
    assert!(page.contains("bad (blocked by rule 1 (unwanted)), ours (guarded by name guard "), "{page}");
    let page = text(&server, "/team/latest/web/packages/bad/dependencies/");
    assert!(page.contains("Version 1.0 is blocked in this repository by rule 1 (unwanted)"), "{page}");
    assert!(!page.contains("0 packages"), "{page}");
    server.add("team", &Tarball::new("low", "2.0"));
    assert!(!text(&server, path).contains("do not meet"), "{}", text(&server, path));
}

#[test]
fn dependents_are_listed_by_field_with_their_conditions() {
    let server = chain();
    let page = text(&server, "/team/latest/web/packages/base1/dependents/");
    let order = [">middle<", "Depends", ">tests<", "&gt;= 0.1"].map(|part| page.rfind(part).expect(part));
    assert!(order.is_sorted(), "{page}");
    let suggested = text(&server, "/team/latest/web/packages/base1/dependents/?kind=Suggests");
    assert!(suggested.contains(">tests<") && !suggested.contains(">middle<"), "{suggested}");
    let unknown = server.get("/team/latest/web/packages/base1/dependents/?kind=Recommends");
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("Depends"), "{}", unknown.text());
    let none = text(&server, "/team/latest/web/packages/app/dependents/");
    assert!(none.contains("No package of this snapshot depends on it"), "{none}");
}

#[test]
fn the_explanation_states_the_file_and_the_reason() {
    let server = chain();
    let page = text(
        &server,
        "/team/latest/web/packages/app/why/?platform=noble&agent=R+(4.4.1+x86_64-pc-linux-gnu)",
    );
    for part in ["app_1.0.tar.gz", "Snapshot", "Release", "<option value=\"noble\" selected>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = page
        .split("href=\"")
        .find_map(|rest| rest.split('"').next().filter(|path| path.ends_with("app_1.0.tar.gz")));
    let file = file.expect("a file").trim_start_matches("../");
    assert_eq!(server.get(&format!("/{file}")).status, 200, "{file}");
    for (agent, state) in [
        ("", "no User-Agent"),
        ("curl/8", "no system that has binaries"),
        ("Q+(4.4.1+x86_64-pc-linux-gnu+x86_64+linux-gnu)", "not R, or no version of it"),
        ("R+(4.4.1+aarch64-apple-darwin20+aarch64+darwin20)", "another system"),
    ] {
        let page = text(&server, &format!("/team/latest/web/packages/app/why/?platform=noble&agent={agent}"));
        assert!(page.contains(&format!("no binary fits</td><td>{state}</td>")), "{state}: {page}");
        assert!(!page.contains("_error_"), "{page}");
    }
    let unknown = text(&server, "/team/latest/web/packages/nothing/why/");
    assert!(unknown.contains("404"), "{unknown}");
    let long = server.get(&format!("/team/latest/web/packages/app/why/?agent={}", "x".repeat(301)));
    assert_eq!(long.status, 400);
}

#[test]
fn a_package_without_binaries_has_a_page_that_states_this() {
    let server = chain();
    let page = text(&server, "/team/latest/web/packages/app/binaries/");
    assert!(page.contains("No list of binaries has this package"), "{page}");
    assert_eq!(server.get("/team/latest/web/packages/nothing/binaries/").status, 404);
}

/// Returns the file in a folder whose path ends with this digest, without regard to slashes.
fn file_with(folder: &Path, digest: &str) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries.find_map(|path| match path.is_dir() {
        true => file_with(&path, digest),
        false => path.display().to_string().replace('/', "").ends_with(digest).then_some(path),
    })
}

#[test]
fn the_explanation_of_a_damaged_file_does_not_name_its_place() {
    let server = chain();
    // The file is not requested: the server would have it in memory.
    let versions = text(&server, "/team/latest/web/packages/base1/versions/");
    let digest = versions.split("SHA-256 <code>").nth(1).and_then(|rest| rest.get(..64)).expect("a digest");
    let stored = file_with(server.dir(), digest).expect("a stored file");
    std::fs::OpenOptions::new().write(true).open(&stored).expect("ours").set_len(10).expect("cut");
    let page = text(&server, "/team/latest/web/packages/base1/why/");
    for part in ["stored, but cannot be served", "the server log has the details"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let place = server.dir().display().to_string();
    assert!(!page.contains("rspm add") && !page.contains(&place), "{page}");
}
