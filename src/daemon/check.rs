//! `--check-config`: checks the configuration for all problems that prevent a start, and for unknown names, without
//! creating or starting anything. Run as root, it checks paths and the database with the rights of the server's user.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::args::Format;
use super::files::table::PathKind;
use super::node::user_name;
use super::privileges::PrivilegeError;
use super::service_user::ServiceUser;
use super::{bind, clock, encryption, files, local_command, owners, sign_in_check, sockets, stores};
use crate::http::net::tls::{Tls, TlsError};
use base::config::{
    Check, ClassLocation, Config, ConfigError, Listen, Loaded, LogDestination, ProblemCategory, Provider,
    RESTART_COMMAND, Verdict, checks,
};
use base::model::errors::error_chain;
use base::model::kind::StorageClass;
use base::model::text::joined_lines;
use store::db::{Db, DbError};
use store::storage::{Storage, virtual_file_system};
use tasks::sync::directories::{Report, examine};
use upstream::Upstream;

pub fn run(file: &Path, loaded: &Result<Loaded, ConfigError>, format: Format) -> ExitCode {
    let results = run_all(file, loaded);
    let has_failed = results.iter().any(|check| check.verdict == Verdict::Fail);
    // If the reader has closed the pipe (`| head`), the exit code still reports the result.
    let result = match format {
        Format::Human => local_command::print(&human_report(file, &results)),
        Format::Json => local_command::print_json(&format!("{}\n", json_report(file, &results))),
    };
    if has_failed || result.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs the six checks, in order, and between them the optional ones.
fn run_all(file: &Path, loaded: &Result<Loaded, ConfigError>) -> Vec<Check> {
    let mut results = checks(loaded);
    match loaded {
        Ok(loaded) => {
            let server = CheckedServer::new(file, loaded);
            let failure = |title, error: PrivilegeError| Check::from_findings(title, vec![error.to_string()]);
            results.push(paths(&server).unwrap_or_else(|error| failure(PATHS_TITLE, error)));
            results
                .extend(directories(&server).unwrap_or_else(|error| Some(failure(DIRECTORIES_TITLE, error))));
            results.push(listeners(&server).unwrap_or_else(|error| failure(SETTINGS_TITLE, error)));
            let database_check =
                database(&server).map(|findings| Check::from_findings(DATABASE_TITLE, findings));
            results.push(database_check.unwrap_or_else(|error| failure(DATABASE_TITLE, error)));
            results.extend(server.user.run(|| clock::check(&loaded.config)).ok().flatten());
            results.extend(server.user.run(|| notification_queue(&loaded.config)).ok().flatten());
            results.extend(encryption::check::run(loaded));
            results.extend(server.user.run(|| sign_in_check::provider(&loaded.config)).ok().flatten());
            results.extend(server.user.run(|| sign_in_check::issuers(&loaded.config)).ok().flatten());
            results.extend(server.user.run(|| sign_in_check::bootstrap_key(&loaded.config)).ok().flatten());
        }
        Err(error) => {
            let findings_of = |category| {
                error
                    .errors()
                    .iter()
                    .filter(|problem| problem.category == category)
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            };
            for (title, findings) in [
                (PATHS_TITLE, findings_of(ProblemCategory::Path)),
                (SETTINGS_TITLE, findings_of(ProblemCategory::Settings)),
            ] {
                results.push(if findings.is_empty() {
                    not_checked(title)
                } else {
                    Check::from_findings(title, findings)
                });
            }
            results.push(not_checked(DATABASE_TITLE));
        }
    }
    results.push(info("License", "none needed"));
    results
}

const PATHS_TITLE: &str = "File paths and storage";
const DIRECTORIES_TITLE: &str = "Directories of packages";
const SETTINGS_TITLE: &str = "Listeners and start settings";
const DATABASE_TITLE: &str = "Database";

fn not_checked(title: &'static str) -> Check {
    info(title, "not checked: fix the configuration first")
}

fn info(title: &'static str, finding: &str) -> Check {
    Check { title, verdict: Verdict::Info, findings: vec![finding.to_owned()] }
}

/// A section, its subsection and a property.
type PropertyName = (&'static str, Option<&'static str>, &'static str);

/// Formats a finding on one line, prefixed with file and line of the first of these properties that is set.
fn with_origin(loaded: &Loaded, names: &[PropertyName], message: &str) -> String {
    let message = joined_lines(message);
    let mut settings =
        names.iter().filter_map(|(section, sub, name)| loaded.settings.get(section, *sub, name));
    match settings.next().and_then(|setting| setting.values.last()) {
        Some(value) => format!("{}: {message}", value.origin),
        None => message,
    }
}

fn paths(server: &CheckedServer<'_>) -> Result<Check, PrivilegeError> {
    let loaded = server.loaded;
    let mut findings: Vec<String> = files::refusals(server.file, loaded, server.user.uid())
        .iter()
        .map(|(kind, text)| with_origin(loaded, path_properties(*kind), text))
        .collect();
    let path_findings = server.user.run(|| directories_and_logs(server))?;
    let is_data_dir_unusable = path_findings.iter().any(|(name, _)| *name == DATA_DIR);
    let unusable_dir = is_data_dir_unusable.then_some(loaded.config.server.data_dir.as_path());
    let path_findings = path_findings.into_iter().map(|(name, text)| with_origin(loaded, &[name], &text));
    findings.splice(0..0, path_findings);
    let mut info_findings = Vec::new();
    let is_on_disk = |location: &ClassLocation| match location {
        ClassLocation::File(location) => !server.creates(&location.location),
        ClassLocation::S3(_) => false,
    };
    server.user.run(|| storage(loaded, is_on_disk, unusable_dir, &mut findings, &mut info_findings))?;
    // S3 is checked with the credentials of the caller, not with those of the server's user.
    let is_on_s3 = |location: &ClassLocation| matches!(location, ClassLocation::S3(_));
    storage(loaded, is_on_s3, unusable_dir, &mut findings, &mut info_findings);
    findings.extend(owners::findings(&loaded.config).into_iter().map(|(class, finding)| {
        with_origin(loaded, &location_properties(class, loaded.config.storage.location(class)), &finding)
    }));
    info_findings.extend(server.sandbox_error.clone());
    Ok(with_info(PATHS_TITLE, findings, info_findings))
}

const DATA_DIR: PropertyName = ("Server", None, "DataDir");

fn directories_and_logs(server: &CheckedServer<'_>) -> Vec<(PropertyName, String)> {
    let config = &server.loaded.config;
    let mut findings = Vec::new();
    for (name, path, mode) in [
        (DATA_DIR, &config.server.data_dir, "0700"),
        (("Server", None, "TempDir"), &config.server.temp_dir, "0700"),
        (("Server", None, "SockFileDir"), &config.server.sock_file_dir, "0755"),
    ] {
        let property = format!("Server.{}", name.2);
        let finding = match virtual_file_system(path).filter(|_| name.2 != "SockFileDir") {
            Some(kind) => Some(format!(
                "{property} '{}' is on a virtual file system ({kind}), which stores no files; set another directory",
                path.display()
            )),
            None if server.creates(path) => None,
            None => directory(&property, path, mode),
        };
        findings.extend(finding.map(|finding| (name, finding)));
    }
    let mut logs = vec![(("Server", None, "AccessLog"), config.server.access_log.as_path())];
    logs.extend(config.server.service_log.as_deref().map(|path| (("Server", None, "ServiceLog"), path)));
    logs.extend(config.logging.audit_log.as_deref().map(|path| (("Logging", None, "AuditLog"), path)));
    for destination in &config.logging.system_log {
        match destination {
            LogDestination::File(path) => logs.push((("Logging", None, "SystemLog"), path)),
            LogDestination::Stdout | LogDestination::Stderr => {}
        }
    }
    for (name, path) in logs.into_iter().filter(|(_, path)| !server.creates(path)) {
        let finding = log_file(&format!("{}.{}", name.0, name.2), path);
        findings.extend(finding.map(|finding| (name, finding)));
    }
    findings
}

/// Returns a check that fails if there are `failures`. `info_findings` are listed, but do not fail it.
fn with_info(title: &'static str, mut failures: Vec<String>, info_findings: Vec<String>) -> Check {
    if failures.is_empty() && !info_findings.is_empty() {
        return Check { title, verdict: Verdict::Info, findings: info_findings };
    }
    failures.extend(info_findings);
    Check::from_findings(title, failures)
}

fn path_properties(kind: PathKind) -> &'static [PropertyName] {
    match kind {
        PathKind::Gcfg => &[],
        PathKind::Certificate => &[("HTTPS", None, "Certificate")],
        PathKind::Key => &[("HTTPS", None, "Key")],
        PathKind::EncryptionKey => &[("Server", None, "EncryptionKeyPath")],
        PathKind::DataDir | PathKind::Storage => &[("Server", None, "DataDir")],
        PathKind::SqliteDir | PathKind::Database => &[("SQLite", None, "Dir"), ("Server", None, "DataDir")],
        PathKind::TempDir => &[("Server", None, "TempDir")],
        PathKind::LogDir | PathKind::Log => &[],
        PathKind::SockFileDir | PathKind::Socket | PathKind::Pid => &[("Server", None, "SockFileDir")],
    }
}

fn log_file(property: &str, path: &Path) -> Option<String> {
    let display = path.display();
    if path.is_dir() {
        return Some(format!("{property} '{display}' is a directory, not a file"));
    }
    if path.exists() {
        let error = access(path, AccessFlags::W_OK).err()?;
        return Some(format!("{property} '{display}' cannot be written: {error}"));
    }
    directory(property, path.parent()?, "0750")
}

/// Returns the problem if a directory is not writable and cannot be created with this mode either, because
/// its nearest existing ancestor is not writable.
fn directory(property: &str, path: &Path, mode: &str) -> Option<String> {
    let existing_path = path.ancestors().find(|part| part.exists())?;
    let display = path.display();
    if !existing_path.is_dir() {
        return Some(format!("{property} '{display}': '{}' is not a directory", existing_path.display()));
    }
    let error = access(existing_path, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    let user = user_name();
    Some(if error == Errno::EROFS && existing_path == path {
        format!(
            "{property} '{display}' cannot be written: {error}; under systemd, fix it with: {RESTART_COMMAND}"
        )
    } else if error == Errno::EROFS {
        format!(
            "{property} '{display}' does not exist: {error}; under systemd, fix it with: install -d -o {user} -m {mode} \
             '{display}' && {RESTART_COMMAND}"
        )
    } else if existing_path == path {
        format!(
            "{property} '{display}' cannot be written by user {user}: {error}; fix it with: chown {user} '{display}'"
        )
    } else {
        format!(
            "{property} '{display}' does not exist, and user {user} cannot create it in '{}': {error}; fix it with: \
             install -d -o {user} -m {mode} '{display}'",
            existing_path.display()
        )
    })
}

/// Checks the source directories of packages; `None` if none is configured.
fn directories(server: &CheckedServer<'_>) -> Result<Option<Check>, PrivilegeError> {
    let loaded = server.loaded;
    let result: Result<Vec<Report>, String> = server.user.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let upstream = Upstream::of_server(&loaded.config).map_err(|error| error.to_string())?;
        Ok(runtime.block_on(examine(&upstream, &loaded.config, stores::system_clock()())))
    })?;
    let reports = match result {
        Ok(reports) if reports.is_empty() => return Ok(None),
        Ok(reports) => reports,
        Err(error) => return Ok(Some(Check::from_findings(DIRECTORIES_TITLE, vec![error]))),
    };
    let mut verdict = Verdict::Info;
    let mut findings = Vec::new();
    for Report { section, findings: section_findings } in reports {
        for finding in section_findings {
            findings.push(match finding {
                Ok(text) => format!("{section}.URL: {text}"),
                Err(error) => {
                    verdict = Verdict::Fail;
                    with_origin(
                        loaded,
                        &[(section, None, "URL")],
                        &format!("{section}.URL cannot be used: {error}"),
                    )
                }
            });
        }
    }
    if verdict == Verdict::Fail {
        findings.extend(server.sandbox_error.clone());
    }
    Ok(Some(Check { title: DIRECTORIES_TITLE, verdict, findings }))
}

fn listeners(server: &CheckedServer<'_>) -> Result<Check, PrivilegeError> {
    let loaded = server.loaded;
    let config = &*loaded.config;
    let mut failures = Vec::new();
    let mut info_findings = Vec::new();
    let is_running = UnixStream::connect(sockets::admin_path(config)).is_ok();
    let addresses: [(&'static str, Option<&Listen>); 4] = [
        ("HTTP", config.http.listen.as_ref()),
        ("HTTPS", config.https.listen.as_ref()),
        ("HTTPRedirect", config.http_redirect.listen.as_ref()),
        ("Metrics", config.metrics.listen.as_ref()),
    ];
    for (section, listen) in addresses.into_iter().filter_map(|(section, listen)| Some((section, listen?))) {
        let Err(error) = bind::bind(section, listen) else { continue };
        let kind = match &error {
            bind::SocketError::Tcp { kind, .. } => Some(*kind),
            bind::SocketError::Admin { .. } | bind::SocketError::NonBlocking { .. } => None,
        };
        let (list, message) = if is_running && kind == Some(ErrorKind::AddrInUse) {
            let address = bind::display_address(listen);
            (
                &mut info_findings,
                format!("{section}.Listen = {address} is in use, probably by a running rstudio-pm"),
            )
        } else if section == "Metrics" {
            // The server also runs without the metrics listener.
            (&mut info_findings, error.to_string())
        } else if listen.port < 1024 && kind == Some(ErrorKind::PermissionDenied) {
            // The user that runs the check may lack a privilege that the server has.
            (&mut info_findings, error.to_string())
        } else {
            (&mut failures, error.to_string())
        };
        list.push(with_origin(loaded, &[(section, None, "Listen")], &message));
    }
    if config.https.listen.is_some()
        && let (Some(certificate), Some(key)) = (&config.https.certificate, &config.https.key)
        && let Err(error) = server.user.run(|| Tls::open(certificate, key, config.https.minimum_tls))?
    {
        let name = match &error {
            TlsError::File { property, .. } if *property == "HTTPS.Key" => "Key",
            TlsError::File { .. } | TlsError::NotValid { .. } => "Certificate",
            TlsError::Mismatch { .. } => "Key",
            TlsError::Setup(_) => "Listen",
        };
        failures.push(with_origin(loaded, &[("HTTPS", None, name)], &error.to_string()));
    }
    Ok(with_info(SETTINGS_TITLE, failures, info_findings))
}

/// Checks the database of packages and the usage database. An error that occurs in both is reported once.
fn database(server: &CheckedServer<'_>) -> Result<Vec<String>, PrivilegeError> {
    let loaded = server.loaded;
    let config = &*loaded.config;
    if config.database.provider == Provider::Sqlite && server.creates(&config.sqlite.dir) {
        return Ok(Vec::new());
    }
    let (url, password) = (("Postgres", None, "URL"), ("Postgres", None, "Password"));
    let (usage_url, usage_password) =
        (("Postgres", None, "UsageDataURL"), ("Postgres", None, "UsageDataPassword"));
    let sqlite_properties: &[PropertyName] = &[("SQLite", None, "Dir"), ("Server", None, "DataDir")];
    let core_result = server.user.run(|| Db::check(config))?;
    let core_error = core_result.err().filter(|error| !is_acceptable_skew(error)).map(|error| {
        let names: &[PropertyName] = match (config.database.provider, &error) {
            (Provider::Sqlite, _) => sqlite_properties,
            (Provider::Postgres, DbError::Authentication { .. }) => &[password, url],
            (Provider::Postgres, _) => &[url],
        };
        (with_origin(loaded, names, &error_chain(&error)), error_chain(&error))
    });
    let usage_error = match config.server.usage_data_enabled {
        true => server.user.run(|| Db::check_usage(config))?.err(),
        false => None,
    };
    // If usage data is in the database of packages, its error was reported already.
    let is_different =
        |error: &DbError| core_error.as_ref().is_none_or(|(_, text)| *text != error_chain(error));
    let usage_finding = usage_error.filter(is_different).map(|error| {
        let names: &[PropertyName] = match (config.database.provider, &error) {
            (Provider::Sqlite, _) => sqlite_properties,
            (Provider::Postgres, DbError::Authentication { .. }) => {
                &[usage_password, usage_url, password, url]
            }
            (Provider::Postgres, _) => &[usage_url, url],
        };
        format!("{}; usage data", with_origin(loaded, names, &error_chain(&error)))
    });
    Ok(core_error.map(|(finding, _)| finding).into_iter().chain(usage_finding).collect())
}

/// Returns whether the error is a clock difference that the server would accept.
fn is_acceptable_skew(error: &DbError) -> bool {
    match error {
        DbError::Skew(skew) => skew.may_have_been_off() && clock::is_synchronized(),
        _ => false,
    }
}

/// Checks the storage classes at the locations that `is_included`. Adds errors that prevent a start to
/// `findings`, and locations without free space to `info_findings`. Errors of classes below `unusable_dir`
/// are omitted: that directory has its own finding.
fn storage(
    loaded: &Loaded,
    is_included: impl Fn(&ClassLocation) -> bool,
    unusable_dir: Option<&Path>,
    findings: &mut Vec<String>,
    info_findings: &mut Vec<String>,
) {
    let config = &loaded.config.storage;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return findings.push(error.to_string()),
    };
    let mut reported_errors: Vec<String> = Vec::new();
    for (class, result) in runtime.block_on(Storage::probe(config, is_included)) {
        let Err(error) = result else { continue };
        let list = if error.is_only_full() { &mut *info_findings } else { &mut *findings };
        let (location, error) = (config.location(class), error.to_string());
        let is_below_unusable_dir = match location {
            ClassLocation::File(location) => {
                unusable_dir.is_some_and(|dir| location.location.starts_with(dir))
            }
            ClassLocation::S3(_) => false,
        };
        // Classes that share a location share its error.
        if !is_below_unusable_dir && !reported_errors.contains(&error) {
            list.push(with_origin(loaded, &location_properties(class, location), &error));
            reported_errors.push(error);
        }
    }
}

/// The properties that may configure the location of a class, the most specific first.
fn location_properties(class: StorageClass, location: &ClassLocation) -> [PropertyName; 3] {
    let fallback = match class {
        StorageClass::Cran | StorageClass::Bioconductor | StorageClass::Pypi => "packages",
        StorageClass::Cache
        | StorageClass::Launcher
        | StorageClass::Metrics
        | StorageClass::Packages
        | StorageClass::Binaries
        | StorageClass::Persistent => class.as_str(),
    };
    let (section, name, default_property) = match location {
        ClassLocation::File(_) => ("FileStorage", "Location", ("Server", None, "DataDir")),
        ClassLocation::S3(_) => ("S3Storage", "Bucket", ("S3Storage", None, "Bucket")),
    };
    [(section, Some(class.as_str()), name), (section, Some(fallback), name), default_property]
}

/// The check reports the queue if at least this part of it is used, in per mille.
const NOTIFICATION_THRESHOLD: i64 = 5;

/// Reports a notification queue of PostgreSQL that fills, because a listening session remains in a transaction. `None`
/// with SQLite, if little is used, and if the database does not answer, which another check reports.
fn notification_queue(config: &Config) -> Option<Check> {
    let usage = Db::notification_queue_usage(config).ok()??;
    (usage >= NOTIFICATION_THRESHOLD).then(|| {
        let finding = format!(
            "{}.{} % of PostgreSQL's notification queue is used; if it is full, no change can be saved. A session that \
             listens and stays in a transaction prevents its clean-up; list them: SELECT pid, application_name, \
             xact_start FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY xact_start",
            usage / 10,
            usage % 10
        );
        Check { title: "Notifications", verdict: Verdict::Info, findings: vec![finding] }
    })
}

struct CheckedServer<'a> {
    file: &'a Path,
    loaded: &'a Loaded,
    user: ServiceUser,
    /// The error if the sandbox of the service could not be recreated for the checks.
    sandbox_error: Option<String>,
    root_created_paths: Vec<PathBuf>,
}

impl<'a> CheckedServer<'a> {
    fn new(file: &'a Path, loaded: &'a Loaded) -> CheckedServer<'a> {
        let user = ServiceUser::find(file);
        let sandbox_error = user.enter_sandbox(&loaded.config);
        let root_created_paths = user.root_created_paths(file, &loaded.config);
        CheckedServer { file, loaded, user, sandbox_error, root_created_paths }
    }

    fn creates(&self, path: &Path) -> bool {
        self.root_created_paths.iter().any(|parent| path.starts_with(parent))
    }
}

/// Formats one line per check, followed by its findings, and a summary line.
fn human_report(file: &Path, checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Pass => "[PASS]",
            Verdict::Fail => "[FAIL]",
            Verdict::Info => "[INFO]",
        };
        match check.findings.as_slice() {
            // A single finding without file and line is on the line of its check.
            [finding] if check.verdict == Verdict::Info && !finding.contains(": [") => {
                let _ = writeln!(text, "{mark} {}: {finding}", check.title);
            }
            findings => {
                let _ = writeln!(text, "{mark} {}", check.title);
                for finding in findings {
                    let _ = writeln!(text, "       {finding}");
                }
            }
        }
    }
    let failed_count = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    let _ = match failed_count {
        0 => writeln!(text, "{}: no check failed", file.display()),
        1 => writeln!(text, "{}: 1 check failed", file.display()),
        n => writeln!(text, "{}: {n} checks failed", file.display()),
    };
    text
}

/// Formats `{"config", "passed", "checks": [{"check", "result", "findings"}]}`.
fn json_report(file: &Path, checks: &[Check]) -> serde_json::Value {
    let rows = checks.iter().map(|check| {
        let result = match check.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Info => "info",
        };
        serde_json::json!({ "check": check.title, "result": result, "findings": check.findings })
    });
    serde_json::json!({
        "config": file.display().to_string(),
        "passed": checks.iter().all(|check| check.verdict != Verdict::Fail),
        "checks": rows.collect::<Vec<_>>(),
    })
}
