//! Valid and invalid packages and tar archives for tests, with control of every header byte.

use flate2::{Compression, GzBuilder};
use std::io::Write;

/// A tar archive under construction.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// A plain file.
    pub(crate) fn file(self, path: &str, contents: &[u8]) -> Tar {
        self.member(b'0', path.as_bytes(), b"", contents)
    }

    /// A folder.
    pub(crate) fn folder(self, path: &str) -> Tar {
        self.member(b'5', format!("{path}/").as_bytes(), b"", b"")
    }

    /// A member of any type, with any name (at most 100 bytes are used) and link target.
    pub(crate) fn member(self, kind: u8, name: &[u8], link: &[u8], contents: &[u8]) -> Tar {
        self.raw(header(kind, name, link, contents.len() as u64), contents)
    }

    /// An unchanged header, and contents with padding.
    pub(crate) fn raw(mut self, header: [u8; 512], contents: &[u8]) -> Tar {
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive with the end mark, not compressed.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// The archive with the end mark, as gzip.
    pub(crate) fn gz(self) -> Vec<u8> {
        gz(&self.end())
    }
}

/// A POSIX header with a correct checksum.
pub(crate) fn header(kind: u8, name: &[u8], link: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"14000000000\0");
    put(156, &[kind]);
    put(157, &link[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    set_checksum(&mut block);
    block
}

/// Sets the checksum of a header.
pub(crate) fn set_checksum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Bytes as one gzip member.
pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("writing to a Vec does not fail");
    encoder.finish().expect("writing to a Vec does not fail")
}

/// DESCRIPTION of a package that can be installed.
pub(crate) fn description(package: &str, version: &str) -> String {
    format!(
        "Package: {package}\nVersion: {version}\nTitle: A Package Made in a Test\nDescription: Made in a test.\n\
         Author: The project\nMaintainer: The project <nobody@example.org>\nLicense: MIT\n"
    )
}

/// A source package that can be installed: a pure-R function `hello` and `extra_files`.
pub(crate) fn source(package: &str, version: &str, extra_files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Tar::default()
        .folder(package)
        .file(&format!("{package}/DESCRIPTION"), description(package, version).as_bytes())
        .file(&format!("{package}/NAMESPACE"), b"export(hello)\n")
        .folder(&format!("{package}/R"))
        .file(&format!("{package}/R/hello.R"), b"hello <- function() \"hello\"\n");
    for (path, contents) in extra_files {
        tar = tar.file(&format!("{package}/{path}"), contents);
    }
    tar.gz()
}
