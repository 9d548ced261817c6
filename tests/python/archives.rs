//! Every wheel and source distribution of the mirror is read, and hostile zip files are refused.

use std::fs::File;
use std::io::{Cursor, Read as _, Write as _};

use rstudio_pm::python::archive::{PackageError, SDIST_LIMITS, WHEEL_LIMITS, sdist, wheel};
use rstudio_pm::python::file_name::{FileKind, FileName};
use rstudio_pm::python::metadata::Metadata;
use rstudio_pm::python::requirement::Requirement;
use sha2::Digest;

use crate::support::data;
use crate::support::zip::{RawMember, raw_zip, streamed, zip};

/// Returns the lines of `held.ndjson`: one for each file of the mirror.
fn stored_files() -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(data::path("pypi-mirror/held.ndjson")).unwrap();
    let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 3, "{}", lines.len());
    lines
}

#[test]
fn every_archive_has_the_metadata_that_the_mirror_declares() {
    for line in stored_files() {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let name = FileName::parse(text("filename")).unwrap();
        let mut file = File::open(data::path("pypi-mirror/web").join(text("path"))).unwrap();
        let is_wheel = name.kind() == FileKind::Wheel;
        let (metadata, raw) = match is_wheel {
            true => wheel::read_metadata(&mut file, name.as_str(), WHEEL_LIMITS),
            false => sdist::read_metadata(&mut file, &name, SDIST_LIMITS),
        }
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (major, minor) = metadata.metadata_version;
        assert_eq!((&*metadata.name, &*metadata.version), (text("name"), text("version")), "{name}");
        assert_eq!(format!("{major}.{minor}"), text("metadata_version"), "{name}");
        if is_wheel {
            assert_eq!(hex::encode(sha2::Sha256::digest(&raw)), text("core_metadata_sha256"), "{name}");
        }
        let archive = match is_wheel {
            true => wheel::read(&mut file, name.as_str(), WHEEL_LIMITS),
            false => sdist::read(&mut file, &name, SDIST_LIMITS),
        };
        let archive = archive.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((archive.metadata, archive.metadata_raw), (metadata.clone(), raw), "{name}");
        for requirement in &metadata.requires_dist {
            assert!(Requirement::parse(requirement).is_ok(), "{name}: {requirement}");
        }
    }
}

#[test]
fn hostile_zip_files_are_refused() {
    for folder in ["reject", "accept"] {
        for file in data::files(&data::path("hostile-zip").join(folder), "") {
            let bytes = std::fs::read(data::path("hostile-zip").join(folder).join(&file)).unwrap();
            let result = wheel::read(&mut Cursor::new(bytes), "wheel-1.0-py3-none-any.whl", WHEEL_LIMITS);
            // The two records of the member state one size, and their zip64 fields another one.
            let has_two_sizes = file == "short_usize_zip64.zip";
            match (folder, result) {
                ("reject", Err(_)) => {}
                ("accept", Err(PackageError::Container(_))) if has_two_sizes => {}
                // An acceptable zip file, which contains no package.
                ("accept", Err(PackageError::DistInfo(0))) if !has_two_sizes => {}
                (_, other) => panic!("{file}: {other:?}"),
            }
        }
    }
}

const FILE: &str = "odd-1.0-py3-none-any.whl";
const TEXT: &str = "Metadata-Version: 2.4\nName: Odd\nVersion: 1\nLicense-File: LICENSE\n";

/// Returns the members of a complete wheel after these changes: a new text, or `None` to omit the member.
fn members(changes: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
    let mut members: Vec<(String, String)> = [
        ("odd/__init__.py", ""),
        ("Odd-1.0.dist-info/METADATA", TEXT),
        ("Odd-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"),
        ("Odd-1.0.dist-info/licenses/LICENSE", "free"),
        ("Odd-1.0.dist-info/RECORD", "Odd-1.0.dist-info/RECORD,,\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    for (name, text) in changes {
        members.retain(|(member, _)| member != name);
        members.extend(text.map(|text| ((*name).to_owned(), text.to_owned())));
    }
    members
}

fn read_wheel(changes: &[(&str, Option<&str>)]) -> Result<Metadata, String> {
    let members = members(changes);
    let result = wheel::read(&mut Cursor::new(zip(&members)), FILE, WHEEL_LIMITS);
    let stream_result = wheel::read(&mut Cursor::new(streamed(&members)), FILE, WHEEL_LIMITS);
    let result = result.map_err(|error| error.to_string());
    assert_eq!(result, stream_result.map_err(|error| error.to_string()));
    // RECORD lists only itself.
    result.map(|wheel| {
        assert_eq!(wheel.notices[0], "RECORD does not list 'odd/__init__.py'");
        wheel.metadata
    })
}

#[test]
fn a_wheel_must_be_complete_and_match_its_file_name() {
    assert_eq!(read_wheel(&[]).map(|metadata| metadata.name), Ok("Odd".to_owned()));
    // Names that differ in case are two files.
    assert!(read_wheel(&[("odd/A.py", Some("")), ("odd/a.py", Some(""))]).is_ok());
    for (name, text, reason) in [
        ("Odd-1.0.dist-info/METADATA", None, "'Odd-1.0.dist-info/METADATA' is missing"),
        ("Odd-1.0.dist-info/WHEEL", None, "'Odd-1.0.dist-info/WHEEL' is missing"),
        ("Odd-1.0.dist-info/RECORD", None, "'Odd-1.0.dist-info/RECORD' is missing"),
        ("Odd-1.0.dist-info/licenses/LICENSE", None, "'Odd-1.0.dist-info/licenses/LICENSE' is missing"),
        ("Odd-1.0.dist-info/WHEEL", Some("Wheel-Version: 2.0\n"), "the file WHEEL has Wheel-Version '2.0'"),
        ("Odd-1.0.dist-info/RECORD", Some("x"), "line 1 of RECORD is malformed"),
        (
            "Odd-1.0.dist-info/entry_points.txt",
            Some("[console_scripts]\n../x=a:b\n"),
            "entry_points.txt has the script '../x'",
        ),
        (
            "Odd-1.0.dist-info/entry_points.txt",
            Some("[console_scripts]\npython3.11=a:b\n"),
            "the script 'python3.11' has the name of an interpreter",
        ),
        ("Odd-1.0.data/scripts/python", Some(""), "the script 'python' has the name of an interpreter"),
        (
            "odd-1.0.data/scripts/x",
            Some(""),
            "'odd-1.0.data/scripts/x' is in another folder than 'Odd-1.0.data'",
        ),
        ("Odd-1.0.data/bogus/x", Some(""), "'Odd-1.0.data/bogus/x' is not in one of the folders purelib"),
        (
            "Odd-1.0.dist-info/RECORD",
            Some("odd/__init__.py,,\n../../../bin/victim,,\n"),
            "line 2 of RECORD names '../../../bin/victim', which is not below the folder of the installation",
        ),
        (
            "Odd-1.0.dist-info/METADATA",
            Some("Metadata-Version: 2.1\nName: odd\nVersion: 1\nRequires-Dist: foo bar baz\n"),
            "the metadata has the field Requires-Dist: foo bar baz, so that pip and uv cannot install",
        ),
        (
            "Odd-1.0.dist-info/METADATA",
            Some("Metadata-Version: 2.1\nName: odd\nVersion: 1\nRequires-Python: three\n"),
            "the metadata has the field Requires-Python: three, which is not a version specifier",
        ),
        ("other-2.0.dist-info/METADATA", Some(TEXT), "a wheel must have exactly one folder named"),
        ("zz.dist-info", Some(""), "a wheel must have exactly one folder named"),
        ("zz-1.0.dist-info", Some(""), "a wheel must have exactly one folder named"),
        (
            "Odd-1.0.dist-info/RECORD",
            Some("odd\\a\\b\\c/../../../../bin/victim,,\n"),
            "line 1 of RECORD names 'odd\\\\a\\\\b\\\\c/../../../../bin/victim', which is not below",
        ),
        (
            "Odd-1.0.data/purelib/dj-a-b-1.0.dist-info/METADATA",
            Some(TEXT),
            "'Odd-1.0.data/purelib/dj-a-b-1.0.dist-info/METADATA' is installed as the metadata of another",
        ),
        (
            "Odd-1.0.data/data/lib/python3.11/site-packages/dj-a-b-1.0.dist-info/METADATA",
            Some(TEXT),
            "'Odd-1.0.data/data/lib/python3.11/site-packages/dj-a-b-1.0.dist-info/METADATA' is installed as the metadata",
        ),
        ("a-b-1.0.egg-info/PKG-INFO", Some(TEXT), "'a-b-1.0.egg-info/PKG-INFO' is installed as the metadata"),
        (
            "Odd-1.0.data/data/pyvenv.cfg",
            Some(""),
            "'Odd-1.0.data/data/pyvenv.cfg' replaces the configuration of the environment",
        ),
        (
            "Odd-1.0.dist-info/WHEEL",
            Some("\u{feff}Wheel-Version: 1.0\nTag: py3-none-any\n"),
            "line 1 of 'Odd-1.0.dist-info/WHEEL' begins with a byte order mark",
        ),
        ("../x", Some(""), "the member '../x' has a path that is not allowed"),
        ("a\\b", Some(""), "the member 'a\\\\b' has a path that is not allowed"),
        (
            "Odd-1.0.dist-info/METADATA",
            Some("Metadata-Version: 2.1\nName: even\nVersion: 1\n"),
            "the metadata has Name 'even'",
        ),
        (
            "Odd-1.0.dist-info/METADATA",
            Some("Metadata-Version: 2.1\nName: odd\nVersion: 2\n"),
            "the metadata has Version '2'",
        ),
        (
            "Odd-1.0.dist-info/METADATA",
            Some("Metadata-Version: 2.4\nName: odd\nVersion: 1\nLicense-Expression: free\n"),
            "the metadata has the field License-Expression: 'free' is not a license identifier",
        ),
    ] {
        let result = read_wheel(&[(name, text)]);
        assert!(result.as_ref().is_err_and(|error| error.starts_with(reason)), "{reason}: {result:?}");
    }
    let mut file = Cursor::new(zip(&members(&[])));
    let result = wheel::read(&mut file, "even-1.0-py3-none-any.whl", WHEEL_LIMITS);
    assert!(matches!(result, Err(PackageError::OtherFolder { .. })), "{result:?}");
}

#[test]
fn what_one_installer_refuses_is_stated() {
    let metadata = |field: &str| format!("Metadata-Version: 2.1\nName: odd\nVersion: 1\n{field}\n");
    let wheel_file = |version: &str| format!("{version}\nTag: py3-none-any\n");
    for (name, text, reason) in [
        ("WHEEL", wheel_file("Wheel-Version: 1"), "WHEEL has Wheel-Version '1', which is not like 1.0"),
        ("WHEEL", wheel_file("Wheel-Version: 1.x"), "WHEEL has Wheel-Version '1.x', which is not like 1.0"),
        ("WHEEL", wheel_file("wheel-version: 1.0"), "WHEEL has Wheel-Version in another case"),
        ("entry_points.txt", "[DEFAULT]\nz = odd:f\n".to_owned(), "read the name of the section differently"),
        ("entry_points.txt", "[a]\n= z\n".to_owned(), "the line has no name"),
        ("entry_points.txt", "[a]\nx = z\u{85}y = z\n".to_owned(), "end lines at different characters"),
        ("METADATA", metadata("Requires-Dist: foo ()"), "Requires-Dist: foo (): uv does not read empty"),
        ("METADATA", metadata("Requires-Dist: foo; '3' > '2'"), "pip ends with an error, because the marker"),
        ("METADATA", metadata("Requires-Dist: foo @ ./x"), "Requires-Dist: foo @ ./x: uv reads only"),
        ("METADATA", metadata("Requires-Python: >=2.7,,<4"), "Requires-Python: >=2.7,,<4: uv does not read"),
        (
            "../other-9.0.egg-info/x",
            String::new(),
            "'other-9.0.egg-info' is installed as another distribution",
        ),
    ] {
        let path = name.strip_prefix("../").map_or(format!("Odd-1.0.dist-info/{name}"), str::to_owned);
        let members = members(&[(&path, Some(&text))]);
        let read = wheel::read(&mut Cursor::new(zip(&members)), FILE, WHEEL_LIMITS).expect(reason);
        let count = read.notices.iter().filter(|notice| notice.contains(reason)).count();
        assert_eq!(count, 1, "{reason}: {:?}", read.notices);
    }
    // The metadata of source distributions has the same rules.
    let file = FileName::parse("odd-1.0.zip").expect("a name");
    let members = [("odd-1.0/PKG-INFO".to_owned(), metadata("Requires-Dist: foo; extras == 'x'"))];
    let notices =
        sdist::read(&mut Cursor::new(zip(&members)), &file, SDIST_LIMITS).expect("accepted").notices;
    assert!(notices.iter().any(|notice| notice.contains("are for lock files")), "{notices:?}");
    let members =
        [("odd-1.0/PKG-INFO", metadata("")), (&format!("odd-1.0/{}", "x".repeat(256)), String::new())];
    let members = members.map(|(name, text)| (name.to_owned(), text));
    let result = sdist::read(&mut Cursor::new(zip(&members)), &file, SDIST_LIMITS);
    assert!(matches!(result, Err(PackageError::LongName(_))), "{result:?}");
}

#[test]
fn the_folder_with_metadata_has_one_hyphen() {
    let read = |name: &str, folder: &str| {
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        let members =
            [("METADATA", &*metadata), ("WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"), ("RECORD", "")];
        let members = members.map(|(file, text)| (format!("{folder}.dist-info/{file}"), text));
        let file = format!("{name}-1.0-py3-none-any.whl");
        wheel::read(&mut Cursor::new(zip(&members)), &file, WHEEL_LIMITS).map(drop)
    };
    for (name, folder) in [
        ("di_zero", "DI_Zero-1.0"),
        ("di_one", "di.one-1.0"),
        ("di_three", "di_three-1.0.0"),
        ("di_four", "di_four-1"),
        ("di_six", "di__six-1.0"),
        ("di_seven", "di_seven-v1.0"),
    ] {
        assert!(read(name, folder).is_ok(), "{folder}");
    }
    for (name, folder) in [
        ("di_two", "di-two-1.0"),
        ("dj_a_b", "dj-a-b-1.0"),
        ("dj_up", "DJ-Up-1.0"),
        ("dj_mix", "dj-mix-1.0.0"),
        ("dj_9num", "dj-9num-1.0"),
        ("dj_9_1", "dj-9-1-1.0"),
        ("dj_dot", "dj.-dot-1.0"),
        ("di_two", "di--two-1.0"),
    ] {
        let result = read(name, folder);
        assert!(matches!(result, Err(PackageError::DistInfoName(_))), "{folder}: {result:?}");
    }
}

#[test]
fn rows_of_record_without_a_member_are_stated() {
    let record = "odd/__init__.py,,\r\nOdd-1.0.dist-info/RECORD,,\nOdd-1.0.dist-info/RECORD.jws,,\nother/__init__.py,,\n\
        folder/,,\n";
    let members = members(&[("Odd-1.0.dist-info/RECORD", Some(record)), ("folder/", Some(""))]);
    let notices = wheel::read(&mut Cursor::new(zip(&members)), FILE, WHEEL_LIMITS).expect("accepted").notices;
    let rows: Vec<&String> = notices.iter().filter(|notice| notice.starts_with("RECORD lists")).collect();
    assert_eq!(
        rows,
        [
            "RECORD lists 'other/__init__.py', which is not a file in the wheel",
            "RECORD lists 'folder/', which is not a file in the wheel"
        ]
    );
}

#[test]
fn bytes_after_the_compressed_data_and_invisible_characters_in_names_are_refused() {
    let read = |member: RawMember| {
        let wheel_members = members(&[]);
        let mut wheel_members: Vec<_> =
            wheel_members.iter().map(|(name, text)| RawMember::new(name, text)).collect();
        wheel_members.push(RawMember { name: [&b"odd/"[..], &member.name].concat(), ..member.clone() });
        let wheel = wheel::read(&mut Cursor::new(raw_zip(&wheel_members)), FILE, WHEEL_LIMITS);
        let sdist_members = [
            RawMember::new("odd-1.0/PKG-INFO", TEXT),
            RawMember { name: [&b"odd-1.0/"[..], &member.name].concat(), ..member },
        ];
        let file = FileName::parse("odd-1.0.zip").unwrap();
        let sdist = sdist::read(&mut Cursor::new(raw_zip(&sdist_members)), &file, SDIST_LIMITS);
        [wheel, sdist].map(|result| result.map(drop).map_err(|error| error.to_string()))
    };
    let utf8 = |name: &str| RawMember { flags: 1 << 11, ..RawMember::new(name, "x = 1\n") };
    for member in [utf8("é.py"), utf8("日本/a.py"), RawMember::new("folder/", "")] {
        assert_eq!(read(member.clone()), [Ok(()), Ok(())], "{}", String::from_utf8_lossy(&member.name));
    }
    let tail = "other bytes follow the compressed data of a member";
    for (member, reason) in [
        (RawMember::new("a.py", "x = 1\n").followed_by(b"\x03\0"), tail),
        (RawMember::new("folder/", "").followed_by(b"x"), tail),
        (utf8("a\u{202e}yp.py"), "has a path that is not allowed"),
        (utf8("a\u{200b}.py"), "has a path that is not allowed"),
        (RawMember::new("é.py", ""), "is not declared as UTF-8 (flag 11)"),
    ] {
        for result in read(member) {
            assert!(result.as_ref().is_err_and(|error| error.contains(reason)), "{reason}: {result:?}");
        }
    }
}

#[test]
fn metadata_is_utf8_without_a_byte_order_mark() {
    /// Returns the notices of a wheel and of a source distribution with this metadata.
    fn read(metadata: &[u8]) -> [Result<Vec<String>, String>; 2] {
        let mut members: Vec<(String, Vec<u8>)> =
            members(&[]).into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        for (name, bytes) in &mut members {
            if name.ends_with("/METADATA") {
                *bytes = metadata.to_vec();
            }
        }
        let wheel = wheel::read(&mut Cursor::new(zip(&members)), FILE, WHEEL_LIMITS);
        let sdist_members = [("odd-1.0/PKG-INFO".to_owned(), metadata.to_vec())];
        let file = FileName::parse("odd-1.0.zip").expect("a name");
        let sdist = sdist::read(&mut Cursor::new(zip(&sdist_members)), &file, SDIST_LIMITS);
        let paths = ["Odd-1.0.dist-info/METADATA", "odd-1.0/PKG-INFO"];
        let results = [wheel, sdist].map(|result| result.map(|archive| archive.notices));
        let [wheel, sdist] = results.map(|result| result.map_err(|error| error.to_string()));
        let without_path = |text: String, path: &str| text.replace(&format!("'{path}'"), "PATH");
        [(wheel, paths[0]), (sdist, paths[1])].map(|(result, path)| match result {
            Ok(notices) => Ok(notices.into_iter().map(|text| without_path(text, path)).collect()),
            Err(text) => Err(without_path(text, path)),
        })
    }
    let text = |version: &str, summary: &[u8]| {
        let fields = format!("Metadata-Version: {version}\nName: odd\nVersion: 1.0\nSummary: ");
        [fields.as_bytes(), summary, b"\n"].concat()
    };
    let with_mark = |version: &str| [&b"\xef\xbb\xbf"[..], &text(version, b"a")].concat();
    for valid in [text("2.4", "é \u{feff}".as_bytes()), text("1.2", "é".as_bytes())] {
        for result in read(&valid) {
            let is_about_encoding = |notice: &String| notice.starts_with("line ");
            assert!(
                result.as_ref().is_ok_and(|notices| !notices.iter().any(is_about_encoding)),
                "{result:?}"
            );
        }
    }
    let (not_utf8, mark) =
        ("line 4 of PATH is not UTF-8 (byte 0xe9)", "line 1 of PATH begins with a byte order mark");
    for (bytes, reason) in
        [(text("2.0", b"Caf\xe9 x"), not_utf8), (text("2.2", b"\xe9"), not_utf8), (with_mark("2.4"), mark)]
    {
        for result in read(&bytes) {
            assert!(result.as_ref().is_err_and(|error| error.starts_with(reason)), "{reason}: {result:?}");
        }
    }
    // Tools that wrote older metadata used other encodings.
    for (bytes, reason) in [(text("1.2", b"\xe9"), not_utf8), (with_mark("1.1"), mark)] {
        for result in read(&bytes) {
            let notices = result.expect("accepted");
            assert!(notices.iter().any(|notice| notice.starts_with(reason)), "{reason}: {notices:?}");
        }
    }
}

#[test]
fn a_source_distribution_is_one_folder_with_metadata() {
    let read = |members: &[(&str, &str)], file: &str| {
        let members: Vec<_> = members.iter().map(|(name, text)| ((*name).to_owned(), *text)).collect();
        let file = FileName::parse(file).unwrap();
        let result = sdist::read(&mut Cursor::new(zip(&members)), &file, SDIST_LIMITS);
        result.map(|sdist| sdist.notices).map_err(|error| error.to_string())
    };
    let valid = [("odd-1.0/", ""), ("odd-1.0/PKG-INFO", TEXT), ("odd-1.0/a/PKG-INFO", "x")];
    let notices = read(&valid, "odd-1.0.zip").unwrap();
    assert_eq!(notices, ["'odd-1.0.zip' is not a .tar.gz file; PyPI does not accept it"]);
    for (members, file, reason) in [
        (&valid[..], "odd-1.0.tar.gz", "'odd-1.0.tar.gz' is not a compressed tar archive"),
        (&valid, "odd.zip", "'odd.zip' is not the file name of a source distribution"),
        (&valid, "even-1.0.zip", "the metadata has Name 'Odd', but the file is named 'even-1.0.zip'"),
        (&[("odd-1.0/x", "")], "odd-1.0.zip", "'odd-1.0/PKG-INFO' is missing"),
        (
            &[("odd-1.0/PKG-INFO", TEXT), ("other/x", "")],
            "odd-1.0.zip",
            "'other/x' is outside the top folder",
        ),
        (&[("odd-1.0/PKG-INFO", TEXT), ("x", "")], "odd-1.0.zip", "'x' is outside the top folder"),
        (&[("x/PKG-INFO", TEXT)], "odd-1.0.zip", "the folder 'x' is not that of 'odd-1.0.zip'"),
        (
            &[("odd-1.0-1/PKG-INFO", "Metadata-Version: 2.2\nName: odd\nVersion: 1.0.post1\n")],
            "odd-1.0-1.zip",
            "the version '1.0-1' in the file name 'odd-1.0-1.zip' contains '-', so that installers read another name and \
             version; rename the file to 'odd-1.0.post1.zip'",
        ),
        (
            &[("odd-1.0-rc1/PKG-INFO", "Metadata-Version: 2.2\nName: odd\nVersion: 1.0-rc1\n")],
            "odd-1.0-rc1.zip",
            "the version '1.0-rc1' in the file name",
        ),
        (&[("odd-1.0/../x", "")], "odd-1.0.zip", "the member 'odd-1.0/../x' has a path that is not allowed"),
    ] {
        let result = read(members, file);
        assert!(result.as_ref().is_err_and(|error| error.starts_with(reason)), "{reason}: {result:?}");
    }
}

/// A tar archive (gzip) with PKG-INFO and one further member.
fn tar_with(path: &[u8], kind: tar::EntryType, target: &str) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gz);
    let members = [
        (b"odd-1.0/PKG-INFO".as_slice(), tar::EntryType::Regular, "", TEXT.as_bytes()),
        (path, kind, target, b"".as_slice()),
    ];
    for (path, kind, target, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(kind);
        // Set as bytes, because the library refuses hostile paths.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        archive.append(&header, bytes).expect("a member");
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive")
}

#[test]
fn a_source_distribution_has_no_devices_and_no_paths_or_links_outside_its_folder() {
    use tar::EntryType as Kind;
    let file = FileName::parse("odd-1.0.tar.gz").unwrap();
    let read = |path: &str, kind: Kind, target: &str| {
        let archive = tar_with(path.as_bytes(), kind, target);
        let result = sdist::read(&mut Cursor::new(archive), &file, SDIST_LIMITS);
        result.map(drop).map_err(|error| error.to_string())
    };
    for (path, kind, target) in [
        ("odd-1.0/a", Kind::Regular, ""),
        ("odd-1.0/a", Kind::Directory, ""),
        ("odd-1.0/a", Kind::Symlink, "PKG-INFO"),
        ("odd-1.0/a/b", Kind::Symlink, "../PKG-INFO"),
        ("odd-1.0/a", Kind::Link, "odd-1.0/PKG-INFO"),
    ] {
        assert_eq!(read(path, kind, target), Ok(()), "{path} {kind:?} {target}");
    }
    for (path, kind, target, reason) in [
        ("odd-1.0/a", Kind::Char, "", "is neither file, folder nor link"),
        ("odd-1.0/a", Kind::Block, "", "is neither file, folder nor link"),
        ("odd-1.0/a", Kind::Fifo, "", "is neither file, folder nor link"),
        ("odd-1.0/a", Kind::GNUSparse, "", "is neither file, folder nor link"),
        ("/etc/a", Kind::Regular, "", "is an absolute path"),
        ("odd-1.0/../../a", Kind::Regular, "", "contains '..'"),
        ("odd-1.0/a", Kind::Symlink, "/etc/passwd", "leaves the package's folder"),
        ("odd-1.0/a", Kind::Symlink, "../other/a", "leaves the package's folder"),
        ("odd-1.0/a", Kind::Link, "/etc/passwd", "leaves the package's folder"),
        ("odd-1.0/a", Kind::Link, "other/a", "leaves the package's folder"),
        ("other/a", Kind::Regular, "", "is outside the top folder"),
        ("odd-1.0/PKG-INFO", Kind::Regular, "", "the member 'odd-1.0/PKG-INFO' occurs twice"),
        ("odd-1.0/PKG-INFO", Kind::Directory, "", "'odd-1.0/PKG-INFO' is both a file and a folder"),
        ("odd-1.0/PKG-INFO/a", Kind::Regular, "", "'odd-1.0/PKG-INFO' is both a file and a folder"),
    ] {
        let result = read(path, kind, target);
        assert!(
            result.as_ref().is_err_and(|error| error.contains(reason)),
            "{path} {kind:?} {target}: {result:?}"
        );
    }
}

#[test]
fn names_that_are_not_utf8_are_accepted_with_a_notice() {
    let file = FileName::parse("odd-1.0.tar.gz").unwrap();
    let read = |path: &[u8]| {
        let archive = tar_with(path, tar::EntryType::Regular, "");
        let result = sdist::read(&mut Cursor::new(archive), &file, SDIST_LIMITS);
        result.map(|sdist| sdist.notices).map_err(|error| error.to_string())
    };
    for path in [&b"odd-1.0/caf\xe9.txt"[..], b"odd-1.0/\xff/a", "odd-1.0/\u{fc}/\u{fc}".as_bytes()] {
        let notices = read(path).expect("accepted");
        let count = notices.iter().filter(|notice| notice.ends_with("is not UTF-8")).count();
        assert_eq!(count, usize::from(std::str::from_utf8(path).is_err()), "{notices:?}");
    }
    for path in [&b"\xe9/a"[..], b"odd-1.0/\xe9/../../a", b"/\xe9"] {
        assert!(read(path).is_err(), "{path:?}");
    }
}

#[test]
fn programs_read_the_same_members_of_a_source_distribution() {
    let file = FileName::parse("odd-1.0.tar.gz").unwrap();
    let plain = inflate(&tar_with(b"odd-1.0/a", tar::EntryType::Regular, ""));
    let read = |tar: &[u8]| {
        let gz = deflate(tar);
        sdist::read(&mut Cursor::new(gz), &file, SDIST_LIMITS).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(read(&plain), Ok(()));
    assert_eq!(read(&[&plain[..], &[0; 10_240]].concat()), Ok(()));
    // The header of `odd-1.0/a` follows PKG-INFO, whose content has one block.
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&plain[1024..1536]);
    header.as_mut_bytes()[257..265].copy_from_slice(b"ustar  \0");
    header.as_mut_bytes()[345..354].copy_from_slice(b"../../pre");
    header.set_cksum();
    let ambiguous = [&plain[..1024], header.as_bytes(), &plain[1536..]].concat();
    let end = plain.len();
    for (tar, reason) in [
        (&ambiguous, "'odd-1.0/a' has another path for some programs".to_owned()),
        (
            &[&plain[..], &plain].concat(),
            format!("the tar archive is damaged at byte {end}: other bytes follow the end of the archive"),
        ),
    ] {
        let result = read(tar);
        assert!(
            result
                .as_ref()
                .is_err_and(|error| error.starts_with(&reason) && error.ends_with("build the package again")),
            "{reason}: {result:?}"
        );
    }
}

fn inflate(gz: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(gz).read_to_end(&mut tar).expect("an archive");
    tar
}

fn deflate(tar: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(tar).and_then(|()| gz.finish()).expect("an archive")
}

#[test]
fn a_truncated_wheel_is_refused_at_every_byte() {
    let bytes = zip(&members(&[]));
    assert!(wheel::read(&mut Cursor::new(&bytes[..]), FILE, WHEEL_LIMITS).is_ok());
    for length in 0..bytes.len() {
        assert!(
            wheel::read(&mut Cursor::new(&bytes[..length]), FILE, WHEEL_LIMITS).is_err(),
            "cut at {length}"
        );
    }
}
