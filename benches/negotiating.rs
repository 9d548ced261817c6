//! The cost of selecting a binary by the client's `User-Agent`: requests per second relative to a source package of the
//! same size from the same server, interleaved, the median of five rounds; with and without the service log.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::nginx::{fetch, wrk};
use super::report::{Report, median};
use super::server::{Server, package};

const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("service.log");
    for (suffix, gcfg) in
        [("", String::new()), (", service log on", format!("[Server]\nServiceLog = {}", log.display()))]
    {
        let server = Server::start(&gcfg);
        let (source, binary) = build_example(folder.path());
        server.rspm(&["create", "source", "--name=team"]);
        server.rspm(&["add", "--source=team", &format!("--path={}", source.display())]);
        server.rspm(&[
            "add",
            "binary",
            "--source=team",
            "--distribution=bookworm",
            &format!("--path={}", binary.display()),
        ]);
        let size = std::fs::metadata(&binary).expect("just built").len();
        // The archive is about as large as the random bytes in it.
        let package_path = package(server.path(), "plain", usize::try_from(size).expect("small"));
        server.rspm(&["add", "--source=team", &format!("--path={}", package_path.display())]);
        server.rspm(&["create", "repo", "--name=bench"]);
        server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
        let package_url = server.url("/bench/latest/src/contrib/plain_1.0.0.tar.gz");
        let name = source.file_name().expect("a file").to_string_lossy();
        let binary_url = server.url(&format!("/bench/__linux__/bookworm/latest/src/contrib/{name}"));
        fetch(&package_url, &folder.path().join("copy"));
        let agent = vec![format!("User-Agent: {}", agent())];
        let package_type = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", "%header{x-package-type}", "--header"])
            .args([&agent[0], &binary_url])
            .output();
        assert_eq!(package_type.expect("curl is installed").stdout, b"binary", "{binary_url}");
        for connections in [1, 64] {
            let mut rounds = Vec::new();
            for round in 0..ROUNDS {
                let measure_binary = || wrk(&binary_url, connections, SECONDS, &agent);
                let measure_package = || wrk(&package_url, connections, SECONDS, &agent);
                // The order alternates.
                rounds.push(if round % 2 == 0 {
                    let binary_rate = measure_binary();
                    (binary_rate, measure_package())
                } else {
                    let package_rate = measure_package();
                    (measure_binary(), package_rate)
                });
            }
            let ratio = median(rounds.iter().map(|(binary, package)| binary / package).collect());
            let median_of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
            report.row(
                format!("binary by User-Agent ({size} bytes), {connections} connections{suffix}"),
                format!("{:.0}/s", median_of(|r| r.0)),
                format!("source package {:.0}/s", median_of(|r| r.1)),
                format!("{ratio:.2}"),
                "≥ 0.9",
            );
        }
    }
}

/// Builds an example package; returns the source and the binary.
fn build_example(folder: &Path) -> (PathBuf, PathBuf) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/build");
    let library = folder.join("library");
    std::fs::create_dir_all(&library).expect("a folder");
    let source = folder.join("greeting_1.0.0.tar.gz");
    for command in [
        Command::new("sh").arg(examples).arg(folder),
        Command::new("R")
            .args(["CMD", "INSTALL", "--build", "--no-docs", "--no-test-load", "-l"])
            .arg(&library)
            .arg(&source)
            .current_dir(folder),
    ] {
        let output = command.output().expect("run tests/setup");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let binary = folder.join("greeting_1.0.0_R_x86_64-pc-linux-gnu.tar.gz");
    assert!(binary.exists(), "R did not write {}", binary.display());
    (source, binary)
}

/// The `User-Agent` that R sends when configured for binaries.
fn agent() -> String {
    let code = "cat(sprintf('R/%s R (%s)', getRversion(), paste(getRversion(), R.version['platform'], \
        R.version['arch'], R.version['os'])))";
    let output = Command::new("Rscript").args(["-e", code]).output().expect("run tests/setup");
    String::from_utf8(output.stdout).expect("text")
}
