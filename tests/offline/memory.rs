//! Parallel downloads of many large files take no more memory than the limit of the downloader.

use std::process::Stdio;
use std::time::Duration;

use md5::Digest;

use crate::support::downloader::command;
use crate::support::nginx::Nginx;

const CONCURRENCY: usize = 200;
const FILE_SIZE: usize = 8 << 20;
/// In kB: 64 MiB of files, 1 MiB that each connection reads ahead, and 40 MiB of program.
const MAX_MEMORY: u64 = (64 + 200 + 40) << 10;

#[test]
fn two_hundred_parallel_downloads_of_eight_megabytes_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let contrib = dir.path().join("mirror/src/contrib");
    std::fs::create_dir_all(&contrib).unwrap();
    let bytes: Vec<u8> =
        (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(FILE_SIZE).collect();
    let (file, md5) = (dir.path().join("file"), hex::encode(md5::Md5::digest(&bytes)));
    std::fs::write(&file, bytes).unwrap();
    let mut index = String::new();
    for n in 0..CONCURRENCY {
        std::fs::hard_link(&file, contrib.join(format!("large{n}_1.0.tar.gz"))).unwrap();
        index.push_str(&format!("Package: large{n}\nVersion: 1.0\nMD5sum: {md5}\nFilesize: {FILE_SIZE}\n\n"));
    }
    std::fs::write(contrib.join("PACKAGES"), index).unwrap();
    let mirror = Nginx::files(&dir.path().join("mirror"));
    let (url, destination) = (mirror.url(), dir.path().join("bundle"));
    let concurrency = CONCURRENCY.to_string();
    let args = [
        "get",
        "cran",
        "--base-url",
        &url,
        "--destination",
        destination.to_str().unwrap(),
        "-q",
        "--concurrency",
        &concurrency,
    ];
    // The files are not packages; warnings are discarded.
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak_memory = 0;
    let status = loop {
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            peak_memory = line
                .and_then(|kb| kb.trim_end_matches("kB").trim().parse().ok())
                .map_or(peak_memory, |kb: u64| kb.max(peak_memory));
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success());
    let objects = crate::support::downloader::objects(&destination);
    assert_eq!(
        (objects.len(), std::fs::metadata(destination.join(&objects[0])).unwrap().len()),
        (1, FILE_SIZE as u64)
    );
    assert!(peak_memory > 0 && peak_memory < MAX_MEMORY, "{peak_memory} kB");
}
