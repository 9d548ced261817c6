//! Commits: polled, built, published, installed by R.

use super::{builds, installed_version, listed_version, repository, server, wait_for, wait_for_build};

#[test]
fn a_new_commit_is_polled_built_and_installed_by_r() {
    let server = server("PollInterval = 1s");
    let repository = repository("1.0");
    let created = server.rspm(&format!("create git-builder --source=dev --url={}", repository.url()));
    assert_eq!((created.code, created.err.as_str()), (0, ""), "{}", created.out);
    for part in [
        "Git Builders:\n- tested\n    Source: dev\n    URL: file:///tmp/",
        "    Trigger: commits\n    Key: none\n",
    ] {
        assert!(created.out.contains(part), "{}", created.out);
    }
    for part in
        ["== git fetch\n", "== R CMD build\n", "* building ‘tested_1.0.tar.gz’", "Published tested 1.0 from "]
    {
        assert!(created.out.contains(part), "{part}: {}", created.out);
    }
    assert_eq!(installed_version(&server), "1.0");

    repository.package("", "1.1");
    let commit = repository.commit();
    let build = wait_for_build(&server, "commit", &commit, "published");
    assert_eq!((build["version"].as_str(), build["attempt"].as_i64()), (Some("1.1"), Some(1)));
    assert_eq!(build["actor"], "schedule");
    assert_eq!(installed_version(&server), "1.1");
    let archived = server.get("/dev/latest/src/contrib/Archive/tested/tested_1.0.tar.gz");
    assert_eq!(archived.status, 200, "the older version is archived");

    // The log by the number of the transaction, which is also that of the snapshot.
    let transaction = build["transaction"].as_i64().expect("a transaction");
    let log = server.rspm_stdout(&format!("logs --transaction-id={transaction}"));
    assert!(log.contains(&commit) && log.contains("== R CMD build") && log.contains("Published"), "{log}");
    let file = server.dir().join("build.log");
    server.rspm_stdout(&format!("logs --transaction-id={transaction} --file-out={}", file.display()));
    assert_eq!(std::fs::read_to_string(file).unwrap(), log);
    let index = server.get(&format!("/dev/{transaction}/src/contrib/PACKAGES")).text();
    assert!(index.contains("Version: 1.1"), "{index}");

    let listed = server.rspm_stdout("list git-builders --source=dev");
    assert!(listed.contains(&format!("Last build: published 1.1 from {}", &commit[..7])), "{listed}");
    let nothing = server.rspm_stdout("run git-builder --source=dev --name=tested");
    assert!(nothing.starts_with("Nothing new: the default branch is at "), "{nothing}");
    assert_eq!(builds(&server).len(), 2, "each commit was built once");
    let refused = server.rspm("rerun git-builder --source=dev --name=tested --tag=v1");
    assert!(refused.code == 1 && refused.err.contains("--build-trigger=tags"), "{}", refused.err);
}

#[test]
fn a_branch_that_was_rewritten_and_an_unchanged_version_are_built() {
    let server = server("PollInterval = 1s");
    let repository = repository("1.0");
    let first = repository.git(&["rev-parse", "HEAD"]);
    server.rspm_stdout(&format!("create git-builder --source=dev --url={} --branch=main", repository.url()));
    let bytes = server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body;

    repository.git(&["checkout", "--quiet", "--orphan", "other"]);
    repository.write("R/f.R", "f <- function() 1 # rewritten\n");
    let commit = repository.commit();
    repository.git(&["branch", "--force", "main", "other"]);
    let build = wait_for_build(&server, "commit", &commit, "published");
    assert_eq!(build["reason"], "version unchanged (1.0)");
    assert_ne!(server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body, bytes);

    // A commit that was built before is not built again, unless an administrator requests it.
    repository.git(&["branch", "--force", "main", &first]);
    let nothing = server.rspm_stdout("run git-builder --source=dev --name=tested");
    assert!(nothing.contains("Nothing new: main is at"), "{nothing}");
    assert!(
        nothing.contains("The branch was moved back: the source has version 1.0 of commit "),
        "{nothing}"
    );
    let rerun = format!("rerun git-builder --source=dev --name=tested --commit-sha={}", &first[..8]);
    let refused = server.rspm(&rerun);
    assert!(refused.code == 1 && refused.err.contains("with --replace it is built again"), "{}", refused.err);
    let again = server.rspm(&format!("{rerun} --replace"));
    assert!(again.code == 0 && again.out.contains("version unchanged (1.0)"), "{} {}", again.out, again.err);
    assert_eq!(installed_version(&server), "1.0");
}

#[test]
fn a_package_in_a_directory_is_built_and_a_builder_can_be_changed_and_deleted() {
    let server = server("PollInterval = 1h");
    let repository = repository("9.9");
    repository.package("r/package/", "1.0");
    repository.commit();
    let url = repository.url();
    server.rspm_stdout(&format!(
        "create git-builder --source=dev --url={url} --sub-dir=r/package --name=tested"
    ));
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));

    repository.git(&["checkout", "--quiet", "-b", "next"]);
    repository.git(&["rm", "--quiet", "-r", "r"]);
    repository.package("", "10.0");
    repository.commit();
    let edited = server.rspm_stdout(
        "edit git-builder --source=dev --name=tested --new-branch=next --remove-sub-dir --clone-depth=0",
    );
    assert!(edited.contains("    Branch: next\n") && !edited.contains("Directory:"), "{edited}");
    wait_for("the new branch is built", || listed_version(&server).filter(|version| version == "10.0"));

    server.rspm_stdout("delete git-builder --source=dev --name=tested");
    assert!(server.rspm_stdout("list git-builders").contains("There is no git builder"));
    assert_eq!(listed_version(&server).as_deref(), Some("10.0"), "packages stay");
    let removed = server.rspm("remove package --source=dev --name=tested@all");
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert_eq!(listed_version(&server), None);
}

#[test]
fn a_build_that_fails_states_the_reason_and_is_not_repeated() {
    let server = server("PollInterval = 1s");
    let repository = repository("1.0");
    let fields = "Title: T\nDescription: D.\nLicense: MIT\nAuthor: A\nMaintainer: A <a@b.org>\n";
    repository.write("DESCRIPTION", &format!("Package: tested\nVersion: one\n{fields}"));
    let commit = repository.commit();
    let created = server.rspm(&format!("create git-builder --source=dev --url={}", repository.url()));
    assert_eq!(created.code, 1);
    assert!(created.err.contains("R CMD build failed with exit code 1"), "{}", created.err);
    let build = wait_for_build(&server, "commit", &commit, "failed");
    assert_eq!(build["attempt"], 1);
    let transaction = build["transaction"].as_i64().expect("a number for its log");
    let log = server.rspm_stdout(&format!("logs --transaction-id={transaction}"));
    assert!(log.contains("alformed") && log.contains("== Failed: R CMD build"), "{log}");
    assert_eq!(listed_version(&server), None);

    // The end of the log, where people look for the package.
    let explained = server.rspm_stdout("explain dev tested");
    for part in ["Last build from git\n", &commit[..7], "alformed", "      == Failed: R CMD build"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let logs = server.get("/__api__/repos/dev/packages/tested/binaries/logs");
    assert_eq!(logs.status, 200);
    let logs = logs.json();
    assert_eq!((logs["state"].as_str(), logs["commit"].as_str()), (Some("failed"), Some(commit.as_str())));
    assert!(logs["log"].as_str().unwrap().contains("alformed"), "{logs}");

    repository.package("", "1.0");
    let fixed = repository.commit();
    wait_for_build(&server, "commit", &fixed, "published");
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));
    assert!(!server.rspm_stdout("explain dev tested").contains("Last build"), "it succeeded");
    let logs = server.get("/__api__/repos/dev/packages/tested/binaries/logs?version=1.0").json();
    assert!(logs["log"].as_str().unwrap().contains("Published tested 1.0"), "{logs}");
    let other = server.get("/__api__/repos/dev/packages/other/binaries/logs");
    assert_eq!(other.status, 400, "not built from git: the parameters of a binary are required");
}

#[test]
fn a_requested_build_is_not_replaced_by_a_newer_commit() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    let first = repository.git(&["rev-parse", "HEAD"]);
    let url = repository.url();
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url}"));
    // The first build of the queue holds the builder while the others wait.
    repository.package("", "1.1");
    let cleanup = repository.write("cleanup", "#!/bin/sh\nsleep 3\n");
    std::fs::set_permissions(cleanup, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let slow = repository.commit();
    server.rspm_stdout("run git-builder --source=dev --name=tested --no-wait");
    wait_for_build(&server, "commit", &slow, "building");
    server.rspm_stdout(&format!(
        "rerun git-builder --source=dev --name=tested --commit-sha={first} --replace --no-wait"
    ));
    repository.package("", "1.2");
    repository.git(&["rm", "--quiet", "--force", "cleanup"]);
    let newest = repository.commit();
    server.rspm_stdout("run git-builder --source=dev --name=tested --no-wait");
    wait_for_build(&server, "commit", &newest, "published");
    let states: Vec<_> = builds(&server).iter().map(|build| build["state"].clone()).collect();
    assert_eq!(states, ["published"; 4], "the newest first: {:?}", builds(&server));
}

#[test]
fn malformed_lines_of_authors_do_not_prevent_a_build() {
    let server = server("PollInterval = 1h");
    for (kind, line) in [
        ("missing-space-before-date", "A <a@b.c>1500000000 +0000"),
        ("missing-email", "A 1500000000 +0000"),
        ("missing-space-before-email", "A<a@b.c> 1500000000 +0000"),
        ("missing-name", "<a@b.c> 1500000000 +0000"),
        ("bad-email", "A <a@<b.c> 1500000000 +0000"),
        ("bad-name", "A> B <a@b.c> 1500000000 +0000"),
        ("zero-padded-date", "A <a@b.c> 01500000000 +0000"),
        ("overflow", "A <a@b.c> 18446744073709551616 +0000"),
        ("bad-timezone", "A <a@b.c> 1500000000 +051800"),
        ("bad-date", "A <a@b.c> x +0000"),
    ] {
        for is_old in [false, true] {
            let repository = repository("1.0");
            let name = format!("p{}{}", kind.replace('-', ""), if is_old { "old" } else { "new" });
            let description = std::fs::read_to_string(repository.path().join("DESCRIPTION")).unwrap();
            repository
                .write("DESCRIPTION", &description.replace("Package: tested", &format!("Package: {name}")));
            repository.git(&["add", "--all"]);
            let tree = repository.git(&["write-tree"]);
            let object = format!("tree {tree}\nauthor {line}\ncommitter {line}\n\nx\n");
            let path = repository.write(".git/object", &object);
            let path = path.to_str().unwrap();
            let commit = repository.git(&["hash-object", "-t", "commit", "-w", "--literally", path]);
            repository.git(&["update-ref", "refs/heads/main", &commit]);
            if is_old {
                repository.commit();
            }
            let line = format!("create git-builder --source=dev --url={} --clone-depth=0", repository.url());
            let created = server.rspm(&line);
            assert_eq!(created.code, 0, "{kind} {is_old}: {} {}", created.out, created.err);
        }
    }
}

#[test]
fn files_keep_their_execute_permissions() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    let script = repository.write("configure", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    repository.commit();
    let created = server.rspm(&format!("create git-builder --source=dev --url={}", repository.url()));
    assert_eq!(created.code, 0, "{} {}", created.out, created.err);
    assert!(!created.out.contains("execute permissions"), "{}", created.out);
}

#[test]
fn a_local_path_with_a_blank_is_percent_encoded() {
    let server = server("PollInterval = 1h");
    let parent = tempfile::Builder::new().prefix("my git").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let repository = crate::builder::repository::Repository::below(parent.path());
    repository.package("", "1.0");
    repository.commit();
    let url = repository.url().replace(' ', "%20");
    let created = server.rspm(&format!("create git-builder --source=dev --url={url}"));
    assert_eq!(created.code, 0, "{} {}", created.out, created.err);
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));
}
