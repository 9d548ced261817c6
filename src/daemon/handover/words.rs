//! What the two processes of a hand-over say to each other: JSON, one word a line; descriptors come with the first.

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

/// More sockets than any configuration asks for.
const MOST: usize = 64;
/// A longer line is not one of ours.
const LONGEST: usize = 64 << 10;

/// A sync to be begun again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::daemon) struct Again {
    /// The kind of its source.
    pub(in crate::daemon) kind: String,
    /// The version of Bioconductor, where it was of one.
    pub(in crate::daemon) version: Option<String>,
    /// Whose it is.
    pub(in crate::daemon) actor: String,
}

/// What can be said. A word of another version that is not known is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub(super) enum Word {
    /// The first, from the old one: what the descriptors are, in order; `lock` is the database's.
    Take {
        /// `http`, `https`, `redirect`, `metrics`, `admin`, `lock`.
        names: Vec<String>,
        /// The old one's process id.
        pid: i32,
        /// The admin socket's file is removed at the end by whoever has it then.
        own_admin: bool,
    },
    /// From the new one: its process id.
    Begun {
        /// The id.
        pid: u32,
    },
    /// From the new one: it cannot serve.
    Refused {
        /// Why.
        why: String,
    },
    /// From the new one: all is open, it could accept.
    Prepared {
        /// Of the program.
        version: String,
    },
    /// From the old one: accept.
    Go,
    /// From the new one: it accepts.
    Ready,
    /// From the old one: systemd knows; you are the main process.
    Yours {
        /// Syncs of administrators that were halted for this: begin them again.
        #[serde(default)]
        syncs: Vec<Again>,
    },
    /// From the new one: a stop was asked for; end within the same deadline.
    Stop,
    /// Of a newer version.
    #[serde(other)]
    Unknown,
}

fn line(word: &Word) -> Vec<u8> {
    let mut line = serde_json::to_vec(word).expect("strings and numbers");
    line.push(b'\n');
    line
}

/// Says the first word, with descriptors. Blocks; a short line always finds room.
pub(super) fn give(to: &UnixStream, word: &Word, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Error::new(ErrorKind::InvalidInput, "more sockets than can be handed over"));
    }
    let line = line(word);
    let sent = sendmsg(to, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
    // The rest, if any, needs no descriptors.
    (&mut &*to).write_all(line.get(sent..).unwrap_or_default())
}

/// Hears the first word. Blocks.
pub(super) fn take(from: &UnixStream) -> Result<(Word, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; LONGEST];
    let heard = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    bytes.truncate(heard.bytes);
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            descriptors.extend(given);
        }
    }
    let mut byte = [0];
    while !bytes.ends_with(b"\n") && bytes.len() < LONGEST {
        (&mut &*from).read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok((serde_json::from_slice(&bytes)?, descriptors))
}

/// Says one word. Blocks.
pub(super) fn say(to: &UnixStream, word: &Word) -> Result<()> {
    (&mut &*to).write_all(&line(word))
}

/// One end, after the first word.
pub(super) struct Line {
    // Not split: the write half would shut the socket down when dropped, and a last word could not be said.
    stream: BufReader<tokio::net::UnixStream>,
    heard: Vec<u8>,
}

impl Line {
    /// Inside the runtime.
    pub(super) fn new(stream: UnixStream) -> Result<Line> {
        stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        Ok(Line { stream: BufReader::new(stream), heard: Vec::new() })
    }

    /// Says a word.
    ///
    /// # Errors
    /// The other one is gone.
    pub(super) async fn say(&mut self, word: &Word) -> Result<()> {
        self.stream.get_mut().write_all(&line(word)).await
    }

    /// The next word; `None` when the other one is gone. May be dropped and called again.
    pub(super) async fn hear(&mut self) -> Option<Word> {
        loop {
            // What was read before a drop stays in `heard`.
            match self.stream.read_until(b'\n', &mut self.heard).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            let word = serde_json::from_slice(&self.heard);
            self.heard.clear();
            match word {
                Ok(Word::Unknown) | Err(_) => {}
                Ok(word) => return Some(word),
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
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (a, b) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (a, b) = (a.expect("a port"), b.expect("a port"));
        let word = Word::Take { names: vec!["http".to_owned(), "https".to_owned()], pid: 1, own_admin: true };
        give(&ours, &word, &[a.as_fd(), b.as_fd()]).expect("given");
        let (heard, given) = take(&theirs).expect("taken");
        assert_eq!(heard, word);
        let addresses: Vec<_> =
            given.into_iter().map(|fd| TcpListener::from(fd).local_addr().expect("bound")).collect();
        assert_eq!(addresses, [a.local_addr().expect("bound"), b.local_addr().expect("bound")]);
    }

    #[tokio::test]
    async fn words_of_another_version_are_passed_over_and_an_end_is_heard() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut line = Line::new(theirs).expect("a line");
        (&mut &ours).write_all(b"{\"word\":\"dance\"}\nnoise\n").expect("written");
        say(&ours, &Word::Go).expect("said");
        assert_eq!(line.hear().await, Some(Word::Go));
        drop(ours);
        assert_eq!(line.hear().await, None);
    }
}
