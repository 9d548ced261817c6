//! A wheel of 100 MB uploaded as twine does, until it is on its page, against hashing it three ways and one fsync.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use blake2::Blake2b256;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::report::{Report, median};
use super::server::Server;
use super::zip::zip;

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
        let name = format!("bench-1.{round}-py3-none-any.whl");
        let path = server.path().join(&name);
        fs::write(&path, wheel(round)).expect("written");
        let reference = hash_and_write(&path);
        let start = Instant::now();
        upload(&server, &token, &path, round);
        let page = curl(Command::new("curl").arg(server.url("/py/latest/simple/bench/")));
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
    curl(command.arg(server.url("/upload/pypi/team")));
}

/// Runs curl, and returns the body of the response.
fn curl(command: &mut Command) -> String {
    let output =
        command.args(["--silent", "--show-error", "--fail-with-body"]).output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
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

/// A wheel whose only large member cannot be compressed; different in each round.
fn wheel(round: usize) -> Vec<u8> {
    let info = format!("bench-1.{round}.dist-info");
    let mut state = 88_172_645_463_325_252_u64 + round as u64;
    let mut noise = Vec::with_capacity(SIZE);
    while noise.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let metadata = format!("Metadata-Version: 2.2\nName: bench\nVersion: 1.{round}\n");
    let tags = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut members = vec![
        ("bench/noise.bin".to_owned(), noise),
        (format!("{info}/METADATA"), metadata.into_bytes()),
        (format!("{info}/WHEEL"), tags.as_bytes().to_vec()),
    ];
    let line = |(path, bytes): &(String, Vec<u8>)| {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        format!("{path},sha256={digest},{}\n", bytes.len())
    };
    let record: String = members.iter().map(line).collect();
    members.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n").into_bytes()));
    zip(&members)
}
