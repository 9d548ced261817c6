//! Builders as children of the server, without a sandbox: what the program does in every sandbox.

use std::time::{Duration, Instant};

use super::job::{build, fetch, member, package, references, run, unsandboxed};
use super::repository::Repository;
use rstudio_pm::builder::connection::JobError;
use rstudio_pm::builder::message::{Cause, Job, Limits, Remote};
use rstudio_pm::builder::sandbox::Sandbox;

fn sandbox() -> (tempfile::TempDir, Sandbox) {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let sandbox = unsandboxed(directory.path());
    (directory, sandbox)
}

/// Names in a tar file, in their order.
fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn a_commit_is_fetched_and_built() {
    let (directory, sandbox) = sandbox();
    let repository = Repository::new();
    repository.package("", "1.0");
    let first = repository.commit();
    repository.package("", "2.0");
    let second = repository.commit();
    repository.git(&["tag", "--annotate", "v2", "--message=x"]);

    let remote = fetch(&repository.url()).remote;
    let listed = run(&sandbox, references(remote, &["HEAD", "refs/tags/*"]), Limits::default(), &[], &[]);
    listed.success();
    let tag = repository.git(&["rev-parse", "v2"]);
    assert_eq!(
        String::from_utf8_lossy(&listed.out),
        format!("{second}\tHEAD\n{tag}\trefs/tags/v2\n{second}\trefs/tags/v2^{{}}\n")
    );

    for (commit, version) in [(None, "2.0"), (Some(first), "1.0"), (Some(second.clone()), "2.0")] {
        let mut job = fetch(&repository.url());
        job.commit = commit.clone();
        let fetched = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
        let ended = fetched.success();
        assert_eq!(ended.commit, commit.or(Some(second.clone())));
        assert_eq!(names(&fetched.out), ["DESCRIPTION", "NAMESPACE", "R", "R/f.R"]);
        assert_eq!(ended.size, fetched.out.len() as u64);
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&fetched.out);
        assert_eq!(ended.sha256, Some(hex::encode(digest)));

        let built = build(&sandbox, &fetched.out, Limits::default());
        assert_eq!(built.success().file, Some(format!("tested_{version}.tar.gz")));
        assert_eq!(built.phases[1..], ["sources", "R CMD build"]);
        assert!(built.phases[0].starts_with("R "), "{:?}", built.phases);
        let description = member(&built.out, "tested/DESCRIPTION");
        assert!(description.contains("\nPackaged: ") && description.contains(version), "{description}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "workspaces are removed");
}

#[test]
fn of_a_directory_only_its_files_are_fetched() {
    let (_directory, sandbox) = sandbox();
    let repository = Repository::new();
    repository.git(&["config", "uploadpack.allowFilter", "true"]);
    repository.package("r/tested/", "1.0");
    repository.write("large", &"0123456789".repeat(1000));
    repository.commit();
    let mut job = fetch(&repository.url());
    job.directory = "r/tested".to_owned();
    let fetched = run(&sandbox, Job::FetchCommit(job.clone()), Limits::default(), &[], &[]);
    fetched.success();
    assert_eq!(names(&fetched.out), ["DESCRIPTION", "NAMESPACE", "R", "R/f.R"]);
    build(&sandbox, &fetched.out, Limits::default()).success();

    job.directory = "r/none".to_owned();
    let fetched = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
    let (cause, reason) = fetched.failure();
    assert!(cause == Cause::Content && reason.contains("has no directory 'r/none'"), "{reason}");
}

#[test]
fn programs_and_files_that_a_repository_names_are_not_used() {
    let (_directory, sandbox) = sandbox();
    let marker = tempfile::tempdir_in("/tmp").unwrap();
    let marked = marker.path().join("marked");
    let script = format!("#!/bin/sh\ntouch {}\ncat\n", marked.display());
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.write(".gitattributes", "*.R filter=evil diff=evil merge=evil\nDESCRIPTION export-ignore\n");
    repository.write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    repository.commit();
    for hook in ["post-checkout", "post-merge", "reference-transaction", "post-upload-pack"] {
        let path = repository.write(&format!(".git/hooks/{hook}"), &script);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let evil = repository.write("../evil-filter", &script).canonicalize().unwrap();
    std::fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for key in ["filter.evil.smudge", "core.fsmonitor", "uploadpack.packObjectsHook", "core.sshCommand"] {
        repository.git(&["config", key, &evil.display().to_string()]);
    }
    let fetched = run(&sandbox, Job::FetchCommit(fetch(&repository.url())), Limits::default(), &[], &[]);
    std::fs::remove_file(evil).unwrap();
    assert_eq!(fetched.success().lfs_pointers, 1);
    assert!(fetched.log.contains("1 files are Git LFS pointers"), "{}", fetched.log);
    assert!(names(&fetched.out).contains(&"DESCRIPTION".to_owned()));
    assert!(!marked.exists(), "a program of the repository was run: {}", fetched.log);
}

#[test]
fn links_and_submodules_outside_of_the_repository_are_refused() {
    let (_directory, sandbox) = sandbox();
    let failed = |repository: &Repository, change: fn(&mut rstudio_pm::builder::message::FetchCommit)| {
        repository.commit();
        let mut job = fetch(&repository.url());
        job.submodules = 1;
        change(&mut job);
        let fetched = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
        let (cause, reason) = fetched.failure();
        assert_eq!(cause, Cause::Content, "{reason}\n{}", fetched.log);
        reason.to_owned()
    };
    let linked = Repository::new();
    linked.package("", "1.0");
    std::os::unix::fs::symlink("/etc/passwd", linked.path().join("R/x.R")).unwrap();
    assert!(failed(&linked, |_| ()).contains("R/x.R points outside"));

    let inner = Repository::new();
    inner.package("", "1.0");
    inner.commit();
    for url in [inner.url(), "https://other.example.org/x".to_owned(), "ssh://-oProxyCommand=x/y".to_owned()]
    {
        let outer = Repository::new();
        outer.package("", "1.0");
        outer.git(&["submodule", "--quiet", "add", &inner.url(), "sub"]);
        outer.git(&["config", "--file", ".gitmodules", "submodule.sub.url", &url]);
        assert!(failed(&outer, |_| ()).starts_with("the submodule "), "{url}");
    }

    let plain = Repository::new();
    plain.package("", "1.0");
    assert!(failed(&plain, |job| job.remote.local_paths.clear()).contains("Git.LocalPaths"));
    assert!(failed(&plain, |job| job.remote.url = "ext::sh -c x".to_owned()).contains("character"));
}

#[test]
fn an_unreachable_repository_may_be_reachable_later() {
    let (_directory, sandbox) = sandbox();
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.commit();
    let mut job = fetch(&repository.url());
    job.reference = "refs/heads/none".to_owned();
    let fetched = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
    assert!(fetched.failure().0.may_pass(), "{:?}", fetched.failure());
    assert!(fetched.log.contains("couldn't find remote ref"), "{}", fetched.log);
    let remote = Remote { url: "https://127.0.0.1:1/x".to_owned(), ..Remote::default() };
    let listed = run(&sandbox, references(remote, &["HEAD"]), Limits::default(), &[], &[]);
    assert!(listed.failure().0 == Cause::Remote, "{:?}", listed.failure());
}

#[test]
fn a_build_that_fails_has_its_reason() {
    let (_directory, sandbox) = sandbox();
    let limits = Limits { seconds: 60, ..Limits::default() };
    let bad = build(&sandbox, &package(&[("DESCRIPTION2", 0o644, ""), ("R/x.R", 0o644, "f <- (")]), limits);
    bad.success();
    let not_a_package = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, "README", &[][..]).unwrap();
        tar.into_inner().unwrap()
    };
    let failed = build(&sandbox, &not_a_package, limits);
    assert!(
        failed.failure().0 == Cause::Content && failed.failure().1.contains("DESCRIPTION"),
        "{:?}",
        failed.failure()
    );

    let failed = build(&sandbox, &package(&[("cleanup", 0o755, "#!/bin/sh\nrm DESCRIPTION\n")]), limits);
    assert_eq!(failed.failure().0, Cause::Command, "{:?}", failed.failure());
    assert!(failed.failure().1.starts_with("R CMD build failed with exit code 1"), "{:?}", failed.failure());
    assert!(failed.log.contains("DESCRIPTION"), "{}", failed.log);

    let large = "#!/bin/sh\nhead -c 3000000 /dev/urandom > x\n";
    let few = Limits { result: 1_000_000, ..limits };
    let failed = build(&sandbox, &package(&[("cleanup", 0o755, large)]), few);
    assert_eq!(failed.failure().0, Cause::Size, "{:?}", failed.failure());
    let small = Limits { file_size: 1_000_000, ..limits };
    let failed = build(&sandbox, &package(&[("cleanup", 0o755, large)]), small);
    assert!(matches!(failed.failure().0, Cause::Size | Cause::Command), "{:?}", failed.failure());
}

/// Whether a process with this argument runs.
fn runs(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| command.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

fn eventually_ended(argument: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(8);
    while runs(argument) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    !runs(argument)
}

#[test]
fn detached_processes_end_with_the_job() {
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nsetsid sh -c 'sleep 86401 & sleep 86401' >/dev/null 2>&1 &\nsleep 0.2\n";
    let built = build(&sandbox, &package(&[("cleanup", 0o755, script)]), Limits::default());
    built.success();
    assert!(!runs("86401"));
}

#[test]
fn a_job_ends_at_its_time_limit_with_everything_it_started() {
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nsetsid sleep 86402 &\nsleep 86402\n";
    let begin = Instant::now();
    let limits = Limits { seconds: 2, ..Limits::default() };
    let failed = build(&sandbox, &package(&[("cleanup", 0o755, script)]), limits);
    assert_eq!(failed.failure().0, Cause::Time);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(!runs("86402"));
}

#[test]
fn a_job_ends_with_its_connection() {
    use rstudio_pm::builder::message::{BuildRPackage, Event, Purpose};
    use std::os::fd::AsFd;
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nsetsid sleep 86403 &\nsleep 86403\n";
    let source = super::job::readable_file(&package(&[("cleanup", 0o755, script)]));
    let (out, log) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let job = Job::BuildRPackage(BuildRPackage::default());
    let mut connection = sandbox.start(job.role(), &[]).unwrap();
    let descriptors =
        [(Purpose::Log, log.as_fd()), (Purpose::Out, out.as_fd()), (Purpose::Source, source.as_fd())];
    connection.start(job, Limits::default(), &descriptors).unwrap();
    assert!(matches!(connection.next_event(), Ok(Event::Started { .. })));
    let until = Instant::now() + Duration::from_secs(30);
    while !runs("86403") {
        assert!(Instant::now() < until, "the build has not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(connection);
    assert!(eventually_ended("86403"));
}

#[test]
fn a_builder_refuses_jobs_of_the_other_role() {
    let (_directory, sandbox) = sandbox();
    let mut connection = sandbox.start(rstudio_pm::builder::message::Role::Build, &[]).unwrap();
    let out = tempfile::tempfile().unwrap();
    let descriptors = [
        (rstudio_pm::builder::message::Purpose::Log, std::os::fd::AsFd::as_fd(&out)),
        (rstudio_pm::builder::message::Purpose::Out, std::os::fd::AsFd::as_fd(&out)),
    ];
    connection
        .start(Job::FetchCommit(fetch("https://example.org/a")), Limits::default(), &descriptors)
        .unwrap();
    let refused = connection.next_event();
    assert!(matches!(&refused, Err(JobError::Refused(reason)) if reason.contains("'build'")), "{refused:?}");
}

/// Without a sandbox, Landlock alone protects the files of the server.
#[test]
fn without_a_sandbox_files_of_the_server_cannot_be_read_or_written() {
    let (directory, sandbox) = sandbox();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "5e0f1c").unwrap();
    let script = format!(
        "#!/bin/sh\ncat {0} >> found 2>> errors\necho x > {0}\necho x > {1}/new\necho ran >> found\n",
        secret.display(),
        directory.path().display()
    );
    let built = build(&sandbox, &package(&[("cleanup", 0o755, &script)]), Limits::default());
    built.success();
    assert!(!member(&built.out, "tested/found").contains("5e0f1c"));
    assert!(member(&built.out, "tested/errors").contains("Permission denied"));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "5e0f1c");
    assert!(!directory.path().join("new").exists());
}
