//! Malicious and malformed archives: each is refused with the error of its defect, and none causes a panic.

use super::tar::{Tar, description, gz, header, set_checksum, source};
use crate::support::data;
use rstudio_pm::r::archive::{
    ArchiveError, ArchiveLimits, Members, PackageArchive, ReadExtent, read, read_identity, read_up_to,
};
use rstudio_pm::r::name::SourceFileName;
use std::io::Write;

fn check(bytes: &[u8]) -> Result<PackageArchive, ArchiveError> {
    read(bytes, None, ArchiveLimits::default())
}

/// A valid package, to which the tests add members.
fn base() -> Tar {
    Tar::default().folder("a1").file("a1/DESCRIPTION", description("a1", "1.0").as_bytes())
}

/// Asserts that the bytes are refused with this error.
macro_rules! assert_refused {
    ($bytes:expr, $pattern:pat) => {
        match check(&$bytes[..]) {
            Err($pattern) => {}
            Err(other_file) => panic!("{}: refused with {other_file:?}", stringify!($bytes)),
            Ok(_) => panic!("{}: accepted", stringify!($bytes)),
        }
    };
}

pub(super) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        out.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }
    out
}

#[test]
fn a_plain_package_is_read_with_all_its_details() {
    let bytes =
        source("a1", "1.0-2", &[("src/x.c", b"int x;\n"), ("README", b"no"), ("readme.md", b"# yes\n")]);
    let file = SourceFileName::parse("a1_1.0-2.tar.gz").expect("a name");
    let archive = read(&bytes[..], Some(file), ArchiveLimits::default()).expect("a package");
    assert_eq!((archive.package(), archive.version()), ("a1", "1.0-2"));
    assert!(archive.needs_compilation && archive.built.is_none());
    assert_eq!(archive.readme, Some(("readme.md".to_owned(), b"# yes\n".to_vec())));
    assert_eq!(archive.description_raw, description("a1", "1.0-2").as_bytes());
    assert!(archive.require_source().is_ok());
    assert!(!check(&source("a1", "1.0", &[])).expect("a package").needs_compilation);
}

#[test]
fn needs_compilation_of_description_overrides_the_src_directory() {
    let text = format!("{}NeedsCompilation: No\n", description("a1", "1.0"));
    let bytes = Tar::default().file("a1/DESCRIPTION", text.as_bytes()).file("a1/src/x.c", b"").gz();
    assert!(!check(&bytes).expect("a package").needs_compilation);
}

#[test]
fn other_formats_are_reported_by_name() {
    assert_refused!(b"PK\x03\x04 and so on", ArchiveError::Zip);
    assert_refused!(base().end(), ArchiveError::PlainTar);
    assert_refused!(b"", ArchiveError::NotAnArchive);
    assert_refused!(b"<html>Sign in</html>", ArchiveError::NotAnArchive);
    assert_refused!(
        gz(b"not a tar archive, but long enough to be a header".repeat(20).as_slice()),
        ArchiveError::Tar { .. }
    );
    assert_refused!(gz(b""), ArchiveError::Empty);
    assert_refused!(Tar::default().gz(), ArchiveError::Empty);
}

#[test]
fn the_other_compressions_are_read() {
    let tar = base().end();
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bz.write_all(&tar).expect("writing to a Vec does not fail");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&tar).expect("writing to a Vec does not fail");
    let compressed_tars =
        [bz.finish().expect("bzip2"), xz.finish().expect("xz"), zstd::encode_all(&tar[..], 3).expect("zstd")];
    for bytes in compressed_tars {
        assert!(check(&bytes).is_ok());
        for length in 8..bytes.len() {
            assert!(check(&bytes[..length]).is_err(), "cut at {length} of {}", bytes.len());
        }
    }
}

#[test]
fn paths_outside_the_directory_are_refused() {
    assert_refused!(base().file("/etc/passwd", b"x").gz(), ArchiveError::AbsolutePath(_));
    assert_refused!(base().file("C:/x", b"x").gz(), ArchiveError::AbsolutePath(_));
    assert_refused!(base().file("../x", b"x").gz(), ArchiveError::ParentPath(_));
    assert_refused!(base().file("a1/../../x", b"x").gz(), ArchiveError::ParentPath(_));
    assert_refused!(base().file("a1\\..\\..\\x", b"x").gz(), ArchiveError::ParentPath(_));
    let extended_path = pax(&[("path", "a1/../../x")]);
    assert_refused!(
        base().member(b'x', b"p", b"", &extended_path).file("a1/y", b"").gz(),
        ArchiveError::ParentPath(_)
    );
    assert_refused!(
        base().member(b'L', b"l", b"", b"/x\0").file("a1/y", b"").gz(),
        ArchiveError::AbsolutePath(_)
    );
    let mut header_with_prefix = header(b'0', b"x", b"", 0);
    header_with_prefix[345..347].copy_from_slice(b"..");
    set_checksum(&mut header_with_prefix);
    assert_refused!(base().raw(header_with_prefix, b"").gz(), ArchiveError::ParentPath(_));
}

#[test]
fn a_prefix_that_only_some_programs_read_is_refused() {
    let member = |magic: &[u8; 8], prefix: &[u8]| {
        let mut header = header(b'0', b"a1/x", b"", 0);
        header[257..265].copy_from_slice(magic);
        header[345..345 + prefix.len()].copy_from_slice(prefix);
        set_checksum(&mut header);
        header
    };
    // Incremental archives of GNU tar have two times in the place of the prefix.
    let times = &b"15302067021\x0015302067021\0"[..];
    for (magic, prefix) in [
        (b"ustar  \0", &b"../.."[..]),
        (b"ustar  \0", times),
        (b"ustar\0\0\0", b"a1"),
        (b"\0\0\0\0\0\0\0\0", b"../.."),
    ] {
        let header = member(magic, prefix);
        assert_refused!(base().raw(header, b"").gz(), ArchiveError::AmbiguousName(_));
        // All programs use the names of extended headers instead.
        for (kind, name) in [(b'L', b"a1/y\0".to_vec()), (b'x', pax(&[("path", "a1/y")]))] {
            let tar = base().member(kind, b"l", b"", &name).raw(header, b"");
            check(&tar.gz()).expect("one name for all programs");
        }
        // An archived release cannot be corrected.
        let archived = base().raw(header, b"").gz();
        read_identity(&archived[..], None, ArchiveLimits::default()).expect("a release");
    }
    for magic in [b"ustar\x0000", b"ustar  \0", b"\0\0\0\0\0\0\0\0"] {
        check(&base().raw(member(magic, b""), b"").gz()).expect("no prefix");
    }
    check(&base().raw(member(b"ustar\x0000", b"a1/sub"), b"").gz()).expect("a prefix of POSIX");
}

#[test]
fn bytes_after_the_end_of_an_uploaded_archive_are_refused() {
    let upload = |bytes: &[u8]| read_up_to(ReadExtent::Upload, bytes, None, ArchiveLimits::default());
    let (end, hidden) = (base().end(), Tar::default().file("a1/hidden", b"x").end());
    let one_zero_block = [&base().0[..], &[0; 512], &hidden].concat();
    for bytes in [
        gz(&[&end[..], &hidden].concat()),
        [gz(&end), gz(&hidden)].concat(),
        gz(&one_zero_block),
        gz(&[&end[..], &[0; 7000], b"x"].concat()),
    ] {
        let result = upload(&bytes);
        assert!(matches!(result, Err(ArchiveError::Tar { .. })), "{result:?}");
        assert!(check(&bytes).is_ok(), "published archives may have such bytes");
    }
    let (first, second) = end.split_at(700);
    for bytes in [
        gz(&end),
        gz(&base().0),
        gz(&[&base().0[..], &[0; 512]].concat()),
        gz(&[&end[..], &[0; 10_000]].concat()),
        [gz(first), gz(second)].concat(),
        [&gz(&end)[..], &[0; 700]].concat(),
    ] {
        upload(&bytes).expect("zeros are padding");
    }
}

#[test]
fn links_outside_the_directory_are_refused() {
    for target in ["/etc", "../..", "..", "x/../..", "..\\..\\x"] {
        assert_refused!(
            base().member(b'2', b"a1/l", target.as_bytes(), b"").gz(),
            ArchiveError::LinkOutside { .. }
        );
    }
    for target in ["/etc/passwd", "../x", "b2/x", "a1/../../x"] {
        assert_refused!(
            base().member(b'1', b"a1/l", target.as_bytes(), b"").gz(),
            ArchiveError::LinkOutside { .. }
        );
    }
    let target = pax(&[("linkpath", "/etc")]);
    assert_refused!(
        base().member(b'x', b"p", b"", &target).member(b'2', b"a1/l", b"x", b"").gz(),
        ArchiveError::LinkOutside { .. }
    );
    assert!(check(&base().member(b'2', b"a1/inst/l", b"../NEWS", b"").gz()).is_ok());
    assert!(check(&base().member(b'1', b"a1/l", b"a1/DESCRIPTION", b"").gz()).is_ok());
}

#[test]
fn nothing_is_written_through_a_link() {
    let link = |tar: Tar| tar.member(b'2', b"a1/l", b"R", b"");
    assert_refused!(link(base()).file("a1/l/x", b"").gz(), ArchiveError::ThroughLink(_));
    assert_refused!(link(base().file("a1/l/x", b"")).gz(), ArchiveError::ThroughLink(_));
    let chain = base().member(b'2', b"a1/d", b".", b"").member(b'2', b"a1/d/e", b"..", b"");
    assert_refused!(chain.gz(), ArchiveError::ThroughLink(_));
}

#[test]
fn special_members_are_refused() {
    for kind in *b"346SVMDZ" {
        assert_refused!(base().member(kind, b"a1/x", b"", b"").gz(), ArchiveError::Special { .. });
    }
    let sparse = pax(&[("GNU.sparse.major", "1")]);
    assert_refused!(
        base().member(b'x', b"p", b"", &sparse).file("a1/y", b"").gz(),
        ArchiveError::Special { .. }
    );
}

#[test]
fn names_must_be_text() {
    assert_refused!(base().file("", b"").gz(), ArchiveError::BadName(_));
    assert_refused!(base().member(b'0', b"a1/\xff\xfe", b"", b"").gz(), ArchiveError::NotUtf8(_));
    let zero = pax(&[("path", "a1/x\0y")]);
    assert_refused!(base().member(b'x', b"p", b"", &zero).file("a1/y", b"").gz(), ArchiveError::BadName(_));
}

#[test]
fn a_package_is_exactly_one_directory_with_one_description() {
    assert_refused!(base().file("b2/x", b"").gz(), ArchiveError::TwoFolders { .. });
    assert_refused!(base().file("x", b"").gz(), ArchiveError::FileAtTop(_));
    assert_refused!(Tar::default().file("a1/x", b"").gz(), ArchiveError::NoDescription(_));
    assert_refused!(
        Tar::default().file("a1/inst/DESCRIPTION", b"Package: a1\n").gz(),
        ArchiveError::NoDescription(_)
    );
    assert_refused!(
        base().file("./a1//DESCRIPTION", b"Package: evil\n").gz(),
        ArchiveError::TwoDescriptions(_)
    );
    assert_refused!(base().file("a1/Description", b"Package: evil\n").gz(), ArchiveError::TwoDescriptions(_));
    assert_refused!(
        Tar::default().member(b'2', b"a1/DESCRIPTION", b"x", b"").gz(),
        ArchiveError::DescriptionNotAFile(_)
    );
    assert_refused!(Tar::default().folder("a1/DESCRIPTION").gz(), ArchiveError::DescriptionNotAFile(_));
    let template = base().file("a1/inst/skeleton/DESCRIPTION", b"Package: @PKGNAME@\n").gz();
    assert_eq!(check(&template).expect("a package").package(), "a1");
}

#[test]
fn names_and_versions_must_agree_and_be_valid() {
    let tarball = |folder: &str, text: &str| {
        Tar::default().file(&format!("{folder}/DESCRIPTION"), text.as_bytes()).gz()
    };
    assert_refused!(tarball("b2", &description("a1", "1.0")), ArchiveError::OtherFolder { .. });
    assert_refused!(tarball("a1", "Version: 1.0\n"), ArchiveError::NoField("Package"));
    assert_refused!(tarball("a1", "Package: a1\n"), ArchiveError::NoField("Version"));
    assert_refused!(tarball("a1", "Package: a1\nVersion: 1.0\n 2\n"), ArchiveError::BadVersion(_));
    for bad in ["a", "__api__", ".well-known", "x/../y", "nаme", "a1\u{202e}"] {
        assert_refused!(tarball("a1", &description(bad, "1.0")), ArchiveError::BadPackage(_));
    }
    for bad in ["1", "1.0b", "../1.0"] {
        assert_refused!(tarball("a1", &description("a1", bad)), ArchiveError::BadVersion(_));
    }
    assert_refused!(tarball("a1", "Package: a1\0\nVersion: 1.0\n"), ArchiveError::Dcf(_));
    let bytes = base().gz();
    for name in ["b2_1.0.tar.gz", "a1_1.1.tar.gz", "a1_1-0.tar.gz"] {
        let file = SourceFileName::parse(name).expect("a name");
        let result = read(&bytes[..], Some(file), ArchiveLimits::default());
        assert!(matches!(result, Err(ArchiveError::OtherFileName { .. })), "{name}");
    }
}

#[test]
fn a_binary_package_is_distinguished_from_a_source_package() {
    let text = format!("{}Built: R 4.2.2; x86_64-pc-linux-gnu; 2023-01-16; unix\n", description("a1", "1.0"));
    let archive = check(&Tar::default().file("a1/DESCRIPTION", text.as_bytes()).gz()).expect("well formed");
    assert!(matches!(archive.require_source(), Err(ArchiveError::Binary { r, .. }) if r == "4.2.2"));
}

#[test]
fn damaged_archives_are_refused_with_the_defect() {
    let valid_tarball = base().file("a1/x", &[7; 3000]).gz();
    let mut tarball_with_bad_crc = valid_tarball.clone();
    let offset = tarball_with_bad_crc.len() - 6;
    tarball_with_bad_crc[offset] ^= 0xff;
    assert_refused!(tarball_with_bad_crc, ArchiveError::Damaged(_));
    assert_refused!([&valid_tarball[..], b"garbage"].concat(), ArchiveError::TrailingBytes);
    assert!(check(&[&valid_tarball[..], &[0; 700]].concat()).is_ok(), "zeros are padding");
    let tar = base().end();
    let (first, second) = tar.split_at(700);
    assert!(check(&[gz(first), gz(second)].concat()).is_ok(), "several gzip members are one stream");
    let mut wrong_sum = header(b'0', b"a1/x", b"", 0);
    wrong_sum[0] ^= 1;
    assert_refused!(base().raw(wrong_sum, b"").gz(), ArchiveError::Tar { .. });
    assert_refused!(gz(&base().file("a1/x", &[7; 3000]).end()[..4000]), ArchiveError::Truncated);
    assert_refused!(base().member(b'5', b"a1/d/", b"", b"contents").gz(), ArchiveError::Tar { .. });
    assert!(check(&gz(&base().0)).is_ok(), "old archives have no end mark");
}

#[test]
fn headers_with_false_sizes_are_refused() {
    let mut header_with_negative_size = header(b'0', b"a1/x", b"", 0);
    header_with_negative_size[124..136].fill(0xff);
    set_checksum(&mut header_with_negative_size);
    assert_refused!(base().raw(header_with_negative_size, b"").gz(), ArchiveError::Tar { .. });
    let mut header_with_huge_size = header(b'0', b"a1/x", b"", 0);
    header_with_huge_size[124..136]
        .copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    set_checksum(&mut header_with_huge_size);
    assert_refused!(base().raw(header_with_huge_size, b"").gz(), ArchiveError::TooLarge { .. });
    assert_refused!(base().raw(header(b'0', b"a1/x", b"", 1 << 30), b"").gz(), ArchiveError::Truncated);
    assert_refused!(base().raw(header(b'x', b"p", b"", 1 << 30), b"").gz(), ArchiveError::LongName { .. });
    assert_refused!(base().raw(header(b'L', b"p", b"", 1 << 30), b"").gz(), ArchiveError::LongName { .. });
    // Added to the size of the extended header before it, it exceeds 64 bits.
    let mut second = header(b'x', b"p", b"", 0);
    second[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    set_checksum(&mut second);
    assert_refused!(
        base().member(b'x', b"p", b"", &pax(&[("comment", "first")])).raw(second, b"").gz(),
        ArchiveError::LongName { .. }
    );
    let too_long = pax(&[("size", "99999999999999999999")]);
    assert_refused!(
        base().member(b'x', b"p", b"", &too_long).file("a1/y", b"").gz(),
        ArchiveError::Tar { .. }
    );
    let hidden_size = pax(&[("size", "1024")]);
    assert_refused!(
        base().member(b'x', b"p", b"", &hidden_size).file("a1/y", b"").gz(),
        ArchiveError::Tar { .. }
    );
    let global_path = pax(&[("path", "a1/y")]);
    assert_refused!(
        base().member(b'g', b"p", b"", &global_path).file("a1/y", b"").gz(),
        ArchiveError::Tar { .. }
    );
    let comment = pax(&[("comment", "from a version control system")]);
    assert!(check(&base().member(b'g', b"p", b"", &comment).file("a1/y", b"").gz()).is_ok());
    for malformed in [&b"x"[..], b"99 path=a\n", b"0 \n", b"9 path=ab", b"-1 path=a\n", b"7 patha\n"] {
        assert_refused!(
            base().member(b'x', b"p", b"", malformed).file("a1/y", b"").gz(),
            ArchiveError::Tar { .. }
        );
    }
}

#[test]
fn size_members_and_description_are_limited() {
    let limits =
        ArchiveLimits { inflated: 1 << 20, members: 3, description: 1000, ..ArchiveLimits::default() };
    let read_limited = |bytes: Vec<u8>| read(&bytes[..], None, limits);
    let result = read_limited(base().file("a1/x", &vec![1; 2 << 20]).gz());
    assert!(matches!(result, Err(ArchiveError::TooLarge { .. })));
    let result = read_limited(base().file("a1/x", b"").file("a1/y", b"").gz());
    assert!(matches!(result, Err(ArchiveError::TooManyMembers { .. })));
    let result = read_limited(Tar::default().file("a1/DESCRIPTION", &[b'a'; 2000]).gz());
    assert!(matches!(result, Err(ArchiveError::MemberTooLarge { .. })));
}

#[test]
fn a_decompression_bomb_is_refused_early() {
    // 100 MiB of zeros in pieces of 64 KiB; refused after 64 MiB are decompressed.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&base().0).expect("writing to a Vec does not fail");
    encoder.write_all(&header(b'0', b"a1/x", b"", 100 << 20)).expect("writing to a Vec does not fail");
    for _ in 0..100 << 4 {
        encoder.write_all(&[0; 64 << 10]).expect("writing to a Vec does not fail");
    }
    let bomb = encoder.finish().expect("writing to a Vec does not fail");
    assert_refused!(bomb, ArchiveError::Bomb { .. });
    assert!(matches!(
        read_identity(&bomb[..], None, ArchiveLimits::default()),
        Err(ArchiveError::Bomb { .. })
    ));
}

#[test]
fn an_archived_release_is_identified_despite_faults_that_a_new_one_must_not_have() {
    let odd_archive = base().member(b'0', b"a1/\xff", b"", b"").gz();
    let file = SourceFileName::parse_archived("a1_1-0.tar.gz").expect("a name");
    let identity = read_identity(&odd_archive[..], Some(file), ArchiveLimits::default()).expect("a release");
    assert_eq!((identity.name.as_str(), identity.version.as_str()), ("a1", "1.0"));
    let bundle =
        Tar::default().file("VR/DESCRIPTION", b"Bundle: VR\nVersion: 7.2-49\nContains: MASS nnet\n").gz();
    assert_eq!(read_identity(&bundle[..], None, ArchiveLimits::default()).expect("a bundle").name, "VR");
    let other_file = SourceFileName::parse("b2_1.0.tar.gz").expect("a name");
    let result = read_identity(&odd_archive[..], Some(other_file), ArchiveLimits::default());
    assert!(matches!(result, Err(ArchiveError::OtherFileName { .. })));
    let mut damaged_archive = odd_archive.clone();
    let offset = damaged_archive.len() - 6;
    damaged_archive[offset] ^= 1;
    assert!(matches!(
        read_identity(&damaged_archive[..], None, ArchiveLimits::default()),
        Err(ArchiveError::Damaged(_))
    ));
}

#[test]
fn a_real_package_cut_at_any_offset_is_refused_and_never_panics() {
    let bytes = std::fs::read(data::path("cran-mirror/src/contrib").join(data::cran().file("askpass")))
        .expect("a real package");
    let bytes = &bytes[..];
    assert!(check(bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(check(&bytes[..length]).is_err(), "cut at {length}");
    }
    for length in (0..bytes.len()).step_by(11) {
        assert!(read_identity(&bytes[..length], None, ArchiveLimits::default()).is_err(), "cut at {length}");
    }
}

#[test]
fn a_tar_with_any_header_byte_changed_never_panics() {
    let valid_tar = Tar::default()
        .folder("a1")
        .member(b'x', b"p", b"", &pax(&[("path", "a1/a-long-name"), ("mtime", "1.5")]))
        .file("a1/x", b"contents")
        .member(b'L', b"l", b"", b"a1/other\0")
        .file("a1/y", b"")
        .file("a1/DESCRIPTION", description("a1", "1.0").as_bytes());
    let mut accepted_count = 0;
    for offset in 0..valid_tar.0.len() {
        let mut tar = valid_tar.clone();
        if tar.0[offset] != 0 || offset % 3 == 0 {
            tar.0[offset] ^= [0x01, 0x80, 0xff][offset % 3];
            // The checksum is corrected, so that the change reaches the code after the check of the checksum.
            let start = offset / 512 * 512;
            let mut block: [u8; 512] = tar.0[start..start + 512].try_into().expect("a block");
            if block[257..262] == *b"ustar" {
                set_checksum(&mut block);
                tar.0[start..start + 512].copy_from_slice(&block);
            }
            accepted_count += usize::from(check(&tar.gz()).is_ok());
        }
    }
    assert!(accepted_count > 0, "changes of times and similar fields are harmless");
}

#[test]
fn members_are_read_in_order_with_their_contents() {
    let bytes = base().file("a1/x", b"contents").gz();
    let mut members = Members::new(&bytes[..], ArchiveLimits::default()).expect("an archive");
    let mut names = Vec::new();
    while let Some(member) = members.advance().expect("a member") {
        names
            .push((member.path().expect("a path"), members.contents(&member, 1000).expect("contents").len()));
    }
    let expected = [("a1", 0), ("a1/DESCRIPTION", description("a1", "1.0").len()), ("a1/x", 8)];
    assert!(names.iter().map(|(n, l)| (n.as_str(), *l)).eq(expected));
}

#[test]
fn metadata_is_read_without_the_rest_of_the_archive_if_it_is_complete() {
    use rstudio_pm::r::archive::{ReadExtent, read_up_to};
    let description = |more: &str| format!("Package: a1\nVersion: 1.0\nTitle: T\n{more}").into_bytes();
    let build = |more: &str, readme: &str| {
        let tar = Tar::default().file("a1/DESCRIPTION", &description(more)).file(readme, b"# one\n");
        // Incompressible bytes, so that half of the archive ends inside them.
        let incompressible: Vec<u8> =
            (0_u32..75_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        tar.file("a1/src/x.c", &incompressible).file("a1/readme.md", b"# two\n").gz()
    };
    let details = |bytes: &[u8], extent| {
        let package = read_up_to(extent, bytes, None, ArchiveLimits::default())?;
        Ok::<_, ArchiveError>((package.description, package.needs_compilation, package.readme))
    };
    let complete_archive = build("NeedsCompilation: yes\n", "a1/README.md");
    assert_eq!(
        details(&complete_archive, ReadExtent::Metadata).unwrap(),
        details(&complete_archive, ReadExtent::Whole).unwrap()
    );
    // Only the beginning is read.
    let first_half = &complete_archive[..complete_archive.len() / 2];
    let is_readable = |extent| details(first_half, extent).is_ok();
    assert!(!is_readable(ReadExtent::Whole) && is_readable(ReadExtent::Metadata));
    // The whole archive is read if a better README or a directory `src` may follow.
    for (more, readme) in [("NeedsCompilation: yes\n", "a1/README"), ("", "a1/README.md")] {
        let bytes = build(more, readme);
        assert_eq!(
            details(&bytes, ReadExtent::Metadata).unwrap(),
            details(&bytes, ReadExtent::Whole).unwrap(),
            "{readme}"
        );
        assert!(details(&bytes[..bytes.len() / 2], ReadExtent::Metadata).is_err(), "{readme}");
    }
}
