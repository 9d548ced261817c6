//! Builders as children of the server, without a sandbox: what the program does in every sandbox.

use std::time::{Duration, Instant};

use super::job::{build, fetch, list_references, member, no_sandbox, package, run};
use super::repository::Repository;
use rstudio_pm::builder::connection::JobError;
use rstudio_pm::builder::message::{Cause, Job, Limits, Remote};
use rstudio_pm::builder::sandbox::Sandbox;

fn sandbox() -> (tempfile::TempDir, Sandbox) {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let sandbox = no_sandbox(directory.path());
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
    let first_commit = repository.commit();
    repository.package("", "2.0");
    let second_commit = repository.commit();
    repository.git(&["tag", "--annotate", "v2", "--message=x"]);

    let remote = fetch(&repository.url()).remote;
    let list_outcome =
        run(&sandbox, list_references(remote, &["HEAD", "refs/tags/*"]), Limits::default(), &[], &[]);
    list_outcome.success();
    let tag = repository.git(&["rev-parse", "v2"]);
    assert_eq!(
        String::from_utf8_lossy(&list_outcome.content),
        format!("{second_commit}\tHEAD\n{tag}\trefs/tags/v2\n{second_commit}\trefs/tags/v2^{{}}\n")
    );

    for (commit, version) in
        [(None, "2.0"), (Some(first_commit), "1.0"), (Some(second_commit.clone()), "2.0")]
    {
        let mut job = fetch(&repository.url());
        job.commit = commit.clone();
        let fetch_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
        let report = fetch_outcome.success();
        assert_eq!(report.commit, commit.or(Some(second_commit.clone())));
        assert_eq!(names(&fetch_outcome.content), ["DESCRIPTION", "NAMESPACE", "R", "R/f.R"]);
        assert_eq!(report.size, fetch_outcome.content.len() as u64);
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&fetch_outcome.content);
        assert_eq!(report.sha256, Some(hex::encode(digest)));

        let build_outcome = build(&sandbox, &fetch_outcome.content, Limits::default());
        assert_eq!(build_outcome.success().file, Some(format!("tested_{version}.tar.gz")));
        assert_eq!(build_outcome.phases[1..], ["sources", "R CMD build"]);
        assert!(build_outcome.phases[0].starts_with("R "), "{:?}", build_outcome.phases);
        let description = member(&build_outcome.content, "tested/DESCRIPTION");
        assert!(description.contains("\nPackaged: ") && description.contains(version), "{description}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "workspaces are removed");
}

#[test]
fn only_the_files_of_a_directory_are_fetched() {
    let (_directory, sandbox) = sandbox();
    let repository = Repository::new();
    repository.git(&["config", "uploadpack.allowFilter", "true"]);
    repository.package("r/tested/", "1.0");
    repository.write("large", &"0123456789".repeat(1000));
    repository.commit();
    let mut job = fetch(&repository.url());
    job.directory = "r/tested".to_owned();
    let fetch_outcome = run(&sandbox, Job::FetchCommit(job.clone()), Limits::default(), &[], &[]);
    fetch_outcome.success();
    assert_eq!(names(&fetch_outcome.content), ["DESCRIPTION", "NAMESPACE", "R", "R/f.R"]);
    build(&sandbox, &fetch_outcome.content, Limits::default()).success();

    job.directory = "r/none".to_owned();
    let fetch_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
    let (cause, reason) = fetch_outcome.failure();
    assert!(cause == Cause::Content && reason.contains("has no directory 'r/none'"), "{reason}");
}

#[test]
fn programs_and_files_that_a_repository_names_are_not_used() {
    let (_directory, sandbox) = sandbox();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let marker_file = directory.path().join("file");
    let script = format!("#!/bin/sh\ntouch {}\ncat\n", marker_file.display());
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.write(".gitattributes", "*.R filter=evil diff=evil merge=evil\nDESCRIPTION export-ignore\n");
    repository.write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    repository.commit();
    for hook in ["post-checkout", "post-merge", "reference-transaction", "post-upload-pack"] {
        let path = repository.write(&format!(".git/hooks/{hook}"), &script);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let filter_program = repository.write("../evil-filter", &script).canonicalize().unwrap();
    std::fs::set_permissions(&filter_program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for key in ["filter.evil.smudge", "core.fsmonitor", "uploadpack.packObjectsHook", "core.sshCommand"] {
        repository.git(&["config", key, &filter_program.display().to_string()]);
    }
    let fetch_outcome =
        run(&sandbox, Job::FetchCommit(fetch(&repository.url())), Limits::default(), &[], &[]);
    std::fs::remove_file(filter_program).unwrap();
    assert_eq!(fetch_outcome.success().lfs_pointers, 1);
    assert!(fetch_outcome.log.contains("1 files are Git LFS pointers"), "{}", fetch_outcome.log);
    assert!(names(&fetch_outcome.content).contains(&"DESCRIPTION".to_owned()));
    assert!(!marker_file.exists(), "a program of the repository was run: {}", fetch_outcome.log);
}

#[test]
fn links_and_submodules_outside_of_the_repository_are_refused() {
    let (_directory, sandbox) = sandbox();
    let failure_reason =
        |repository: &Repository, change: fn(&mut rstudio_pm::builder::message::FetchCommit)| {
            repository.commit();
            let mut job = fetch(&repository.url());
            job.submodules = 1;
            change(&mut job);
            let fetch_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
            let (cause, reason) = fetch_outcome.failure();
            assert_eq!(cause, Cause::Content, "{reason}\n{}", fetch_outcome.log);
            reason.to_owned()
        };
    let link_repository = Repository::new();
    link_repository.package("", "1.0");
    std::os::unix::fs::symlink("/etc/passwd", link_repository.path().join("R/x.R")).unwrap();
    assert!(failure_reason(&link_repository, |_| ()).contains("R/x.R points outside"));

    let submodule = Repository::new();
    submodule.package("", "1.0");
    submodule.commit();
    for url in
        [submodule.url(), "https://other.example.org/x".to_owned(), "ssh://-oProxyCommand=x/y".to_owned()]
    {
        let repository = Repository::new();
        repository.package("", "1.0");
        repository.git(&["submodule", "--quiet", "add", &submodule.url(), "sub"]);
        repository.git(&["config", "--file", ".gitmodules", "submodule.sub.url", &url]);
        assert!(failure_reason(&repository, |_| ()).starts_with("the submodule "), "{url}");
    }

    let package_repository = Repository::new();
    package_repository.package("", "1.0");
    assert!(
        failure_reason(&package_repository, |job| job.remote.local_paths.clear()).contains("Git.LocalPaths")
    );
    assert!(
        failure_reason(&package_repository, |job| job.remote.url = "ext::sh -c x".to_owned())
            .contains("character")
    );
}

#[test]
fn an_unreachable_repository_may_be_reachable_later() {
    let (_directory, sandbox) = sandbox();
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.commit();
    let mut job = fetch(&repository.url());
    job.reference = "refs/heads/none".to_owned();
    let fetch_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &[]);
    assert!(fetch_outcome.failure().0.is_temporary(), "{:?}", fetch_outcome.failure());
    assert!(fetch_outcome.log.contains("couldn't find remote ref"), "{}", fetch_outcome.log);
    let remote = Remote { url: "https://127.0.0.1:1/x".to_owned(), ..Remote::default() };
    let list_outcome = run(&sandbox, list_references(remote, &["HEAD"]), Limits::default(), &[], &[]);
    assert!(list_outcome.failure().0 == Cause::Remote, "{:?}", list_outcome.failure());
}

#[test]
fn a_build_that_fails_has_its_reason() {
    let (_directory, sandbox) = sandbox();
    let limits = Limits::default();
    let outcome =
        build(&sandbox, &package(&[("DESCRIPTION2", 0o644, ""), ("R/x.R", 0o644, "f <- (")]), limits);
    outcome.success();
    let not_a_package = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, "README", &[][..]).unwrap();
        tar.into_inner().unwrap()
    };
    let outcome = build(&sandbox, &not_a_package, limits);
    assert!(
        outcome.failure().0 == Cause::Content && outcome.failure().1.contains("DESCRIPTION"),
        "{:?}",
        outcome.failure()
    );

    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, "#!/bin/sh\nrm DESCRIPTION\n")]), limits);
    assert_eq!(outcome.failure().0, Cause::Command, "{:?}", outcome.failure());
    assert!(
        outcome.failure().1.starts_with("R CMD build failed with exit code 1"),
        "{:?}",
        outcome.failure()
    );
    assert!(outcome.log.contains("DESCRIPTION"), "{}", outcome.log);

    let script = "#!/bin/sh\nhead -c 3000000 /dev/urandom > x\n";
    let result_limits = Limits { result: 1_000_000, ..limits };
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), result_limits);
    assert_eq!(outcome.failure().0, Cause::Size, "{:?}", outcome.failure());
    let file_limits = Limits { file_size: 1_000_000, ..limits };
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), file_limits);
    assert!(matches!(outcome.failure().0, Cause::Size | Cause::Command), "{:?}", outcome.failure());
}

/// Whether a process with this argument runs.
fn is_running(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| command.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

/// Waits up to a minute for the end of the processes with this argument; returns whether they have ended.
fn wait_for_end(argument: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_running(argument) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    !is_running(argument)
}

#[test]
fn detached_processes_end_with_the_job_which_fails() {
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nsetsid sh -c 'sleep 86401 & sleep 86401' >/dev/null 2>&1 &\nsleep 0.2\n";
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), Limits::default());
    let (cause, reason) = outcome.failure();
    assert!(cause == Cause::Command && reason.contains("left processes behind"), "{reason}");
    assert!(!is_running("86401"));
    // A process that ends soon afterwards causes no failure.
    let script = "#!/bin/sh\nsetsid sleep 0.3 >/dev/null 2>&1 &\n";
    build(&sandbox, &package(&[("cleanup", 0o755, script)]), Limits::default()).success();
}

#[test]
fn a_job_ends_at_its_time_limit_with_everything_it_started() {
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nsetsid sleep 86402 &\nsleep 86402\n";
    let start = Instant::now();
    let limits = Limits { seconds: 2, ..Limits::default() };
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), limits);
    // On a busy machine it may also be short of processors.
    assert!(matches!(outcome.failure().0, Cause::Time | Cause::Processor), "{:?}", outcome.failure());
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    assert!(!is_running("86402"));
}

/// The processors are busy: many processes, of the test's own scheduling policy, use the only processor that the build
/// may use. Each has its own session, because the kernel may divide a processor between sessions first (sched(7),
/// autogroup).
#[test]
fn a_job_without_a_processor_may_succeed_later() {
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nwhile :; do :; done\n";
    let package = package(&[("cleanup", 0o755, script)]);
    // Threads and children inherit the processor of the thread that starts them.
    let worker = std::thread::spawn(move || {
        let mut processors = nix::sched::CpuSet::new();
        processors.set(first_processor()).unwrap();
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &processors).unwrap();
        let busy_processes: Vec<_> = (0..5)
            .map(|_| {
                let mut command = std::process::Command::new("setsid");
                command.args(["timeout", "120", "sh", "-c", "while :; do :; done"]).spawn().unwrap()
            })
            .collect();
        let outcome = build(&sandbox, &package, Limits { seconds: 6, ..Limits::default() });
        for mut process in busy_processes {
            // `timeout` passes this signal on.
            let pid = nix::unistd::Pid::from_raw(process.id().try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            process.wait().unwrap();
        }
        outcome
    });
    let outcome = worker.join().unwrap();
    let (cause, reason) = outcome.failure();
    assert!(cause == Cause::Processor && cause.is_temporary(), "{cause:?}: {reason}");
    assert!(reason.contains("time limit of 6 seconds") && reason.contains("otherwise idle"), "{reason}");
}

/// The first processor that this process may use.
fn first_processor() -> usize {
    let processors = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    (0..nix::sched::CpuSet::count()).find(|number| processors.is_set(*number).unwrap()).expect("a processor")
}

#[test]
fn a_job_ends_with_its_connection() {
    use rstudio_pm::builder::message::{BuildRPackage, Event, Purpose};
    use std::os::fd::AsFd;
    let (_directory, sandbox) = sandbox();
    let script = "#!/bin/sh\nsetsid sleep 86403 &\nsleep 86403\n";
    let source = super::job::readable_file(&package(&[("cleanup", 0o755, script)]));
    let (result_file, log) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let job = Job::BuildRPackage(BuildRPackage::default());
    let mut connection = sandbox.start(job.role(), &[]).unwrap();
    let descriptors = [
        (Purpose::Log, log.as_fd()),
        (Purpose::Result, result_file.as_fd()),
        (Purpose::Source, source.as_fd()),
    ];
    connection.start(job, Limits::default(), &descriptors).unwrap();
    assert!(matches!(connection.next_event(), Ok(Event::Started { .. })));
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_running("86403") {
        assert!(Instant::now() < deadline, "the build has not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(connection);
    assert!(wait_for_end("86403"));
}

#[test]
fn a_builder_refuses_jobs_of_the_other_role() {
    let (_directory, sandbox) = sandbox();
    let mut connection = sandbox.start(rstudio_pm::builder::message::Role::Build, &[]).unwrap();
    let file = tempfile::tempfile().unwrap();
    let descriptors = [
        (rstudio_pm::builder::message::Purpose::Log, std::os::fd::AsFd::as_fd(&file)),
        (rstudio_pm::builder::message::Purpose::Result, std::os::fd::AsFd::as_fd(&file)),
    ];
    connection
        .start(Job::FetchCommit(fetch("https://example.org/a")), Limits::default(), &descriptors)
        .unwrap();
    let event = connection.next_event();
    assert!(matches!(&event, Err(JobError::Refused(reason)) if reason.contains("'build'")), "{event:?}");
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
    let build_outcome = build(&sandbox, &package(&[("cleanup", 0o755, &script)]), Limits::default());
    build_outcome.success();
    assert!(!member(&build_outcome.content, "tested/found").contains("5e0f1c"));
    assert!(member(&build_outcome.content, "tested/errors").contains("Permission denied"));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "5e0f1c");
    assert!(!directory.path().join("new").exists());
}
