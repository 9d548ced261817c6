//! The cost of selecting a binary by the client's `User-Agent`: requests per second relative to a plain package of the
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
        let bytes = std::fs::metadata(&binary).expect("just built").len();
        // The archive is about as large as the random bytes in it.
        let plain = package(server.path(), "plain", usize::try_from(bytes).expect("small"));
        server.rspm(&["add", "--source=team", &format!("--path={}", plain.display())]);
        server.rspm(&["create", "repo", "--name=bench"]);
        server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
        let plain = server.url("/bench/latest/src/contrib/plain_1.0.0.tar.gz");
        let name = source.file_name().expect("a file").to_string_lossy();
        let negotiated = server.url(&format!("/bench/__linux__/bookworm/latest/src/contrib/{name}"));
        fetch(&plain, &folder.path().join("copy"));
        let agent = vec![format!("User-Agent: {}", agent())];
        let package_type = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", "%header{x-package-type}", "--header"])
            .args([&agent[0], &negotiated])
            .output();
        assert_eq!(package_type.expect("curl is installed").stdout, b"binary", "{negotiated}");
        for connections in [1, 64] {
            let mut rounds = Vec::new();
            for round in 0..ROUNDS {
                let negotiate = || wrk(&negotiated, connections, SECONDS, &agent);
                let serve = || wrk(&plain, connections, SECONDS, &agent);
                // The order alternates.
                rounds.push(if round % 2 == 0 {
                    let negotiated = negotiate();
                    (negotiated, serve())
                } else {
                    let served = serve();
                    (negotiate(), served)
                });
            }
            let ratio = median(rounds.iter().map(|(a, b)| a / b).collect());
            let median_of = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
            report.row(
                format!("binary by User-Agent ({bytes} bytes), {connections} connections{suffix}"),
                format!("{:.0}/s", median_of(|r| r.0)),
                format!("plain package {:.0}/s", median_of(|r| r.1)),
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
