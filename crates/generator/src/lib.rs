//! The systemd generator: reads the gcfg at boot and at each `daemon-reload` and writes the files of [`units`].
//!
//! The generator runs during the start of systemd, before other file systems are mounted. It reads a few small files,
//! uses no network, writes only into the directory that systemd names, logs to the kernel's log, and never fails.

pub mod units;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use base::config::{self, Config, DEFAULT_FILE};

use units::{File, ServiceSettings};

/// Maximum number of bytes read of a drop-in.
const MAX_DROP_IN: u64 = 1 << 16;

/// The program `rstudio-pm-generator`. systemd passes three directories as arguments; only the first is used.
///
/// With `--check DIRECTORY` the program writes nothing: it prints the names of the configuration's socket units, and
/// fails if the directory does not contain the files that the program would write.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let directory = match (arguments.next(), arguments.next()) {
        (Some(option), Some(directory)) if option == OsStr::new("--check") => {
            let (names, is_current) = check(Path::new("/"), Path::new(&directory));
            names.iter().for_each(|name| println!("{name}"));
            return if is_current { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        (Some(directory), _) => directory,
        (None, _) => {
            eprintln!("systemd calls this program: rstudio-pm-generator DIRECTORY [EARLY LATE]");
            return ExitCode::from(2);
        }
    };
    for line in run(Path::new("/"), Path::new(&directory)) {
        log_line(&line);
    }
    // Always successful: a failure would not prevent the boot, but systemd would log an error at each reload.
    ExitCode::SUCCESS
}

/// Reads files below `root`, writes into `directory`, and returns the messages to log.
pub fn run(root: &Path, directory: &Path) -> Vec<String> {
    let mut messages = Vec::new();
    let config = configuration(&root.join(DEFAULT_FILE.trim_start_matches('/')), &mut messages);
    let (files, rejections) = units::files(&config, &service_settings(root));
    messages.extend(rejections);
    for file in &files {
        if let Err(error) = write(directory, file) {
            messages.push(format!("{}: {error}", directory.join(&file.path).display()));
        }
    }
    messages
}

/// The names of the socket units, and whether `directory` contains what [`run`] would write.
pub fn check(root: &Path, directory: &Path) -> (Vec<String>, bool) {
    let config = configuration(&root.join(DEFAULT_FILE.trim_start_matches('/')), &mut Vec::new());
    let (files, _) = units::files(&config, &service_settings(root));
    let is_current = |file: &File| {
        fs::read(directory.join(&file.path)).is_ok_and(|content| content == file.text.as_bytes())
    };
    (units::socket_names(&config), files.iter().all(is_current))
}

/// Reads the valid part of the configuration. If it has no listener, the default one is added.
fn configuration(path: &Path, messages: &mut Vec<String>) -> Config {
    let name = path.display().to_string();
    let text = config::file::read(path).unwrap_or_else(|error| {
        messages.push(format!("{name}: {error}; the defaults are used"));
        Vec::new()
    });
    let (mut config, errors) = config::parse_valid_part(&name, &text);
    messages.extend(errors.iter().map(ToString::to_string));
    if config.http.listen.is_none() && config.https.listen.is_none() {
        config.http.listen = config::parse_valid_part(&name, b"").0.http.listen;
    }
    config
}

fn service_settings(root: &Path) -> ServiceSettings {
    let mut settings = ServiceSettings { systemd_version: systemd_version(), ..ServiceSettings::default() };
    for path in drop_ins(root).into_values() {
        let text = fs::File::open(path).and_then(|file| {
            let mut text = String::new();
            io::Read::read_to_string(&mut io::Read::take(file, MAX_DROP_IN), &mut text).map(|_| text)
        });
        read_user_and_group(&text.unwrap_or_default(), &mut settings);
    }
    settings
}

/// The version of systemd; the newest one if `systemctl` does not state it.
fn systemd_version() -> u32 {
    let output = Command::new("systemctl").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    parse_version(&text).unwrap_or(u32::MAX)
}

/// Parses `systemd 252 (252.39-1~deb12u1)`.
fn parse_version(text: &str) -> Option<u32> {
    let number = text.strip_prefix("systemd ")?.split(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok()
}

/// The administrator's drop-ins by name, in order of precedence; `/etc` replaces the same name in `/run`.
pub fn drop_ins(root: &Path) -> BTreeMap<OsString, PathBuf> {
    let mut files = BTreeMap::new();
    for config_dir in ["run/systemd/system", "etc/systemd/system"] {
        let Ok(entries) = fs::read_dir(root.join(config_dir).join("rstudio-pm.service.d")) else { continue };
        let conf = entries
            .flatten()
            .filter(|entry| Path::new(&entry.file_name()).extension() == Some("conf".as_ref()));
        files.extend(conf.map(|entry| (entry.file_name(), entry.path())));
    }
    files
}

/// Reads `User=` and `Group=` of `[Service]`; empty values reset earlier ones.
fn read_user_and_group(text: &str, settings: &mut ServiceSettings) {
    let mut is_in_service = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_in_service = line == "[Service]";
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_in_service) else { continue };
        let value = value.trim();
        // Other values (a specifier, a dynamic user) are not supported.
        let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let value =
            Some(value.to_owned()).filter(|value| !value.is_empty() && value.chars().all(is_name_char));
        match key.trim() {
            "User" => settings.user = value,
            "Group" => settings.group = value,
            _ => {}
        }
    }
}

fn write(directory: &Path, file: &File) -> io::Result<()> {
    let path = directory.join(&file.path);
    fs::create_dir_all(path.parent().unwrap_or(directory))?;
    fs::write(path, &file.text)
}

/// Logs a line to the kernel's log: at boot there is no journal yet. `<28>` is facility daemon, level warning.
fn log_line(line: &str) {
    // One write is one record; the kernel rejects records of more than about 1,000 bytes.
    let line: String = line.chars().filter(|c| !c.is_control()).take(700).collect();
    let kmsg = fs::OpenOptions::new().write(true).open("/dev/kmsg");
    let result =
        kmsg.and_then(|mut log| log.write_all(format!("<28>rstudio-pm-generator: {line}\n").as_bytes()));
    if result.is_err() {
        eprintln!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the generator in a root with these files; returns the root, the messages and the generator's directory.
    fn generate(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<String>, PathBuf) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(path, text).expect("written");
        }
        let directory = root.path().join("run/generator");
        let messages = run(root.path(), &directory);
        (root, messages, directory)
    }

    const GCFG: &str = "etc/rstudio-pm/rstudio-pm.gcfg";

    fn sockets(directory: &Path) -> String {
        fs::read_to_string(directory.join("rstudio-pm.service.d/10-sockets.conf")).expect("written")
    }

    #[test]
    fn without_a_file_the_defaults_are_written_and_reported() {
        let (_root, messages, directory) = generate(&[]);
        assert!(sockets(&directory).contains("Sockets=rstudio-pm-http@4242.socket\n"));
        assert!(messages.len() == 1 && messages[0].contains("the defaults are used"), "{messages:?}");
    }

    #[test]
    fn an_invalid_file_keeps_its_valid_listeners() {
        let (_root, messages, directory) =
            generate(&[(GCFG, "[HTTP]\nListen = :80\n[Server\nx\n[SQLite]\nDir = no\n")]);
        assert!(sockets(&directory).contains("Sockets=rstudio-pm-http@80.socket\n"));
        assert!(!messages.is_empty());
        for broken in
            ["[HTTP]\nListen = nonsense\n", "[HTTPS]\nListen = [[[\n", "\u{0}\u{1}", "HTTP.Listen=:80"]
        {
            let (_root, _, directory) = generate(&[(GCFG, broken)]);
            assert!(sockets(&directory).contains("Sockets=rstudio-pm-http@4242.socket\n"), "{broken:?}");
        }
    }

    #[test]
    fn only_changed_addresses_and_paths_are_reported() {
        let (root, _, directory) =
            generate(&[(GCFG, "[HTTPS]\nListen = [::1]:8443\nCertificate = /c\nKey = /k\n")]);
        let (names, is_current) = check(root.path(), &directory);
        assert!(is_current);
        assert_eq!(
            names,
            [
                r"rstudio-pm-https@\x5b::1\x5d:8443.socket",
                "rstudio-pm-metrics@2112.socket",
                r"rstudio-pm-admin@run-rstudio\x2dpm-rstudio\x2dpm.sock.socket"
            ]
        );
        for (gcfg, expected) in [
            (
                "[HTTPS]\nListen = [::1]:8443\nCertificate = /c\nKey = /k\n[Logging]\nSystemLogLevel = DEBUG\n",
                true,
            ),
            ("[HTTPS]\nListen = [::1]:8444\nCertificate = /c\nKey = /k\n", false),
            ("[HTTPS]\nListen = [::1]:8443\nCertificate = /c2\nKey = /k\n", false),
            ("", false),
        ] {
            fs::write(root.path().join(GCFG), gcfg).expect("written");
            assert_eq!(check(root.path(), &directory).1, expected, "{gcfg}");
        }
        assert!(!check(root.path(), &root.path().join("none")).1);
    }

    #[test]
    fn the_last_drop_in_by_name_determines_the_user_of_the_service() {
        let (root, messages, _) = generate(&[
            (GCFG, ""),
            ("run/systemd/system/rstudio-pm.service.d/user.conf", "[Service]\nUser=masked\n"),
            (
                "etc/systemd/system/rstudio-pm.service.d/user.conf",
                "[Unit]\nUser=no\n[Service]\n User = deploy\nGroup=a\n",
            ),
            ("etc/systemd/system/rstudio-pm.service.d/z.conf", "[Service]\nGroup=staff\n"),
            ("etc/systemd/system/rstudio-pm.service.d/z.conf.old", "[Service]\nUser=old\n"),
        ]);
        assert_eq!(messages, Vec::<String>::new());
        let settings = service_settings(root.path());
        assert_eq!((settings.user.as_deref(), settings.group.as_deref()), (Some("deploy"), Some("staff")));
        let mut none = ServiceSettings::default();
        read_user_and_group("[Service]\nUser=%i\nGroup=a b\n", &mut none);
        assert_eq!((none.user, none.group), (None, None));
    }

    #[test]
    fn the_version_of_systemd_is_the_number_after_its_name() {
        for (text, expected) in [
            ("systemd 252 (252.39-1~deb12u1)\n+PAM +AUDIT", Some(252)),
            ("systemd 257.5 (257.5-1)", Some(257)),
            ("systemd 259~rc1 (259~rc1-1)", Some(259)),
            ("", None),
            ("systemd x", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_reported() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("taken"), "").expect("written");
        let messages = run(root.path(), &root.path().join("taken"));
        assert!(messages.iter().any(|line| line.contains("taken/rstudio-pm.service.d")), "{messages:?}");
    }
}
