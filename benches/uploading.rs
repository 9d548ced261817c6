//! A wheel of 100 MB uploaded as twine does, until it is on its page, against hashing it three ways and one fsync.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use blake2::Blake2b256;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::report::{Report, median};
use super::server::Server;
use super::wheel::{Wheel, wheel};

const ROUNDS: usize = 5;
const SIZE: usize = 100 << 20;

pub(crate) fn run(report: &mut Report) {
    let server = Server::start("");
    server.rspm(&["create", "source", "--name=team", "--type=local-python"]);
    server.rspm(&["create", "repo", "--name=py", "--type=python"]);
    server.rspm(&["subscribe", "--repo=py", "--source=team"]);
    let flags =
        ["create", "token", "--description=bench", "--quiet", "--scope=sources:write", "--sources=team"];
    let token = server.rspm(&flags).trim().to_owned();
    let (mut times, mut references, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let Wheel { name, bytes, .. } = wheel("bench", &format!("1.{round}"), SIZE, round as u64);
        let path = server.path().join(&name);
        fs::write(&path, bytes).expect("written");
        let reference = hash_and_write(&path);
        let start = Instant::now();
        upload(&server, &token, &path, round);
        let page = curl(Command::new("curl").arg(server.url("/py/latest/simple/bench/"))).unwrap();
        assert!(page.contains(&name), "{page}");
        let time = start.elapsed().as_secs_f64();
        fs::remove_file(&path).expect("our own file");
        times.push(time);
        references.push(reference);
        ratios.push(time / reference);
    }
    report.row(
        format!("upload of a wheel of {} MB until it is on its page", SIZE >> 20),
        format!("{:.0} ms", 1e3 * median(times)),
        format!("hashing it three ways and one fsync {:.0} ms", 1e3 * median(references)),
        format!("{:.2}", median(ratios)),
        "≤ 1.5",
    );
}

fn upload(server: &Server, token: &str, path: &Path, round: usize) {
    let mut command = Command::new("curl");
    command.args(["--user", &format!("__token__:{token}"), "--header", "Expect:"]);
    let version = format!("version=1.{round}");
    for field in [
        ":action=file_upload",
        "protocol_version=1",
        "metadata_version=2.2",
        "name=bench",
        &version,
        "filetype=bdist_wheel",
        "pyversion=py3",
    ] {
        command.args(["--form-string", field]);
    }
    command.arg("--form").arg(format!("content=@{}", path.display()));
    curl(command.arg(server.url("/upload/pypi/team"))).unwrap();
}

/// Runs curl, and returns the body of the response.
pub(crate) fn curl(command: &mut Command) -> Result<String, String> {
    let output =
        command.args(["--silent", "--show-error", "--fail-with-body"]).output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Reads a file, computes the three digests one after another, and writes it to the disk; returns the seconds.
fn hash_and_write(path: &Path) -> f64 {
    let start = Instant::now();
    let bytes = fs::read(path).expect("just written");
    std::hint::black_box((Sha256::digest(&bytes), Md5::digest(&bytes), Blake2b256::digest(&bytes)));
    let copy = path.with_extension("copy");
    let mut file = fs::File::create(&copy).expect("a file");
    file.write_all(&bytes).and_then(|()| file.sync_all()).expect("written");
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_file(copy).expect("our own file");
    seconds
}
