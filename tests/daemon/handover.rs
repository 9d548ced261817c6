//! SIGUSR2: the installed program takes over without an effect on running requests.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::daemon::no_drop::{one_per_protocol, package, repository};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::load::{ExpectedFile, Load, mix};
use crate::support::manager::{Manager, is_alive};
use crate::support::server::Server;
use crate::support::upstream::{Fault, Upstream};

const MEGABYTE: u64 = 1_000_000;

/// Starts a server with the repository `load`.
fn start_manager() -> Manager {
    let mut manager = Manager::new("");
    manager.start();
    repository(&manager);
    manager
}

/// Running downloads of `seconds` at 1 MB/s, one per protocol.
fn slow_downloads(manager: &Manager, seconds: usize) -> Load {
    let slow_package = package(manager, "slow", seconds * MEGABYTE as usize).with_rate(MEGABYTE);
    let load = Load::start(manager.target(), one_per_protocol(&slow_package, true, Duration::ZERO));
    load.request_stop();
    let deadline = Instant::now() + Duration::from_secs(90);
    while load.slow_bytes() < MEGABYTE {
        assert!(Instant::now() < deadline, "the downloads do not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    load
}

/// Downloads of curl over HTTP/2 at 4 MB/s. Unlike [`slow_downloads`], the kernel holds what curl has not read yet.
struct CurlDownloads {
    file: ExpectedFile,
    outputs: Vec<(Child, NamedTempFile)>,
}

impl CurlDownloads {
    /// Returns when each has received a megabyte.
    fn start(manager: &Manager, file: &ExpectedFile) -> CurlDownloads {
        let start = || {
            let output = NamedTempFile::new().expect("a file");
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--show-error",
                "--http2",
                "--insecure",
                "--limit-rate",
                "4M",
                "--output",
            ]);
            curl.arg(output.path()).arg(format!("https://{}{}", manager.target().https, file.path));
            (curl.spawn().expect("curl"), output)
        };
        let outputs: Vec<(Child, NamedTempFile)> = (0..3).map(|_| start()).collect();
        for (_, output) in &outputs {
            until("a megabyte", || output.path().metadata().is_ok_and(|file| file.len() > MEGABYTE));
        }
        CurlDownloads { file: file.clone(), outputs }
    }

    fn assert_complete(self) {
        for (mut curl, output) in self.outputs {
            assert!(curl.wait().expect("curl").success());
            let bytes = std::fs::read(output.path()).expect("a file");
            assert_eq!(hex::encode(Sha256::digest(bytes)), self.file.sha256);
        }
    }
}

#[test]
fn curl_completes_downloads_over_http2_when_the_process_hands_over_or_stops() {
    let mut manager = start_manager();
    let file = package(&manager, "large", 20 * MEGABYTE as usize);
    let downloads = CurlDownloads::start(&manager, &file);
    manager.upgrade().expect("an upgrade");
    downloads.assert_complete();
    let downloads = CurlDownloads::start(&manager, &file);
    manager.stop();
    downloads.assert_complete();
}

fn ping(manager: &Manager) -> u16 {
    http::get(&format!("http://{}/__ping__", manager.target().http)).status
}

#[test]
fn five_upgrades_under_load_cut_nothing() {
    let mut manager = start_manager();
    let small_package = package(&manager, "small", 500);
    let medium = package(&manager, "medium", 300_000);
    // 50 seconds each: longer than the time limit of a stop.
    let downloads = slow_downloads(&manager, 50);
    let load = Load::start(manager.target(), mix(&[small_package, medium], Duration::from_millis(20)));
    let mut mains = vec![manager.main()];
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(500));
        mains.push(manager.upgrade().expect("an upgrade"));
    }
    std::thread::sleep(Duration::from_millis(500));
    let outcome = load.finish();
    println!("upgrades: {}", outcome.line());
    outcome.assert_none_failed();
    assert!(is_alive(mains[0]), "the first process still serves the long downloads");
    assert_eq!(downloads.slow_downloads(), 3);
    let downloaded = downloads.finish();
    println!("downloads: {}", downloaded.line());
    downloaded.assert_none_failed();
    assert_eq!(downloaded.requests, 3);
    let last = mains.pop().expect("a last process");
    for old in mains {
        manager.wait_for_end(old);
    }
    assert!(is_alive(last));
    let pid_file = manager.server.dir().join("run/rstudio-pm.pid");
    assert_eq!(std::fs::read_to_string(pid_file).expect("a PID file").trim(), last.to_string());
    let lock = std::fs::File::open(manager.server.dir().join("data/db/rstudio-pm.db.lock"));
    assert!(
        lock.expect("a lock file").try_lock().is_err(),
        "the database is still locked by the last process"
    );
    // The last process has the state of the first one and can write.
    manager.server.add("load", &crate::support::tarball::Tarball::new("later", "1.0"));
    let url = format!("http://{}/load/latest/src/contrib/later_1.0.tar.gz", manager.target().http);
    assert_eq!(http::get(&url).status, 200);
    // Each process renewed the storage markers.
    let listed = manager.server.json("storage list");
    let classes = listed["classes"].as_array().expect("a list");
    assert!(classes.iter().all(|class| class["owner"] == "own"), "{listed}");
    manager.stop();
}

#[test]
fn adds_during_a_handover_all_succeed() {
    let mut manager = start_manager();
    repository_of(&manager, "busy");
    let config = manager.server.config_file();
    let folder = tempfile::tempdir().expect("a folder");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let added = std::thread::scope(|scope| {
        let adds = scope.spawn(|| {
            let mut added = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let tarball = crate::support::tarball::Tarball::new("often", &format!("1.{added}"));
                let path = folder.path().join(tarball.file());
                std::fs::write(&path, tarball.bytes()).expect("written");
                let output = std::process::Command::new(env!("CARGO_BIN_EXE_rspm"))
                    .arg("--config")
                    .arg(&config)
                    .args(["add", "--source=busy", "--path"])
                    .arg(&path)
                    .output()
                    .expect("rspm runs");
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "add {added}: {errors}");
                added += 1;
            }
            added
        });
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(300));
            manager.upgrade().expect("an upgrade");
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        adds.join().expect("every add succeeds")
    });
    assert!(added > 1, "{added}");
    let url =
        format!("http://{}/busy/latest/src/contrib/Archive/often/often_1.0.tar.gz", manager.target().http);
    assert_eq!(http::get(&url).status, 200);
}

#[test]
fn a_failed_upgrade_leaves_the_old_process_serving() {
    let mut manager = start_manager();
    let main = manager.main();
    let gcfg = std::fs::read_to_string(manager.server.config_file()).expect("a configuration");
    for (broken, reason) in [
        ("[HTTP]\nListen = nonsense", "Listen"),
        ("[SQLite]\nDir = /proc/nowhere", "database"),
        ("[HTTPS]\nKey = /nowhere.key", "HTTPS"),
    ] {
        std::fs::write(manager.server.config_file(), format!("{gcfg}\n{broken}\n")).expect("written");
        let refusal = manager.upgrade().expect_err(broken);
        assert!(refusal.contains("continues to serve") && refusal.contains(reason), "{broken}: {refusal}");
        assert_eq!((manager.main(), ping(&manager)), (main, 200));
    }
    std::fs::write(manager.server.config_file(), &gcfg).expect("written");
    for (script, reason) in [
        ("exit 0", "exited before it was ready"),
        ("exit 2", "exit status: 2"),
        ("kill -9 $$", "signal: 9"),
        ("exec /nowhere", "exit status: 127"),
    ] {
        manager.install_script(script);
        let refusal = manager.upgrade().expect_err(script);
        assert!(refusal.contains(reason), "{script}: {refusal}");
        assert_eq!((manager.main(), ping(&manager)), (main, 200));
    }
    // The old process can still write, and the next working program takes over.
    repository_of(&manager, "other");
    manager.install_program();
    let next = manager.upgrade().expect("an upgrade");
    manager.wait_for_end(main);
    assert_ne!(next, main);
    repository_of(&manager, "third");
    assert_eq!(ping(&manager), 200);
}

fn repository_of(manager: &Manager, name: &str) {
    manager.server.local_repository(name, &[]);
}

#[test]
fn a_killed_successor_does_not_cut_requests_of_the_old_process() {
    let mut manager = start_manager();
    let old = manager.main();
    let downloads = slow_downloads(&manager, 20);
    let new = manager.upgrade().expect("an upgrade");
    kill(new, Signal::SIGKILL).expect("it runs");
    manager.wait_for_end(new);
    // systemd starts the service again.
    manager.start();
    assert_eq!(ping(&manager), 200);
    assert!(is_alive(old));
    downloads.finish().assert_none_failed();
    manager.wait_for_end(old);
    assert_eq!(ping(&manager), 200);
}

#[test]
fn a_stop_of_the_new_process_ends_both_and_cuts_no_request_that_ends_in_time() {
    let mut manager = start_manager();
    let old = manager.main();
    let downloads = slow_downloads(&manager, 6);
    manager.upgrade().expect("an upgrade");
    // The process in the middle has no requests to finish, and forwards messages.
    let middle = manager.main();
    manager.upgrade().expect("another upgrade");
    let small_package = package(&manager, "small", 500);
    let load = Load::start(manager.target(), mix(&[small_package], Duration::from_millis(20)));
    std::thread::sleep(Duration::from_millis(300));
    manager.restart();
    assert!(!is_alive(old) && !is_alive(middle), "the new process waited for the earlier ones");
    downloads.finish().assert_none_failed();
    let outcome = load.finish();
    println!("a restart while an old process finishes: {}", outcome.line());
    outcome.assert_none_failed();
}

#[test]
fn a_stop_of_the_last_process_cuts_overlong_requests_in_all_of_them() {
    let mut manager = start_manager();
    let old = manager.main();
    let downloads = slow_downloads(&manager, 50);
    manager.upgrade().expect("an upgrade");
    manager.upgrade().expect("another upgrade");
    manager.stop();
    assert!(!is_alive(old), "no old process is left");
    assert!(
        !downloads.finish().failures.is_empty(),
        "the downloads take longer than the time limit of a stop"
    );
}

#[test]
fn a_server_without_systemd_hands_over_the_sockets_that_it_opened() {
    let mut server = Server::start();
    let old = server.pid().to_string();
    let pid_file = server.dir().join("run/rstudio-pm.pid");
    server.signal(Signal::SIGUSR2);
    let deadline = Instant::now() + Duration::from_secs(90);
    let new = loop {
        let pid = std::fs::read_to_string(&pid_file).unwrap_or_default().trim().to_owned();
        if pid != old && !pid.is_empty() {
            break pid;
        }
        assert!(Instant::now() < deadline, "{}", server.log_lines().join("\n"));
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.get("/__ping__").status, 200);
    server.local_repository("load", &[]);
    kill(Pid::from_raw(new.parse().expect("a process id")), Signal::SIGTERM).expect("it runs");
    while server.admin_socket().exists() || pid_file.exists() {
        assert!(Instant::now() < deadline, "its files still exist");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_old_process_reopens_its_logs_too() {
    let mut manager = start_manager();
    let old = manager.main();
    // Longer than an upgrade and a signal take on a slow machine.
    let downloads = slow_downloads(&manager, 12);
    manager.upgrade().expect("an upgrade");
    let log = manager.server.dir().join("access.log");
    std::fs::rename(&log, log.with_extension("1")).expect("renamed");
    let before = manager.log().matches("log files reopened").count();
    manager.signal(Signal::SIGUSR1);
    let deadline = Instant::now() + Duration::from_secs(90);
    while manager.log().matches("log files reopened").count() == before {
        assert!(Instant::now() < deadline, "{}", manager.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    downloads.finish().assert_none_failed();
    manager.wait_for_end(old);
    // The old log may have some of the three downloads: the server logs a request when the kernel buffers have taken
    // the last bytes. It also has the request that `package` sent for the expected bytes, which is subtracted.
    let count = |log: &std::path::Path| {
        let lines = std::fs::read_to_string(log).expect("a log");
        lines.matches("slow_1.0.tar.gz HTTP").count()
    };
    let (before, after) = (count(&log.with_extension("1")) - 1, count(&log));
    assert!(before + after == 3 && after > 0, "{before} before, {after} after");
}

/// A mirror of CRAN and Bioconductor whose indexes delay a sync.
fn slow_mirror(pause: Duration) -> Upstream {
    let mirror = Upstream::of(&crate::support::data::path("bioc-mirror"));
    mirror.put("src/contrib/PACKAGES", "Package: alpha\nVersion: 1.0\n");
    for index in ["src/contrib/PACKAGES", "packages/3.20/bioc/src/contrib/PACKAGES.gz"] {
        mirror.always(index, Fault::Slow(pause));
    }
    mirror
}

#[test]
fn running_syncs_start_again_in_the_new_program() {
    let mirror = slow_mirror(Duration::from_secs(20));
    let url = mirror.url();
    let mut manager = Manager::new(&format!("[CRAN]\nURL = {url}\n[Bioconductor]\nURL = {url}"));
    manager.start();
    manager.server.json("sync --no-wait");
    manager.server.json("sync --type=bioconductor --version=release --no-wait");
    until("both read the index", || {
        let jobs = manager.server.call("GET", "/jobs", &serde_json::Value::Null).to_string();
        jobs.contains("sync:cran") && jobs.matches("reading the index").count() == 2
    });
    mirror.always("packages/3.20/bioc/src/contrib/PACKAGES.gz", Fault::ExtraHeader("X: y"));
    mirror.always("src/contrib/PACKAGES", Fault::ExtraHeader("X: y"));
    manager.upgrade().expect("an upgrade");
    let output = manager.server.rspm_stdout("sync --type=bioconductor --version=release --quiet");
    assert!(output.contains("Bioconductor 3.20"), "{output}");
    for (source, expected) in [("bioconductor", 1), ("cran", 1)] {
        until("it is synced", || {
            let rows = manager.server.json(&format!("info --source={source}"));
            rows["last_transaction"]["id"].is_i64()
        });
        let rows =
            http::get(&format!("http://{}/__api__/sources/{source}/transactions", manager.target().http));
        assert_eq!(rows.json().as_array().map(Vec::len), Some(expected), "{source}");
    }
    manager.stop();
}
