//! `uv pip compile` of packages of the mirror of the test data through this server, against nginx that serves the
//! mirror. The client starts with an empty cache; both servers have answered the same requests before.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::mirror::data;
use super::nginx::Nginx;
use super::report::{Report, median};
use super::server::Server;

const SETS: [&str; 2] = ["flask", "requests"];
const ROUNDS: usize = 9;
const TARGET: &str = "≤ 1.2";

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("a folder");
    match prepare(&folder) {
        Ok(uv) => measure(report, &uv, &folder),
        Err(reason) => {
            for set in SETS {
                report.error(format!("uv pip compile of {set}"), &reason, TARGET);
            }
        }
    }
}

/// Copies the mirror with its metadata to `web`. Returns the path of uv.
fn prepare(folder: &Path) -> Result<PathBuf, String> {
    let mirror = data().join("pypi-mirror");
    for set in SETS {
        let page = mirror.join("web/simple").join(set).join("index.v1_json");
        if !page.exists() {
            return Err(format!("the test data has no {}: set RSPM_TEST_DATA", page.display()));
        }
    }
    let clients = std::env::var_os("RSPM_TEST_PYTHON_CLIENTS").ok_or("tests/setup.env is not loaded")?;
    let uv = PathBuf::from(clients).join("uv/bin/uv");
    if !uv.exists() {
        return Err(format!("{} is missing: run tests/setup", uv.display()));
    }
    let mut copy = Command::new("cp");
    copy.args(["-r", "--no-preserve=mode"]).arg(mirror.join("web")).arg(folder.join("web"));
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(mirror.join("metadata.tar.gz")).arg("-C").arg(folder.join("web"));
    for mut command in [copy, unpack] {
        let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
        if !status.success() {
            return Err(format!("{command:?}: {status}"));
        }
    }
    Ok(uv)
}

fn measure(report: &mut Report, uv: &Path, folder: &Path) {
    let web = folder.join("web");
    let server = Server::start(&format!("[PyPI]\nURL = file://{}", web.display()));
    server.rspm(&["create", "repo", "--name=py", "--type=python"]);
    server.rspm(&["subscribe", "--repo=py", "--source=pypi"]);
    server.rspm(&["sync", "--type=pypi", "--quiet"]);
    let nginx = Nginx::with_index(&web);
    let (server_url, nginx_url) = (server.url("/py/latest/simple/"), nginx.url("simple/"));
    for set in SETS {
        let (mut times, mut references, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        // The first round fills the caches of the servers.
        for round in 0..=ROUNDS {
            let (first, second) =
                if round % 2 == 0 { (&server_url, &nginx_url) } else { (&nginx_url, &server_url) };
            let results = compile(uv, first, set).and_then(|result| Ok((result, compile(uv, second, set)?)));
            let ((lock, seconds), (other_lock, other_seconds)) = match results {
                Ok(results) => results,
                Err(reason) => {
                    report.error(format!("uv pip compile of {set}"), &reason, TARGET);
                    return;
                }
            };
            assert_eq!(lock, other_lock, "both servers have the same packages");
            let (time, reference) =
                if round % 2 == 0 { (seconds, other_seconds) } else { (other_seconds, seconds) };
            if round > 0 {
                times.push(time);
                references.push(reference);
                ratios.push(time / reference);
            }
        }
        report.row(
            format!("uv pip compile of {set}"),
            format!("{:.0} ms", 1e3 * median(times)),
            format!("nginx {:.0} ms", 1e3 * median(references)),
            format!("{:.2}", median(ratios)),
            TARGET,
        );
    }
}

/// Runs uv with an empty cache. Returns the lock file and the seconds.
fn compile(uv: &Path, index: &str, set: &str) -> Result<(String, f64), String> {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(uv);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", home.path()).env("UV_NO_CONFIG", "1");
    command.args(["pip", "compile", "--generate-hashes", "--no-header", "--default-index", index]);
    command.arg("--cache-dir").arg(home.path().join("uv")).arg("-").current_dir(home.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let mut input = child.stdin.take().expect("piped");
    input.write_all(format!("{set}\n").as_bytes()).map_err(|error| error.to_string())?;
    drop(input);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), seconds))
}
