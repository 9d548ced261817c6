//! A download that is killed at any moment is resumed.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rstudio_pm::bundle::{Product, self_digest};

use crate::support::downloader::{
    assert_complete, bundle, command, copy_over, create_mirror, must_get_cran, objects, read, validate,
};
use crate::support::fixtures::until;
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

const PACKAGES: usize = 60;
const CONCURRENCY: usize = 4;

/// Adds the answered requests for package files since the last call.
fn count_archives(upstream: &Upstream, requests: &mut HashMap<String, usize>) {
    for request in upstream.take_requests().into_iter().filter(|request| request.path.ends_with(".tar.gz")) {
        *requests.entry(request.path).or_default() += 1;
    }
}

#[tokio::test]
async fn a_download_killed_at_twenty_moments_has_the_same_result_and_repeats_few_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    for n in 0..PACKAGES {
        mirror.simple(&format!("package{n}"), "1.0", "2020-01-01");
        if n % 3 == 0 {
            mirror.simple(&format!("package{n}"), "1.1", "2020-02-01");
        }
    }
    mirror.write();
    let uninterrupted_bundle = dir.path().join("straight");
    must_get_cran(&mirror.url(), &uninterrupted_bundle, &[]);
    let upstream = Upstream::of(&mirror.root);
    let files: Vec<String> = crate::support::downloader::tree(&mirror.root)
        .into_keys()
        .filter(|path| path.ends_with(".tar.gz"))
        .collect();
    files.iter().for_each(|file| upstream.always(file, Fault::NoAnswer));
    let destination = dir.path().join("killed");
    let concurrency = CONCURRENCY.to_string();
    let (url, path) = (upstream.url(), destination.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path, "--concurrency", &concurrency];
    let mut requests: HashMap<String, usize> = HashMap::new();
    for kill in 0..20 {
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The moments range from before the first request to after several files. No run ends: the mirror holds back
        // most files.
        for _ in 0..kill % 5 {
            let mut file = None;
            until("a file is requested", || {
                file = upstream.pending().into_iter().find(|path| files.contains(path));
                file.is_some()
            });
            let file = file.unwrap();
            upstream.release(&file);
            until("it is answered", || {
                count_archives(&upstream, &mut requests);
                requests.contains_key(&file)
            });
        }
        assert!(child.try_wait().unwrap().is_none(), "the run ended before kill {kill}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!destination.join("v3/1/head.json").exists(), "a partial download has no head");
    }
    files.iter().for_each(|file| upstream.release(file));
    assert!(command(&args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert_complete(&destination);
    let ((_, expected, _), (_, records, _)) =
        (read(&uninterrupted_bundle, &Product::Cran).await, read(&destination, &Product::Cran).await);
    assert_eq!(records, expected);
    assert_eq!(objects(&destination), objects(&uninterrupted_bundle));
    count_archives(&upstream, &mut requests);
    assert_eq!(requests.len(), files.len());
    let repeat_count: usize = requests.values().map(|times| times - 1).sum();
    assert!(repeat_count <= 20 * CONCURRENCY, "{repeat_count} repeated requests");
}

/// System calls that change files; `strace` numbers them in each thread and kills the process at a given number.
const CHANGES: &str =
    "write,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate,fsync,fdatasync,syncfs,fchmod";

/// Runs a command that is killed at the call with this number; false if the command ended before.
fn kill_at(call: usize, args: &[&str]) -> bool {
    let status = run_to(call, args);
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

/// Runs a command that is killed at the call with this number; returns its exit status.
fn run_to(call: usize, args: &[&str]) -> std::process::ExitStatus {
    let program = command(args);
    let inject = format!("inject={CHANGES}:signal=KILL:when={call}");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={CHANGES}"), "-e", &inject]);
    strace
        .arg(program.get_program())
        .args(program.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("strace cannot be run ({e}): install strace"))
}

#[test]
fn one_complete_run_removes_everything_of_runs_that_were_killed_at_any_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror =
        create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-01")]);
    let base = bundle(dir.path(), &mirror);
    let changed_mirror = dir.path().join("changed");
    mirror.simple("alpha", "2.0", "2020-03-01");
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    copy_over(&mirror.root, {
        std::fs::create_dir(&changed_mirror).unwrap();
        &changed_mirror
    });
    // The mirror of a killed run has a file that the mirror of the next run does not have.
    let mut tarball = Tarball::new("gamma", "1.0");
    tarball.fields = "Title: Another\n".to_owned();
    mirror.publish(&tarball, "2020-03-02");
    mirror.write();
    let (old_url, new_url) = (file_url(&changed_mirror), mirror.url());
    let mut kills = 0;
    for call in 1.. {
        let destination = dir.path().join(format!("killed{call}"));
        if call % 2 == 0 {
            std::fs::create_dir(&destination).unwrap();
            copy_over(&base, &destination);
        }
        let path = destination.to_str().unwrap().to_owned();
        let args = |url| ["get", "cran", "--base-url", url, "--destination", &path, "--quiet"];
        let was_killed = kill_at(call, &args(&old_url));
        // A run that is killed early leaves nothing, so the second is killed later.
        kill_at(call + call / 2, &args(&old_url));
        must_get_cran(&new_url, &destination, &[]);
        let (code, findings) = validate("cran", &destination, &["--packages"]);
        assert_eq!((code, findings.len()), (0, 0), "killed at {call}: {findings:?}");
        if !was_killed {
            break;
        }
        kills += 1;
        std::fs::remove_dir_all(&destination).unwrap();
    }
    println!("killed at {kills} calls");
    assert!(kills > 10, "{kills}");
}

#[test]
fn a_run_killed_at_any_change_leaves_no_valid_head_without_a_file_of_the_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-01")]);
    std::fs::remove_file(mirror.root.join("src/contrib/beta_1.0.tar.gz")).unwrap();
    let url = file_url(&mirror.root);
    let mut heads = 0;
    for call in 1.. {
        let destination = dir.path().join(format!("killed{call}"));
        let path = destination.to_str().unwrap().to_owned();
        let status = run_to(call, &["get", "cran", "--base-url", &url, "--destination", &path, "--quiet"]);
        if destination.join("v3/1/head.json").exists() {
            heads += 1;
            let (code, findings) = validate("cran", &destination, &[]);
            let is_reported = findings.iter().any(|(_, file, _)| file.ends_with("beta_1.0.tar.gz"));
            assert!(code == 1 && is_reported, "killed at {call}: {code} {findings:?}");
        }
        if status.signal() != Some(9) {
            assert_eq!(status.code(), Some(1));
            break;
        }
    }
    assert!(heads > 0, "no run wrote a head");
}

#[test]
fn the_journal_of_an_unfinished_download_is_reported_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let destination = bundle(dir.path(), &mirror);
    for n in 0..30 {
        mirror.simple(&format!("package{n}"), "1.0", "2020-02-01");
    }
    mirror.write();
    let upstream = Upstream::of(&mirror.root);
    for n in 0..30 {
        upstream
            .always(&format!("src/contrib/package{n}_1.0.tar.gz"), Fault::Slow(Duration::from_millis(300)));
    }
    let (url, path) = (upstream.url(), destination.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path, "--concurrency", "2"];
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = destination.join("v3/1/.releases.ndjson");
    while std::fs::metadata(&journal).map_or(0, |journal| journal.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for flags in [&["--packages"][..], &[]] {
        let (code, findings) = validate("cran", &destination, flags);
        assert_eq!(code, 1, "{flags:?}");
        let is_of_journal = |(_, file, text): &(String, String, String)| {
            file.ends_with(".releases.ndjson") && text.contains("run get again")
        };
        assert!(findings.iter().any(is_of_journal), "{flags:?}: {findings:?}");
    }
    must_get_cran(&url, &destination, &[]);
    assert_complete(&destination);
    assert!(!journal.exists());
}

#[tokio::test]
async fn an_archive_that_was_damaged_in_transfer_is_fetched_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    // The index has no checksum of an archived version.
    for (version, day) in [("1.0", "2020-01-01"), ("1.1", "2020-02-01")] {
        mirror.publish(&Tarball::new("odd", version), day);
    }
    mirror.write();
    let upstream = Upstream::of(&mirror.root);
    let archived_file = "src/contrib/Archive/odd/odd_1.0.tar.gz";
    let intact_bytes = upstream.bytes(archived_file);
    let mut damaged_bytes = intact_bytes.clone();
    let middle = damaged_bytes.len() / 2;
    damaged_bytes[middle..middle + 20].fill(0);
    upstream.put(archived_file, damaged_bytes.clone());
    upstream.fail("src/contrib/alpha_1.0.tar.gz", [Fault::Slow(Duration::from_secs(30))]);
    let destination = dir.path().join("bundle");
    let (url, path) = (upstream.url(), destination.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path];
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let digest = self_digest::digest(&damaged_bytes).to_string();
    let journal = destination.join("v3/1/.releases.ndjson");
    while !std::fs::read_to_string(&journal)
        .is_ok_and(|lines| lines.contains(&digest) && lines.ends_with('\n'))
    {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    upstream.put(archived_file, intact_bytes.clone());
    upstream.take_requests();
    must_get_cran(&url, &destination, &[]);
    assert!(
        upstream.take_requests().iter().any(|request| request.path == archived_file),
        "it is fetched again"
    );
    assert_complete(&destination);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    let mut releases = state.package("", "odd").unwrap().releases.iter();
    let release = releases.rfind(|release| release.version == "1.0").unwrap();
    assert_eq!(release.object.sha256, self_digest::digest(&intact_bytes));
    must_get_cran(&url, &destination, &[]);
    assert!(upstream.take_requests().iter().all(|request| request.path != archived_file), "it is intact");
}

#[test]
fn an_interrupted_file_is_resumed_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let upstream = Upstream::of(&mirror.root);
    let path = "src/contrib/alpha_1.0.tar.gz";
    upstream.fail(path, [Fault::CutAfter(50), Fault::Status(503, "Retry-After: 0"), Fault::CutAfter(40)]);
    let destination = dir.path().join("bundle");
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_complete(&destination);
    let ranges: Vec<Option<String>> = upstream
        .take_requests()
        .iter()
        .filter(|request| request.path == path)
        .map(|request| request.headers.get("range").cloned())
        .collect();
    let expected = [None, Some("bytes=50-"), Some("bytes=50-"), Some("bytes=90-")];
    assert_eq!(ranges, expected.map(|range| range.map(str::to_owned)));
}

#[test]
fn a_second_download_to_one_destination_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let destination = bundle(dir.path(), &mirror);
    let lock = std::fs::File::open(destination.join("v3/1/.lock")).unwrap();
    lock.lock().unwrap();
    let result = crate::support::downloader::get_cran(&mirror.url(), &destination, &[]);
    assert_eq!(result.code, Some(1));
    assert!(result.err.contains("another rspm-offline-downloader writes to"), "{}", result.err);
}
