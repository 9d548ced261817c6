//! The protocol of a hand-over: JSON messages, one per line. The file descriptors are sent with the first message.

use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Maximum number of descriptors; more than any configuration needs.
const MAX_DESCRIPTORS: usize = 64;
/// Maximum length of the first line in bytes.
const MAX_LINE: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::daemon) struct SyncRestart {
    pub(in crate::daemon) kind: String,
    /// Version of Bioconductor, for a sync of one version.
    pub(in crate::daemon) version: Option<String>,
    /// The administrator who started the sync.
    pub(in crate::daemon) actor: String,
}

/// A message. Unknown messages of other program versions are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub(super) enum Message {
    /// First message, from the old server: the names of the descriptors, in order; `lock` is the lock of the database.
    #[serde(rename = "take")]
    Sockets {
        /// `http`, `https`, `redirect`, `metrics`, `admin`, `lock`.
        names: Vec<String>,
        /// Process ID of the old server.
        pid: i32,
        /// Whether the last server removes the file of the admin socket when it ends.
        #[serde(rename = "own_admin")]
        owns_admin_socket: bool,
    },
    /// From the new server: it has started.
    #[serde(rename = "begun")]
    Started {
        /// Process ID of the new server.
        pid: u32,
    },
    /// From the new server: it cannot serve.
    #[serde(rename = "refused")]
    Refusal {
        #[serde(rename = "why")]
        reason: String,
    },
    /// From the new server: everything is open, it can accept connections.
    Prepared { version: String },
    /// From the old server: accept connections.
    #[serde(rename = "go")]
    Accept,
    /// From the new server: it accepts connections.
    Ready,
    /// From the old server: systemd is notified; the new server is the main process.
    #[serde(rename = "yours")]
    HandOver {
        /// Syncs of administrators that were halted for the hand-over and are to be restarted.
        #[serde(default)]
        syncs: Vec<SyncRestart>,
    },
    /// From the new server, which is to stop: the old server must exit within the same deadline.
    Stop,
    /// A message of a newer version.
    #[serde(other)]
    Unknown,
}

fn encode(message: &Message) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("strings and numbers");
    line.push(b'\n');
    line
}

/// Sends the first message, with descriptors. The line fits the socket buffer, so this does not block.
pub(super) fn send_first(
    stream: &UnixStream,
    message: &Message,
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Error::new(ErrorKind::InvalidInput, "too many sockets to hand over"));
    }
    let line = encode(message);
    let count = sendmsg(stream, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
    // The descriptors were sent with the first bytes.
    (&mut &*stream).write_all(line.get(count..).unwrap_or_default())
}

/// Receives the first message and its descriptors. Blocks.
pub(super) fn receive_first(stream: &UnixStream) -> Result<(Message, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_LINE];
    let received_bytes =
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    bytes.truncate(received_bytes.bytes);
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut byte = [0];
    while !bytes.ends_with(b"\n") && bytes.len() < MAX_LINE {
        (&mut &*stream).read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok((serde_json::from_slice(&bytes)?, descriptors))
}

pub(super) fn send_blocking(stream: &UnixStream, message: &Message) -> Result<()> {
    (&mut &*stream).write_all(&encode(message))
}

/// One end of the channel, after the first message.
pub(super) struct Channel {
    // Not split into halves: dropping the write half would shut the socket down and prevent a last message.
    stream: BufReader<tokio::net::UnixStream>,
    buffer: Vec<u8>,
}

impl Channel {
    /// Wraps the stream. Requires a Tokio runtime.
    pub(super) fn new(stream: UnixStream) -> Result<Channel> {
        stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        Ok(Channel { stream: BufReader::new(stream), buffer: Vec::new() })
    }

    /// Sends a message. Fails if the other process has exited.
    pub(super) async fn send(&mut self, message: &Message) -> Result<()> {
        self.stream.get_mut().write_all(&encode(message)).await
    }

    /// Receives the next message; `None` when the other process has exited. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Option<Message> {
        loop {
            // After a cancellation, the bytes read so far are still in `buffer`.
            match self.stream.read_until(b'\n', &mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            let message = serde_json::from_slice(&self.buffer);
            self.buffer.clear();
            match message {
                Ok(Message::Unknown) | Err(_) => {}
                Ok(message) => return Some(message),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_arrive_with_their_names() {
        let (local, remote) = UnixStream::pair().expect("a pair");
        let (a, b) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (a, b) = (a.expect("a port"), b.expect("a port"));
        let message = Message::Sockets {
            names: vec!["http".to_owned(), "https".to_owned()],
            pid: 1,
            owns_admin_socket: true,
        };
        send_first(&local, &message, &[a.as_fd(), b.as_fd()]).expect("sent");
        let (received, descriptors) = receive_first(&remote).expect("received");
        assert_eq!(received, message);
        let addresses: Vec<_> =
            descriptors.into_iter().map(|fd| TcpListener::from(fd).local_addr().expect("bound")).collect();
        assert_eq!(addresses, [a.local_addr().expect("bound"), b.local_addr().expect("bound")]);
    }

    #[tokio::test]
    async fn unknown_messages_are_ignored_and_the_end_is_detected() {
        let (local, remote) = UnixStream::pair().expect("a pair");
        let mut channel = Channel::new(remote).expect("a channel");
        (&mut &local).write_all(b"{\"word\":\"later\"}\nnot JSON\n").expect("written");
        send_blocking(&local, &Message::Accept).expect("sent");
        assert_eq!(channel.receive().await, Some(Message::Accept));
        drop(local);
        assert_eq!(channel.receive().await, None);
    }
}
