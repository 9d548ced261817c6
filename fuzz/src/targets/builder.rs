//! Messages between the server and builders, and URLs of git repositories.

use rstudio_pm::builder::message::{Event, Job, MAX_PACKET, Request};
use rstudio_pm::builder::url::{GitUrl, Scheme};

/// A message that is accepted has values that no command misreads, and is the same after encoding.
pub fn message(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert!(bytes.len() <= MAX_PACKET);
        if let Job::FetchCommit(fetch) = &request.job {
            assert!(!fetch.reference.starts_with('-') && !fetch.reference.contains(':'));
            assert!(
                !fetch.directory.starts_with(['/', '-'])
                    && !fetch.directory.split('/').any(|name| name == "..")
            );
        }
        if let Ok(packet) = request.encode() {
            assert_eq!(Request::decode(&packet).expect("its own packet"), request);
        }
    }
    if let Ok(event) = Event::decode(bytes)
        && event != Event::Unknown
        && let Ok(packet) = event.encode()
    {
        assert_eq!(Event::decode(&packet).expect("its own packet"), event);
    }
}

/// A URL that is accepted is no option, names one host, and has no credential.
pub fn git_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(url) = GitUrl::parse(text) else { return };
    assert!(!text.starts_with('-') && text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
    assert!(!url.host.starts_with('-') && !url.host.contains(['@', '/', '\\']), "{text}");
    assert_eq!(url.host.is_empty(), url.scheme == Scheme::File, "{text}");
    if url.scheme != Scheme::Ssh {
        assert!(!text.split('/').nth(2).unwrap_or_default().contains('@'), "{text}");
    }
}
