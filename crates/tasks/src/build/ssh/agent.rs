//! An SSH agent with one key (draft-miller-ssh-agent). It signs logins for jobs: the key does not leave the server.

use std::io::{Read, Result, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::key::PrivateKey;
use super::{Reader, put_string};

/// Maximum length of a message in bytes, as in OpenSSH.
const MAX_MESSAGE: u32 = 256 << 10;
/// Maximum number of signatures for one job: git logs in a few times, and again for each submodule.
const MAX_SIGNATURES: u32 = 1000;

/// Message numbers of the agent protocol.
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Message number of a login request (RFC 4252, section 5).
const USERAUTH_REQUEST: u8 = 50;

/// Starts an agent; returns the client's end of its connection. The agent ends when that end is closed.
pub(in crate::build) fn start(key: Arc<PrivateKey>) -> Result<OwnedFd> {
    let (own, other) = UnixStream::pair()?;
    std::thread::Builder::new().name("SSH agent".to_owned()).spawn(move || {
        // An error means that the connection has ended.
        let _ = serve(&key, own);
    })?;
    Ok(other.into())
}

fn serve(key: &PrivateKey, mut stream: UnixStream) -> Result<()> {
    let mut signatures = 0;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > MAX_MESSAGE {
            return Ok(());
        }
        let mut request = Vec::new();
        (&stream).take(length.into()).read_to_end(&mut request)?;
        let answer = (signatures < MAX_SIGNATURES).then(|| answer(key, &request)).flatten();
        let answer = answer.unwrap_or_else(|| vec![FAILURE]);
        signatures += u32::from(answer.first() == Some(&SIGN_RESPONSE));
        let mut message = Vec::new();
        put_string(&mut message, &answer);
        stream.write_all(&message)?;
    }
}

/// Returns the response to a request; `None` if the request is refused.
fn answer(key: &PrivateKey, request: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(request);
    match reader.byte()? {
        REQUEST_IDENTITIES => {
            let mut answer = vec![IDENTITIES_ANSWER];
            answer.extend(1_u32.to_be_bytes());
            put_string(&mut answer, key.public());
            put_string(&mut answer, b"");
            Some(answer)
        }
        SIGN_REQUEST => {
            let (public, data, flags) = (reader.string()?, reader.string()?, reader.number()?);
            if public != key.public() || !is_login(data, public) {
                return None;
            }
            let mut answer = vec![SIGN_RESPONSE];
            put_string(&mut answer, &key.sign(data, flags)?);
            Some(answer)
        }
        // Requests to add or remove keys, to lock the agent, or for extensions.
        _ => None,
    }
}

/// Returns whether the data is a login request with this key (RFC 4252, section 7). Nothing else is signed.
fn is_login(data: &[u8], public: &[u8]) -> bool {
    let mut reader = Reader(data);
    let mut fields = || {
        let (_session, number, _user) = (reader.string()?, reader.byte()?, reader.string()?);
        let (service, method, is_signed) = (reader.string()?, reader.string()?, reader.byte()?);
        let (_algorithm, key) = (reader.string()?, reader.string()?);
        let is_method = matches!(method, b"publickey" | b"publickey-hostbound-v00@openssh.com");
        Some(
            number == USERAUTH_REQUEST
                && service == b"ssh-connection"
                && is_method
                && is_signed == 1
                && key == public,
        )
    };
    fields() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::ssh::key;

    fn request(stream: &mut UnixStream, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        put_string(&mut message, body);
        stream.write_all(&message).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    fn login(key: &[u8], method: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        put_string(&mut data, b"session");
        data.push(USERAUTH_REQUEST);
        for part in [b"git", &b"ssh-connection"[..], method] {
            put_string(&mut data, part);
        }
        data.push(1);
        put_string(&mut data, b"ssh-ed25519");
        put_string(&mut data, key);
        data
    }

    fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut body = vec![SIGN_REQUEST];
        put_string(&mut body, key);
        put_string(&mut body, data);
        body.extend(0_u32.to_be_bytes());
        body
    }

    #[test]
    fn only_logins_with_the_key_are_signed() {
        let private = Arc::new(key::generated());
        let public = private.public().to_vec();
        let mut stream = UnixStream::from(start(Arc::clone(&private)).unwrap());
        let listed = request(&mut stream, &[REQUEST_IDENTITIES]);
        assert!(listed[0] == IDENTITIES_ANSWER && listed.windows(public.len()).any(|part| part == public));
        for method in [&b"publickey"[..], b"publickey-hostbound-v00@openssh.com"] {
            let data = login(&public, method);
            let mut expected = vec![SIGN_RESPONSE];
            put_string(&mut expected, &private.sign(&data, 0).unwrap());
            assert_eq!(request(&mut stream, &sign(&public, &data)), expected);
        }
        let data = login(&public, b"publickey");
        for refused in [
            sign(b"another key", &data),
            sign(&public, b"SSHSIG and a file"),
            sign(&public, &login(b"another key", b"publickey")),
            sign(&public, &login(&public, b"password")),
            sign(&public, &data[..data.len() - 1]),
            vec![],
            vec![SIGN_REQUEST],
            vec![17, 0, 0],
            vec![27],
        ] {
            assert_eq!(request(&mut stream, &refused), [FAILURE], "{refused:?}");
        }
        stream.write_all(&[0xff; 4]).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a long message ends the connection");
    }
}
