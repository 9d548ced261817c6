//! Reads logrotate's configuration, and detects whether it is run.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::owner::LogrotateState;
use super::{glob, logrotate};

/// Maximum size of a configuration file in bytes; larger ones are ignored.
const MAX_FILE_SIZE: u64 = 1 << 20;
const MAX_DEPTH: usize = 8;

/// Reads `/etc/logrotate.conf` with its includes, and `/etc/logrotate.d`, below `root` (`/` except in tests).
pub fn probe(root: &Path) -> LogrotateState {
    let mut state = LogrotateState { runner: runner(root), ..LogrotateState::default() };
    let mut visited_files = Vec::new();
    read(&root.join("etc/logrotate.conf"), root, &mut state, &mut visited_files, 0);
    read(&root.join("etc/logrotate.d"), root, &mut state, &mut visited_files, 0);
    state
}

fn read(path: &Path, root: &Path, state: &mut LogrotateState, visited: &mut Vec<PathBuf>, depth: usize) {
    if depth > MAX_DEPTH || visited.iter().any(|earlier| earlier == path) {
        return;
    }
    visited.push(path.to_owned());
    let result = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => read_folder(path, root, state, visited, depth),
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_FILE_SIZE => {
            std::fs::read(path).map(|bytes| {
                let file = logrotate::parse(&String::from_utf8_lossy(&bytes));
                let patterns = file.patterns.into_iter().flat_map(|pattern| pattern_variants(pattern, root));
                state.patterns.extend(patterns.map(|pattern| (pattern, path.to_owned())));
                for include in file.includes {
                    read(&root.join(include.trim_start_matches('/')), root, state, visited, depth + 1);
                }
            })
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match result.map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound) | Ok(()) => {}
        Err(_) => state.unreadable_files.push(path.to_owned()),
    }
}

fn read_folder(
    path: &Path,
    root: &Path,
    state: &mut LogrotateState,
    visited: &mut Vec<PathBuf>,
    depth: usize,
) -> io::Result<()> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| !file.file_name().is_some_and(|name| logrotate::is_taboo(&name.to_string_lossy())));
    files.sort();
    for file in files.into_iter().filter(|file| !file.is_dir()) {
        read(&file, root, state, visited, depth + 1);
    }
    Ok(())
}

/// Returns the pattern and, if it differs, the pattern with the canonical path of its directory.
fn pattern_variants(pattern: String, root: &Path) -> Vec<String> {
    let (folder, rest) = glob::split_fixed(&pattern);
    let canonical_path = root.join(folder.trim_start_matches('/')).canonicalize();
    let canonical_path = canonical_path.ok().and_then(|canonical_path| {
        Some(format!("{}/{rest}", canonical_path.to_str()?.trim_end_matches('/')))
    });
    let real_pattern = canonical_path.filter(|canonical_path| *canonical_path != pattern);
    std::iter::once(pattern).chain(real_pattern).collect()
}

/// Returns the timer or script that runs logrotate, if any.
fn runner(root: &Path) -> Option<String> {
    let exists = |path: &str| root.join(path).symlink_metadata().is_ok();
    if !["usr/sbin/logrotate", "usr/bin/logrotate", "sbin/logrotate"].into_iter().any(exists) {
        return None;
    }
    let is_systemd_running = root.join("run/systemd/system").is_dir();
    let units = ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
    let is_masked = |folder: &&str| {
        std::fs::read_link(root.join(folder).join("logrotate.timer"))
            .is_ok_and(|to| to == Path::new("/dev/null"))
    };
    let is_enabled = |folder: &str| exists(&format!("{folder}/timers.target.wants/logrotate.timer"));
    if is_systemd_running && !units[..2].iter().any(is_masked) && units.into_iter().any(is_enabled) {
        return Some("logrotate.timer".to_owned());
    }
    if !["cron", "crond", "anacron", "fcron"].iter().any(|name| exists(&format!("usr/sbin/{name}"))) {
        return None;
    }
    ["etc/cron.daily/logrotate", "etc/cron.hourly/logrotate"].into_iter().find_map(|script| {
        let path = root.join(script);
        let is_executable = path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        // Debian's script exits if systemd runs, and leaves the work to the timer.
        let defers_to_timer =
            || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("/run/systemd/system"));
        (is_executable && !(is_systemd_running && defers_to_timer())).then(|| format!("/{script}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Creates a root directory with these files; directories end with a slash, links have an arrow.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = root.path().join(name);
            if name.ends_with('/') {
                std::fs::create_dir_all(path).expect("created");
                continue;
            }
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("created");
            match text.strip_prefix("-> ") {
                Some(to) => symlink(to, path).expect("a link"),
                None => std::fs::write(path, text).expect("written"),
            }
            if name.contains("cron") || name.contains("sbin") {
                std::fs::set_permissions(root.path().join(name), std::fs::Permissions::from_mode(0o755))
                    .expect("ours");
            }
        }
        root
    }

    const PROGRAM: (&str, &str) = ("usr/sbin/logrotate", "");
    const CRON: (&str, &str) = ("usr/sbin/cron", "");
    const BOOTED: (&str, &str) = ("run/systemd/system/", "");
    const TIMER: (&str, &str) = ("etc/systemd/system/timers.target.wants/logrotate.timer", "-> /lib/x");
    const DAILY: (&str, &str) =
        ("etc/cron.daily/logrotate", "#!/bin/sh\nif [ -d /run/systemd/system ]; then exit 0; fi\n");
    const OLD_DAILY: (&str, &str) =
        ("etc/cron.daily/logrotate", "#!/bin/sh\nlogrotate /etc/logrotate.conf\n");

    #[test]
    fn logrotate_is_run_by_its_timer_or_by_cron_or_by_nothing() {
        let masked = ("etc/systemd/system/logrotate.timer", "-> /dev/null");
        for (files, expected) in [
            (vec![PROGRAM, BOOTED, TIMER, CRON, DAILY], Some("logrotate.timer")),
            (vec![PROGRAM, TIMER], None),
            (vec![PROGRAM, BOOTED, TIMER, masked], None),
            (vec![PROGRAM, BOOTED, CRON, DAILY], None),
            (vec![PROGRAM, CRON, DAILY], Some("/etc/cron.daily/logrotate")),
            (vec![PROGRAM, DAILY], None),
            (vec![PROGRAM, BOOTED, CRON, OLD_DAILY], Some("/etc/cron.daily/logrotate")),
            (vec![BOOTED, TIMER, CRON, OLD_DAILY], None),
        ] {
            let root = machine(&files);
            assert_eq!(probe(root.path()).runner.as_deref(), expected, "{files:?}");
        }
    }

    #[test]
    fn the_configuration_and_its_includes_are_read_once_without_backup_files() {
        let root = machine(&[
            (
                "etc/logrotate.conf",
                "include /etc/logrotate.d\ninclude /opt/more\ninclude /etc/logrotate.conf\n/a {\n}\n",
            ),
            ("etc/logrotate.d/one", "/b/*.log {\n}\n"),
            ("etc/logrotate.d/one.dpkg-old", "/c {\n}\n"),
            ("etc/logrotate.d/folder/two", "/d {\n}\n"),
            ("opt/more", "/e {\n}\n"),
        ]);
        let state = probe(root.path());
        let patterns: Vec<&str> = state.patterns.iter().map(|(pattern, _)| pattern.as_str()).collect();
        // Only the patterns as written, not those prefixed with the root of this test.
        let literal: Vec<&&str> =
            patterns.iter().filter(|p| ["/a", "/b/*.log", "/c", "/d", "/e"].contains(*p)).collect();
        assert_eq!(literal, [&"/a", &"/b/*.log", &"/e"], "{state:?}");
        assert!(state.unreadable_files.is_empty(), "{state:?}");
    }

    #[test]
    fn a_directory_that_is_a_link_is_listed_by_its_other_name_too() {
        let root = machine(&[
            ("srv/logs/", ""),
            ("logs", "-> srv/logs"),
            ("etc/logrotate.d/one", "/logs/*.log {\n}\n"),
        ]);
        let state = probe(root.path());
        let canonical_path = root.path().join("srv/logs").canonicalize().expect("it exists");
        let patterns: Vec<&str> = state.patterns.iter().map(|(pattern, _)| pattern.as_str()).collect();
        assert_eq!(patterns, ["/logs/*.log", &format!("{}/*.log", canonical_path.display())]);
    }
}
