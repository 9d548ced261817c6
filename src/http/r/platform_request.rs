//! The binaries that a request selects.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::request::Parts;

use crate::http::download_log::RequestedBinary;
use crate::http::response::Vary;
use content::serve::negotiate::{MatchFailure, PlatformChoice};
use formats::r::platform::Platform;
use formats::r::user_agent::RVersion;
use formats::r::version::RMinor;

/// The binaries that a request selects in place of source packages.
#[derive(Clone, Debug)]
pub enum PlatformRequest<'a> {
    /// None: source packages, or an index.
    NoBinaries,
    /// A binary, if there is one, or else the source package.
    BinaryOrSource {
        /// The distribution as the address names it.
        distro: &'a str,
        /// The chosen platform, or the reason why none was chosen.
        choice: Cow<'a, PlatformChoice>,
        /// The request header on which the choice depends.
        vary: Vary,
    },
    /// A file of a tree of binaries: its address names the platform.
    Tree {
        /// The distribution as the address names it.
        distro: &'a str,
        r: RMinor,
        /// Whether binaries are available for this version of R.
        is_available: bool,
    },
}

impl<'a> PlatformRequest<'a> {
    /// Returns the part of the cache key that is added to the address; `None` if the result depends only on the
    /// address.
    pub(in crate::http) fn cache_key(&self) -> Option<String> {
        match self {
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => None,
            PlatformRequest::BinaryOrSource { choice, .. } => Some(match &choice.platform {
                Err(_) => "source".to_owned(),
                Ok((platform, _)) => platform.to_string(),
            }),
        }
    }

    /// Returns the platform of the binaries to look up.
    pub(super) fn platform(&self) -> Option<&Platform> {
        match self {
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => None,
            PlatformRequest::BinaryOrSource { choice, .. } => {
                choice.platform.as_ref().ok().map(|(platform, _)| platform)
            }
        }
    }

    /// Returns the request header on which the response at this address depends.
    pub(super) fn vary(&self) -> Vary {
        match self {
            PlatformRequest::BinaryOrSource { vary, .. } => *vary,
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => Vary::Nothing,
        }
    }

    /// Returns the data to log about the requested binary.
    pub(in crate::http) fn requested_binary(&self, parts: &'a Parts) -> Option<RequestedBinary<'a>> {
        match self {
            PlatformRequest::NoBinaries => None,
            PlatformRequest::BinaryOrSource { distro, choice, .. } => {
                let match_result =
                    choice.platform.as_ref().map(|(_, r_match)| Some(*r_match)).map_err(|failure| *failure);
                Some(RequestedBinary { distro, r: choice.r, match_result, agent: user_agent(parts) })
            }
            PlatformRequest::Tree { distro, r, is_available } => {
                let r = RVersion { major: r.major, minor: r.minor, patch: None };
                let match_result = if *is_available { Ok(None) } else { Err(MatchFailure::NoMatch) };
                Some(RequestedBinary { distro, r: Some(r), match_result, agent: user_agent(parts) })
            }
        }
    }
}

/// Returns the data to log about a request for binaries of an unknown distribution.
pub(in crate::http) fn unknown_distribution<'a>(distro: &'a str, parts: &'a Parts) -> RequestedBinary<'a> {
    RequestedBinary { distro, r: None, match_result: Ok(None), agent: user_agent(parts) }
}

/// Returns the raw `User-Agent`.
pub(in crate::http) fn user_agent(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)
}
