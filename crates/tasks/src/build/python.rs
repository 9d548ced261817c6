//! Steps of a build of a Python package: version, time of the commit, built files, explanation of a failure.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use super::failure::BuildFailure;
use formats::python::version::Pep440Version;

/// Maximum number of files of a build: a source distribution and a wheel.
const MAX_FILES: usize = 2;

/// Reads the time of the commit, in seconds since the epoch, from the first entry of its tree, whose entries all
/// have this time; also returns the tree. `None` for an empty tree.
pub(super) async fn commit_time(mut tree: File) -> Result<(File, Option<u64>), BuildFailure> {
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<(File, Option<u64>)> {
        tree.rewind()?;
        let mut archive = tar::Archive::new(&mut tree);
        let time = archive.entries()?.next().transpose()?.and_then(|entry| entry.header().mtime().ok());
        Ok((tree, time))
    });
    Ok(read.await.map_err(|error| BuildFailure::Temporary(error.to_string()))??)
}

/// Returns the version in a tag, such as `1.2` for `v1.2`; `None` if the tag contains no version. It is passed to
/// projects that take their version from git, because the build has no access to the tags.
pub(super) fn version_of_tag(tag: &str) -> Option<String> {
    let text = tag.trim_start_matches(|c: char| !c.is_ascii_digit());
    text.parse::<Pep440Version>().ok().map(|version| version.normalized())
}

/// Reads the files of a build, with their names. Their content is checked later, as for uploads.
pub(super) async fn files(mut archive: File, temp_dir: PathBuf) -> Result<Vec<(String, File)>, BuildFailure> {
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<Option<Vec<(String, File)>>> {
        archive.rewind()?;
        let mut files = Vec::new();
        for entry in tar::Archive::new(archive).entries()? {
            if files.len() == MAX_FILES {
                return Ok(None);
            }
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let mut file = tempfile::tempfile_in(&temp_dir)?;
            let size = entry.size();
            std::io::copy(&mut entry.by_ref().take(size), &mut file)?;
            file.rewind()?;
            files.push((name, file));
        }
        Ok(Some(files))
    });
    let files = read.await.map_err(|error| BuildFailure::Temporary(error.to_string()))??;
    let Some(files) = files else {
        let reason = "the build wrote more than a source distribution and a wheel".to_owned();
        return Err(BuildFailure::Final(reason));
    };
    if files.is_empty() {
        return Err(BuildFailure::Final("the build wrote no file".to_owned()));
    }
    Ok(files)
}

/// Adds the missing requirements of the build to a failure. The Python module `build` lists them in the log.
pub(super) fn explain(failure: BuildFailure, log: &str) -> BuildFailure {
    let BuildFailure::Final(reason) = failure else { return failure };
    let mut missing = Vec::new();
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        if line.ends_with("Missing dependencies:") {
            // Each indented line has a requirement, and the package that requires it.
            missing.extend(lines.by_ref().map_while(|line| line.strip_prefix('\t')).map(str::trim));
        } else if let Some((_, rest)) = line.split_once("ERROR Backend '")
            && let Some((backend, _)) = rest.split_once("' is not available")
        {
            missing.push(backend);
        }
    }
    if missing.is_empty() {
        return BuildFailure::Final(reason);
    }
    missing.dedup();
    let missing: String = missing.join(", ").chars().take(500).collect();
    BuildFailure::Final(format!(
        "the build needs Python packages that are not installed: {missing}; builds have no network, install them for the \
         Python of the server (Server.PythonVersion)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_requirements_are_named() {
        let failed = || BuildFailure::Final("python -m build --sdist failed".to_owned());
        let log =
            "== python -m build --sdist\nERROR Missing dependencies:\n\thatchling>=1.0\n\twheel\n== end\n";
        let reason = explain(failed(), log).reason();
        assert!(reason.contains("not installed: hatchling>=1.0, wheel; "), "{reason}");
        let reason = explain(failed(), "ERROR Backend 'flit_core.buildapi' is not available.").reason();
        assert!(reason.contains("flit_core.buildapi;"), "{reason}");
        assert_eq!(explain(failed(), "SyntaxError").reason(), "python -m build --sdist failed");
    }

    #[tokio::test]
    async fn a_build_has_one_or_two_files() {
        for (count, is_accepted) in [(0, false), (1, true), (2, true), (3, false)] {
            let mut archive = tar::Builder::new(tempfile::tempfile().unwrap());
            for number in 0..count {
                let mut header = tar::Header::new_gnu();
                header.set_size(1);
                archive.append_data(&mut header, format!("{number}.whl"), &b"x"[..]).unwrap();
            }
            let files = files(archive.into_inner().unwrap(), std::env::temp_dir()).await;
            assert_eq!(files.is_ok(), is_accepted, "{count}");
        }
    }

    #[test]
    fn tags_name_versions() {
        for (tag, version) in
            [("v1.2", Some("1.2")), ("1.0rc1", Some("1.0rc1")), ("release-2.0", Some("2.0"))]
        {
            assert_eq!(version_of_tag(tag).as_deref(), version, "{tag}");
        }
        assert_eq!(version_of_tag("latest"), None);
        assert_eq!(version_of_tag(""), None);
    }
}
