//! Rotation by the server itself, of files that logrotate does not rotate: the same scheme, no line is lost, and one
//! program rotates each file.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::{ToSpan, Zoned};
use rstudio_pm::config::AccessLogFormat;
use rstudio_pm::logs::rotation::plan::Scheme;
use rstudio_pm::logs::rotation::{LogFile, Rotation};
use rstudio_pm::logs::{AccessEntry, AccessLog, OnFull, Sink};

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::rerun;
use crate::support::server::{Builder, Server};

fn read(path: &Path) -> String {
    let mut text = String::new();
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    } else {
        file.read_to_string(&mut text).expect("text");
    }
    text
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("readable");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// An empty folder, also the root of a machine without logrotate.
fn empty_folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The root of a machine whose logrotate rotates these files.
fn with_logrotate(pattern: &str) -> tempfile::TempDir {
    let root = empty_folder();
    for (name, text) in [
        ("usr/sbin/logrotate", ""),
        ("usr/sbin/cron", ""),
        ("etc/cron.daily/logrotate", "#!/bin/sh\n"),
        ("etc/logrotate.d/mine", &format!("{pattern} {{\n    daily\n}}\n")),
    ] {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a path below the root")).expect("created");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
    }
    root
}

/// Runs the nightly rotation after `day` days, for a server that was started on that day.
fn night(root: &Path, files: &[LogFile], day: i64, reopen: &dyn Fn() -> Result<(), String>) {
    let now = Zoned::now().checked_add((day + 1).days()).expect("a day");
    Rotation::new(root).run(files, &now, reopen);
}

#[test]
fn twenty_five_nights_under_load_lose_and_duplicate_no_line() {
    const NIGHTS: i64 = 25;
    let (dir, root) = (empty_folder(), empty_folder());
    let (server, access) = (dir.path().join("server.log"), dir.path().join("access.log"));
    let log = AccessLog::open(&access, AccessLogFormat::Common).expect("opens");
    let sink = Sink::open(&server, OnFull::Wait).expect("opens");
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (log, sink, stop, next) = (log.clone(), sink.clone(), Arc::clone(&stop), Arc::clone(&next));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    for _ in 0..100 {
                        let number = next.fetch_add(1, Ordering::AcqRel);
                        log.log(&AccessEntry {
                            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
                            user: None,
                            time: 0,
                            method: "GET",
                            target: &format!("/?{number}"),
                            version: "HTTP/1.1",
                            status: 200,
                            bytes: 1,
                            referer: None,
                            user_agent: None,
                        });
                        sink.write(format!("note {number}\n").as_bytes());
                    }
                    // About 50,000 lines per second.
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        })
        .collect();
    let files = [
        LogFile { path: server.clone(), scheme: Scheme::AllButNewest },
        LogFile { path: access.clone(), scheme: Scheme::All },
    ];
    for day in 0..NIGHTS {
        let before = next.load(Ordering::Acquire);
        until("there is something to rotate", || next.load(Ordering::Acquire) > before + 1000);
        log.flush();
        sink.flush();
        night(root.path(), &files, day, &|| {
            log.reopen().and_then(|()| sink.reopen().map(drop)).map_err(|e| e.to_string())
        });
    }
    let before = next.load(Ordering::Acquire);
    until("the current files have lines", || next.load(Ordering::Acquire) > before + 1000);
    stop.store(true, Ordering::Release);
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    log.flush();
    sink.flush();

    let mut expected = vec!["access.log".to_owned(), "server.log".to_owned(), "server.log.1".to_owned()];
    expected.extend((1..=NIGHTS).map(|n| format!("access.log.{n}.gz")));
    expected.extend((2..=NIGHTS).map(|n| format!("server.log.{n}.gz")));
    expected.sort();
    assert_eq!(names(dir.path()), expected);
    let sent_numbers: Vec<u64> = (0..next.load(Ordering::Acquire)).collect();
    for (begin, mark) in [("access.log", "GET /?"), ("server.log", "note ")] {
        let mut lines = Vec::new();
        for name in expected.iter().filter(|name| name.starts_with(begin)) {
            let path = dir.path().join(name);
            assert_eq!(path.metadata().expect("it exists").permissions().mode() & 0o7777, 0o600, "{name}");
            let text = read(&path);
            assert!(!text.is_empty() && text.ends_with('\n'), "{name}");
            lines.extend(text.lines().map(|line| -> u64 {
                let number = line.split(mark).nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                number.unwrap_or_else(|| panic!("broken: {line:?}"))
            }));
        }
        lines.sort_unstable();
        assert!(lines == sent_numbers, "{begin}: {} lines of {}", lines.len(), sent_numbers.len());
    }
}

#[test]
fn thirty_rotated_files_are_kept_and_an_empty_log_is_not_rotated() {
    let (dir, root) = (empty_folder(), empty_folder());
    let path = dir.path().join("a.log");
    let files = [LogFile { path: path.clone(), scheme: Scheme::AllButNewest }];
    for day in 0..33 {
        std::fs::write(&path, format!("day {day}\n")).expect("written");
        night(root.path(), &files, day, &|| File::create(&path).map(drop).map_err(|e| e.to_string()));
    }
    night(root.path(), &files, 33, &|| panic!("nothing to rotate"));
    assert_eq!(names(dir.path()).len(), 31);
    assert_eq!(read(&dir.path().join("a.log.1")), "day 32\n");
    assert_eq!(read(&dir.path().join("a.log.2.gz")), "day 31\n");
    assert_eq!(read(&dir.path().join("a.log.30.gz")), "day 3\n");
}

#[test]
fn files_of_logrotate_and_unusual_files_are_not_rotated() {
    let dir = empty_folder();
    let file = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, "a line\n").expect("written");
        LogFile { path, scheme: Scheme::All }
    };
    let real = dir.path().canonicalize().expect("it exists");
    let root = with_logrotate(&format!("{}/*.log", real.display()));
    let null = LogFile { path: PathBuf::from("/dev/null"), scheme: Scheme::All };
    let files = [file("a.log"), file("b.txt"), file("c"), file("c.1"), null];
    night(root.path(), &files, 0, &|| Ok(()));
    // logrotate does not name b.txt; c is not rotated, because c.1 is another log.
    assert_eq!(names(dir.path()), ["a.log", "b.txt.1.gz", "c", "c.1.1.gz"]);

    // logrotate is no longer scheduled.
    std::fs::remove_file(root.path().join("etc/cron.daily/logrotate")).expect("removed");
    night(root.path(), &files[..1], 0, &|| Ok(()));
    assert_eq!(names(dir.path()), ["a.log.1.gz", "b.txt.1.gz", "c", "c.1.1.gz"]);
}

#[test]
fn the_target_of_a_link_is_rotated() {
    let (dir, root) = (empty_folder(), empty_folder());
    let (real, link) = (dir.path().join("real.log"), dir.path().join("link.log"));
    std::fs::write(&real, "a line\n").expect("written");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    night(root.path(), &[LogFile { path: link, scheme: Scheme::All }], 0, &|| Ok(()));
    assert_eq!(names(dir.path()), ["link.log", "real.log.1.gz"]);
}

#[test]
fn a_file_that_is_still_written_to_is_not_compressed() {
    let (dir, root) = (empty_folder(), empty_folder());
    let path = dir.path().join("a.log");
    std::fs::write(&path, "a line\n").expect("written");
    let files = [LogFile { path: path.clone(), scheme: Scheme::All }];
    night(root.path(), &files, 0, &|| Err("no room for a new file".to_owned()));
    assert_eq!(names(dir.path()), ["a.log.1"]);
    let writer = File::options().append(true).open(dir.path().join("a.log.1")).expect("it exists");
    writer.lock_shared().expect("a lock");
    night(root.path(), &files, 1, &|| File::create(&path).map(drop).map_err(|e| e.to_string()));
    assert_eq!(names(dir.path()), ["a.log", "a.log.1"]);
    drop(writer);
    night(root.path(), &files, 1, &|| Ok(()));
    assert_eq!(names(dir.path()), ["a.log", "a.log.1.gz"]);
}

/// The real server, on a file system without creation times: the time of the last line counts.
#[test]
fn a_server_that_was_down_at_midnight_rotates_at_the_start_and_logs_which_program_rotates_each_file() {
    let Some(disk) = rerun::with_mount("-t ramfs") else { return };
    let (old, young) = (disk.join("access.log"), disk.join("service.log"));
    for (path, text) in [(&old, "yesterday\n"), (&young, "today\n")] {
        std::fs::write(path, text).expect("written");
    }
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 3600);
    File::options().write(true).open(&old).expect("it exists").set_modified(yesterday).expect("our own file");
    let lines = format!(
        "[Server]\nAccessLog = {}\nServiceLog = {}\n[Logging]\nSystemLog = {}\n",
        old.display(),
        young.display(),
        disk.join("server.log").display()
    );
    let server: Server = Builder::default().gcfg(&lines).start();
    server.wait_for_log(&format!("rotated the log file {}", old.display()));
    let message = format!("{} is rotated by this server", young.display());
    server.wait_for_log(&message);
    assert_eq!(server.get("/__ping__").status, 200);
    until("it is compressed", || {
        disk.join("access.log.1.gz").exists() && !disk.join("access.log.1").exists()
    });
    assert_eq!(read(&disk.join("access.log.1.gz")), "yesterday\n");
    until("it is logged", || read(&old).contains("/__ping__"));
    assert_eq!(names(&disk), ["access.log", "access.log.1.gz", "server.log", "service.log"]);
    assert_eq!(http::get(&server.url("/__ping__")).status, 200);
}

#[test]
fn no_rotation_is_tried_where_no_file_can_be_created() {
    let Some(disk) = rerun::small_disk() else { return };
    let path = disk.join("a.log");
    std::fs::write(&path, "a line\n").expect("written");
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().expect("mount runs");
    assert!(status.success());
    let root = empty_folder();
    night(root.path(), &[LogFile { path, scheme: Scheme::All }], 0, &|| panic!("nothing may be renamed"));
    assert_eq!(names(&disk), ["a.log"]);
}
