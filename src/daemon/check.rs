//! `--check-config`: whether this configuration would start here, without creating or starting anything.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{AccessFlags, access};

use super::args::Format;
use super::sockets;
use crate::config::{About, Check, Config, ConfigError, Listen, Loaded, LogDestination, Verdict, checks};
use crate::db::Db;
use crate::http::tls::Tls;
use crate::storage::Storage;

/// Runs all checks, prints them, and fails when one failed.
#[must_use]
pub fn run(loaded: &Result<Loaded, ConfigError>, format: Format) -> ExitCode {
    let all = all(loaded);
    let failed = all.iter().any(|check| check.verdict == Verdict::Fail);
    match format {
        Format::Human => print!("{}", human(&all)),
        Format::Json => println!("{}", json(&all, !failed)),
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn all(loaded: &Result<Loaded, ConfigError>) -> Vec<Check> {
    let mut all = checks(loaded);
    match loaded {
        Ok(loaded) => {
            let config = &*loaded.config;
            all.push(Check::of("File paths", paths(config)));
            all.push(listeners(config));
            all.push(Check::of("Database", Db::check(config).err().map(|e| chain(&e)).into_iter().collect()));
            all.push(Check::of("Storage", storage(config)));
        }
        Err(error) => {
            let about =
                |which| error.errors().iter().filter(|n| n.about == which).map(ToString::to_string).collect();
            all.push(Check::of("File paths", about(About::Path)));
            all.push(Check::of("Listeners and start settings", about(About::Settings)));
            for title in ["Database", "Storage"] {
                all.push(info(title, "not checked: mend the configuration first"));
            }
        }
    }
    all.push(info("Licence", "none needed"));
    all
}

fn info(title: &'static str, finding: &str) -> Check {
    Check { title, verdict: Verdict::Info, findings: vec![finding.to_owned()] }
}

/// An error with its sources, once each.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        source = inner.source();
    }
    text
}

/// Directories that the server writes to. Storage places are probed by [`storage`].
fn paths(config: &Config) -> Vec<String> {
    let server = &config.server;
    let mut findings = Vec::new();
    let mut look = |property: &str, path: &Path| findings.extend(directory(property, path));
    look("Server.DataDir", &server.data_dir);
    look("Server.TempDir", &server.temp_dir);
    look("Server.SockFileDir", &server.sock_file_dir);
    let mut logs = vec![("Server.AccessLog", server.access_log.as_path())];
    logs.extend(server.service_log.as_deref().map(|path| ("Server.ServiceLog", path)));
    for destination in &config.logging.system_log {
        match destination {
            LogDestination::File(path) => logs.push(("Logging.SystemLog", path)),
            LogDestination::Stdout | LogDestination::Stderr => {}
        }
    }
    for (property, path) in logs {
        if path.exists() {
            if path.is_dir() {
                findings.push(format!("{property} '{}' is a directory, not a file", path.display()));
            } else if let Err(error) = access(path, AccessFlags::W_OK) {
                findings.push(format!("{property} '{}' cannot be written: {error}", path.display()));
            }
        } else if let Some(parent) = path.parent() {
            findings.extend(directory(property, parent));
        }
    }
    if let Ok(found) = std::fs::metadata(&server.data_dir)
        && found.mode() & 0o022 != 0
    {
        findings.push(format!(
            "Server.DataDir '{0}' can be written by others (mode {1:04o}); mend it with: chmod 0701 '{0}'",
            server.data_dir.display(),
            found.mode() & 0o7777,
        ));
    }
    findings
}

/// Whether a directory can be used, or made: then its nearest parent that exists must be writable.
fn directory(property: &str, path: &Path) -> Option<String> {
    let existing = path.ancestors().find(|part| part.exists())?;
    let shown = path.display();
    if !existing.is_dir() {
        return Some(format!("{property} '{shown}': '{}' is not a directory", existing.display()));
    }
    let error = access(existing, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |user| user.name);
    Some(if existing == path {
        format!(
            "{property} '{shown}' cannot be written by user {user}: {error}; mend it with: chown {user} '{shown}'"
        )
    } else {
        format!(
            "{property} '{shown}' does not exist, and user {user} cannot create it in '{}': {error}; mend it with: \
             install -d -o {user} -m 0700 '{shown}'",
            existing.display()
        )
    })
}

fn listeners(config: &Config) -> Check {
    let title = "Listeners and start settings";
    let mut failures = Vec::new();
    let mut remarks = Vec::new();
    let running = UnixStream::connect(sockets::admin_path(config)).is_ok();
    let named: [(&'static str, Option<&Listen>); 3] = [
        ("HTTP", config.http.listen.as_ref()),
        ("HTTPS", config.https.listen.as_ref()),
        ("HTTPRedirect", config.http_redirect.listen.as_ref()),
    ];
    for (what, listen) in named.into_iter().filter_map(|(what, listen)| Some((what, listen?))) {
        match sockets::bind(what, listen) {
            Ok(_) => {}
            Err(error) if running && in_use(listen) => {
                remarks.push(format!(
                    "{what}.Listen = {} is in use, by rstudio-pm it seems",
                    sockets::shown(listen)
                ));
                drop(error);
            }
            Err(error) if listen.port < 1024 && denied(listen) => remarks.push(error.to_string()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if config.https.listen.is_some()
        && let (Some(certificate), Some(key)) = (&config.https.certificate, &config.https.key)
        && let Err(error) = Tls::open(certificate, key, config.https.minimum_tls)
    {
        failures.push(error.to_string());
    }
    if failures.is_empty() && !remarks.is_empty() {
        return Check { title, verdict: Verdict::Info, findings: remarks };
    }
    failures.extend(remarks);
    Check::of(title, failures)
}

fn bind_kind(listen: &Listen) -> Option<ErrorKind> {
    let host = if listen.host.is_empty() { "0.0.0.0" } else { &listen.host };
    std::net::TcpListener::bind((host, listen.port)).err().map(|error| error.kind())
}

fn in_use(listen: &Listen) -> bool {
    bind_kind(listen) == Some(ErrorKind::AddrInUse)
}

fn denied(listen: &Listen) -> bool {
    bind_kind(listen) == Some(ErrorKind::PermissionDenied)
}

fn storage(config: &Config) -> Vec<String> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![error.to_string()],
    };
    let mut findings: Vec<String> = Vec::new();
    for (_, outcome) in runtime.block_on(Storage::probe(&config.storage)) {
        // Classes that share a place share its fault.
        if let Err(error) = outcome
            && !findings.contains(&error.to_string())
        {
            findings.push(error.to_string());
        }
    }
    findings
}

fn human(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Pass => "[PASS]",
            Verdict::Fail => "[FAIL]",
            Verdict::Info => "[INFO]",
        };
        match check.findings.as_slice() {
            [one] if check.verdict == Verdict::Info => {
                let _ = writeln!(text, "{mark} {}: {one}", check.title);
            }
            findings => {
                let _ = writeln!(text, "{mark} {}", check.title);
                for line in findings.iter().flat_map(|finding| finding.lines()) {
                    let _ = writeln!(text, "       {line}");
                }
            }
        }
    }
    text
}

fn json(checks: &[Check], passed: bool) -> serde_json::Value {
    let rows = checks.iter().map(|check| {
        let result = match check.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Info => "info",
        };
        serde_json::json!({ "check": check.title, "result": result, "findings": check.findings })
    });
    serde_json::json!({ "passed": passed, "checks": rows.collect::<Vec<_>>() })
}
