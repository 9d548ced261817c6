//! Derives names and contents of unit files from a configuration. Pure.
//!
//! The socket units are instances of templates, named by their address. A change of the address thus changes the
//! name; under the same name, the unit would lose its descriptor at the next `daemon-reload`. See
//! systemd.socket(5), systemd.generator(7).

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base::config::{BackupPlace, ClassLocation, Config, Listen, LogDestination};
use base::model::kind::StorageClass;

const SERVICE: &str = "rstudio-pm.service";
/// User and group of the shipped unit.
const USER: &str = "rstudio-pm";
/// First line of the generated files.
const HEADER: &str =
    "# Generated from rstudio-pm.gcfg by a systemd generator: change that file, then restart the service.\n";
/// Directories that are empty for the service (`ProtectHome=tmpfs`).
pub const HOME_DIRS: [&str; 3] = ["/home", "/root", "/run/user"];
/// Directories that are private to the service (`PrivateTmp=`).
pub const TEMPORARY_DIRS: [&str; 2] = ["/tmp", "/var/tmp"];
/// Maximum length of a unit name.
const MAX_NAME: usize = 255;

/// A file in the generator's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct ServiceSettings {
    /// `User=` of the administrator's drop-ins.
    pub user: Option<String>,
    /// `Group=` of the administrator's drop-ins.
    pub group: Option<String>,
    /// Version of systemd. An older one logs each property of a unit that it does not know, at each reload.
    pub systemd_version: u32,
}

/// Properties of the units of builders, with the version of systemd that introduced them.
const NEWER_PROPERTIES: [(u32, &[&str], &str); 3] = [
    (248, &["build", "fetch"], "PrivateIPC=yes"),
    (252, &["build"], "CPUWeight=idle"),
    (257, &["build", "fetch"], "PrivatePIDs=yes"),
];

/// Message about a socket that systemd cannot open: the reason and the consequence.
pub type Rejection = String;

/// The files for a configuration, and messages about the sockets that have no unit.
pub fn files(config: &Config, settings: &ServiceSettings) -> (Vec<File>, Vec<Rejection>) {
    let (units, rejections) = sockets(config);
    let mut files = vec![
        text(format!("{SERVICE}.d/10-sockets.conf"), service_sockets(&units)),
        text(format!("{SERVICE}.d/20-paths.conf"), service_paths(config, settings)),
    ];
    for unit in ["rstudio-pm-backup", "rstudio-pm-backup-test"] {
        files.push(text(format!("{unit}.service.d/20-paths.conf"), backup_paths(config).text()));
    }
    for unit in ["build", "fetch"] {
        let is_known = |(version, units, _): &(u32, &[&str], &str)| {
            *version <= settings.systemd_version && units.contains(&unit)
        };
        let properties: String =
            NEWER_PROPERTIES.iter().filter(|row| is_known(row)).map(|row| format!("{}\n", row.2)).collect();
        files.push(text(
            format!("rstudio-pm-{unit}@.service.d/10-systemd.conf"),
            format!("# Properties that this version of systemd knows.\n[Service]\n{properties}"),
        ));
    }
    for unit in &units {
        if unit.kind == "admin" && (settings.user.is_some() || settings.group.is_some()) {
            let mut drop_in = String::from("# The socket belongs to the user of the service.\n[Socket]\n");
            for (key, value) in [("User", &settings.user), ("Group", &settings.group)] {
                if let Some(value) = value {
                    let _ = writeln!(drop_in, "Socket{key}={value}");
                }
            }
            files.push(text(format!("{}.d/50-run-as.conf", unit.name()), drop_in));
        }
    }
    (files, rejections)
}

pub fn socket_names(config: &Config) -> Vec<String> {
    sockets(config).0.iter().map(Unit::name).collect()
}

fn text(path: String, text: String) -> File {
    File { path, text }
}

/// A socket unit: an instance of a template.
struct Unit {
    /// `http`, `https`, `redirect`, `metrics` or `admin`; also its `FileDescriptorName=`.
    kind: &'static str,
    /// Instance name, escaped.
    instance: String,
}

impl Unit {
    fn name(&self) -> String {
        format!("rstudio-pm-{}@{}.socket", self.kind, self.instance)
    }
}

/// Returns the socket units of a configuration, and messages about the sockets that have no unit.
fn sockets(config: &Config) -> (Vec<Unit>, Vec<Rejection>) {
    let (mut units, mut rejections) = (Vec::new(), Vec::new());
    for (kind, property, listen) in [
        ("http", "HTTP.Listen", &config.http.listen),
        ("https", "HTTPS.Listen", &config.https.listen),
        ("redirect", "HTTPRedirect.Listen", &config.http_redirect.listen),
        ("metrics", "Metrics.Listen", &config.metrics.listen),
    ] {
        match listen.as_ref().map(address) {
            Some(Ok(address)) => units.push(Unit { kind, instance: escape(&address) }),
            Some(Err(reason)) => rejections.push(format!("{property}: {reason}")),
            None => {}
        }
    }
    let path = resolve_var_run(&config.server.sock_file_dir).join("rstudio-pm.sock");
    match path.to_str().map(escape_path) {
        // The path of a socket has 107 bytes at most, but may be too long when escaped.
        Some(instance) if instance.len() + "rstudio-pm-admin@.socket".len() <= MAX_NAME => {
            units.push(Unit { kind: "admin", instance });
        }
        Some(_) | None => rejections.push(format!(
            "Server.SockFileDir: '{}' cannot be part of a unit name; the server opens its socket itself",
            path.display()
        )),
    }
    (units, rejections)
}

/// Formats an address for `ListenStream=`: `80`, `10.0.0.1:443`, `[::1]:8443`.
fn address(listen: &Listen) -> Result<String, String> {
    let consequence = "the server opens the port itself, which fails below 1024";
    if listen.port == 0 {
        return Err(format!("port 0 lets the system choose a port; {consequence}"));
    }
    if listen.host.is_empty() {
        return Ok(listen.port.to_string());
    }
    match listen.host.parse::<IpAddr>() {
        Ok(IpAddr::V4(host)) => Ok(format!("{host}:{}", listen.port)),
        Ok(IpAddr::V6(host)) => Ok(format!("[{host}]:{}", listen.port)),
        Err(_) => Err(format!(
            "systemd listens on addresses, and '{}' is a name; {consequence}; write the IP address instead",
            listen.host
        )),
    }
}

/// Escapes text as systemd does for unit names: letters, digits, `:_.` unchanged, `/` to `-`, others `\xNN`.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if index == 0 => out.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out
}

/// Escapes an absolute path without its first `/`, which the template adds.
fn escape_path(path: &str) -> String {
    escape(path.trim_start_matches('/'))
}

/// The drop-in with `Sockets=`, which implies only `Wants=` and `After=`: if a port is in use, the service and the
/// other sockets must start nevertheless.
fn service_sockets(units: &[Unit]) -> String {
    let mut out = format!("{HEADER}[Service]\n");
    for unit in units {
        // systemd unquotes this list twice, so backslashes are doubled.
        let _ = writeln!(out, "Sockets={}", unit.name().replace('\\', "\\\\"));
    }
    out
}

/// The paths to which the sandbox gives access.
fn paths(config: &Config) -> Paths {
    let mut paths = Paths::default();
    let server = &config.server;
    paths.add_writable(&server.data_dir);
    paths.add_writable(&config.sqlite.dir);
    let copies = config.server.backup_paths.iter().chain(&config.history.export);
    copies.filter_map(BackupPlace::directory).for_each(|path| paths.add_writable(path));
    for class in StorageClass::ALL {
        match config.storage.location(class) {
            ClassLocation::File(storage) => paths.add_writable(&storage.location),
            ClassLocation::S3(_) => {}
        }
    }
    paths.add_writable(&server.temp_dir);
    paths.add_writable(&resolve_var_run(&server.sock_file_dir));
    for log in logs(config) {
        // The directory, because a rotation replaces the file. Owner and modes still apply inside.
        paths.add_writable(log.parent().filter(|parent| *parent != Path::new("/")).unwrap_or(log));
    }
    for file in config.https.certificate.iter().chain(&config.https.key).chain(&config.cran.verify_policy) {
        paths.add_readable(file);
    }
    // A key in a writable directory must remain writable: the next start completes an interrupted rotation.
    if !paths.writable.iter().any(|dir| server.encryption_key_path.starts_with(dir)) {
        paths.add_readable(&server.encryption_key_path);
    }
    let mirrors = [&config.cran.url, &config.bioconductor.url].into_iter();
    let mirrors = mirrors.chain(config.indexes.iter().map(|index| &index.url));
    let mirrors =
        mirrors.chain([&config.requirements.url]).chain(config.cran.binaries.iter().map(|url| &url.base));
    let mirrors = mirrors.chain(&config.vulnerabilities.urls);
    for mirror in mirrors.filter_map(|url| url.strip_prefix("file://")) {
        paths.add_readable(Path::new(
            percent_encoding::percent_decode_str(mirror).decode_utf8_lossy().as_ref(),
        ));
    }
    paths
}

/// The paths that the units of backups access.
fn backup_paths(config: &Config) -> Paths {
    let mut paths = Paths::default();
    let backups = config.server.backup_paths.iter().filter_map(BackupPlace::directory);
    backups.for_each(|path| paths.add_writable(path));
    paths.add_writable(&config.server.temp_dir);
    paths.add_readable(&config.server.data_dir);
    paths.add_readable(&resolve_var_run(&config.server.sock_file_dir));
    paths
}

fn logs(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let system = config.logging.system_log.iter().filter_map(|destination| match destination {
        LogDestination::File(path) => Some(path),
        LogDestination::Stdout | LogDestination::Stderr => None,
    });
    system
        .chain([&config.server.access_log])
        .chain(&config.server.service_log)
        .chain(&config.logging.audit_log)
}

/// The configured paths that are bound into the sandbox, because it hides the directories above them.
pub fn bound_paths(config: &Config) -> Vec<PathBuf> {
    let Paths { writable, readable } = paths(config);
    writable.into_iter().chain(readable).filter(|path| is_hidden(path)).collect()
}

/// Returns whether systemd creates a missing path, with the directories of the unit, for the user of the service.
pub fn creates(path: &Path) -> bool {
    let directories = ["/var/lib/rstudio-pm", "/var/log/rstudio/rstudio-pm", "/run/rstudio-pm"];
    directories.iter().any(|dir| resolve_var_run(path) == Path::new(dir)) || root_created_log(path).is_some()
}

/// The drop-in with the paths to which the sandbox gives access, and the mounts that must precede the start.
fn service_paths(config: &Config, settings: &ServiceSettings) -> String {
    let user = settings.user.as_deref().unwrap_or(USER);
    let group = settings.group.as_deref().unwrap_or(USER);
    let mut out = paths(config).text();
    for log in logs(config).filter_map(|log| root_created_log(log)) {
        let _ = writeln!(
            out,
            "ExecStartPre=+/bin/sh -c '[ -e {log} ] || install -o {user} -g {group} -m 0600 /dev/null {log}'"
        );
    }
    out
}

/// A log directly in `/var/log`, where the service's user cannot create files.
///
/// SECURITY: root creates a file for the service's user, who may edit the gcfg: in any other directory that would be
/// a privilege escalation. The name passes through a shell and a unit file.
fn root_created_log(log: &Path) -> Option<&str> {
    let name = log.strip_prefix("/var/log").ok()?.to_str()?.strip_suffix(".log")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.chars().all(is_plain) { log.to_str() } else { None }
}

/// Replaces `/var/run` by `/run`, the same directory with systemd, which `systemd-analyze verify` requires.
fn resolve_var_run(path: &Path) -> PathBuf {
    path.strip_prefix("/var/run").map_or_else(|_| path.to_owned(), |rest| Path::new("/run").join(rest))
}

/// Paths to which the sandbox gives access.
#[derive(Default)]
struct Paths {
    writable: Vec<PathBuf>,
    readable: Vec<PathBuf>,
}

impl Paths {
    fn add_writable(&mut self, path: &Path) {
        // Access includes subdirectories; the unit has a private /tmp; access to / would defeat the sandbox.
        let is_excluded = ["/", "/tmp", "/var/tmp"].iter().any(|dir| path == Path::new(dir));
        if !is_excluded && is_expressible(path) && !self.writable.iter().any(|dir| path.starts_with(dir)) {
            self.writable.push(path.to_owned());
        }
    }

    fn add_readable(&mut self, path: &Path) {
        if is_expressible(path) {
            self.readable.push(path.to_owned());
        }
    }

    fn text(&self) -> String {
        let mut out = format!("{HEADER}[Unit]\n");
        for path in self.writable.iter().chain(&self.readable) {
            let _ = writeln!(out, "RequiresMountsFor={}", quote("", path));
        }
        out.push_str("[Service]\n");
        for (paths, access_key, bind_key) in [
            (&self.writable, "ReadWritePaths", "BindPaths"),
            (&self.readable, "ReadOnlyPaths", "BindReadOnlyPaths"),
        ] {
            for path in paths {
                // Configured paths below hidden directories are bind-mounted.
                let key = if is_hidden(path) { bind_key } else { access_key };
                // With the dash, a missing path does not prevent the start.
                let _ = writeln!(out, "{key}={}", quote("-", path));
            }
        }
        out
    }
}

/// Returns whether the sandbox of the unit hides the directory of a path.
fn is_hidden(path: &Path) -> bool {
    HOME_DIRS.iter().chain(&TEMPORARY_DIRS).any(|dir| path.starts_with(dir))
}

/// Returns whether a unit file can name the path: it must be UTF-8 without control characters.
fn is_expressible(path: &Path) -> bool {
    path.to_str().is_some_and(|path| !path.chars().any(char::is_control))
}

/// Quotes a path for a unit file: `%` doubled, `\` and `"` escaped, the whole in quotes.
fn quote(prefix: &str, path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("\"{prefix}{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::parse;

    fn generate(gcfg: &str, settings: &ServiceSettings) -> (Vec<File>, Vec<Rejection>) {
        files(&parse("f", gcfg.as_bytes(), []).expect("valid").config, settings)
    }

    fn content(files: &[File], path: &str) -> String {
        let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}: {files:?}"));
        file.text.clone()
    }

    fn sockets_of(gcfg: &str) -> Vec<String> {
        let text =
            content(&generate(gcfg, &ServiceSettings::default()).0, "rstudio-pm.service.d/10-sockets.conf");
        text.lines().filter_map(|line| line.strip_prefix("Sockets=")).map(str::to_owned).collect()
    }

    #[test]
    fn directories_of_backups_are_writable() {
        let text = paths_of(
            "[Server]\nBackupPaths = /srv/backups\nBackupPaths = /home/b\nBackupPaths = s3://b/p\n[History]\nExportPath = /srv/log\n",
        );
        assert!(text.contains("ReadWritePaths=\"-/srv/log\"\n"), "{text}");
        assert!(text.contains("ReadWritePaths=\"-/srv/backups\"\n"), "{text}");
        assert!(text.contains("BindPaths=\"-/home/b\"\n"), "{text}");
    }

    #[test]
    fn builders_get_the_properties_that_systemd_knows() {
        for (systemd_version, build, fetch) in [
            (247, "", ""),
            (248, "PrivateIPC=yes\n", "PrivateIPC=yes\n"),
            (252, "PrivateIPC=yes\nCPUWeight=idle\n", "PrivateIPC=yes\n"),
            (257, "PrivateIPC=yes\nCPUWeight=idle\nPrivatePIDs=yes\n", "PrivateIPC=yes\nPrivatePIDs=yes\n"),
        ] {
            let settings = ServiceSettings { systemd_version, ..ServiceSettings::default() };
            let (files, _) = generate("", &settings);
            for (unit, expected) in [("build", build), ("fetch", fetch)] {
                let text = content(&files, &format!("rstudio-pm-{unit}@.service.d/10-systemd.conf"));
                assert_eq!(text.split_once("[Service]\n").map(|parts| parts.1), Some(expected), "{text}");
            }
        }
    }

    #[test]
    fn units_of_backups_may_write_to_the_directories_of_backups() {
        let gcfg = "[Server]\nBackupPaths = /srv/backups\nBackupPaths = /home/b\nBackupPaths = s3://b/p\n\
                    TempDir = /var/spool/t\nDataDir = /home/data\n";
        let (files, _) = generate(gcfg, &ServiceSettings::default());
        for unit in ["rstudio-pm-backup", "rstudio-pm-backup-test"] {
            let text = content(&files, &format!("{unit}.service.d/20-paths.conf"));
            for line in [
                "RequiresMountsFor=\"/srv/backups\"",
                "ReadWritePaths=\"-/srv/backups\"",
                "ReadWritePaths=\"-/var/spool/t\"",
                "BindPaths=\"-/home/b\"",
                "BindReadOnlyPaths=\"-/home/data\"",
            ] {
                assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
            }
            assert!(!text.contains("s3:") && !text.contains("ReadWritePaths=\"-/home"), "{text}");
        }
    }

    fn paths_of(gcfg: &str) -> String {
        content(&generate(gcfg, &ServiceSettings::default()).0, "rstudio-pm.service.d/20-paths.conf")
    }

    const ADMIN: &str = r"rstudio-pm-admin@run-rstudio\\x2dpm-rstudio\\x2dpm.sock.socket";
    const TLS: &str = "Certificate = /etc/ssl/c.pem\nKey = /etc/ssl/k.pem\n";

    #[test]
    fn an_empty_configuration_has_sockets_for_packages_metrics_and_administrators() {
        assert_eq!(sockets_of(""), ["rstudio-pm-http@4242.socket", "rstudio-pm-metrics@2112.socket", ADMIN]);
        assert_eq!(sockets_of("[Metrics]\nEnabled = false\n"), ["rstudio-pm-http@4242.socket", ADMIN]);
    }

    #[test]
    fn every_listener_and_every_form_of_address_has_its_unit() {
        let gcfg = format!(
            "[HTTP]\nListen = 10.0.0.1:80\n[HTTPS]\nListen = [::1]:8443\n{TLS}[HTTPRedirect]\nListen = :81\n\
             [Metrics]\nListen = 127.0.0.1:9100\n"
        );
        assert_eq!(
            sockets_of(&gcfg),
            [
                "rstudio-pm-http@10.0.0.1:80.socket",
                r"rstudio-pm-https@\\x5b::1\\x5d:8443.socket",
                "rstudio-pm-redirect@81.socket",
                "rstudio-pm-metrics@127.0.0.1:9100.socket",
                ADMIN
            ]
        );
    }

    #[test]
    fn a_host_name_has_no_unit_and_is_reported() {
        let (files, rejections) = generate("[HTTP]\nListen = localhost:4242\n", &ServiceSettings::default());
        assert_eq!(rejections.len(), 1);
        assert!(rejections[0].starts_with("HTTP.Listen: systemd listens on addresses"), "{rejections:?}");
        assert!(!content(&files, "rstudio-pm.service.d/10-sockets.conf").contains("-http@"));
    }

    #[test]
    fn the_admin_socket_belongs_to_the_user_of_the_service() {
        let settings = ServiceSettings {
            user: Some("deploy".to_owned()),
            group: Some("staff".to_owned()),
            ..ServiceSettings::default()
        };
        let (files, _) = generate("[Server]\nServiceLog = /var/log/rstudio-pm.service.log\n", &settings);
        let path = r"rstudio-pm-admin@run-rstudio\x2dpm-rstudio\x2dpm.sock.socket.d/50-run-as.conf";
        assert!(content(&files, path).ends_with("[Socket]\nSocketUser=deploy\nSocketGroup=staff\n"));
        let paths = content(&files, "rstudio-pm.service.d/20-paths.conf");
        assert!(
            paths.contains("install -o deploy -g staff -m 0600 /dev/null /var/log/rstudio-pm.service.log")
        );
    }

    #[test]
    fn every_path_of_the_documented_examples_is_accessible() {
        let text = paths_of(
            "[Server]\nDataDir = /mnt/rstudio-pm\nServiceLog = /var/log/rstudio-pm.service.log\n\
             [SQLite]\nDir = /var/lib/rstudio-pm/db\n\
             [FileStorage \"cache\"]\nLocation = /mnt/rstudio-pm-cache\n\
             [FileStorage \"packages\"]\nLocation = /mnt/rstudio-pm-packages\n\
             [CRAN]\nURL = file:///srv/my%20mirror\n",
        );
        for line in [
            "ReadWritePaths=\"-/mnt/rstudio-pm\"",
            "ReadWritePaths=\"-/var/lib/rstudio-pm/db\"",
            "ReadWritePaths=\"-/mnt/rstudio-pm-cache\"",
            "ReadWritePaths=\"-/mnt/rstudio-pm-packages\"",
            "ReadWritePaths=\"-/var/log\"",
            "ReadWritePaths=\"-/run/rstudio-pm\"",
            "RequiresMountsFor=\"/mnt/rstudio-pm\"",
            "ReadOnlyPaths=\"-/srv/my mirror\"",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(!text.contains("/mnt/rstudio-pm/"), "below an open path: {text}");
    }

    #[test]
    fn paths_below_hidden_directories_are_bound_into_the_sandbox() {
        let text =
            paths_of("[CRAN]\nURL = file:///home/m/cran\n[FileStorage \"cache\"]\nLocation = /tmp/cache\n");
        assert!(text.contains("BindReadOnlyPaths=\"-/home/m/cran\""), "{text}");
        assert!(text.contains("BindPaths=\"-/tmp/cache\""), "{text}");
        let key = paths_of("[Server]\nEncryptionKeyPath = /root/pm.key\n");
        assert!(key.contains("BindReadOnlyPaths=\"-/root/pm.key\""), "{key}");
        assert!(!text.contains("\"-/tmp\""), "the unit has its own /tmp: {text}");
    }

    #[test]
    fn a_path_is_quoted_and_the_root_directory_is_never_writable() {
        let text = paths_of("[Server]\nDataDir = \"/a\\\" 100% \\\\b\"\nAccessLog = /access.log\n");
        assert!(text.contains(r#"ReadWritePaths="-/a\" 100%% \\b""#), "{text}");
        assert!(!text.contains("\"-/\""), "{text}");
        assert!(text.contains("\"-/access.log\""), "{text}");
    }

    #[test]
    fn root_creates_only_logs_with_plain_names_in_var_log() {
        for (log, is_created) in [
            ("/var/log/rstudio-pm.log", true),
            ("/var/log/x/rstudio-pm.log", false),
            ("/var/log/a b.log", false),
            ("/var/log/x;reboot.log", false),
            ("/etc/profile.d/x.log", false),
            ("/var/log/wtmp", false),
        ] {
            let text = paths_of(&format!("[Server]\nAccessLog = \"{log}\"\n"));
            assert_eq!(text.contains("ExecStartPre="), is_created, "{log}: {text}");
        }
    }
}
