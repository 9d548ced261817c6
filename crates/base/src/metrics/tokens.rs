//! Counters of issued tokens and of refused credentials.

use prometheus::IntCounter;

use super::Registrar;

/// The way in which a client got a token or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuedToken {
    /// An administrator created a token.
    Created,
    /// The owner of the bootstrap key created a token.
    Bootstrap,
    Session,
    /// A client exchanged the proof of a sign-in at the identity provider or with a device code.
    SignIn,
    /// A token of another issuer was exchanged.
    Federation,
}

/// The kind of credential that was refused because it is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedToken {
    /// A token of `rspm create token`.
    Created,
    Signed,
    /// A credential that is not a token.
    Other,
    /// A proof of identity that a client wanted to exchange: a token of an issuer, a device code, a signature.
    Proof,
    /// The code of a device that a person entered.
    DeviceCode,
}

const ISSUED: [&str; 5] = ["created", "bootstrap", "session", "sign_in", "federation"];
const REFUSED: [&str; 5] = ["created", "signed", "other", "proof", "device_code"];

pub struct TokenCounters {
    issued: [IntCounter; ISSUED.len()],
    refused: [IntCounter; REFUSED.len()],
}

impl TokenCounters {
    pub(super) fn new(registrar: &Registrar<'_>) -> TokenCounters {
        let issued = registrar.counters(
            "ppm_tokens_issued_total",
            "Tokens and sessions that clients got, by kind.",
            &["kind"],
        );
        let refused = registrar.counters(
            "ppm_tokens_refused_total",
            "Credentials and proofs of identity that were not valid, by kind.",
            &["kind"],
        );
        TokenCounters {
            issued: ISSUED.map(|kind| issued.with_label_values(&[kind])),
            refused: REFUSED.map(|kind| refused.with_label_values(&[kind])),
        }
    }

    /// Counts a token or a session that a client got.
    pub fn count_issued(&self, kind: IssuedToken) {
        self.issued[kind as usize].inc();
    }

    /// Counts a credential or a proof of identity that is not valid.
    pub fn count_refused(&self, kind: RefusedToken) {
        self.refused[kind as usize].inc();
    }
}
