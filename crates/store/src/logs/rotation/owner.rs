//! Decides which program rotates a log file: logrotate if it is run and configured to, else this server. Pure.

use std::path::{Path, PathBuf};

use super::glob;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogrotateState {
    /// Absolute patterns, each with its configuration file.
    pub patterns: Vec<(String, PathBuf)>,
    /// Configuration files that this user cannot read.
    pub unreadable_files: Vec<PathBuf>,
    /// The timer or script that runs logrotate, if any: `logrotate.timer`, `/etc/cron.daily/logrotate`.
    pub runner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Logrotate {
        file: PathBuf,
        /// The timer or script that runs logrotate: `logrotate.timer`, `/etc/cron.daily/logrotate`.
        runner: String,
    },
    Server(RotationReason),
    Unowned(String),
    /// No program, because a device needs no rotation.
    Device,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationReason {
    NotConfigured,
    NotScheduled,
}

#[derive(Clone, Copy, Debug)]
pub struct LogFileState<'a> {
    pub path: &'a Path,
    pub canonical_path: &'a Path,
    /// Whether the last component of `path` is a symbolic link, which logrotate refuses.
    pub is_link: bool,
    /// Whether it is a regular file, not a device.
    pub is_file: bool,
}

/// Decides which program rotates a file. If a configuration that may name the file cannot be read, no program does,
/// because two programs must not rotate the same file.
pub fn decide(log_file: LogFileState<'_>, logrotate: &LogrotateState) -> Owner {
    if !log_file.is_file {
        return Owner::Device;
    }
    let Some(runner) = &logrotate.runner else { return Owner::Server(RotationReason::NotScheduled) };
    let names = [(!log_file.is_link).then_some(log_file.path), Some(log_file.canonical_path)];
    let matches = |pattern: &str| {
        let path_matches = |path: &Path| path.to_str().is_some_and(|path| glob::matches(pattern, path));
        names.iter().flatten().any(|path| path_matches(path))
    };
    match (
        logrotate.patterns.iter().find(|(pattern, _)| matches(pattern)),
        logrotate.unreadable_files.first(),
    ) {
        (Some((_, file)), _) => Owner::Logrotate { file: file.clone(), runner: runner.clone() },
        (None, Some(file)) => {
            let file = file.display();
            Owner::Unowned(format!("{file} may name it and cannot be read; run: chmod a+r {file}"))
        }
        (None, None) => Owner::Server(RotationReason::NotConfigured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regular_file(path: &Path) -> LogFileState<'_> {
        LogFileState { path, canonical_path: path, is_link: false, is_file: true }
    }

    fn logrotate_state(pattern: &str) -> LogrotateState {
        LogrotateState {
            patterns: vec![(pattern.to_owned(), "/etc/logrotate.d/x".into())],
            unreadable_files: Vec::new(),
            runner: Some("logrotate.timer".to_owned()),
        }
    }

    fn owned_by_logrotate() -> Owner {
        Owner::Logrotate { file: "/etc/logrotate.d/x".into(), runner: "logrotate.timer".to_owned() }
    }

    #[test]
    fn logrotate_owns_the_files_that_it_names_if_it_runs() {
        let path = Path::new("/var/log/a.log");
        assert_eq!(decide(regular_file(path), &logrotate_state("/var/log/*.log")), owned_by_logrotate());
        assert_eq!(
            decide(regular_file(path), &logrotate_state("/srv/*.log")),
            Owner::Server(RotationReason::NotConfigured)
        );
        let not_scheduled = LogrotateState { runner: None, ..logrotate_state("/var/log/*.log") };
        assert_eq!(decide(regular_file(path), &not_scheduled), Owner::Server(RotationReason::NotScheduled));
    }

    #[test]
    fn the_server_rotates_a_link_unless_logrotate_names_its_target() {
        let (path, canonical_path) = (Path::new("/var/log/a.log"), Path::new("/srv/a.log"));
        let link = LogFileState { canonical_path, is_link: true, ..regular_file(path) };
        assert_eq!(
            decide(link, &logrotate_state("/var/log/*.log")),
            Owner::Server(RotationReason::NotConfigured)
        );
        assert_eq!(decide(link, &logrotate_state("/srv/*.log")), owned_by_logrotate());
        // The directory is a symbolic link, the file is not.
        assert_eq!(
            decide(LogFileState { is_link: false, ..link }, &logrotate_state("/var/log/*.log")),
            owned_by_logrotate()
        );
    }

    #[test]
    fn a_log_that_an_unreadable_configuration_may_name_has_no_owner() {
        let path = Path::new("/var/log/a.log");
        let unreadable_state = LogrotateState {
            unreadable_files: vec!["/etc/logrotate.d/y".into()],
            ..logrotate_state("/srv/*")
        };
        let Owner::Unowned(reason) = decide(regular_file(path), &unreadable_state) else {
            panic!("an owner")
        };
        assert!(reason.contains("chmod a+r /etc/logrotate.d/y"), "{reason}");
        let device = LogFileState { is_file: false, ..regular_file(Path::new("/dev/null")) };
        assert_eq!(decide(device, &logrotate_state("/dev/*")), Owner::Device);
    }
}
