//! Relays messages of the SSH agent protocol to the server, which signs, so that the private key never enters the
//! sandbox.

use std::fs;
use std::io::{Error, Read, Result, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Maximum length of a message in bytes, as in OpenSSH.
const MAX_MESSAGE: u32 = 256 << 10;

/// Listens on a socket in a directory, and relays its connections, one at a time, until the program ends. Returns the
/// socket's path.
pub(super) fn listen(directory: &Path, upstream: OwnedFd) -> Result<PathBuf> {
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
    fn messages_are_relayed_and_long_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let (mut agent, upstream) = UnixStream::pair().unwrap();
        let path = listen(directory.path(), upstream.into()).unwrap();
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
