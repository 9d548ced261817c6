//! Credentials of git. The helper returns the job's credential only for the credential's protocol and host. It reads the
//! credential from an inherited in-memory file, so that the password is not in an argument, an environment variable, a file
//! on disk or a log. Messages of the SSH agent protocol are relayed to the server, which signs, so that the private key never
//! enters the sandbox.

use std::fs::{self, File};
use std::io::{Error, Read, Result, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::message::Credential;

/// Maximum length of git's request and of the credential, in bytes.
const MAX_LENGTH: u64 = 64 << 10;

/// Runs `rstudio-pm-builder credential NUMBER get`; NUMBER is the inherited descriptor. Ignores other operations.
pub(in crate::program) fn main(descriptor: &str) -> ExitCode {
    if std::env::args().nth(3).as_deref() != Some("get") {
        return ExitCode::SUCCESS;
    }
    let answer = || -> std::io::Result<String> {
        let number: u32 = descriptor.parse().map_err(std::io::Error::other)?;
        let mut question = String::new();
        std::io::stdin().take(MAX_LENGTH).read_to_string(&mut question)?;
        let file = File::open(format!("/proc/self/fd/{number}"))?;
        let credential: Credential = serde_json::from_reader(file.take(MAX_LENGTH))?;
        Ok(answer(&question, &credential))
    };
    match answer() {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not read the credential: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the response to a request, in git's format (git-credential(1)). `quit` prevents git from requesting the
/// credential from other helpers or the user.
fn answer(question: &str, credential: &Credential) -> String {
    let value = |key: &str| question.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_match = value("protocol") == Some(credential.protocol.as_str())
        && value("host").is_some_and(|host| host.eq_ignore_ascii_case(&credential.host));
    let is_valid = |text: &str| !text.contains(['\n', '\r', '\0']);
    if is_match && is_valid(&credential.username) && is_valid(&credential.password) {
        format!("username={}\npassword={}\n", credential.username, credential.password)
    } else {
        "quit=1\n".to_owned()
    }
}

/// Maximum length of a message in bytes, as in OpenSSH.
const MAX_MESSAGE: u32 = 256 << 10;

/// Listens on a socket in a directory, and relays one connection at a time until the program ends. Returns the path.
pub(super) fn relay_agent(directory: &Path, upstream: OwnedFd) -> Result<PathBuf> {
    let path = directory.join("agent");
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let mut upstream = UnixStream::from(upstream);
    std::thread::Builder::new().name("agent".to_owned()).spawn(move || {
        for client in listener.incoming().flatten() {
            // An error ends the connection, which the SSH command then reports.
            let _ = relay(client, &mut upstream);
        }
    })?;
    Ok(path)
}

fn relay(mut client: UnixStream, upstream: &mut UnixStream) -> Result<()> {
    while let Some(request) = message(&mut client)? {
        upstream.write_all(&request)?;
        let Some(response) = message(upstream)? else { return Err(Error::other("the SSH agent has ended")) };
        client.write_all(&response)?;
    }
    Ok(())
}

/// Reads a message, including its length; `None` at the end of the stream.
fn message(stream: &mut UnixStream) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..])?;
    let count = u32::from_be_bytes(length);
    if count > MAX_MESSAGE {
        return Err(Error::other("a message of the SSH agent protocol is too long"));
    }
    let mut bytes = length.to_vec();
    stream.take(count.into()).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(count) + 4 {
        return Err(Error::other("a message of the SSH agent protocol is incomplete"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_protocol_and_host_are_answered() {
        let credential = Credential {
            protocol: "https".to_owned(),
            host: "git.example.org:8443".to_owned(),
            username: "u".to_owned(),
            password: "p=1".to_owned(),
        };
        let expected = "username=u\npassword=p=1\n";
        assert_eq!(answer("protocol=https\nhost=git.example.org:8443\n", &credential), expected);
        assert_eq!(
            answer("capability[]=authtype\nprotocol=https\nhost=GIT.example.org:8443\n\n", &credential),
            expected
        );
        for question in [
            "",
            "protocol=http\nhost=git.example.org:8443\n",
            "protocol=https\nhost=git.example.org\n",
            "protocol=https\nhost=git.example.org:8443.other\n",
            "protocol=https\nhost=other\npath=/host=git.example.org:8443\n",
            "host=git.example.org:8443\n",
        ] {
            assert_eq!(answer(question, &credential), "quit=1\n", "{question}");
        }
        let invalid_credential = Credential { password: "p\nurl=https://other".to_owned(), ..credential };
        assert_eq!(answer("protocol=https\nhost=git.example.org:8443\n", &invalid_credential), "quit=1\n");
    }

    #[test]
    fn messages_are_relayed_and_long_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let (mut agent, upstream) = UnixStream::pair().unwrap();
        let path = relay_agent(directory.path(), upstream.into()).unwrap();
        for _ in 0..2 {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(&[0, 0, 0, 1, 11]).unwrap();
            assert_eq!(message(&mut agent).unwrap().unwrap(), [0, 0, 0, 1, 11]);
            agent.write_all(&[0, 0, 0, 2, 12, 0]).unwrap();
            assert_eq!(message(&mut client).unwrap().unwrap(), [0, 0, 0, 2, 12, 0]);
        }
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(&[0xff; 8]).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }
}
