//! A mirror of small source packages, and a server of their binaries.

use std::path::Path;

use super::tarball::Tarball;
use super::upstream::Upstream;

/// The folder of the platform of [`binary`]: R 4.5, `noble`, `x86_64`.
pub(crate) const TREE: &str = "bin/linux/noble-x86_64/4.5/src/contrib";

/// The `User-Agent` of R 4.5 for `noble`.
pub(crate) const AGENT: &str = "R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)";

/// Writes a mirror that lists these packages, with version 1.0 if none is given (`a` or `a_1.1`).
pub(crate) fn write_sources(root: &Path, packages: &[&str]) {
    let contrib = root.join("src/contrib");
    std::fs::create_dir_all(&contrib).expect("a directory");
    let mut index = String::new();
    for package in packages {
        let (name, version) = package.split_once('_').unwrap_or((package, "1.0"));
        let tarball = Tarball::new(name, version);
        std::fs::write(contrib.join(tarball.file()), tarball.bytes()).expect("written");
        index.push_str(&format!("Package: {name}\nVersion: {version}\nLicense: MIT\n\n"));
    }
    // Replaced by a new file, as the tools of mirrors do: the server detects the change by the inode.
    std::fs::write(contrib.join("PACKAGES.new"), index).expect("written");
    std::fs::rename(contrib.join("PACKAGES.new"), contrib.join("PACKAGES")).expect("renamed");
}

/// The line `Built` for R 4.5 on Linux.
pub(crate) const BUILT: &str = "Built: R 4.5.0; x86_64-pc-linux-gnu; 2026-01-01 00:00:00 UTC; unix";

/// A binary of a package with a library for `x86_64`.
pub(crate) fn binary(package: &str, version: &str) -> Tarball {
    binary_with(package, version, BUILT, 62)
}

/// A binary with this line `Built` and a library for this ELF machine.
pub(crate) fn binary_with(package: &str, version: &str, built: &str, machine: u8) -> Tarball {
    let mut tarball = Tarball::new(package, version).field(built).with("Meta/package.rds", "not read here");
    let mut elf_header = vec![0x7f, b'E', b'L', b'F', 2, 1];
    elf_header.resize(18, 0);
    elf_header.extend([machine, 0]);
    elf_header.resize(4096, 0);
    tarball.files.push((format!("libs/{package}.so"), elf_header));
    tarball
}

/// The record of a binary in an index, with its digest.
pub(crate) fn record(package: &str, version: &str, bytes: &[u8]) -> String {
    use sha2::Digest;
    let digest = hex::encode(sha2::Sha256::digest(bytes));
    format!(
        "Package: {package}\nVersion: {version}\nLicense: MIT\n{BUILT}\nFilesize: {}\nSHA256: {digest}\n\n",
        bytes.len()
    )
}

/// Starts a server with valid binaries of these packages (`a` or `a_1.1`), all in its index.
pub(crate) fn start(packages: &[&str]) -> Upstream {
    let upstream = Upstream::empty();
    publish(&upstream, packages);
    upstream
}

/// Adds binaries of these packages to a server, and replaces its index by one that lists them alone.
pub(crate) fn publish(upstream: &Upstream, packages: &[&str]) {
    let mut index = String::new();
    for package in packages {
        let (name, version) = package.split_once('_').unwrap_or((package, "1.0"));
        let bytes = binary(name, version).bytes();
        index.push_str(&record(name, version, &bytes));
        upstream.put(&format!("{TREE}/{name}_{version}.tar.gz"), bytes);
    }
    upstream.put(&format!("{TREE}/PACKAGES"), index);
}

/// The value of `CRAN.BinaryURL` for such a server.
pub(crate) fn url(upstream: &Upstream) -> String {
    format!("{}/bin/linux/noble-x86_64/4.5", upstream.url())
}
