//! Several versions of pip, uv and Poetry install packages from a local source.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::Digest;

use crate::support::python::package::{Package, add, repository, transaction, write};
use crate::support::server::Server;

/// Returns the path of a program of a client that `tests/setup` installed.
pub(crate) fn program(client: &str, name: &str) -> PathBuf {
    let folder =
        std::env::var("RSPM_TEST_PYTHON_CLIENTS").expect("tests/setup has set it; source tests/setup.env");
    let path = Path::new(&folder).join(client).join("bin").join(name);
    assert!(path.exists(), "{} is missing; run tests/setup", path.display());
    path
}

/// Returns a command with a minimal environment, in a new subdirectory of the server's directory.
pub(crate) fn command(server: &Server, path: &Path, folder: &str) -> Command {
    let home = server.dir().join(folder);
    std::fs::create_dir_all(&home).expect("a folder");
    let mut command = Command::new(path);
    let path = std::env::var("PATH").expect("a PATH");
    command.env_clear().env("PATH", path).env("HOME", &home).env("PIP_CONFIG_FILE", "/dev/null");
    command.env("UV_CACHE_DIR", home.join("uv")).env("UV_NO_CONFIG", "1").env("LANG", "C.UTF-8");
    command.env("POETRY_CACHE_DIR", home.join("cache")).env("POETRY_VIRTUALENVS_IN_PROJECT", "true");
    command.env("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring");
    command.current_dir(&home).stdin(Stdio::null());
    command
}

pub(crate) fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Starts a server with the package `app` and its dependency `Odd.Lib`, whose newest version is yanked. Returns the
/// server and the transaction before the newer versions of `Odd.Lib`.
pub(super) fn start_server() -> (Server, i64) {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    add(&server, "team", &Package::new("app", "1.0").requires("odd_lib>=1"));
    let first = transaction(&server, "team");
    add(&server, "team", &Package::new("Odd.Lib", "1.1+local"));
    add(&server, "team", &Package::new("Odd.Lib", "1.2"));
    server.rspm_stdout("yank --source=team --name=odd-lib@1.2 --reason=broken");
    (server, first)
}

/// Returns the version of a package in a directory of installed packages.
pub(crate) fn installed_version(folder: &Path, package: &str) -> Option<String> {
    let prefix = format!("{package}-");
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).find_map(|name| {
        let version = name.strip_prefix(&prefix)?.strip_suffix(".dist-info")?;
        Some(version.to_owned())
    })
}

struct Pip<'a> {
    server: &'a Server,
    client: &'a str,
}

impl Pip<'_> {
    /// Installs packages into a new directory; returns the directory and the output.
    fn install(&self, snapshot: &str, folder: &str, words: &[&str]) -> (PathBuf, Output) {
        let target = self.server.dir().join(format!("{}-{folder}", self.client));
        let mut command =
            command(self.server, &program(self.client, "python"), &format!("home-{}-{folder}", self.client));
        command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
        command.arg(&target).args(["-i", &self.server.url(&format!("/py/{snapshot}/simple"))]).args(words);
        let output = run(command);
        (target, output)
    }
}

fn check_pip(client: &str) {
    let (server, first) = start_server();
    let pip = Pip { server: &server, client };
    let version = |(target, output): &(PathBuf, Output), package: &str| {
        assert!(output.status.success(), "{client}: {}", text(output));
        installed_version(target, package)
    };
    let latest_install = pip.install("latest", "latest", &["app"]);
    assert_eq!(version(&latest_install, "app").as_deref(), Some("1.0"));
    assert_eq!(
        version(&latest_install, "odd_lib").as_deref(),
        Some("1.1+local"),
        "the yanked version is skipped"
    );
    let snapshot_install = pip.install(&first.to_string(), "dated", &["app"]);
    assert_eq!(version(&snapshot_install, "odd_lib").as_deref(), Some("1.0"));
    let pinned_install = pip.install("latest", "pinned", &["Odd.Lib==1.2"]);
    assert_eq!(version(&pinned_install, "odd_lib").as_deref(), Some("1.2"));
    assert!(text(&pinned_install.1).contains("broken"), "pip shows the reason: {}", text(&pinned_install.1));

    let hash = hex::encode(sha2::Sha256::digest(Package::new("Odd.Lib", "1.0").wheel()));
    for (file, hash, is_installed) in [("good.txt", hash, true), ("bad.txt", "0".repeat(64), false)] {
        let line = format!("odd-lib==1.0 --hash=sha256:{hash}\n");
        let path = write(&server, file, line.as_bytes());
        let (target, output) =
            pip.install("latest", file, &["--require-hashes", "-r", path.to_str().expect("UTF-8")]);
        assert_eq!(output.status.success(), is_installed, "{}", text(&output));
        assert_eq!(installed_version(&target, "odd_lib").is_some(), is_installed);
    }
    let (_, output) = pip.install("latest", "missing", &["not-there"]);
    assert!(!output.status.success());
}

#[test]
fn pip_20_3_4_installs() {
    check_pip("pip-20.3.4");
}

#[test]
fn pip_22_3_1_installs() {
    check_pip("pip-22.3.1");
}

#[test]
fn pip_23_1_2_installs() {
    check_pip("pip-23.1.2");
}

#[test]
fn pip_24_3_1_installs() {
    check_pip("pip-24.3.1");
}

#[test]
fn the_newest_pip_installs() {
    check_pip("pip-newest");
}

#[test]
fn pip_24_3_1_installs_in_another_python() {
    check_pip("pypy3-pip-24.3.1");
}

/// Returns the number of requests in the access log that contain a text.
pub(super) fn request_count(server: &Server, text: &str) -> usize {
    let log = std::fs::read_to_string(server.dir().join("access.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains(text)).count()
}

#[test]
fn uv_resolves_with_metadata_only_and_installs() {
    check_uv("uv");
}

#[test]
fn uv_0_9_9_resolves_with_metadata_only_and_installs() {
    check_uv("uv-0.9.9");
}

fn check_uv(client: &str) {
    let (mut server, first) = start_server();
    let uv = program(client, "uv");
    let compile = |server: &Server, snapshot: &str| {
        let mut command = command(server, &uv, &format!("home-{snapshot}"));
        let url = server.url(&format!("/py/{snapshot}/simple"));
        command.args(["pip", "compile", "--generate-hashes", "--no-header", "--default-index", &url, "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("uv runs");
        child.stdin.take().expect("piped").write_all(b"app\n").expect("uv reads");
        let output = child.wait_with_output().expect("uv ends");
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let lock = compile(&server, "latest");
    assert!(lock.contains("odd-lib==1.1+local") && lock.contains("--hash=sha256:"), "{lock}");
    assert!(compile(&server, &first.to_string()).contains("odd-lib==1.0 "), "a dated index");
    write(&server, "lock.txt", lock.as_bytes());
    // The log is complete after the server has ended.
    server.restart();
    let counts = (request_count(&server, ".whl.metadata HTTP"), request_count(&server, ".whl HTTP"));
    assert!(counts.0 >= 2 && counts.1 == 0, "metadata only: {counts:?}");
    let target = server.dir().join("uv-target");
    let mut install = command(&server, &uv, "home-install");
    install.args(["pip", "install", "--require-hashes", "--target"]).arg(&target);
    install
        .args(["--default-index", &server.url("/py/latest/simple"), "-r"])
        .arg(server.dir().join("lock.txt"));
    let output = run(install);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(installed_version(&target, "odd_lib").as_deref(), Some("1.1+local"));
}

#[test]
fn poetry_locks_and_installs() {
    let (server, _) = start_server();
    let project = server.dir().join("project");
    std::fs::create_dir_all(&project).expect("a folder");
    let toml = format!(
        "[tool.poetry]\nname = \"mine\"\nversion = \"0.1\"\ndescription = \"\"\nauthors = []\npackage-mode = false\n\
         [tool.poetry.dependencies]\npython = \">=3.9,<4\"\napp = \"*\"\n\
         [[tool.poetry.source]]\nname = \"team\"\nurl = \"{}\"\npriority = \"primary\"\n",
        server.url("/py/latest/simple/")
    );
    std::fs::write(project.join("pyproject.toml"), toml).expect("written");
    let poetry = |words: &[&str]| {
        let mut command = command(&server, &program("poetry", "poetry"), "home-poetry");
        command.args(words).arg("--no-interaction").current_dir(&project);
        let output = run(command);
        assert!(output.status.success(), "poetry {words:?}: {}", text(&output));
    };
    poetry(&["lock"]);
    let lock = std::fs::read_to_string(project.join("poetry.lock")).expect("a lock file");
    assert!(lock.contains("version = \"1.1+local\"") && lock.contains("sha256:"), "{lock}");
    poetry(&["install", "--no-root"]);
    let site = std::fs::read_dir(project.join(".venv/lib")).expect("an environment");
    let site = site.filter_map(Result::ok).map(|entry| entry.path().join("site-packages")).next();
    assert_eq!(
        installed_version(&site.expect("a version of Python"), "odd_lib").as_deref(),
        Some("1.1+local")
    );
}

#[test]
fn an_independent_reader_reads_the_same_from_all_pages() {
    let (server, _) = start_server();
    let last = transaction(&server, "team");
    let mut pages = String::new();
    for snapshot in (1..=last).map(|number| number.to_string()).chain(["latest".to_owned()]) {
        for project in ["odd-lib", "Odd.Lib", "app"] {
            pages.push_str(&format!("{snapshot} {project}\n"));
        }
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/oracle.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(server.url("/py"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("python3 runs");
    child.stdin.take().expect("piped").write_all(pages.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output));
    let results = String::from_utf8_lossy(&output.stdout).into_owned();
    let results: Vec<serde_json::Value> =
        results.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(results.len(), pages.lines().count());
    let newest = &results[results.len() - 3];
    assert_eq!(*newest, results[results.len() - 2], "every spelling");
    let yanks: Vec<_> = newest.as_object().expect("a page").values().map(|file| file[1].clone()).collect();
    assert_eq!(yanks, [serde_json::json!(false), serde_json::json!(false), serde_json::json!("broken")]);
    assert!(results[0].is_null(), "nothing was published before the first package");
}
