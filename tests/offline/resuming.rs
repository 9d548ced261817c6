//! Killed at any moment, a download goes on where it was.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rstudio_pm::bundle::{Product, seal};

use crate::support::downloader::{
    bundle, command, copy_over, got_cran, is_whole, mirror, objects, read, validate,
};
use crate::support::mirror_dir::{Shelf, file_url};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

const PACKAGES: usize = 60;
const AT_ONCE: usize = 4;

#[tokio::test]
async fn killed_at_twenty_moments_it_ends_with_the_same_and_fetches_little_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    for n in 0..PACKAGES {
        shelf.simple(&format!("package{n}"), "1.0", "2020-01-01");
        if n % 3 == 0 {
            shelf.simple(&format!("package{n}"), "1.1", "2020-02-01");
        }
    }
    shelf.write();
    let straight = dir.path().join("straight");
    got_cran(&shelf.url(), &straight, &[]);
    let upstream = Upstream::of(&shelf.root);
    let files: Vec<String> = crate::support::downloader::tree(&shelf.root)
        .into_keys()
        .filter(|path| path.ends_with(".tar.gz"))
        .collect();
    for file in &files {
        upstream.always(file, Fault::Slow(Duration::from_millis(30)));
    }
    let to = dir.path().join("killed");
    let at_once = AT_ONCE.to_string();
    let (url, path) = (upstream.url(), to.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path, "--concurrency", &at_once];
    let (mut kills, mut runs) = (0, 0);
    loop {
        runs += 1;
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if kills < 20 {
            // From before the first byte to well within: at least one of the moments is between two files.
            std::thread::sleep(Duration::from_millis(15 + 17 * (kills % 7)));
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                assert!(!to.join("v3/1/head.json").exists(), "nothing is seen of a part");
                continue;
            }
        }
        assert!(child.wait().unwrap().success());
        break;
    }
    assert_eq!((kills, runs), (20, 21));
    is_whole(&to);
    let ((_, expected, _), (_, records, _)) =
        (read(&straight, &Product::Cran).await, read(&to, &Product::Cran).await);
    assert_eq!(records, expected);
    assert_eq!(objects(&to), objects(&straight));
    let mut asked: HashMap<String, usize> = HashMap::new();
    for one in upstream.asked().into_iter().filter(|asked| asked.path.ends_with(".tar.gz")) {
        *asked.entry(one.path).or_default() += 1;
    }
    let twice: usize = asked.values().map(|times| times - 1).sum();
    assert!(twice <= 20 * AT_ONCE, "{twice} files more than once");
}

/// `strace` kills the process at the k-th of these calls of a thread.
const CHANGES: &str =
    "write,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate,fsync,fdatasync,syncfs,fchmod";

/// Runs a command with a kill at that call; false when it came to its end before.
fn killed_at(call: usize, args: &[&str]) -> bool {
    let status = run_to(call, args);
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

/// Runs a command with a kill at that call.
fn run_to(call: usize, args: &[&str]) -> std::process::ExitStatus {
    let plain = command(args);
    let inject = format!("inject={CHANGES}:signal=KILL:when={call}");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={CHANGES}"), "-e", &inject]);
    strace
        .arg(plain.get_program())
        .args(plain.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("strace cannot be run ({e}): install strace"))
}

#[test]
fn one_complete_run_leaves_nothing_of_runs_that_were_killed_at_any_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-01")]);
    let base = bundle(dir.path(), &shelf);
    let changed = dir.path().join("changed");
    shelf.simple("alpha", "2.0", "2020-03-01");
    shelf.simple("gamma", "1.0", "2020-03-01");
    shelf.write();
    copy_over(&shelf.root, {
        std::fs::create_dir(&changed).unwrap();
        &changed
    });
    // The mirror that a killed run saw has a file that the next run does not find there.
    let mut odd = Tarball::new("gamma", "1.0");
    odd.fields = "Title: Another\n".to_owned();
    shelf.publish(&odd, "2020-03-02");
    shelf.write();
    let (before, after) = (file_url(&changed), shelf.url());
    let mut kills = 0;
    for call in 1.. {
        let to = dir.path().join(format!("killed{call}"));
        if call % 2 == 0 {
            std::fs::create_dir(&to).unwrap();
            copy_over(&base, &to);
        }
        let path = to.to_str().unwrap().to_owned();
        let args = |url| ["get", "cran", "--base-url", url, "--destination", &path, "--quiet"];
        let killed = killed_at(call, &args(&before));
        // Of runs that are killed at once nothing is left, so the second is killed a little later.
        killed_at(call + call / 2, &args(&before));
        got_cran(&after, &to, &[]);
        let (code, findings) = validate("cran", &to, &["--packages"]);
        assert_eq!((code, findings.len()), (0, 0), "killed at {call}: {findings:?}");
        if !killed {
            break;
        }
        kills += 1;
        std::fs::remove_dir_all(&to).unwrap();
    }
    println!("killed at {kills} calls");
    assert!(kills > 10, "{kills}");
}

#[test]
fn a_run_killed_at_any_change_leaves_no_head_that_passes_without_a_file_of_the_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-01")]);
    std::fs::remove_file(shelf.root.join("src/contrib/beta_1.0.tar.gz")).unwrap();
    let url = file_url(&shelf.root);
    let mut heads = 0;
    for call in 1.. {
        let to = dir.path().join(format!("killed{call}"));
        let path = to.to_str().unwrap().to_owned();
        let status = run_to(call, &["get", "cran", "--base-url", &url, "--destination", &path, "--quiet"]);
        if to.join("v3/1/head.json").exists() {
            heads += 1;
            let (code, findings) = validate("cran", &to, &[]);
            let is_named = findings.iter().any(|(_, file, _)| file.ends_with("beta_1.0.tar.gz"));
            assert!(code == 1 && is_named, "killed at {call}: {code} {findings:?}");
        }
        if status.signal() != Some(9) {
            assert_eq!(status.code(), Some(1));
            break;
        }
    }
    assert!(heads > 0, "no run wrote a head");
}

#[test]
fn what_an_unfinished_download_left_is_told_and_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let to = bundle(dir.path(), &shelf);
    for n in 0..30 {
        shelf.simple(&format!("package{n}"), "1.0", "2020-02-01");
    }
    shelf.write();
    let upstream = Upstream::of(&shelf.root);
    for n in 0..30 {
        upstream
            .always(&format!("src/contrib/package{n}_1.0.tar.gz"), Fault::Slow(Duration::from_millis(100)));
    }
    let (url, path) = (upstream.url(), to.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path, "--concurrency", "2"];
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = to.join("v3/1/.releases.ndjson");
    while std::fs::metadata(&journal).map_or(0, |journal| journal.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for flags in [&["--packages"][..], &[]] {
        let (code, findings) = validate("cran", &to, flags);
        assert_eq!(code, 1, "{flags:?}");
        let of_the_journal = |(_, file, text): &(String, String, String)| {
            file.ends_with(".releases.ndjson") && text.contains("run get again")
        };
        assert!(findings.iter().any(of_the_journal), "{flags:?}: {findings:?}");
    }
    got_cran(&url, &to, &[]);
    is_whole(&to);
    assert!(!journal.exists());
}

#[tokio::test]
async fn an_archive_that_was_damaged_on_the_way_is_fetched_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    // The index has no checksum of an archived version.
    for (version, day) in [("1.0", "2020-01-01"), ("1.1", "2020-02-01")] {
        shelf.publish(&Tarball::new("odd", version), day);
    }
    shelf.write();
    let upstream = Upstream::of(&shelf.root);
    let archived = "src/contrib/Archive/odd/odd_1.0.tar.gz";
    let sound = upstream.bytes(archived);
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20].fill(0);
    upstream.put(archived, damaged.clone());
    upstream.fail("src/contrib/alpha_1.0.tar.gz", [Fault::Slow(Duration::from_secs(10))]);
    let to = dir.path().join("bundle");
    let (url, path) = (upstream.url(), to.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path];
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let noted = seal::digest(&damaged).to_string();
    let journal = to.join("v3/1/.releases.ndjson");
    while !std::fs::read_to_string(&journal)
        .is_ok_and(|lines| lines.contains(&noted) && lines.ends_with('\n'))
    {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    upstream.put(archived, sound.clone());
    upstream.asked();
    got_cran(&url, &to, &[]);
    assert!(upstream.asked().iter().any(|asked| asked.path == archived), "it is fetched again");
    is_whole(&to);
    let (_, _, state) = read(&to, &Product::Cran).await;
    let mut releases = state.package("", "odd").unwrap().releases.iter();
    let first = releases.rfind(|release| release.version == "1.0").unwrap();
    assert_eq!(first.object.sha256, seal::digest(&sound));
    got_cran(&url, &to, &[]);
    assert!(upstream.asked().iter().all(|asked| asked.path != archived), "it is sound");
}

#[test]
fn a_file_that_breaks_off_is_gone_on_with_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let upstream = Upstream::of(&shelf.root);
    let path = "src/contrib/alpha_1.0.tar.gz";
    upstream.fail(path, [Fault::CutAfter(50), Fault::Status(503, "Retry-After: 0"), Fault::CutAfter(40)]);
    let to = dir.path().join("bundle");
    got_cran(&upstream.url(), &to, &[]);
    is_whole(&to);
    let ranges: Vec<Option<String>> = upstream
        .asked()
        .iter()
        .filter(|asked| asked.path == path)
        .map(|asked| asked.headers.get("range").cloned())
        .collect();
    let expected = [None, Some("bytes=50-"), Some("bytes=50-"), Some("bytes=90-")];
    assert_eq!(ranges, expected.map(|range| range.map(str::to_owned)));
}

#[test]
fn two_downloads_to_one_place_are_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let to = bundle(dir.path(), &shelf);
    let lock = std::fs::File::open(to.join("v3/1/.lock")).unwrap();
    lock.lock().unwrap();
    let ended = crate::support::downloader::get_cran(&shelf.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("another rspm-offline-downloader writes to"), "{}", ended.err);
}
