//! Targets for package archives: compressed streams, tar, zip.

use std::io::{Cursor, Write};

use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::rewrite::{self, RewriteOptions};
use rstudio_pm::r::zip::{self, Zip, ZipFormat};
use rstudio_pm::r::{binary, packages};

/// Small limits that are reached quickly.
const LIMITS: ArchiveLimits =
    ArchiveLimits { inflated: 4 << 20, ratio: 250, members: 1000, description: 64 << 10 };

/// A compressed stream: the output does not exceed the limit.
pub fn decoder(data: &[u8]) {
    let Ok(mut decoder) = archive::decoder(data, LIMITS) else { return };
    let mut size = 0;
    loop {
        match decoder.take(4096) {
            Ok([]) => break,
            Ok(piece) => size += piece.len() as u64,
            Err(_) => return,
        }
    }
    assert_eq!(size, decoder.output_size());
    assert!(size <= LIMITS.inflated);
    let _ = decoder.finish();
}

/// A tar archive. A valid one is rewritten to a valid one of the same package. Compresses the input and
/// corrects the checksums of headers, so that mutations reach the code after these checks.
pub fn package(data: &[u8]) {
    let (form, rest) = super::choice(data);
    if form == 0 {
        return check_archive(rest);
    }
    let mut tar = rest.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let mut gzip = packages::gzip(Vec::new());
    gzip.write_all(&tar).expect("writing to a Vec succeeds");
    check_archive(&gzip.finish().expect("writing to a Vec succeeds"));
}

fn check_archive(archive: &[u8]) {
    let _ = (archive::read_identity(archive, None, LIMITS), archive::read_description(archive, LIMITS));
    let Ok(checked) = archive::read(archive, None, LIMITS) else { return };
    if checked.built.is_some() {
        let _ = binary::read_info(archive, &checked, LIMITS);
    }
    let options = RewriteOptions { limits: LIMITS, ..RewriteOptions::default() };
    let Ok((_, rewritten)) =
        rewrite::archive(archive, &checked, "some/repository", None, Vec::new(), options)
    else {
        return;
    };
    let larger_limits =
        ArchiveLimits { inflated: 2 * LIMITS.inflated, description: 2 * LIMITS.description, ..LIMITS };
    let reread = archive::read(&*rewritten, None, larger_limits).expect("a rewritten archive is valid");
    assert_eq!((reread.package(), reread.version()), (checked.package(), checked.version()));
    assert_eq!(reread.description.get("Repository"), Some("some/repository"));
}

/// A zip file. A copy has the same members and contents.
pub fn zip(data: &[u8]) {
    let mut file = Cursor::new(data);
    if let Ok(zip) = Zip::open(&mut file, ZipFormat::Streamed, LIMITS) {
        for member in &zip.members {
            let _ = member.read(&mut file, LIMITS.description);
        }
    }
    let Ok(original) = Zip::open(&mut file, ZipFormat::Plain, LIMITS) else { return };
    let mut copy = Vec::new();
    zip::copy(&mut file, &original, &[], &mut copy, RewriteOptions::default()).expect("nothing is replaced");
    assert!(copy.len() <= data.len());
    let mut copied = Cursor::new(&copy[..]);
    let reread = Zip::open(&mut copied, ZipFormat::Plain, LIMITS).expect("a rewritten archive is valid");
    assert_eq!(reread.members.len(), original.members.len());
    for (member, copied_member) in original.members.iter().zip(&reread.members) {
        assert_eq!(member.name, copied_member.name);
        let contents = (member.read(&mut file, 64 << 10), copied_member.read(&mut copied, 64 << 10));
        assert_eq!(contents.0.ok(), contents.1.ok());
    }
}

/// A binary package in a zip file. A copy is valid, too. Corrects the checksums of stored members, so that
/// mutations reach the code after these checks.
pub fn zip_package(data: &[u8]) {
    let mut bytes = data.to_vec();
    set_checksums(&mut bytes);
    let mut file = Cursor::new(&bytes[..]);
    let Ok(read) = binary::read_zip(&mut file, None, LIMITS) else { return };
    let mut copy = Vec::new();
    let options = RewriteOptions { limits: LIMITS, ..RewriteOptions::default() };
    if read.copy(&mut file, "some/repository", &read.info.package_rds, &mut copy, options).is_err() {
        return;
    }
    let reread =
        binary::read_zip(&mut Cursor::new(&copy[..]), None, LIMITS).expect("a rewritten archive is valid");
    assert_eq!(reread.archive.description.get("Repository"), Some("some/repository"));
}

/// Sets the CRC of stored members in local records and in the directory, which must have the same order.
fn set_checksums(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let u16_at = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let mut sums = Vec::new();
    let mut at = 0;
    while bytes.len() >= at + 46 {
        if bytes[at..].starts_with(b"PK\x03\x04") {
            let begin = at + 30 + u16_at(bytes, at + 26) + u16_at(bytes, at + 28);
            let end = begin.saturating_add(word(bytes, at + 18) as usize);
            let Some(contents) = bytes.get(begin..end) else { return };
            if u16_at(bytes, at + 8) == 0 {
                let mut crc = flate2::Crc::new();
                crc.update(contents);
                bytes[at + 14..at + 18].copy_from_slice(&crc.sum().to_le_bytes());
            }
            sums.push(word(bytes, at + 14));
            at = end;
        } else if bytes[at..].starts_with(b"PK\x01\x02") && !sums.is_empty() {
            bytes[at + 16..at + 20].copy_from_slice(&sums.remove(0).to_le_bytes());
            at += 46 + u16_at(bytes, at + 28) + u16_at(bytes, at + 30) + u16_at(bytes, at + 32);
        } else {
            return;
        }
    }
}
