//! The real `rspm` with the real server: its output, its refusals and their reasons.

mod access;
mod backfill;
mod bad_packages;
mod block_rules;
mod clear;
mod debug_regions;
mod fixed_urls;
mod hidden_characters;
mod license_types;
mod metadata;
mod name_guards;
mod packages;
mod pipes;
mod platforms;
mod promotion;
mod promotion_access;
mod refusals;
mod retries;
mod syncing;
mod texts;
mod unsupported;

use std::path::PathBuf;

use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// Writes package files into the server's directory and returns their paths.
fn files(server: &Server, tarballs: &[Tarball]) -> Vec<PathBuf> {
    let path = |tarball: &Tarball| {
        let path = server.dir().join(tarball.file());
        std::fs::write(&path, tarball.bytes()).expect("written");
        path
    };
    tarballs.iter().map(path).collect()
}

/// The flag `--path=a,b` for these files.
fn path_flag(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("--path={}", files.join(","))
}

/// Adds packages; the command must succeed.
fn add(server: &Server, source: &str, tarballs: &[Tarball]) {
    let files = files(server, tarballs);
    server.rspm_stdout(&format!("add --source={source} {}", path_flag(&files)));
}

/// A server with the local source `team` in the repository `prod`.
fn team() -> Server {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    server
}

/// The text with every time (`2026-10-05 12:00:00 UTC` or RFC 3339) as `<time>`, and every day as `<day>`.
fn timeless(text: &str) -> String {
    let has_shape = |text: &str, shape: &str| {
        text.len() >= shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
    };
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if has_shape(rest, "0000-00-00 00:00:00 UTC") {
            out.push_str("<time>");
            23
        } else if has_shape(rest, "0000-00-00T00:00:00") {
            out.push_str("<time>");
            rest.find('Z').map_or(19, |at| at + 1)
        } else if has_shape(rest, "0000-00-00") {
            out.push_str("<day>");
            10
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}
