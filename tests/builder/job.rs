//! Runs one job in a sandbox and collects its events, log and result.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rstudio_pm::builder::connection::JobError;
use rstudio_pm::builder::message::{
    BuildRPackage, Cause, Event, FetchCommit, Job, Limits, ListReferences, Purpose, Remote, Report,
};
use rstudio_pm::builder::sandbox::{Choice, Paths, Sandbox, detect};

/// The result, events and log of a job.
#[derive(Debug)]
pub(super) struct JobOutcome {
    pub(super) result: Result<Report, JobError>,
    pub(super) phases: Vec<String>,
    pub(super) log: String,
    /// The bytes of the file with [`Purpose::Result`].
    pub(super) content: Vec<u8>,
}

impl JobOutcome {
    /// The report of a job that succeeded.
    pub(super) fn success(&self) -> &Report {
        match &self.result {
            Ok(report) if report.failure.is_none() => report,
            other => panic!("{other:?}\n{}", self.log),
        }
    }

    /// Cause and reason for a job that failed.
    pub(super) fn failure(&self) -> (Cause, &str) {
        match &self.result {
            Ok(Report { failure: Some(failure), .. }) => (failure.cause, &failure.reason),
            other => panic!("{other:?}\n{}", self.log),
        }
    }
}

/// The path of `rstudio-pm-builder`.
pub(super) fn builder() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rstudio-pm-builder"))
}

/// Builders without a sandbox, with workspaces in the directory.
pub(super) fn no_sandbox(workspaces: &Path) -> Sandbox {
    let paths = Paths { builder: builder(), workspaces: workspaces.to_owned(), ..Paths::default() };
    detect(Choice::None, true, None, &paths).expect("R builds a package")
}

/// Runs a job with the descriptors for log and result, followed by `descriptors`; `readable` are the paths that the
/// sandbox may read.
pub(super) fn run(
    sandbox: &Sandbox,
    job: Job,
    limits: Limits,
    readable: &[PathBuf],
    descriptors: &[(Purpose, BorrowedFd<'_>)],
) -> JobOutcome {
    let file = tempfile::NamedTempFile::new().unwrap();
    let result_file = OpenOptions::new().write(true).open(file.path()).unwrap();
    let (mut log_reader, log_writer) = std::io::pipe().unwrap();
    let log_thread = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        log_reader.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let mut phases = Vec::new();
    let result = (|| {
        let mut connection = sandbox.start(job.role(), readable)?;
        let mut all_descriptors =
            vec![(Purpose::Log, log_writer.as_fd()), (Purpose::Result, result_file.as_fd())];
        all_descriptors.extend(descriptors);
        connection.start(job, sandbox.limits(limits), &all_descriptors)?;
        loop {
            match connection.next_event()? {
                Event::Started { program, .. } => phases.push(program),
                Event::Phase { name } => phases.push(name),
                Event::Ended(report) => break Ok(report),
                other => panic!("{other:?}"),
            }
        }
    })();
    drop(log_writer);
    let log = log_thread.join().unwrap();
    JobOutcome { result, phases, log, content: std::fs::read(file.path()).unwrap() }
}

/// The parameters of a fetch of the branch `main`.
pub(super) fn fetch(url: &str) -> FetchCommit {
    FetchCommit {
        remote: Remote {
            url: url.to_owned(),
            local_paths: vec!["/srv/git".to_owned(), "/tmp".to_owned()],
            known_hosts: String::new(),
            accepts_new_host: false,
            ..Remote::default()
        },
        reference: "refs/heads/main".to_owned(),
        commit: None,
        depth: 1,
        submodules: 0,
        submodule_hosts: Vec::new(),
        history: false,
        directory: String::new(),
    }
}

/// The job that lists the references of a remote that match the patterns.
pub(super) fn list_references(remote: Remote, patterns: &[&str]) -> Job {
    let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    Job::ListReferences(ListReferences { remote, patterns })
}

/// A file with these bytes, open for reading only.
pub(super) fn readable_file(bytes: &[u8]) -> OwnedFd {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    File::open(file.path()).unwrap().into()
}

/// Builds the package in a tar file.
pub(super) fn build(sandbox: &Sandbox, tar: &[u8], limits: Limits) -> JobOutcome {
    let source = readable_file(tar);
    let job = Job::BuildRPackage(BuildRPackage::default());
    run(sandbox, job, limits, &[], &[(Purpose::Source, source.as_fd())])
}

/// Returns the tar file of a package with these files, the mode and the content of each.
pub(super) fn package(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let description = "Package: tested\nVersion: 1.0\nTitle: T\nDescription: D.\nLicense: MIT\nAuthor: A\n\
                       Maintainer: A <a@example.org>\n";
    let mut directories = Vec::new();
    for (path, mode, content) in
        [("DESCRIPTION", 0o644, description), ("NAMESPACE", 0o644, "")].iter().chain(files)
    {
        if let Some((directory, _)) = path.rsplit_once('/')
            && !directories.contains(&directory)
        {
            directories.push(directory);
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_data(&mut header, directory, &[][..]).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Returns a member of a gzipped tar file as text.
pub(crate) fn member(package: &[u8], path: &str) -> String {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new(path) {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            return text;
        }
    }
    panic!("{path} is not in the package")
}
