//! What is refused, and that the messages name the remedy.

use serde_json::json;

use super::{create, repository, server};
use crate::support::tarball::Tarball;

#[test]
fn wrong_builders_are_refused_with_the_remedy() {
    let server = server("PollInterval = 1h\nLocalPaths = /nowhere");
    let repository = repository("1.0");
    let url = repository.url();
    server.rspm_stdout("create source --name=team");
    for (line, part) in [
        (format!("create git-builder --source=team --url={url}"), "rspm create source --type=git"),
        (format!("create git-builder --source=dev --url={url} --branch=none"), "has no branch 'none'"),
        (
            format!("create git-builder --source=dev --url={url} --name=other"),
            "contains the package 'tested', not 'other'",
        ),
        (format!("create git-builder --source=dev --url={url} --sub-dir=R"), "no file DESCRIPTION"),
        (format!("create git-builder --source=dev --url={url} --sub-dir=../x"), "is not a relative path"),
        (
            format!("create git-builder --source=dev --url={url} --credential=x"),
            "a local repository needs no credential",
        ),
        ("create git-builder --source=dev --url=file:///srv/x".to_owned(), "Git.LocalPaths"),
        ("create git-builder --source=dev --url=git@host:x".to_owned(), "rspm import ssh-key"),
        ("create git-builder --source=dev --url=https://u:p@host/x".to_owned(), "contains a password"),
        (
            "create git-builder --source=dev --url=https://host/x --credential=x".to_owned(),
            "no https credential 'x'",
        ),
        ("run git-builder --source=dev --name=none".to_owned(), "has no builder 'none'"),
        ("logs --transaction-id=1".to_owned(), "is not that of a build"),
        ("logs --build-id=1".to_owned(), "there is no build 1"),
        ("delete git-credential --name=x --type=https".to_owned(), "rspm list git-credentials"),
    ] {
        let refused = server.rspm(&line);
        assert_eq!(refused.code, 1, "{line}: {}", refused.out);
        assert!(refused.err.contains(part), "{line}: {}", refused.err);
    }
    let refused = server.rspm("import ssh-key --name=x --path=/none");
    assert!(refused.code == 1 && refused.err.contains("could not read /none"), "{}", refused.err);

    server.rspm_stdout(&format!("create git-builder --source=dev --url={url}"));
    let twice = server.rspm(&format!("create git-builder --source=dev --url={url}"));
    assert!(twice.err.contains("has a builder for the package 'tested' already"), "{}", twice.err);
    // A change is refused like the builder that would be created with it.
    let builder = "/sources/dev/git-builders/tested";
    for (new, part) in [
        (json!({ "sub_dir": "../x" }), "directory is invalid: '../x' is not a relative path"),
        (json!({ "branch": "a..b" }), "'refs/heads/a..b' is not the full name of a reference"),
        (json!({ "branch": "a\0" }), "is not the full name of a reference"),
        (json!({ "recurse_submodules": 17 }), "submodules is invalid: more than 16 levels"),
    ] {
        let changed = server.admin("PATCH", builder, &new);
        assert!(changed.status == 400 && changed.text().contains(part), "{new}: {}", changed.text());
        let mut created = json!({ "url": url });
        created.as_object_mut().unwrap().extend(new.as_object().unwrap().clone());
        let created = server.admin("POST", "/sources/dev/git-builders", &created);
        assert_eq!((created.status, created.text()), (400, changed.text()), "{new}");
    }
    assert_eq!(server.json("list git-builders")[0]["branch"], "", "nothing was changed");
    let (package, tarball) = (server.dir().join("tested_3.0.tar.gz"), Tarball::new("tested", "3.0"));
    std::fs::write(&package, tarball.bytes()).unwrap();
    let added = server.rspm(&format!("add --source=dev --path={}", package.display()));
    assert!(added.code == 1 && added.err.contains("are built from git"), "{}", added.err);

    // A later commit cannot publish another package.
    let other = "Package: other\nVersion: 2.0\nTitle: T\nDescription: D.\nLicense: MIT\nAuthor: A\nMaintainer: A <a@b.org>\n";
    repository.write("DESCRIPTION", other);
    repository.commit();
    let run = server.rspm("run git-builder --source=dev --name=tested");
    assert!(
        run.code == 1 && run.err.contains("contains the package 'other', and this builder builds 'tested'"),
        "{}",
        run.err
    );
}

#[test]
fn without_a_sandbox_nothing_is_built_unless_that_is_permitted() {
    let repository = repository("1.0");
    let line = format!("create git-builder --source=dev --url={}", repository.url());
    let gcfg = |sandbox: &str| format!("[Git]\nSandbox = {sandbox}\nLocalPaths = /tmp\n");
    let start = |gcfg: &str| {
        let server = crate::support::server::Builder::default().gcfg(gcfg).start();
        create(&server);
        server
    };
    let server = start(&gcfg("none"));
    let refused = server.rspm(&line);
    assert!(
        refused.code == 1 && refused.err.contains("Git.AllowUnsandboxedGitBuilds = true"),
        "{}",
        refused.err
    );
    let warning = "Warning: Unable to use R on this system. Building Git packages for R will be disabled.";
    server.wait_for_log(warning);
    let server = start(&format!("{}AllowUnsandboxedGitBuilds = true\n", gcfg("none")));
    let built = server.rspm(&line);
    assert_eq!(built.code, 0, "{}", built.err);
    server.wait_for_log("Attempting to detect R version in a user namespace sandbox.");
    server.wait_for_log("Detected R version ");
}

/// A server in a mount namespace in which the program of bubblewrap is an empty file: no sandbox works.
fn server_without_bubblewrap(gcfg: &str) -> crate::support::server::Server {
    let hide = "mount --bind /dev/null /usr/bin/bwrap && exec \"$@\"";
    let builder =
        crate::support::server::Builder::default().gcfg(&format!("[Git]\nLocalPaths = /tmp\n{gcfg}"));
    let server = builder.wrapper(&["unshare", "--mount", "sh", "-c", hide, "sh"]).start();
    create(&server);
    server
}

#[test]
fn without_systemd_and_bubblewrap_the_refusal_names_each_attempt_and_the_remedy() {
    let repository = repository("1.0");
    let line = format!("create git-builder --source=dev --url={}", repository.url());
    for (sandbox, attempts) in [
        ("auto", &["systemd: ", "bubblewrap: "][..]),
        ("systemd", &["systemd: "]),
        ("bubblewrap", &["bubblewrap: "]),
    ] {
        let server = server_without_bubblewrap(&format!("Sandbox = {sandbox}"));
        let refused = server.rspm(&line);
        assert_eq!(refused.code, 1, "{sandbox}: {}", refused.out);
        for kind in ["systemd: ", "bubblewrap: ", "no sandbox: "] {
            assert_eq!(refused.err.contains(kind), attempts.contains(&kind), "{sandbox}: {}", refused.err);
        }
        for part in ["rstudio-pm-fetch.socket", "install bubblewrap", "Git.AllowUnsandboxedGitBuilds = true"]
        {
            assert!(refused.err.contains(part), "{sandbox}: {}", refused.err);
        }
        assert_eq!(super::builds(&server).len(), 0, "nothing is in the queue");
    }
    // Only `auto` falls back to no sandbox, and the output states this.
    let server = server_without_bubblewrap("AllowUnsandboxedGitBuilds = true");
    assert_eq!(server.rspm(&line).code, 0);
    server.wait_for_log("with the rights of the server: Git.AllowUnsandboxedGitBuilds");
    assert_eq!(super::installed_version(&server), "1.0");
    let server = server_without_bubblewrap("Sandbox = bubblewrap\nAllowUnsandboxedGitBuilds = true");
    assert_eq!(server.rspm(&line).code, 1);
}
