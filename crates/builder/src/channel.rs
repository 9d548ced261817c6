//! Packets with descriptors over a `SOCK_SEQPACKET` socket.

use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::message::{MAX_DESCRIPTORS, MAX_PACKET};

pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Sends a packet. Blocks while the buffer of the socket is full.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(Error::new(ErrorKind::InvalidInput, "too many descriptors"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Receives a packet; `None` at the end of the connection. Fails if no packet arrived before the deadline
/// ([`ErrorKind::TimedOut`]), or the packet is too long.
pub(super) fn receive(socket: impl AsFd, deadline: Instant) -> Result<Option<Packet>> {
    wait(&mut [PollFd::new(&socket, PollFlags::IN)], deadline)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_PACKET];
    let message_info = loop {
        let buffer = &mut [IoSliceMut::new(&mut bytes)];
        match recvmsg(&socket, buffer, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // The peer closed the socket before it had read all packets.
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if message_info.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Error::new(ErrorKind::InvalidData, "a packet or its list of descriptors is too long"));
    }
    bytes.truncate(message_info.bytes);
    Ok((message_info.bytes > 0).then_some(Packet { bytes, descriptors }))
}

/// Waits until one of the descriptors is ready. Fails if none is ready at the deadline ([`ErrorKind::TimedOut`]).
pub(super) fn wait(descriptors: &mut [PollFd<'_>], deadline: Instant) -> Result<()> {
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(3600));
        let timeout = Timespec::try_from(remaining).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(descriptors, Some(&timeout)) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) if Instant::now() >= deadline => return Err(ErrorKind::TimedOut.into()),
            Ok(0) => {}
            Ok(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::Read;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    /// Returns a deadline for what arrives. A program that another test starts has a copy of each socket until it is executed.
    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn packets_have_bounds_and_descriptors() {
        let (a, b) = pair();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"content").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        send(&a, b"one", &[file.as_fd()]).unwrap();
        send(&a, b"two", &[]).unwrap();
        let first = receive(&b, deadline()).unwrap().unwrap();
        assert_eq!((first.bytes.as_slice(), first.descriptors.len()), (&b"one"[..], 1));
        let mut text = String::new();
        std::fs::File::from(first.descriptors.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(receive(&b, deadline()).unwrap().unwrap().bytes, b"two");
        assert_eq!(
            receive(&b, Instant::now() + Duration::from_millis(50)).err().map(|error| error.kind()),
            Some(ErrorKind::TimedOut)
        );
        drop(a);
        assert!(receive(&b, deadline()).unwrap().is_none());
    }

    #[test]
    fn a_packet_or_list_that_is_too_long_is_an_error() {
        let (a, b) = pair();
        send(&a, &[b'x'; MAX_PACKET + 1], &[]).unwrap();
        assert_eq!(receive(&b, deadline()).err().map(|error| error.kind()), Some(ErrorKind::InvalidData));
        assert!(send(&a, b"x", &[a.as_fd(); MAX_DESCRIPTORS + 1]).is_err());
    }
}
