//! `[Git]`, and `Server.RVersion` and `Server.PythonVersion`, the R and the Python that build packages from git.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::builder::repository::Repository;
use crate::support::rscript;
use crate::support::server::{Builder, Server};

fn server_with_r(r: &str) -> Server {
    let gcfg = format!("[Server]\nRVersion = {r}\n[Git]\nSandbox = bubblewrap\nLocalPaths = /tmp\n");
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create source --name=dev --type=git");
    server
}

#[test]
pub(super) fn r_version_is_the_installation_that_builds() {
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.commit();
    let line = format!("create git-builder --source=dev --url={}", repository.url());
    let home = rscript::run("cat(R.home())", &[""; 0]);
    let server = server_with_r(&home);
    let output = server.rspm(&line);
    assert_eq!(output.code, 0, "{}", output.err);
    server.wait_for_log(&format!(" at {home}"));
    // A directory without R.
    let refusal = server_with_r("/usr/share").rspm(&line);
    assert!(refusal.code == 1 && refusal.err.contains("/usr/share"), "{}", refusal.err);
}

#[test]
fn the_log_has_the_version_and_directory_of_a_configured_r_after_a_start() {
    let home = rscript::run("cat(R.home())", &[""; 0]);
    let version = rscript::run("cat(format(getRversion()))", &[""; 0]);
    let server = server_with_r(&home);
    server.wait_for_log("Attempting to detect R version in a user namespace sandbox.");
    server.wait_for_log(&format!("Detected R version {version} at {home}"));
    // Without the property, the first job detects it; the line has the directory too.
    let repository = repository();
    let server = self::server(BUBBLEWRAP);
    assert!(!server.log_lines().join("\n").contains("Detected"), "nothing is built");
    let created = server.rspm(&format!("create git-builder --source=dev --url={}", repository.url()));
    assert_eq!(created.code, 0, "{}", created.err);
    server.wait_for_log(&format!("Detected R version {version} at /"));
}

#[test]
pub(super) fn python_version_is_the_installation_that_builds() {
    let repository = Repository::new();
    let backend = "requires = [\"setuptools\", \"wheel\"]\nbuild-backend = \"setuptools.build_meta\"";
    let text = format!("[build-system]\n{backend}\n[project]\nname = \"tested\"\nversion = \"1.0\"\n");
    repository.write("pyproject.toml", &text);
    repository.commit();
    let server = |python: &str| {
        let gcfg =
            format!("[Server]\nPythonVersion = {python}\n[Git]\nSandbox = bubblewrap\nLocalPaths = /tmp\n");
        let server = Builder::default().gcfg(&gcfg).start();
        server.rspm_stdout("create source --name=py --type=git-python");
        server
    };
    let line = format!("create git-builder --source=py --name=tested --url={}", repository.url());
    let server_with_python = server("/usr");
    let create_output = server_with_python.rspm(&line);
    assert_eq!(create_output.code, 0, "{}\n{}", create_output.out, create_output.err);
    server_with_python.wait_for_log("Detected Python version 3");
    server_with_python.wait_for_log(" at /usr");
    // A directory without Python.
    let refusal = server("/usr/share").rspm(&line);
    assert!(refusal.code == 1 && refusal.err.contains("/usr/share"), "{}", refusal.err);
}

/// A server with these properties of `[Git]`, and sources for R packages.
fn server(gcfg: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[Git]\n{gcfg}\n")).start();
    for name in ["dev", "other"] {
        server.rspm_stdout(&format!("create source --name={name} --type=git"));
    }
    server
}

const BUBBLEWRAP: &str = "Sandbox = bubblewrap\nLocalPaths = /tmp\n";

fn repository() -> Repository {
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.commit();
    repository
}

fn create(repository: &Repository, flags: &str) -> String {
    format!("create git-builder --source=dev --url={} {flags}", repository.url()).trim_end().to_owned()
}

/// Waits until the builds of the server satisfy the condition.
fn wait_for_builds(server: &Server, condition: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(200);
    loop {
        let builds = server.json("list git-builds").as_array().expect("a list").clone();
        if condition(&builds) {
            return builds;
        }
        assert!(Instant::now() < until, "{builds:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
pub(super) fn poll_interval_is_the_time_between_polls() {
    let repository = repository();
    let server = server(&format!("{BUBBLEWRAP}PollInterval = 1s"));
    server.rspm_stdout(&create(&repository, "--no-wait"));
    repository.package("", "1.1");
    let commit = repository.commit();
    // With the default this would take five minutes.
    wait_for_builds(&server, |builds| builds.iter().any(|build| build["commit"] == commit.as_str()));
}

#[test]
pub(super) fn build_retries_is_the_number_of_attempts() {
    let repository = repository();
    let server = server(&format!("{BUBBLEWRAP}BuildRetries = 1"));
    server.rspm_stdout(&create(&repository, ""));
    // The repository does not have the commit: another attempt may find it, but there is only one.
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let rerun = server.rspm(&format!("rerun git-builder --source=dev --name=tested --commit-sha={commit}"));
    assert_eq!(rerun.code, 1, "{}", rerun.out);
    let builds = wait_for_builds(&server, |builds| builds[0]["state"] == "failed");
    assert_eq!((builds[0]["commit"].as_str(), builds[0]["attempt"].as_i64()), (Some(commit), Some(1)));
}

#[test]
pub(super) fn allow_unsandboxed_git_builds_permits_builds_without_a_sandbox() {
    let repository = repository();
    let gcfg = "Sandbox = none\nLocalPaths = /tmp\n";
    let refusal = server(gcfg).rspm(&create(&repository, ""));
    assert!(refusal.code == 1 && refusal.err.contains("AllowUnsandboxedGitBuilds"), "{}", refusal.err);
    let permitting_server = server(&format!("{gcfg}AllowUnsandboxedGitBuilds = true"));
    let create_output = permitting_server.rspm(&create(&repository, ""));
    assert_eq!(create_output.code, 0, "{}", create_output.err);
}

#[test]
pub(super) fn sandbox_is_the_only_one_that_is_tried() {
    let repository = repository();
    let refusal = server("Sandbox = systemd\nLocalPaths = /tmp").rspm(&create(&repository, ""));
    assert_eq!(refusal.code, 1, "{}", refusal.out);
    assert!(refusal.err.contains("systemd: ") && !refusal.err.contains("bubblewrap: "), "{}", refusal.err);
}

#[test]
pub(super) fn build_concurrency_is_the_number_of_simultaneous_builds() {
    let repository = repository();
    repository.run_in_build("sleep 1000");
    repository.commit();
    for (concurrency, expected) in [(1, ["building", "queued"]), (2, ["building", "building"])] {
        let server = server(&format!("{BUBBLEWRAP}BuildConcurrency = {concurrency}"));
        for source in ["dev", "other"] {
            let line =
                create(&repository, "--no-wait").replace("--source=dev", &format!("--source={source}"));
            server.rspm_stdout(&line);
        }
        wait_for_builds(&server, |builds| {
            let mut states: Vec<_> = builds.iter().filter_map(|build| build["state"].as_str()).collect();
            states.sort_unstable();
            states == expected
        });
    }
}

#[test]
pub(super) fn build_timeout_ends_a_build() {
    let repository = repository();
    repository.run_in_build("sleep 1000");
    repository.commit();
    let server = server(&format!("{BUBBLEWRAP}BuildTimeout = 10s"));
    let create_output = server.rspm(&create(&repository, ""));
    assert!(
        create_output.code == 1 && create_output.err.contains("time limit of 10 seconds"),
        "{}",
        create_output.err
    );
}

#[test]
pub(super) fn first_tags_is_the_number_of_existing_tags_that_are_built() {
    let repository = repository();
    for tag in ["v1.0", "v1.1", "v1.2"] {
        repository.git(&["tag", tag]);
    }
    let server = server(&format!("{BUBBLEWRAP}FirstTags = 1"));
    server.rspm_stdout(&create(&repository, "--build-trigger=tags --no-wait"));
    let builds = server.json("list git-builds");
    let skipped = builds.as_array().expect("a list").iter().filter(|build| build["state"] == "skipped");
    assert_eq!(skipped.count(), 2, "{builds}");
}

#[test]
pub(super) fn local_paths_are_the_only_directories_of_repositories() {
    let repository = repository();
    let server = server("Sandbox = bubblewrap\nLocalPaths = /srv/git");
    let refusal = server.rspm(&create(&repository, ""));
    assert!(refusal.code == 1 && refusal.err.contains("Git.LocalPaths"), "{}", refusal.err);
}

#[test]
pub(super) fn submodule_hosts_may_serve_submodules() {
    let repository = repository();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let modules = "[submodule \"sub\"]\n\tpath = sub\n\turl = http://127.0.0.1:1/sub.git\n";
    repository.write(".gitmodules", modules);
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},sub")]);
    repository.git(&["commit", "--quiet", "--message=x"]);
    let line = create(&repository, "--recurse-submodules=1");
    for (property, is_refused) in [("", true), ("SubmoduleHosts = 127.0.0.1", false)] {
        let create_output = server(&format!("{BUBBLEWRAP}{property}")).rspm(&line);
        // Nothing listens there.
        assert_eq!(create_output.code, 1, "{}", create_output.out);
        assert_eq!(create_output.err.contains("Git.SubmoduleHosts"), is_refused, "{}", create_output.err);
    }
}
