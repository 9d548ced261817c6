//! `rstudio-pm --check-config`: six checks, no file created, an exit code for scripts.

use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;

use crate::support::downloader::must_get_cran;
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::{fixtures, mirror_dir};

fn check(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    run(rstudio_pm(server).arg("--check-config").args(arguments))
}

fn rstudio_pm(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rstudio-pm"));
    command.arg("--config").arg(server.config_file());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("rstudio-pm runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Creates a `systemctl` whose `show` describes a unit that runs `server` and has these further properties. Returns a
/// `PATH` that begins with its folder.
fn systemctl(server: &Server, properties: &str) -> String {
    let programs = server.dir().join("programs");
    std::fs::create_dir_all(&programs).expect("a directory");
    let program = programs.join("systemctl");
    let config = server.config_file();
    let text = format!(
        "#!/bin/sh\ncat <<'END'\nLoadState=loaded\nMainPID=0\nExecStart={{ argv[]=rstudio-pm --config {} ; }}\n{properties}\nEND\n",
        config.display()
    );
    std::fs::write(&program, text).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("our own file");
    format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"))
}

/// Makes an ordinary user the owner of the directories and the configuration of a prepared server.
fn give_to_nobody(server: &Server) {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root to create files of another user");
    std::fs::set_permissions(server.dir(), PermissionsExt::from_mode(0o755)).expect("our own file");
    for path in [server.dir(), &server.dir().join("tmp"), &server.config_file()] {
        lchown(path, Some(65_534), Some(65_534)).expect("root can change the owner");
    }
}

fn directory_of_root(path: &Path) {
    std::fs::create_dir(path).expect("a directory");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).expect("our own file");
}

#[test]
fn a_good_configuration_passes_and_nothing_is_created() {
    let server = Builder::default().gcfg("[CRAN]\nURL = https://cran.invalid").prepare();
    let (code, text) = check(&server, &[]);
    assert_eq!(code, Some(0), "{text}");
    let pass_count = text.lines().filter(|line| line.starts_with("[PASS]")).count();
    assert_eq!(pass_count, 5, "{text}");
    assert!(text.contains("[INFO] License: none needed"), "{text}");
    for name in ["data", "run", "access.log"] {
        assert!(!server.dir().join(name).exists(), "{name} was created");
    }
}

#[test]
fn each_error_fails_its_own_check() {
    let cases = [
        ("[Sever]\nX = 1", "[FAIL] Unknown sections and properties"),
        ("[HTTP]\nListen = x", "[FAIL] Configuration file syntax"),
        ("[Server]\nDataDir = {dir}/rstudio-pm.gcfg/data", "[FAIL] File paths and storage"),
        ("[Server]\nAccessLog = {dir}", "[FAIL] File paths and storage"),
        ("[HTTP]\nListen = 192.0.2.1:4242", "[FAIL] Listeners and start settings"),
        (
            "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/x\nKey = {dir}/y",
            "[FAIL] Listeners and start settings",
        ),
        ("[FileStorage \"cran\"]\nLocation = {dir}/rstudio-pm.gcfg/cran", "[FAIL] File paths and storage"),
    ];
    for (gcfg, expected) in cases {
        let (code, text) = check(&Builder::default().gcfg(gcfg).prepare(), &[]);
        assert_eq!(code, Some(1), "{gcfg}\n{text}");
        assert!(text.contains(expected), "{gcfg}\n{text}");
    }
    let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").prepare();
    std::fs::create_dir(server.dir().join("db")).expect("a directory");
    for name in ["rstudio-pm.sqlite", "rstudio-pm.db", "rspm.db"] {
        std::fs::write(server.dir().join("db").join(name), "not a database".repeat(100)).expect("written");
    }
    let (code, text) = check(&server, &[]);
    assert!(code == Some(1) && text.contains("[FAIL] Database"), "{text}");
}

#[test]
fn json_reports_the_same() {
    let server = Builder::default().gcfg("[Sever]\nX = 1").prepare();
    let (code, text) = check(&server, &["--output-format", "json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["passed"], false);
    assert_eq!(json["checks"][0]["result"], "pass");
    assert_eq!(json["checks"][1]["result"], "fail");
    assert!(json["checks"][1]["findings"][0].as_str().is_some_and(|text| text.contains("Sever")), "{json}");
}

#[test]
fn the_port_of_the_running_server_is_not_an_error() {
    let server = Builder::default().gcfg("[CRAN]\nURL = https://cran.invalid").start();
    let port = server.host().to_owned();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), gcfg.replace("127.0.0.1:0", &port)).expect("written");
    let (code, text) = check(&server, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("in use, probably by a running rstudio-pm"), "{text}");
    assert_eq!(server.get("/__ping__").status, 200);
}

const DIRECTORIES: &str = "Directories of packages";

#[test]
fn a_directory_of_packages_is_examined_at_the_start_and_by_the_check() {
    let server = Builder::default().start();
    let (root, config) = (server.dir().join("no-mirror"), server.config_file());
    let path = root.display();
    let missing = format!("{path}: there is no such directory");
    server.wait_for_log(&missing);
    let is_warning = |line: &String| line.contains("WARN") && line.contains("CRAN.URL cannot be used");
    assert!(server.log_lines().iter().any(is_warning), "{:?}", server.log_lines());
    let finding = server.failed_check(DIRECTORIES);
    assert!(finding.starts_with(&format!("{}:", config.display())), "{finding}");
    assert!(finding.contains(&format!(": CRAN.URL cannot be used: {missing}")), "{finding}");

    std::fs::create_dir(&root).expect("a directory");
    let finding = server.failed_check(DIRECTORIES);
    assert!(finding.contains("is an empty directory; it may not be mounted"), "{finding}");
    std::fs::write(root.join("readme.txt"), "").expect("a file");
    let finding = server.failed_check(DIRECTORIES);
    assert!(finding.contains("is neither a CRAN-like mirror"), "{finding}");

    fixtures::create_mirror(&root);
    let mirror_finding =
        format!("CRAN.URL: {path} is a mirror of CRAN; its src/contrib/PACKAGES is 0 days old");
    assert_eq!(server.check_result(DIRECTORIES), ("info".to_owned(), vec![mirror_finding]));
    let (code, text) = check(&server, &[]);
    assert!(code == Some(0) && text.contains("[INFO] Directories of packages: CRAN.URL: "), "{text}");

    let dir = server.dir().join("bundle");
    let mut mirror = MirrorDir::new(server.dir().join("made"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.write();
    must_get_cran(&mirror.url(), &dir, &[]);
    let gcfg = std::fs::read_to_string(&config).expect("readable");
    let url = mirror_dir::file_url(&dir);
    std::fs::write(&config, format!("{gcfg}[CRAN]\nURL = {url}\n[Bioconductor]\nURL = {url}\n"))
        .expect("written");
    let (result, findings) = server.check_result(DIRECTORIES);
    assert_eq!((result.as_str(), findings.len()), ("fail", 2), "{findings:?}");
    assert!(findings[0].starts_with("CRAN.URL: The bundle has cran of "), "{findings:?}");
    assert!(findings[0].contains(" old: 1 packages (serial "), "{findings:?}");
    let missing_product = format!(
        "{} is a bundle without Bioconductor; get it with: rspm-offline-downloader get bioconductor",
        dir.display()
    );
    assert!(findings[1].ends_with(&missing_product), "{findings:?}");
    // A reload reports the new directory too.
    server.rspm_stdout("hup");
    server.wait_for_log("The bundle has cran of ");
    server.wait_for_log(&missing_product);
}

#[test]
fn a_directory_that_the_user_of_the_service_cannot_read_fails_the_check_of_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root to create a file of another user");
    let server = Builder::default().prepare();
    let root = server.dir().join("no-mirror");
    fixtures::create_mirror(&root);
    std::fs::set_permissions(server.dir(), PermissionsExt::from_mode(0o755)).expect("our own file");
    // The service runs as the owner of its configuration file.
    lchown(server.config_file(), Some(65_534), Some(65_534)).expect("root can change the owner");
    assert_eq!(server.check_result(DIRECTORIES).0, "info");
    let index = root.join("src/contrib/PACKAGES");
    for (path, mode) in [(index, 0o600), (root, 0o700)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("our own file");
        let finding = server.failed_check(DIRECTORIES);
        assert!(finding.contains("cannot be read by the user the server runs as"), "{finding}");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
    }
}

/// A source of packages that is not a directory of this machine.
const NO_DIRECTORY: &str = "[CRAN]\nURL = https://cran.invalid";
const PATHS: &str = "File paths and storage";

#[test]
fn a_path_that_the_user_of_the_service_cannot_write_fails_the_check_of_root() {
    for (gcfg, property) in [
        ("[Server]\nDataDir = {dir}/closed/data", "Server.DataDir"),
        ("[Server]\nSockFileDir = {dir}/closed", "Server.SockFileDir"),
        ("[Server]\nAccessLog = {dir}/closed/access.log", "Server.AccessLog"),
        ("[FileStorage \"cache\"]\nLocation = {dir}/closed/cache", "storage class 'cache'"),
        ("[SQLite]\nDir = {dir}/closed", "closed"),
    ] {
        let server = Builder::default().gcfg(gcfg).gcfg(NO_DIRECTORY).prepare();
        give_to_nobody(&server);
        let closed = server.dir().join("closed");
        directory_of_root(&closed);
        let title = if gcfg.contains("SQLite") { "Database" } else { PATHS };
        let finding = server.failed_check(title);
        assert!(finding.contains(property) && finding.contains("nobody"), "{gcfg}: {finding}");
        lchown(&closed, Some(65_534), None).expect("root can change the owner");
        let (code, text) = check(&server, &[]);
        assert_eq!(code, Some(0), "{gcfg}\n{text}");
    }
}

#[test]
fn an_existing_database_that_the_user_of_the_service_cannot_write_fails_the_check_of_root() {
    let mut server = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").gcfg(NO_DIRECTORY).prepare();
    give_to_nobody(&server);
    server.launch();
    assert_eq!(server.stop().code(), Some(0));
    let (code, text) = check(&server, &[]);
    assert_eq!(code, Some(0), "{text}");
    for name in ["rstudio-pm.db", "rstudio-pm.db.lock"] {
        let file = server.dir().join("db").join(name);
        lchown(&file, Some(0), Some(0)).expect("root can change the owner");
        let finding = server.failed_check("Database");
        let remedy = format!("chown nobody '{}' && chmod 0600 '{}'", file.display(), file.display());
        assert!(finding.contains(&remedy), "{finding}");
        lchown(&file, Some(65_534), None).expect("root can change the owner");
    }
}

#[test]
fn the_user_of_the_unit_precedes_the_owner_of_the_configuration() {
    let server = Builder::default().gcfg("[Server]\nDataDir = {dir}/closed").prepare();
    directory_of_root(&server.dir().join("closed"));
    let path = systemctl(&server, "User=nobody\nGroup=nogroup");
    std::fs::set_permissions(server.dir(), PermissionsExt::from_mode(0o755)).expect("our own file");
    let (code, text) = run(rstudio_pm(&server).arg("--check-config").env("PATH", &path));
    assert!(code == Some(1) && text.contains("cannot be written by user nobody"), "{text}");
    // The unit of another configuration does not apply to this one.
    let other = Builder::default().gcfg("[Server]\nDataDir = {dir}/closed").gcfg(NO_DIRECTORY).prepare();
    directory_of_root(&other.dir().join("closed"));
    let (code, text) = run(rstudio_pm(&other).arg("--check-config").env("PATH", &path));
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_mirror_in_the_home_of_root_is_checked_inside_the_sandbox() {
    let home = tempfile::tempdir_in("/root").expect("a directory of root, which others cannot search");
    let server = Builder::default().prepare();
    give_to_nobody(&server);
    let mirror = home.path().join("cran");
    fixtures::create_mirror(&mirror);
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let url = mirror_dir::file_url(&mirror);
    std::fs::write(server.config_file(), format!("{gcfg}[CRAN]\nURL = {url}\n")).expect("written");
    // A server that is started without systemd cannot read the mirror.
    let finding = server.failed_check(DIRECTORIES);
    assert!(finding.contains("cannot be read by the user the server runs as"), "{finding}");
    let run_check = |properties: &str| {
        let path = systemctl(&server, properties);
        run(rstudio_pm(&server).arg("--check-config").env("PATH", path))
    };
    let (code, text) = run_check("User=nobody\nProtectHome=tmpfs\nPrivateTmp=no");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{} is a mirror of CRAN", mirror.display())), "{text}");
    let (code, text) = run_check("User=nobody\nProtectHome=no\nPrivateTmp=no");
    assert!(code == Some(1) && text.contains("cannot be read by the user"), "{text}");
    // A mirror whose own mode denies access to the user is still reported.
    std::fs::set_permissions(&mirror, PermissionsExt::from_mode(0o700)).expect("our own file");
    let (code, text) = run_check("User=nobody\nProtectHome=tmpfs\nPrivateTmp=no");
    assert!(code == Some(1) && text.contains("cannot be read by the user"), "{text}");
}

#[test]
fn the_removal_commands_name_the_paths_in_the_environment_of_a_stopped_unit() {
    let server = Builder::default().gcfg("[Server]\nDataDir = /mnt/pm").prepare();
    let file = server.dir().join("variables");
    std::fs::write(&file, "# of the service\nPACKAGEMANAGER_FILESTORAGE_METRICS_LOCATION=\"/mnt/m m\"\n")
        .expect("written");
    let properties = format!(
        "Environment=PACKAGEMANAGER_FILESTORAGE_CACHE_LOCATION=/mnt/cache OTHER=1\n\
         EnvironmentFiles={} (ignore_errors=no)\nEnvironmentFiles={} (ignore_errors=no)",
        file.display(),
        server.dir().display()
    );
    let path = systemctl(&server, &properties);
    let (code, text) = run(rstudio_pm(&server).arg("--removal-commands").env("PATH", path));
    assert_eq!(code, Some(0));
    for line in [
        "rm -rf '/mnt/pm'",
        "rm -rf '/mnt/cache'    # storage class cache",
        "rm -rf '/mnt/m m'",
        "# could not read the variables of the service",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
