//! A property that names a witness of the log: its name, its key, its address.

use super::address::{self, PrivateUrl, UrlPurpose};

/// A server that cosigns the checkpoints of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its name in messages.
    pub name: String,
    /// Its key, `NAME+ID+KEY`. `daemon::configuration` checks it: this crate does not know the formats of the log.
    pub key: String,
    /// `http://` or `https://`, no trailing slash; requests are sent to `add-checkpoint` below it.
    pub url: PrivateUrl,
}

impl Witness {
    pub(super) fn parse(text: &str) -> Result<Witness, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [name, key, url] = words[..] else {
            return Err(
                "must be a name, the key of the witness, and the address of its add-checkpoint, such as \
                 office pm2.example.org/__log__/witness+1b2c3d4e+BA… https://pm2.example.org/__log__/witness"
                    .to_owned(),
            );
        };
        let url = address::url(url, UrlPurpose::Witness)?;
        Ok(Witness { name: name.to_owned(), key: key.to_owned(), url: PrivateUrl(url) })
    }
}
