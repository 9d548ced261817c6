//! Builders as units of a booted system. `tests/packaging/builders` runs these from outside, one at a time, and names
//! the root directory of the system in `RSPM_SYSTEM`; repositories, servers and secrets are those that it creates there.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::attempts::Targets;
use super::hostile::all_attempts_fail;
use super::job::{build, fetch, list_references, member, package, readable_file, run};
use crate::support::fixtures::until;
use rstudio_pm::builder::connection::{Connection, JobError, credential_file};
use rstudio_pm::builder::message::{BuildRPackage, Cause, Credential, Event, Job, Limits, Purpose, Role};
use rstudio_pm::builder::sandbox::{Choice, Kind, Paths, Sandbox, detect};

/// The password of the repositories, which must appear nowhere. `tests/packaging/builders` has the same value.
const PASSWORD: &str = "correct horse 7f3a";
const SERVER: &str = "git.test";

fn system() -> PathBuf {
    PathBuf::from(std::env::var_os("RSPM_SYSTEM").expect("run by tests/packaging/builders"))
}

fn sandbox() -> Sandbox {
    let paths = Paths {
        fetch_socket: system().join("run/rstudio-pm-fetch.sock"),
        build_socket: system().join("run/rstudio-pm-build.sock"),
        ..Paths::default()
    };
    let sandbox = detect(Choice::Auto, false, None, &paths).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sandbox.kind, Kind::Systemd);
    sandbox
}

fn credential(password: &str) -> std::os::fd::OwnedFd {
    let credential = Credential {
        protocol: "https".to_owned(),
        host: SERVER.to_owned(),
        username: "builder".to_owned(),
        password: password.to_owned(),
    };
    credential_file(&credential).unwrap()
}

/// Whether arguments or environment of a process contain the password.
fn password_is_visible() -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut files =
        processes.flat_map(|process| ["cmdline", "environ"].map(|name| process.path().join(name)));
    files.any(|file| {
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes())
    })
}

/// Processes of the system whose arguments contain a word: process id and uid.
fn processes(word: &str) -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir(system().join("proc")).unwrap().flatten();
    let processes =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    processes
        .filter(|(_, path)| {
            std::fs::read(path.join("cmdline"))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(word))
        })
        .filter_map(|(pid, path)| Some((pid, path.metadata().ok()?.uid())))
        .collect()
}

/// Starts a build of a package whose `cleanup` is the script. Returns its connection, its log and its result file.
fn start(sandbox: &Sandbox, script: &str) -> (Connection, [std::fs::File; 2]) {
    let source = readable_file(&package(&[("cleanup", 0o755, script)]));
    let files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let mut connection = sandbox.start(Role::Build, &[]).unwrap();
    let descriptors = [
        (Purpose::Log, files[0].as_fd()),
        (Purpose::Result, files[1].as_fd()),
        (Purpose::Source, source.as_fd()),
    ];
    connection.start(Job::BuildRPackage(BuildRPackage::default()), Limits::default(), &descriptors).unwrap();
    let event = connection.next_event();
    assert!(matches!(event, Ok(Event::Started { .. })), "{event:?}");
    (connection, files)
}

/// Asserts that the tree of the package `greeting` can be built.
fn assert_builds(sandbox: &Sandbox, tree: &[u8]) {
    let outcome = build(sandbox, tree, Limits::default());
    assert_eq!(outcome.success().file.as_deref(), Some("greeting_1.0.0.tar.gz"), "{}", outcome.log);
    assert!(member(&outcome.content, "greeting/DESCRIPTION").contains("\nPackaged: "));
}

#[test]
#[ignore = "needs a booted system"]
fn a_local_repository_is_fetched_and_built() {
    let sandbox = sandbox();
    let fetch_outcome =
        run(&sandbox, Job::FetchCommit(fetch("file:///srv/git/greeting")), Limits::default(), &[], &[]);
    fetch_outcome.success();
    assert_builds(&sandbox, &fetch_outcome.content);
}

#[test]
#[ignore = "needs a booted system"]
fn a_repository_behind_a_password_is_fetched_and_built_and_the_password_is_nowhere() {
    let sandbox = sandbox();
    let url = format!("https://{SERVER}/greeting");
    let secret = credential(PASSWORD);
    let descriptors = [(Purpose::Credential, secret.as_fd())];
    let remote = fetch(&url).remote;
    let list_outcome =
        run(&sandbox, list_references(remote, &["refs/heads/main"]), Limits::default(), &[], &descriptors);
    list_outcome.success();
    let commit = String::from_utf8_lossy(&list_outcome.content).split('\t').next().unwrap().to_owned();

    let is_finished = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut rounds = 0;
            while !is_finished.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(!password_is_visible());
                rounds += 1;
            }
            rounds
        });
        let mut job = fetch(&url);
        job.commit = Some(commit.clone());
        let fetch_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &descriptors);
        is_finished.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(fetch_outcome.success().commit, Some(commit.clone()));
        assert!(!fetch_outcome.log.contains(PASSWORD), "{}", fetch_outcome.log);
        assert!(watcher.join().unwrap() > 0);
        assert_builds(&sandbox, &fetch_outcome.content);
    });
}

#[test]
#[ignore = "needs a booted system"]
fn a_repository_is_fetched_over_ssh_with_a_key_that_stays_outside() {
    let sandbox = sandbox();
    let known_hosts = std::fs::read_to_string(system().join("root/known_hosts")).unwrap();
    assert!(known_hosts.starts_with("git.test ssh-ed25519 "), "{known_hosts}");
    let connect = || std::os::unix::net::UnixStream::connect(system().join("run/agent.sock")).unwrap();
    for url in ["ssh://git@git.test/srv/git/greeting", "git@git.test:/srv/git/greeting"] {
        let mut job = fetch(url);
        job.remote.known_hosts = known_hosts.clone();
        let agent = connect();
        let descriptors = [(Purpose::Agent, agent.as_fd())];
        let fetch_outcome =
            run(&sandbox, Job::FetchCommit(job.clone()), Limits::default(), &[], &descriptors);
        fetch_outcome.success();
        assert_builds(&sandbox, &fetch_outcome.content);

        let outcome_without_agent = run(&sandbox, Job::FetchCommit(job.clone()), Limits::default(), &[], &[]);
        assert_eq!(outcome_without_agent.failure().0, Cause::Remote);
        assert!(
            outcome_without_agent.log.contains("Permission denied (publickey"),
            "{}",
            outcome_without_agent.log
        );
        job.remote.known_hosts = known_hosts.replace("AAAAI", "AAAAJ");
        let agent = connect();
        let descriptors = [(Purpose::Agent, agent.as_fd())];
        let unknown_host_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &descriptors);
        assert_eq!(unknown_host_outcome.failure().0, Cause::Remote);
        assert!(
            unknown_host_outcome.log.contains("Host key verification failed"),
            "{}",
            unknown_host_outcome.log
        );
    }
}

#[test]
#[ignore = "needs a booted system"]
fn one_directory_of_a_large_repository_is_fetched() {
    let sandbox = sandbox();
    let secret = credential(PASSWORD);
    let mut job = fetch(&format!("https://{SERVER}/large"));
    job.directory = "r/greeting".to_owned();
    let descriptors = [(Purpose::Credential, secret.as_fd())];
    let fetch_outcome = run(&sandbox, Job::FetchCommit(job), Limits::default(), &[], &descriptors);
    fetch_outcome.success();
    assert_builds(&sandbox, &fetch_outcome.content);
}

#[test]
#[ignore = "needs a booted system"]
fn a_wrong_password_and_other_hosts_get_nothing() {
    let sandbox = sandbox();
    for (url, password, message) in [
        (format!("https://{SERVER}/greeting"), Some("wrong"), "Authentication failed"),
        (format!("https://{SERVER}/greeting"), None, "could not read Username"),
        // The same server under another name: the credential is not for it.
        ("https://other.test/greeting".to_owned(), Some(PASSWORD), "quit"),
        // Redirects to that name.
        (format!("https://{SERVER}/redirect/greeting"), Some(PASSWORD), "quit"),
        ("file:///srv/git/none".to_owned(), None, "does not appear to be a git repository"),
    ] {
        let secret = password.map(credential);
        let descriptors: Vec<_> = secret.iter().map(|secret| (Purpose::Credential, secret.as_fd())).collect();
        let fetch_outcome =
            run(&sandbox, Job::FetchCommit(fetch(&url)), Limits::default(), &[], &descriptors);
        let (cause, reason) = fetch_outcome.failure();
        assert_eq!(cause, Cause::Remote, "{url}: {reason}\n{}", fetch_outcome.log);
        assert!(fetch_outcome.log.contains(message), "{url}: {}", fetch_outcome.log);
        assert!(!fetch_outcome.log.contains(PASSWORD), "{}", fetch_outcome.log);
    }
}

#[test]
#[ignore = "needs a booted system"]
fn hostile_code_reaches_nothing() {
    let sandbox = sandbox();
    let targets = Targets {
        files: [
            "/etc/rstudio-pm/rstudio-pm.gcfg",
            "/var/lib/rstudio-pm/rstudio-pm.key",
            "/var/lib/rstudio-pm/db/rstudio-pm.sqlite",
            "/var/lib/rstudio-pm/readable",
            "/root/readable",
            "/home/administrator/readable",
            "/srv/git/greeting/HEAD",
            "/var/log/rstudio/rstudio-pm/readable",
        ]
        .map(str::to_owned)
        .to_vec(),
        sockets: [
            "/run/rstudio-pm/rstudio-pm.sock",
            "/run/dbus/system_bus_socket",
            "/run/docker.sock",
            "/run/postgresql/.s.PGSQL.5432",
            "/run/systemd/private",
            "/run/systemd/journal/stdout",
            "@canary",
        ]
        .map(str::to_owned)
        .to_vec(),
        packet_sockets: ["/run/rstudio-pm-build.sock", "/run/rstudio-pm-fetch.sock"]
            .map(str::to_owned)
            .to_vec(),
        addresses: vec![("127.0.0.1".to_owned(), 4242), ("10.77.0.1".to_owned(), 443)],
        process: "86405".to_owned(),
        other_build: Some("86406".to_owned()),
    };
    let root = system();
    for path in targets.files.iter().chain(targets.sockets.iter().filter(|path| path.starts_with('/'))) {
        assert!(root.join(&path[1..]).exists(), "{path} does not exist: the attempt would prove nothing");
    }
    assert!(!processes("86405").is_empty(), "the process of another user does not run");
    let (other_build, _files) = start(&sandbox, "#!/bin/sh\necho x > /build/canary\nsleep 86406\n");
    until("the other build runs", || !processes("86406").is_empty());
    all_attempts_fail(&sandbox, &targets);
    assert!(!processes("86406").is_empty(), "the other build still runs");
    drop(other_build);
    until("the other build has ended", || processes("86406").is_empty());
}

#[test]
#[ignore = "needs a booted system"]
fn each_build_has_its_own_user_and_their_number_is_limited() {
    let sandbox = sandbox();
    let script = "#!/bin/sh\nsetsid sleep 86407 &\nsleep 86407\n";
    let first_build = start(&sandbox, script);
    let second_build = start(&sandbox, script);
    let users = || {
        let mut users: Vec<_> = processes("86407").into_iter().map(|(_, uid)| uid).collect();
        users.sort_unstable();
        users.dedup();
        users
    };
    until("two users run builds", || users().len() == 2);
    assert!(users().iter().all(|uid| (61184..=65519).contains(uid)), "{:?}", users());
    let third_outcome = build(&sandbox, &package(&[]), Limits::default());
    assert!(matches!(third_outcome.result, Err(JobError::Busy)), "{third_outcome:?}");
    drop((first_build, second_build));
    until("all processes of the builds have ended", || processes("86407").is_empty());
    until("builders are free again", || build(&sandbox, &package(&[]), Limits::default()).result.is_ok());
}

#[test]
#[ignore = "needs a booted system"]
fn limits_end_a_build_and_nothing_else() {
    let sandbox = sandbox();
    let limits = Limits { seconds: 180, idle: true, ..Limits::default() };
    let failure_cause = |script: &str, limits: Limits| {
        let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), limits);
        let (cause, reason) = outcome.failure();
        println!("{reason}");
        cause
    };
    // The workspace is full, then R cannot write either.
    let cause =
        failure_cause("#!/bin/sh\nfor n in 1 2 3 4 5; do head -c 1G /dev/zero > $HOME/$n; done\n", limits);
    assert_eq!(cause, Cause::Size);
    // A fork bomb ends with its shell, which cannot start more processes, or with the time limit.
    let script = "#!/bin/sh\nf() { f | f & sleep 1; f; }; f; sleep 86408\n";
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), Limits { seconds: 20, ..limits });
    assert!(outcome.result.is_ok(), "{outcome:?}");
    until("no process of the fork bomb is left", || processes("cleanup").is_empty());
    // Commands run on idle processors (field 41 of proc(5): the policy 5 is SCHED_IDLE) and cannot choose another policy.
    let script = "#!/bin/sh\nchrt --other --pid 0 $$\ncut -d ' ' -f 41 /proc/$$/stat > policy\n";
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), limits);
    assert_eq!(member(&outcome.content, "tested/policy").trim(), "5", "{outcome:?}");
    // Memory: the process gets none beyond its limit.
    let script =
        "#!/bin/sh\nperl -e '$x = \"x\" x 5e9; print length $x' > memory 2>&1\necho exit $? >> memory\n";
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), limits);
    assert!(member(&outcome.content, "tested/memory").contains("Out of memory"), "{:?}", outcome.result);
    // The builder itself is killed: it runs as the same user.
    let script = "#!/bin/sh\nfor p in $(cat /proc/*/stat | cut -d ' ' -f 4); do kill -9 $p; done; kill -9 -1; sleep 60\n";
    let outcome = build(&sandbox, &package(&[("cleanup", 0o755, script)]), limits);
    match &outcome.result {
        Err(JobError::Ended) => {}
        Ok(report) => assert!(report.failure.is_some(), "{report:?}"),
        other => panic!("{other:?}"),
    }
    until("builders are free again", || build(&sandbox, &package(&[]), limits).result.is_ok());
    assert!(Path::new(&system()).join("run/rstudio-pm-build.sock").exists());
}
