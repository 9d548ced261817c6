//! Copies the package that a build wrote: exactly one regular file without further hard links.

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::message::{Cause, JobFailure};
use crate::program::job::{Stop, io_failure};
use crate::program::workspace::ResultFile;

/// Copies the file into the result, and returns its name. All processes of the build must have ended.
pub(super) fn copy(directory: &Path, mut result: ResultFile) -> Result<(String, ResultFile), Stop> {
    let names = names(directory, ".tar.gz")?;
    let [name] = names.as_slice() else {
        let reason = format!("the build wrote {} files *.tar.gz instead of one", names.len());
        return Err(JobFailure::new(Cause::Content, reason).into());
    };
    let (mut file, _) = open(directory, name)?;
    std::io::copy(&mut file, &mut result).map_err(io_failure("could not copy the result of the build"))?;
    Ok((name.clone(), result))
}

/// Returns the names of the files in a directory that end with `ending`.
pub(super) fn names(directory: &Path, ending: &str) -> Result<Vec<String>, Stop> {
    let read_error = || io_failure("could not read the result of the build");
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(read_error())?.take(10_000) {
        let name = entry.map_err(read_error())?.file_name().to_string_lossy().into_owned();
        if name.ends_with(ending) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a regular file without further hard links; returns it and its size in bytes.
pub(super) fn open(directory: &Path, name: &str) -> Result<(fs::File, u64), Stop> {
    let content_failure = |reason: String| -> Stop { JobFailure::new(Cause::Content, reason).into() };
    // Opening a FIFO does not block, and opening a link fails.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file =
        fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(directory.join(name));
    let file = file
        .map_err(|error| content_failure(format!("the build wrote {name}, which is not a file: {error}")))?;
    let metadata = file.metadata().map_err(io_failure("could not read the result of the build"))?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(content_failure(format!(
            "the build wrote {name}, which is not a regular file, or has several hard links"
        )));
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn copy_result(create: impl FnOnce(&Path)) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        create(directory.path());
        match copy(directory.path(), ResultFile::new(tempfile::tempfile().unwrap(), 10)) {
            Ok((name, _)) => Ok(name),
            Err(Stop::Failed(failure)) => Err(failure.reason),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_one_regular_file_is_a_result() {
        let result = copy_result(|directory| {
            fs::write(directory.join("a_1.tar.gz"), "x").unwrap();
            fs::write(directory.join("other"), "x").unwrap();
        });
        assert_eq!(result.unwrap(), "a_1.tar.gz");
        type Create = fn(&Path);
        let cases: [(&str, Create); 7] = [
            ("0 files", |_| ()),
            ("2 files", |directory| {
                ["a.tar.gz", "b.tar.gz"].iter().for_each(|n| fs::write(directory.join(n), "").unwrap())
            }),
            ("not a file", |directory| {
                std::os::unix::fs::symlink("/etc/passwd", directory.join("a.tar.gz")).unwrap()
            }),
            ("not a regular file", |directory| fs::create_dir(directory.join("a.tar.gz")).unwrap()),
            ("not a regular file", |directory| {
                assert!(Command::new("mkfifo").arg(directory.join("a.tar.gz")).status().unwrap().success());
            }),
            ("hard links", |directory| {
                fs::write(directory.join("a"), "").unwrap();
                fs::hard_link(directory.join("a"), directory.join("a.tar.gz")).unwrap();
            }),
            ("larger than 10", |directory| fs::write(directory.join("a.tar.gz"), "01234567890").unwrap()),
        ];
        for (reason, create) in cases {
            let error = copy_result(create).unwrap_err();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
