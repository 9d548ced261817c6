//! Sign-ins of devices (RFC 8628): a device shows a code and polls; the user confirms it in a browser.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::Digest;

use super::secret;
use super::session::{self, author, scope_text};
use super::tokens::Token;
use base::access::Grant;
use base::model::digest::Sha256;
use base::model::time::{SECOND, Timestamp};
use base::words;
use store::db::session::{DeviceLogin, DeviceState};
use store::db::{self, Db, DbError, audit};

/// Letters of user codes: no vowels, so that codes do not form words (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Number of letters of a user code, which then has 34 random bits.
const CODE_LENGTH: usize = 8;
/// Maximum duration of a sign-in, in microseconds.
const MAX_DURATION: i64 = 600 * SECOND;
/// Minimum interval between polls, and its increase after a poll that is too early, in microseconds.
const POLL_INTERVAL: i64 = 5 * SECOND;
/// Maximum number of sign-ins in progress.
const MAX_LOGINS: i64 = 1_000;

/// The sign-ins of devices of a database.
#[derive(Clone)]
pub struct DeviceLogins(Db);

pub struct NewDeviceLogin<'a> {
    pub device_code: &'a str,
    /// Whether this server issues the code for the user; otherwise the provider issues it.
    pub has_own_code: bool,
    /// The PKCE challenge (S256); empty if the device sends none.
    pub challenge: &'a str,
    pub address: Option<IpAddr>,
    /// Validity in seconds; ten minutes at most.
    pub expires_in: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevicePoll {
    /// There is no such sign-in, or it is expired.
    Expired,
    /// The PKCE verifier does not match the challenge.
    WrongVerifier,
    /// The device polls too often.
    SlowDown,
    /// The user has not decided yet, or the provider issued the code, and only a request to it returns the decision.
    Pending {
        /// Whether the provider issued the code.
        is_at_provider: bool,
    },
    /// The user denied the sign-in, which has ended.
    Denied,
    /// The user allowed the sign-in, which has ended.
    Allowed {
        user: String,
        /// The identity at the provider.
        unique_id: String,
        grant: Grant,
    },
}

words! {
    /// What a user decides about the sign-in of a device.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DeviceDecision {
        Allow = "allow",
        Deny = "deny",
    }
}

impl DeviceLogins {
    pub fn new(db: &Db) -> DeviceLogins {
        DeviceLogins(db.clone())
    }

    /// Begins a sign-in and returns the code for the user, which is empty if the provider issues the code. Returns
    /// `None` if too many sign-ins are in progress.
    pub async fn begin(&self, new: NewDeviceLogin<'_>, now: Timestamp) -> Result<Option<String>, DbError> {
        let user_code = new.has_own_code.then(random_code);
        let time = new.expires_in.clamp(0, MAX_DURATION / SECOND) * SECOND;
        let row = DeviceLogin {
            digest: secret::digest(new.device_code),
            user_code: user_code.clone(),
            challenge: new.challenge.to_owned(),
            address: new.address.map(|address| address.to_string()).unwrap_or_default(),
            state: DeviceState::Pending,
            user: String::new(),
            unique_id: String::new(),
            scopes: String::new(),
            pause: POLL_INTERVAL,
            polled_at: Timestamp(0),
            expires_at: Timestamp(now.0.saturating_add(time)),
        };
        let has_begun = self.0.write(move |c| db::session::begin_device(c, &row, now, MAX_LOGINS)).await?;
        Ok(has_begun.then(|| user_code.map(|code| display(&code)).unwrap_or_default()))
    }

    /// Returns the pending sign-in with this user code, and the address of the device.
    pub async fn find(&self, user_code: &str, now: Timestamp) -> Result<Option<PendingDevice>, DbError> {
        let Some(code) = normalize(user_code) else { return Ok(None) };
        let row = self.0.read(move |c| db::session::device_by_code(c, &code)).await?;
        let row = row.filter(|row| row.state == DeviceState::Pending && row.expires_at > now);
        Ok(row.map(|row| PendingDevice { digest: row.digest, address: row.address }))
    }

    /// Records the decision of the user of `session`. Returns false if the sign-in is no longer pending, or if the
    /// session has ended on another server.
    pub async fn decide(
        &self,
        device: &PendingDevice,
        decision: DeviceDecision,
        session: &Arc<Token>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let (digest, session) = (device.digest, Arc::clone(session));
        let unique_id = session.unique_id.clone().unwrap_or_default();
        let session_digest = session.digest();
        let author = author(&session.user, address, now);
        let detail = format!("device at {}; identity {unique_id}", device.address);
        let state = match decision {
            DeviceDecision::Allow => DeviceState::Allowed,
            DeviceDecision::Deny => DeviceState::Denied,
        };
        let write = self.0.write(move |c| {
            let (user, scopes) = (&session.user, scope_text(&session.grant));
            let is_decided =
                db::session::decide(c, digest, state, user, &unique_id, &scopes, session_digest)?;
            if is_decided {
                let action = format!("{decision} device");
                audit::record_by(c, &author, &action, "user", &session.user, audit::SUCCESS, &detail)?;
            }
            Ok(is_decided)
        });
        write.await
    }

    /// Processes a poll of a device: returns the state of its sign-in, and ends the sign-in if the user has decided.
    pub async fn poll(
        &self,
        device_code: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<DevicePoll, DbError> {
        let (digest, verifier) = (secret::digest(device_code), verifier.to_owned());
        // The code is first looked up by a read, so that unknown device codes do not occupy the writer of the database.
        if self.0.read(move |c| db::session::device(c, digest)).await?.is_none() {
            return Ok(DevicePoll::Expired);
        }
        let write = self.0.write(move |c| {
            let row = db::session::device(c, digest)?.filter(|row| row.expires_at > now);
            let Some(row) = row else { return Ok(DevicePoll::Expired) };
            if !row.challenge.is_empty() && !is_verifier_of(&verifier, &row.challenge) {
                return Ok(DevicePoll::WrongVerifier);
            }
            if row.user_code.is_none() {
                // The provider limits the rate of polls.
                return Ok(DevicePoll::Pending { is_at_provider: true });
            }
            match row.state {
                DeviceState::Denied => {
                    db::session::end_device(c, digest)?;
                    Ok(DevicePoll::Denied)
                }
                DeviceState::Allowed if db::session::end_device(c, digest)? => {
                    let grant = session::grant(&row.scopes);
                    Ok(DevicePoll::Allowed { user: row.user, unique_id: row.unique_id, grant })
                }
                DeviceState::Allowed => Ok(DevicePoll::Expired),
                DeviceState::Pending => {
                    let is_early = now.0.saturating_sub(row.polled_at.0) < row.pause;
                    let pause = if is_early { row.pause.saturating_add(POLL_INTERVAL) } else { row.pause };
                    db::session::record_poll(c, digest, now, pause)?;
                    Ok(if is_early {
                        DevicePoll::SlowDown
                    } else {
                        DevicePoll::Pending { is_at_provider: false }
                    })
                }
            }
        });
        write.await
    }

    /// Ends a sign-in. Returns true for the first call with its device code.
    pub async fn end(&self, device_code: &str) -> Result<bool, DbError> {
        let digest = secret::digest(device_code);
        self.0.write(move |c| db::session::end_device(c, digest)).await
    }
}

/// A sign-in that waits for the decision of a user.
#[derive(Clone, Debug)]
pub struct PendingDevice {
    digest: Sha256,
    pub address: String,
}

fn random_code() -> String {
    (0..CODE_LENGTH).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}

/// Formats a user code as two groups of four letters, separated by a dash.
fn display(code: &str) -> String {
    let (first, second) = code.split_at(CODE_LENGTH / 2);
    format!("{first}-{second}")
}

/// Returns a user code without dashes and spaces, in capitals; `None` if it cannot be one.
fn normalize(text: &str) -> Option<String> {
    let code: String = text
        .chars()
        .take(4 * CODE_LENGTH)
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_uppercase())
        .collect();
    (code.len() == CODE_LENGTH && code.bytes().all(|byte| LETTERS.contains(&byte))).then_some(code)
}

/// Returns whether the challenge is the SHA-256 of the verifier in base64url (RFC 7636 section 4.6).
fn is_verifier_of(verifier: &str, challenge: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier.as_bytes())) == challenge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_read_in_every_spelling() {
        let code = random_code();
        assert_eq!(normalize(&display(&code)), Some(code.clone()));
        let spelling = format!(" {} {}", code[..3].to_lowercase(), &code[3..]);
        assert_eq!(normalize(&spelling), Some(code));
        for bad in ["", "AAAA-BBBB", "BCDF-GHJ", "BCDF-GHJKL", "BCDF_GHJK", "ÄÄÄÄÄÄÄÄ"] {
            assert_eq!(normalize(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(is_verifier_of(verifier, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert!(!is_verifier_of("", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
    }
}
