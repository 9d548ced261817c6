//! A repository behind a password, and webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ring::hmac;

use super::git_server::GitServer;
use super::{
    builder_with, builds, create, installed_version, is_anywhere, listed_version, repository, server,
    wait_for, wait_for_build,
};
use crate::builder::repository::Repository;
use crate::support::http;
use crate::support::server::Server;

const PASSWORD: &str = "correct-horse-8d1f";
const SECRET: &str = "webhook-secret-77c2";

/// `rspm` with the text on standard input.
fn rspm_with_input(server: &Server, line: &str, input: &str) {
    let mut child = server.rspm_command(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success(), "rspm {line}");
}

/// The status of a webhook with these headers.
fn webhook(server: &Server, builder: i64, headers: &[(&str, &str)], body: &str) -> u16 {
    let path = format!("/__api__/git-builders/{builder}/poll");
    let host = server.host();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer.split(' ').nth(1).expect("a status").parse().unwrap()
}

#[test]
fn a_repository_behind_a_password_is_built_and_a_signed_webhook_triggers_a_poll() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    let git = GitServer::start(repository.path().parent().unwrap().to_owned(), "ci", PASSWORD);
    let name = repository.path().file_name().unwrap().to_str().unwrap();
    let url = git.url(&format!("{name}/.git"));
    rspm_with_input(&server, "import https-credential --name=ci --username=ci", &format!("{PASSWORD}\n"));
    server.rspm_stdout("import https-credential --name=wrong --username=ci --password=wrong-password");
    let secret = server.dir().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();

    let line = format!("create git-builder --source=dev --url={url}");
    for credential in ["", " --credential=wrong"] {
        let refused = server.rspm(&format!("{line}{credential}"));
        assert!(refused.code == 1 && refused.err.contains("git ls-remote"), "{credential}: {}", refused.err);
        assert!(!refused.err.contains("wrong-password"), "{}", refused.err);
    }
    let line = format!("{line} --credential=ci --webhook-secret-path={}", secret.display());
    let created = server.rspm(&line);
    assert_eq!(created.code, 0, "{}", created.err);
    assert_eq!(installed_version(&server), "1.0");
    std::fs::remove_file(secret).unwrap();

    repository.package("", "1.1");
    repository.commit();
    let id = server.json("list git-builders")[0]["id"].as_i64().unwrap();
    let body = r#"{"ref":"refs/heads/main","repository":{"url":"https://evil.example"}}"#;
    let requests = git.requests.lock().unwrap().len();
    for headers in [
        vec![],
        vec![("X-Gitlab-Token", "wrong")],
        vec![("X-Hub-Signature-256", "sha256=00")],
        vec![("X-Gitea-Signature", "00")],
    ] {
        assert_eq!(webhook(&server, id, &headers, body), 404, "{headers:?}");
    }
    assert_eq!(webhook(&server, id + 1, &[("X-Gitlab-Token", SECRET)], body), 404);
    assert_eq!(git.requests.lock().unwrap().len(), requests, "nothing was polled");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = format!("sha256={}", hex::encode(hmac::sign(&key, body.as_bytes())));
    assert_eq!(webhook(&server, id, &[("X-Hub-Signature-256", &signature)], body), 202);
    wait_for("the commit of the webhook is published", || {
        listed_version(&server).filter(|version| version == "1.1")
    });
    assert_eq!(builds(&server)[0]["actor"], "webhook");

    // Git servers send several megabytes after a push of many commits.
    let large = "x".repeat(3 << 20);
    let signature = format!("sha256={}", hex::encode(hmac::sign(&key, large.as_bytes())));
    assert_eq!(webhook(&server, id, &[("X-Hub-Signature-256", &signature)], &large), 202);

    // A larger body than those of GitHub is refused before it is read.
    let stream = std::net::TcpStream::connect(server.host()).unwrap();
    let (host, length) = (server.host(), (25 << 20) + 1);
    let head = format!(
        "POST /__api__/git-builders/{id}/poll HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: \
         {length}\r\n\r\n"
    );
    (&stream).write_all(head.as_bytes()).unwrap();
    let mut status = String::new();
    BufReader::new(&stream).read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 413"), "{status}");

    // A token for the source replaces the signature.
    let token = |source: &str| {
        let line = format!("create token --scope=sources:write --sources={source} --description=ci --quiet");
        server.rspm_stdout(&line).trim().to_owned()
    };
    server.rspm_stdout("create source --name=other");
    for (source, status) in [("other", 404), ("dev", 202)] {
        let bearer = format!("Bearer {}", token(source));
        assert_eq!(webhook(&server, id, &[("Authorization", &bearer)], ""), status, "{source}");
        // A client that may start a build may also follow it.
        let path = format!("/__api__/admin/v1/git-builds/{}/log", builds(&server)[0]["id"]);
        let log = http::request("GET", &server.url(&path), &[("Authorization", bearer.as_str())], b"");
        assert_eq!(log.status, if source == "dev" { 200 } else { 404 }, "{source}: {}", log.text());
    }
    wait_for("the poll of the token has ended", || {
        let polled = || server.json("list git-builders")[0]["polled"].clone();
        let before = polled();
        std::thread::sleep(std::time::Duration::from_secs(2));
        (polled() == before).then_some(())
    });
    let before = git.requests.lock().unwrap().len();
    server.rspm_stdout("run git-builder --source=dev --name=tested");
    let requests = git.requests.lock().unwrap()[before..].to_vec();
    assert_eq!(requests.len(), 1, "a poll without news is one request: {requests:?}");
    assert!(requests[0].contains("/git-upload-pack "), "only the references are listed: {requests:?}");

    let listed = server.rspm_stdout("list git-credentials");
    assert!(listed.contains("ci") && listed.contains("tested"), "{listed}");
    let used = server.rspm("delete git-credential --type=https --name=ci");
    assert!(used.code == 1 && used.err.contains("--remove-credential"), "{}", used.err);
    server.rspm_stdout("delete git-credential --type=https --name=wrong");
    for secret in [PASSWORD, SECRET, "wrong-password"] {
        assert!(!server.log_lines().iter().any(|line| line.contains(secret)), "{secret} is in the log");
        assert!(!is_anywhere(server.dir(), secret), "{secret} is in a file");
    }
}

/// A server that redirects every request to another one; returns its address.
fn redirect_to(target: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let (mut path, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                    break;
                }
                if path.is_empty() {
                    path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches("/x").to_owned();
                } else if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = number.trim().parse().unwrap_or(0);
                }
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let head = format!(
                "HTTP/1.1 302 Found\r\nLocation: {target}{path}\r\nContent-Length: 0\r\nConnection: close"
            );
            let _ = (&client).write_all(format!("{head}\r\n\r\n").as_bytes());
        }
    });
    address
}

#[test]
fn servers_with_an_old_protocol_are_polled_and_a_redirect_gets_no_password() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    let root = repository.path().parent().unwrap().to_owned();
    let (new, old) =
        (GitServer::start(root.clone(), "ci", PASSWORD), GitServer::start_old(root, "ci", PASSWORD));
    let path = format!("{}/.git", repository.path().file_name().unwrap().to_str().unwrap());
    rspm_with_input(&server, "import https-credential --name=ci --username=ci", &format!("{PASSWORD}\n"));
    let url = new.url(&path);
    server.rspm_stdout(&format!(
        "create git-builder --source=dev --url={url} --credential=ci --build-trigger=tags"
    ));
    repository.git(&["tag", "--annotate", "v1.0", "--message=x"]);
    let edit = |url: &str| {
        server.rspm_stdout(&format!("edit git-builder --source=dev --name=tested --new-url={url}"));
    };
    let run = || server.rspm("run git-builder --source=dev --name=tested --no-wait");
    edit(&old.url(&path));
    // The edited builder is due, so either the schedule or this command finds the tag.
    assert_eq!(run().code, 0);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    super::wait_for_build(&server, "commit", &commit, "published");
    let requests = old.requests.lock().unwrap().clone();
    let is_list =
        |head: &&String| head.starts_with("GET ") && head.contains("/info/refs?service=git-upload-pack ");
    assert!(requests.iter().any(|head| is_list(&head) && !head.to_lowercase().contains("git-protocol")));

    let before = new.requests.lock().unwrap().len();
    edit(&redirect_to(url));
    let refused = run();
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(!refused.err.contains(PASSWORD), "{}", refused.err);
    for head in &new.requests.lock().unwrap()[before..] {
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
    }
}

#[test]
fn a_poll_that_ends_after_a_later_one_does_not_build_an_older_commit() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    let git = GitServer::start(repository.path().parent().unwrap().to_owned(), "ci", PASSWORD);
    let url = git.url(&format!("{}/.git", repository.path().file_name().unwrap().to_str().unwrap()));
    rspm_with_input(&server, "import https-credential --name=ci --username=ci", &format!("{PASSWORD}\n"));
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url} --credential=ci"));
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));

    let (complete, is_complete) = std::sync::mpsc::channel();
    let (release, is_released) = std::sync::mpsc::channel();
    *git.hold.lock().unwrap() = Some((complete, is_released));
    repository.package("", "1.1");
    let older = repository.commit();
    let line = "run git-builder --source=dev --name=tested --no-wait";
    let first = server.rspm_command(line).stdout(Stdio::piped()).spawn().unwrap();
    is_complete.recv_timeout(super::TIMEOUT).expect("the first poll has listed the older commit");
    repository.package("", "1.2");
    repository.commit();
    let second = server.rspm_stdout(line);
    assert!(second.starts_with("New commit "), "{second}");
    release.send(()).unwrap();
    let output = first.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"Nothing new: "), "{output:?}");
    wait_for("the newer commit is published", || listed_version(&server).filter(|version| version == "1.2"));
    assert!(builds(&server).iter().all(|build| build["commit"] != older), "{:?}", builds(&server));
}

/// A server that answers every request with status 429 and a pause of an hour; returns its address and the number of
/// requests.
fn pausing_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/x", listener.local_addr().unwrap());
    let count = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                    break;
                }
                if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = number.trim().parse().unwrap_or(0);
                }
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let head = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close";
            let _ = (&client).write_all(format!("{head}\r\n\r\n").as_bytes());
        }
    });
    (address, count)
}

#[test]
fn a_webhook_does_not_poll_during_the_pause_that_a_git_server_requests() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    let git = GitServer::start(repository.path().parent().unwrap().to_owned(), "", "");
    let url = git.url(&format!("{}/.git", repository.path().file_name().unwrap().to_str().unwrap()));
    let secret = server.dir().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let line =
        format!("create git-builder --source=dev --url={url} --webhook-secret-path={}", secret.display());
    server.rspm_stdout(&line);
    let id = server.json("list git-builders")[0]["id"].as_i64().unwrap();
    let (address, requests) = pausing_server();
    server.rspm_stdout(&format!("edit git-builder --source=dev --name=tested --new-url={address}"));
    // The edited builder is due.
    wait_for("the poll of the schedule", || {
        let error = server.json("list git-builders")[0]["error"].as_str().unwrap_or_default().to_owned();
        error.contains("the next request is allowed after 3600 seconds").then_some(())
    });
    let before = requests.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(webhook(&server, id, &[("X-Gitlab-Token", SECRET)], ""), 202);
    }
    // The command of an administrator is sent anyway, and after the webhooks.
    let refused = server.rspm("run git-builder --source=dev --name=tested");
    assert!(refused.code == 1 && refused.err.contains("3600 seconds"), "{}", refused.err);
    assert_eq!(requests.load(Ordering::SeqCst), before + 1);
}

#[test]
fn the_schedule_polls_no_builder_of_a_host_that_requests_a_pause() {
    let server = server("PollInterval = 1s");
    for source in ["second", "local"] {
        server.rspm_stdout(&format!("create source --name={source} --type=git"));
    }
    let repository = repository("1.0");
    let git = GitServer::start(repository.path().parent().unwrap().to_owned(), "", "");
    let url = git.url(&format!("{}/.git", repository.path().file_name().unwrap().to_str().unwrap()));
    for source in ["dev", "second"] {
        server.rspm_stdout(&format!("create git-builder --source={source} --url={url}"));
    }
    let local = super::repository("1.0");
    server.rspm_stdout(&format!("create git-builder --source=local --url={}", local.url()));
    let (address, _) = pausing_server();
    server.rspm_stdout(&format!("edit git-builder --source=dev --name=tested --new-url={address}"));
    wait_for("the poll of the schedule", || {
        let builders = server.json("list git-builders --source=dev");
        let error = builders[0]["error"].as_str().unwrap_or_default().to_owned();
        error.contains("the next request is allowed after 3600 seconds").then_some(())
    });
    let before = git.requests.lock().unwrap().len();
    // Meanwhile the schedule polls other hosts.
    for version in ["1.1", "1.2", "1.3"] {
        local.package("", version);
        wait_for_build(&server, "commit", &local.commit(), "published");
    }
    assert_eq!(git.requests.lock().unwrap().len(), before);
}

#[test]
fn a_repository_with_sha_256_is_polled_and_built() {
    let server = server("PollInterval = 1h");
    let repository = Repository::new();
    std::fs::remove_dir_all(repository.path().join(".git")).unwrap();
    repository.git(&["init", "--quiet", "--initial-branch=main", "--object-format=sha256"]);
    repository.package("", "1.0");
    assert_eq!(repository.commit().len(), 64);
    let git = GitServer::start(repository.path().parent().unwrap().to_owned(), "ci", PASSWORD);
    let url = git.url(&format!("{}/.git", repository.path().file_name().unwrap().to_str().unwrap()));
    rspm_with_input(&server, "import https-credential --name=ci --username=ci", &format!("{PASSWORD}\n"));
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url} --credential=ci"));
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));

    repository.package("", "1.1");
    repository.commit();
    let before = git.requests.lock().unwrap().len();
    let run = server.rspm_stdout("run git-builder --source=dev --name=tested");
    assert!(run.starts_with("New commit "), "{run}");
    assert_eq!(listed_version(&server).as_deref(), Some("1.1"));
    let requests = git.requests.lock().unwrap()[before..].to_vec();
    assert!(requests.iter().any(|head| head.contains("rstudio-pm/")), "not by git: {requests:?}");
    let before = requests.len() + before;
    server.rspm_stdout("run git-builder --source=dev --name=tested");
    let requests = git.requests.lock().unwrap()[before..].to_vec();
    assert_eq!(requests.len(), 1, "a poll without news is one request: {requests:?}");
}

#[test]
fn repositories_over_http_are_reached_through_the_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&client).read_line(&mut line);
            let _ = sender.send(line);
            let _ = (&client)
                .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let section = format!("[Proxy]\nURL = {proxy}\nUser = team\nPassword = proxy-word-51d2");
    let gcfg = format!("PollInterval = 1h\n{section}");
    let server = builder_with(&gcfg).env("NO_PROXY", "").env("no_proxy", "").start();
    create(&server);
    let refused = server.rspm("create git-builder --source=dev --url=http://git.example.invalid/x");
    assert_eq!(refused.code, 1, "{}", refused.out);
    let line = requests.recv_timeout(std::time::Duration::from_secs(60)).expect("a request to the proxy");
    assert!(line.starts_with("GET http://git.example.invalid/x/info/refs?"), "{line}");
    assert!(!refused.err.contains("proxy-word-51d2"), "{}", refused.err);
    assert!(!server.log_lines().iter().any(|line| line.contains("proxy-word-51d2")));
}
