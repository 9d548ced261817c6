//! Lists of imports from folders, git repositories and repositories of R packages.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::downloader::{run, tree};
use crate::support::mirror_dir::MirrorDir;
use crate::support::nginx::Nginx;
use crate::support::process::ProcessOutput;
use crate::support::python::package::Package;
use crate::support::tarball::Tarball;

/// Runs `list`, which must succeed; returns its events.
pub(super) fn list(args: &[&str]) -> Vec<Value> {
    let output = run(&[&["list"], args].concat());
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
    output.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs `list`, which must fail with this code; returns its standard error.
pub(super) fn refused(code: i32, args: &[&str]) -> String {
    let ProcessOutput { code: actual, out, err } = run(&[&["list"], args].concat());
    assert_eq!((actual, out.as_str()), (Some(code), ""), "{err}");
    err
}

/// `time operation object evidence` of each event.
pub(super) fn lines(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let object = match text("op") {
            "lost" => text("what").to_owned(),
            "remove" if event.get("name").is_some() => format!("{} {}", text("name"), text("version")),
            _ => text("file").to_owned(),
        };
        format!("{} {} {object} {}", text("at"), text("op"), text("exact")).trim().to_owned()
    };
    events.iter().map(line).collect()
}

/// Writes a file with a time: `2024-01-02T03:04:05Z`.
fn write_at(path: &Path, bytes: &[u8], time: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, bytes).unwrap();
    set_time(path, time);
}

fn set_time(path: &Path, time: &str) {
    let seconds = time.parse::<jiff::Timestamp>().expect("a time").as_second().unsigned_abs();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_folder_has_the_times_of_its_files_and_names_what_cannot_be_imported() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (tally, wheel) = (Tarball::new("tally", "0.2.1"), Package::new("acme", "1.0"));
    write_at(&root.join("b/tally_0.2.1.tar.gz"), &tally.bytes(), "2024-02-11T04:30:00Z");
    write_at(&root.join("a").join(wheel.wheel_name()), &wheel.wheel(), "2024-01-10T09:00:00Z");
    // The same bytes again, other bytes, and a time before clocks were set.
    write_at(&root.join("z/tally_0.2.1.tar.gz"), &tally.bytes(), "2024-03-11T04:30:00Z");
    write_at(&root.join("y/tally_0.2.1.tar.gz"), b"other", "2024-04-11T04:30:00Z");
    write_at(&root.join("old_1.0.tar.gz"), b"old", "1980-01-01T00:00:00Z");
    let sha = "0123456789abcdef0123456789abcdef01234567";
    write_at(&root.join(format!("packrat/src/lib/{sha}.tar.gz")), b"x", "2024-01-01T00:00:00Z");
    write_at(&root.join("bin/windows/contrib/4.5/tally_0.2.1.zip"), b"x", "2024-01-01T00:00:00Z");
    write_at(&root.join("src/contrib/PACKAGES"), b"x", "2024-01-01T00:00:00Z");
    write_at(&root.join(".git/objects/hidden_1.0.tar.gz"), b"x", "2024-01-01T00:00:00Z");
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("secret_1.0.tar.gz"), "canary").unwrap();
    std::os::unix::fs::symlink(secret.path().join("secret_1.0.tar.gz"), root.join("secret_1.0.tar.gz"))
        .unwrap();
    std::os::unix::fs::symlink(secret.path(), root.join("outside")).unwrap();
    // Names that no server has.
    for name in [&b"tally\nx_1.0.tar.gz"[..], b"tally%78_1.0.tar.gz", b"wrong\xff-1.0-py3-none-any.whl"] {
        write_at(&root.join(OsStr::from_bytes(name)), b"x", "2024-01-01T00:00:00Z");
    }
    let folder = root.join(OsStr::from_bytes(b"zz\xff"));
    write_at(&folder.join("tally_0.3.tar.gz"), b"x", "2024-01-01T00:00:00Z");
    let events = list(&["from-folder", text(root)]);
    assert_eq!(
        lines(&events),
        [
            "2024-01-10T09:00:00Z add acme-1.0-py3-none-any.whl mtime".to_owned(),
            "2024-02-11T04:30:00Z add tally_0.2.1.tar.gz mtime".to_owned(),
            "add old_1.0.tar.gz".to_owned(),
            "lost bin/windows/contrib/4.5/tally_0.2.1.zip".to_owned(),
            format!("lost packrat/src/lib/{sha}.tar.gz"),
            "lost secret_1.0.tar.gz".to_owned(),
            "lost tally x_1.0.tar.gz".to_owned(),
            "lost tally%78_1.0.tar.gz".to_owned(),
            "lost wrong\u{fffd}-1.0-py3-none-any.whl".to_owned(),
            "lost zz\u{fffd}/tally_0.3.tar.gz".to_owned(),
            "lost y/tally_0.2.1.tar.gz".to_owned(),
        ]
    );
    assert_eq!(events[1]["from"], "b/tally_0.2.1.tar.gz");
    let digest: String = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(tally.bytes()));
    assert_eq!(
        (events[1]["sha256"].as_str(), events[1]["size"].as_u64()),
        (Some(&*digest), Some(tally.bytes().len() as u64))
    );
    // In a file, with the same bytes each time.
    let out = root.join("list.ndjson");
    for _ in 0..2 {
        assert!(list(&["from-folder", text(root), "--out", text(&out)]).is_empty());
        let printed = run(&["list", "from-folder", text(root)]).out;
        assert_eq!(std::fs::read_to_string(&out).unwrap(), printed);
    }
    assert!(
        refused(2, &["from-folder", text(root), "--branch", "main"])
            .contains("--branch is a flag of another kind")
    );
    assert!(refused(1, &["from-folder", text(&root.join("none"))]).contains("cannot list"));
}

/// A git repository with commits at given times.
struct Repository<'a>(&'a Path);

impl Repository<'_> {
    fn git(&self, args: &[&str], time: &str) {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(self.0)
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
            .args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_COMMITTER_DATE", time);
        command.env("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z");
        let output = command.output().expect("git");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self, time: &str) {
        self.git(&["add", "--all"], time);
        self.git(&["commit", "--quiet", "--message=x"], time);
    }
}

#[test]
fn the_history_of_a_git_repository_is_read_without_running_its_programs() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("drat");
    let contrib = root.join("src/contrib");
    std::fs::create_dir_all(&contrib).unwrap();
    let repository = Repository(&root);
    repository.git(&["init", "--quiet", "--initial-branch=gh-pages"], "2024-01-01T00:00:00Z");
    let write = |file: &str, bytes: &[u8]| std::fs::write(contrib.join(file), bytes).unwrap();
    write("greeting_1.0.0.tar.gz", b"greeting 1.0.0");
    write("PACKAGES", b"x");
    repository.commit("2024-01-10T09:00:00Z");
    write("tally_0.2.1.tar.gz", b"tally");
    // In another zone.
    repository.commit("2024-02-11T01:30:00-03:00");
    write("greeting_1.1.0.tar.gz", b"greeting 1.1.0");
    std::fs::create_dir_all(contrib.join("Archive/greeting")).unwrap();
    std::fs::rename(
        contrib.join("greeting_1.0.0.tar.gz"),
        contrib.join("Archive/greeting/greeting_1.0.0.tar.gz"),
    )
    .unwrap();
    repository.commit("2024-03-10T09:00:00Z");
    write("tally_0.2.1.tar.gz", b"tally again");
    // A clock that was wrong: the commit follows the one before.
    repository.commit("2023-01-01T00:00:00Z");
    std::fs::remove_file(contrib.join("tally_0.2.1.tar.gz")).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    write("large_1.0.tar.gz", pointer.as_bytes());
    write("tally\nx_1.0.tar.gz", b"x");
    write("tally_0.2.1.zip", b"a binary");
    std::os::unix::fs::symlink("/etc/passwd", contrib.join("link_1.0.tar.gz")).unwrap();
    repository.commit("2024-05-10T09:00:00Z");
    // Of a branch, only the merge counts.
    repository.git(&["checkout", "--quiet", "-b", "other"], "2024-06-01T00:00:00Z");
    write("merged_1.0.tar.gz", b"merged");
    repository.commit("2024-06-01T00:00:00Z");
    repository.git(&["checkout", "--quiet", "gh-pages"], "2024-06-02T00:00:00Z");
    repository.git(&["merge", "--quiet", "--no-ff", "--message=x", "other"], "2024-06-02T00:00:00Z");
    // Programs that git would run for another repository.
    let (canary, program) = (dir.path().join("canary"), dir.path().join("program"));
    std::fs::write(&program, format!("#!/bin/sh\ntouch {}\nexit 1\n", canary.display())).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for key in
        ["core.fsmonitor", "uploadpack.packObjectsHook", "core.sshCommand", "diff.external", "core.pager"]
    {
        repository.git(&["config", key, text(&program)], "2024-06-02T00:00:00Z");
    }
    std::fs::copy(&program, root.join(".git/hooks/post-checkout")).unwrap();
    std::fs::write(root.join(".gitattributes"), "* filter=evil diff=evil\n").unwrap();

    let out = dir.path().join("list.ndjson");
    let args = ["from-git", text(&root), "--branch", "gh-pages", "--out", text(&out)];
    assert!(list(&args).is_empty());
    let first = std::fs::read_to_string(&out).unwrap();
    let events: Vec<Value> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines(&events),
        [
            "2024-01-10T09:00:00Z add greeting_1.0.0.tar.gz commit",
            "2024-02-11T04:30:00Z add tally_0.2.1.tar.gz commit",
            "2024-03-10T09:00:00Z add greeting_1.1.0.tar.gz commit",
            "2024-03-10T09:00:00Z replace tally_0.2.1.tar.gz commit",
            "2024-05-10T09:00:00Z remove tally 0.2.1 commit",
            "2024-06-02T00:00:00Z add merged_1.0.tar.gz commit",
            "lost src/contrib/tally x_1.0.tar.gz",
            "lost src/contrib/tally_0.2.1.zip",
            "lost large_1.0.tar.gz",
            "lost link_1.0.tar.gz",
        ]
    );
    for (event, bytes) in [(0, "greeting 1.0.0"), (1, "tally"), (3, "tally again"), (5, "merged")] {
        let from = events[event]["from"].as_str().expect("a path");
        assert_eq!(std::fs::read_to_string(dir.path().join(from)).unwrap(), bytes);
    }
    assert!(!canary.exists(), "git ran a program of the repository");
    list(&args);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), first);

    let shallow = dir.path().join("shallow");
    let source = format!("file://{}", root.display());
    repository.git(&["config", "--unset", "uploadpack.packObjectsHook"], "2024-06-02T00:00:00Z");
    Repository(dir.path()).git(
        &["clone", "--quiet", "--depth=3", "--no-checkout", &source, text(&shallow)],
        "2024-06-02T00:00:00Z",
    );
    list(&["from-git", text(&shallow), "--out", text(&out)]);
    let shallow_events = std::fs::read_to_string(&out).unwrap();
    assert!(shallow_events.contains("history starts here"), "{shallow_events}");

    assert!(refused(2, &["from-git", text(&root)]).contains("--out"));
    for (origin, reason) in
        [("ext::sh -c touch% x", "not allowed"), ("git@h:x", "not allowed"), ("/none", "does not exist")]
    {
        let error = refused(1, &["from-git", origin, "--out", text(&out)]);
        assert!(error.contains(reason), "{origin}: {error}");
    }
    let error = refused(1, &["from-git", "http://me:secret@127.0.0.1:1/x", "--out", text(&out)]);
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn commits_of_one_second_stay_in_order_and_wrong_clocks_change_no_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("drat");
    std::fs::create_dir(&root).unwrap();
    let repository = Repository(&root);
    repository.git(&["init", "--quiet"], "2024-01-01T00:00:00Z");
    let file = root.join("alpha_1.0.tar.gz");
    for (bytes, time) in [
        (Some("one"), "2024-01-10T09:00:00Z"),
        (None, "2024-01-10T09:00:00Z"),
        (Some("two"), "2024-01-10T09:00:00Z"),
        (Some("three"), "2023-01-01T00:00:00Z"),
        // Its clock was far ahead; the commit after it was right.
        (None, "2099-01-01T00:00:00Z"),
        (Some("four"), "2024-02-10T09:00:00Z"),
    ] {
        match bytes {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        repository.commit(time);
    }
    let out = dir.path().join("list.ndjson");
    list(&["from-git", text(&root), "--out", text(&out)]);
    let printed = std::fs::read_to_string(&out).unwrap();
    let events: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected =
        ["add alpha_1.0.tar.gz", "remove alpha 1.0", "add alpha_1.0.tar.gz", "replace alpha_1.0.tar.gz"];
    let mut expected = expected.map(|line| format!("2024-01-10T09:00:00Z {line} commit")).to_vec();
    // Without a known time, as the commit before.
    expected.push("2024-01-10T09:00:00Z remove alpha 1.0 commit".to_owned());
    expected.push("2024-02-10T09:00:00Z add alpha_1.0.tar.gz commit".to_owned());
    assert_eq!(lines(&events), expected);
}

/// A repository with a history whose files have the times of their publication.
fn mirror(dir: &Path) -> MirrorDir {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-02-01");
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.simple("gone", "1.0", "2020-03-02");
    mirror.archive("gone", "2020-04-01");
    mirror.write();
    for (file, day) in [
        ("alpha_1.1.tar.gz", "2020-03-01"),
        ("beta_1.0.tar.gz", "2020-02-01"),
        ("Archive/alpha/alpha_1.0.tar.gz", "2020-01-01"),
        ("Archive/gone/gone_1.0.tar.gz", "2020-03-02"),
    ] {
        set_time(&mirror.root.join("src/contrib").join(file), &format!("{day}T12:00:00Z"));
    }
    mirror
}

#[test]
fn a_repository_has_the_same_list_with_tables_and_by_the_listings_of_web_servers() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = mirror(dir.path());
    let expected = |listed: &str, archived: &str| {
        vec![
            format!("2020-01-01T12:00:00Z add alpha_1.0.tar.gz {archived}"),
            format!("2020-02-01T12:00:00Z add beta_1.0.tar.gz {listed}"),
            format!("2020-03-01T12:00:00Z add alpha_1.1.tar.gz {listed}"),
            format!("2020-03-02T12:00:00Z add gone_1.0.tar.gz {archived}"),
            "lost that gone was archived".to_owned(),
        ]
    };
    let web = Nginx::start(&format!("root {}; autoindex on;", mirror.root.display()));
    let with_tables = list(&["from-cran", &web.url()]);
    assert_eq!(lines(&with_tables), expected("Meta/current.rds", "Meta/archive.rds"));
    let from = |events: &[Value]| events[0]["from"].as_str().expect("an address").to_owned();
    assert_eq!(from(&with_tables), format!("{}/src/contrib/Archive/alpha/alpha_1.0.tar.gz", web.url()));
    assert_eq!(
        lines(&list(&["from-cran", text(&mirror.root)])),
        expected("Meta/current.rds", "Meta/archive.rds")
    );

    std::fs::remove_dir_all(mirror.root.join("src/contrib/Meta")).unwrap();
    let by_listings = list(&["from-cran", &format!("{}/src/contrib/", web.url())]);
    assert_eq!(lines(&by_listings), expected("Last-Modified", "Last-Modified"));
    let in_folder = list(&["from-cran", text(&mirror.root)]);
    assert_eq!(lines(&in_folder), expected("mtime", "mtime"));
    assert_eq!(from(&in_folder), "src/contrib/Archive/alpha/alpha_1.0.tar.gz");
    let sizes =
        |events: &[Value]| events.iter().filter_map(|event| event["size"].as_u64()).collect::<Vec<_>>();
    assert_eq!((sizes(&by_listings).len(), sizes(&by_listings)), (4, sizes(&in_folder)));
    // Every file of the folder is an event.
    let files: BTreeMap<String, Vec<u8>> = tree(&mirror.root);
    assert_eq!(files.keys().filter(|path| path.ends_with(".tar.gz")).count(), 4);
    assert!(
        refused(1, &["from-cran", &format!("{}/none", web.url())]).contains("has no src/contrib/PACKAGES")
    );
}

#[test]
fn a_folder_with_an_index_is_read_and_what_no_list_can_have_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let page = |project: &str, links: &str| {
        let folder = dir.path().join("simple").join(project);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("index.html"), format!("<!DOCTYPE html><h1>Links</h1>{links}")).unwrap();
    };
    let link = |file: &str, rest: &str| format!("<a href=\"../../packages/{file}\"{rest}>{file}</a>");
    page("", "<a href=\"acme/\">acme</a><a href=\"other/\">other</a>");
    let wheel = "acme-1.0-py3-none-any.whl";
    let reason = " data-yanked=\"broken&#10;Refused: all &#27;[8m\"";
    page("acme", &link(wheel, reason));
    page("other", &link(wheel, ""));
    std::fs::create_dir(dir.path().join("packages")).unwrap();
    std::fs::write(dir.path().join("packages").join(wheel), "x").unwrap();
    let events = list(&["from-index", text(dir.path())]);
    let lines = lines(&events);
    let expected = ["add ", "yank ", "lost packages/"].map(|line| format!("{line}{wheel}"));
    assert_eq!(lines, expected, "{events:#?}");
    assert_eq!(events[0]["from"], format!("packages/{wheel}"));
    assert_eq!(events[1]["reason"], "broken Refused: all [8m");
}
