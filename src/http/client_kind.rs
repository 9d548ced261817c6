//! The kind of a client by its `User-Agent`. Pure.

/// Words in a `User-Agent`, in upper or lower case, and the kind of client that sends them. The first match counts:
/// renv and pak also name R, and browsers also name other browsers.
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

/// The beginning of the `User-Agent` that R sends with its method `libcurl`, unless its option `HTTPUserAgent` begins
/// with `R/`.
const LIBCURL: &str = "libcurl/";

pub(super) fn client_kind(agent: Option<&[u8]>) -> &'static str {
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
