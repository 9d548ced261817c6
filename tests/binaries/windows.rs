//! Binaries for Windows: zip files are added, rewritten and served.

use std::path::PathBuf;

use sha2::Digest;

use super::get;
use crate::support::binary::{self, Example};
use crate::support::data;
use crate::support::rscript;
use crate::support::server::Server;
use crate::support::zip::zip;

/// A binary for Windows: another system in `Built`, a file of checksums, and these libraries.
fn for_windows(server: &Server, example: &Example, platform: &str, libraries: &[(&str, Vec<u8>)]) -> PathBuf {
    let r = binary::r_version();
    let built = format!("R {r}.2; {platform}; 2026-01-01 00:00:00 UTC; windows");
    let mut files = example.files_for(&built, libraries);
    let sums: String = files
        .iter()
        .map(|(path, bytes)| {
            let inner_path = path.split_once('/').expect("a folder").1;
            format!("{} *{inner_path}\n", hex::encode(md5::Md5::digest(bytes)))
        })
        .collect();
    files.push((format!("{}/MD5", example.package), sums.into_bytes()));
    let path = server.dir().join(format!("{}_{}.zip", example.package, example.version));
    std::fs::write(&path, zip(&files)).expect("written");
    path
}

/// The header of a Windows library.
fn dll(machine: u16) -> Vec<u8> {
    let mut head = b"MZ".to_vec();
    head.resize(0x3c, 0);
    head.extend(0x80_u32.to_le_bytes());
    head.resize(0x80, 0);
    head.extend(b"PE\0\0");
    head.extend(machine.to_le_bytes());
    head.resize(2048, 0);
    head
}

/// Reads both `Repository` fields of a zip file with R, and checks every checksum.
const READ: &str = r#"
file <- commandArgs(TRUE)[[1]]
unzip(file, exdir = "out")
package <- list.files("out")
at <- normalizePath(file.path("out", package))
cat(package, read.dcf(file.path(at, "DESCRIPTION"), "Repository"),
    readRDS(file.path(at, "Meta", "package.rds"))$DESCRIPTION[["Repository"]],
    tools::checkMD5sums(package, dir = at))
"#;

#[test]
fn the_repository_field_of_a_zip_file_is_rewritten_with_valid_checksums() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    let r = binary::r_version();
    let without_code = for_windows(&server, &greeting, "", &[]);
    let compiled = for_windows(&server, &tally, "x86_64-w64-mingw32", &[("x64/tally.dll", dll(0x8664))]);
    let line =
        |file: &PathBuf| format!("add binary --source=team --distribution=windows --path={}", file.display());
    assert_eq!(
        server.rspm_stdout(&line(&without_code)),
        format!("Added greeting with version 1.0.0 for windows and R {r} for any architecture\n")
    );
    assert_eq!(
        server.rspm_stdout(&line(&compiled)),
        format!("Added tally with version 0.2.1 for windows and R {r} for x86_64\n")
    );
    let base = format!("/prod/latest/bin/windows/contrib/{r}");
    let index = get(&server, &format!("{base}/PACKAGES"), None).text();
    let listed: Vec<&str> = index.lines().filter(|line| line.starts_with("Package: ")).collect();
    assert_eq!(listed, ["Package: greeting", "Package: tally"]);
    for package in ["greeting_1.0.0", "tally_0.2.1"] {
        let served = get(&server, &format!("{base}/{package}.zip"), None);
        assert_eq!((served.status, served.header("x-package-type")), (200, Some("binary")));
        assert_eq!(served.header("x-package-binary-tag"), Some(format!("{r}-win").as_str()));
        assert!(index.contains(&hex::encode(sha2::Sha256::digest(&served.body))), "{index}");
        let path = server.dir().join("served.zip");
        std::fs::write(&path, &served.body).expect("written");
        let name = package.split('_').next().expect("a name");
        assert_eq!(rscript::run(READ, std::slice::from_ref(&path)), format!("{name} RSPM RSPM TRUE"));
        let again = server.json(&format!("{} --replace", line(&path)));
        assert_eq!(again["packages"][0]["outcome"], "existing", "{package}");
    }
}

#[test]
fn zip_files_that_are_no_binary_for_windows_are_refused() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    let assert_refused = |file: &PathBuf, distribution: &str, expected: &str| {
        let line =
            format!("add binary --source=team --distribution={distribution} --path={}", file.display());
        let error = server.refused(&line);
        assert!(error.contains(expected), "{error}\n{expected}");
    };
    let without_code = for_windows(&server, &greeting, "", &[]);
    assert_refused(&without_code, "noble", "is built for Windows, and noble is not");
    let other = server.dir().join("other_1.0.0.zip");
    std::fs::copy(&without_code, &other).expect("copied");
    assert_refused(
        &other,
        "windows",
        "DESCRIPTION has 'greeting' 1.0.0, but the file is named 'other_1.0.0.zip'",
    );
    let triplet = "x86_64-w64-mingw32";
    let arm = for_windows(&server, &tally, triplet, &[("x64/tally.dll", dll(0xaa64))]);
    assert_refused(&arm, "windows", "the library 'tally/libs/x64/tally.dll' is built for Windows on arm64");
    for (path, expected) in [
        ("tally/../../evil", "contains '..'"),
        ("/evil", "is an absolute path"),
        ("tally\\evil", "has no usable name"),
        ("other/evil", "two top-level entries"),
        ("tally/src/tally.c", "is part of a source package"),
        ("tally/description", "two members have the same name"),
    ] {
        let mut members = tally.files();
        members.push((path.to_owned(), b"x".to_vec()));
        let file = server.dir().join("tally_0.2.1.zip");
        std::fs::write(&file, zip(&members)).expect("written");
        assert_refused(&file, "windows", expected);
    }
    let mut count = 0;
    for folder in ["hostile-zip/reject", "hostile-zip/accept"] {
        for entry in std::fs::read_dir(data::path(folder)).expect("the folder").flatten() {
            count += 1;
            assert_refused(&entry.path(), "windows", "is refused: ");
        }
    }
    assert!(count > 40, "{count}");
    assert_eq!(server.json("info --source=team")["packages"], 3);
}
