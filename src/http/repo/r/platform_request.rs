//! The binaries that a request selects in place of source packages.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::request::Parts;

use crate::http::repo::download_log::RequestedBinary;
use crate::http::response::Vary;
use content::serve::negotiate::{MatchFailure, PlatformChoice};
use formats::r::platform::Platform;
use formats::r::user_agent::RVersion;
use formats::r::version::RMinor;

#[derive(Clone, Debug)]
pub enum PlatformRequest<'a> {
    /// None: source packages, or an index.
    NoBinaries,
    /// A binary, if there is one, or else the source package.
    BinaryOrSource {
        distro: &'a str,
        /// An error is the reason why none was chosen.
        choice: Cow<'a, PlatformChoice>,
        vary: Vary,
    },
    /// A file of a tree of binaries: its address names the platform.
    Tree {
        distro: &'a str,
        r: RMinor,
        /// Whether binaries are available for this version of R.
        is_available: bool,
    },
}

impl<'a> PlatformRequest<'a> {
    /// Returns the addition to the address in the cache key: the platform, and whether the query selected it,
    /// because then the response has no `Vary`. `None` if the result depends only on the address.
    pub(in crate::http) fn cache_key(&self) -> Option<String> {
        match self {
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => None,
            PlatformRequest::BinaryOrSource { choice, vary, .. } => {
                let platform = match &choice.platform {
                    Err(_) => "source".to_owned(),
                    Ok((platform, _)) => platform.to_string(),
                };
                Some(if *vary == Vary::Nothing { platform + " of the query" } else { platform })
            }
        }
    }

    pub(super) fn platform(&self) -> Option<&Platform> {
        match self {
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => None,
            PlatformRequest::BinaryOrSource { choice, .. } => {
                choice.platform.as_ref().ok().map(|(platform, _)| platform)
            }
        }
    }

    pub(super) fn vary(&self) -> Vary {
        match self {
            PlatformRequest::BinaryOrSource { vary, .. } => *vary,
            PlatformRequest::NoBinaries | PlatformRequest::Tree { .. } => Vary::Nothing,
        }
    }

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

pub(in crate::http) fn user_agent(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)
}

/// Words in a `User-Agent`, and the kind of client. The first match counts: renv and pak name R, browsers each other.
const KINDS: [(&str, &str); 14] = [
    ("renv", "renv"),
    ("pkgcache", "pak"),
    ("pak/", "pak"),
    ("pip/", "pip"),
    ("uv/", "uv"),
    ("poetry/", "Poetry"),
    ("pdm/", "PDM"),
    ("bandersnatch", "bandersnatch"),
    ("python-requests", "Python"),
    ("rstudio", "R"),
    ("r (", "R"),
    ("r/", "R"),
    ("mozilla/", "browser"),
    ("curl/", "curl"),
];

/// The kind of all other clients.
const OTHER: &str = "other";

/// The `User-Agent` of R with its method `libcurl`, unless its option `HTTPUserAgent` begins with `R/`.
const LIBCURL: &str = "libcurl/";

pub(in crate::http) fn client_kind(agent: Option<&[u8]>) -> &'static str {
    let Some(agent) = agent else { return OTHER };
    // Clients name themselves at the beginning.
    let start = agent.get(..200).unwrap_or(agent);
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    let is_in = |word: &str| {
        let at = text.match_indices(word).map(|(at, _)| at);
        // A word matches only at the beginning of a product name: `r/` does not match `docker/`.
        at.into_iter().any(|at| text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric()))
    };
    let found = KINDS.iter().find(|(word, _)| is_in(word)).map(|(_, kind)| *kind);
    // Packages of R add `r-curl/`.
    match found {
        None | Some("curl") if text.starts_with(LIBCURL) => "R",
        found => found.unwrap_or(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_recognized_by_their_agents() {
        for (agent, kind) in [
            ("R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", "R"),
            ("RStudio Desktop (2025.9.1); R (4.5.1 x86_64)", "R"),
            ("renv/1.1.5; R (4.5.1 x86_64-pc-linux-gnu)", "renv"),
            ("R/4.5.1 R (4.5.1 x86_64) pkgcache/2.2.4", "pak"),
            ("libcurl/7.88.1", "R"),
            ("libcurl/8.5.0 r-curl/6.2.0 httr/1.4.7", "R"),
            ("Client libcurl/8.5.0", "other"),
            ("pip/26.1 {\"ci\":null}", "pip"),
            ("uv/0.11.5 {\"installer\":{}}", "uv"),
            ("poetry/2.1.0 CPython/3.12", "Poetry"),
            ("Mozilla/5.0 (X11; Linux x86_64) Chrome/140", "browser"),
            ("curl/8.5.0", "curl"),
            ("Wget/1.21", "other"),
            ("", "other"),
        ] {
            assert_eq!(client_kind(Some(agent.as_bytes())), kind, "{agent}");
        }
        assert_eq!(client_kind(None), "other");
        assert_eq!(client_kind(Some(&[0xff; 500])), "other");
    }
}
