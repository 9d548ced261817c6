//! Parses an address of files: `https://`, `http://`, or a directory as `file://`.

use std::path::PathBuf;

use url::Url;

use crate::UpstreamError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `https://` or `http://`. May contain user and password.
    Http(Url),
    /// `file://`.
    Dir(PathBuf),
}

impl Address {
    /// Parses an address without a query and a fragment.
    ///
    /// # Errors
    /// The text is not a URL, or its scheme is not supported; the message does not contain user and password.
    pub fn parse(text: &str) -> Result<Address, UpstreamError> {
        let refusal = |reason: &str| UpstreamError::Refused {
            url: redact(text),
            reason: format!(
                "{reason}; a mirror is an address that begins with https://, http:// or file:///"
            ),
        };
        let url = Url::parse(text.trim()).map_err(|e| refusal(&format!("is not a URL ({e})")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refusal("has a query or a fragment"));
        }
        match url.scheme() {
            "http" | "https" => Ok(Address::Http(url)),
            "file" => url.to_file_path().map(Address::Dir).map_err(|()| refusal("names another host")),
            _ => Err(refusal("has another scheme")),
        }
    }
}

/// Returns a URL for messages. SECURITY: without user name and password.
fn redact(text: &str) -> String {
    let text: String = text.chars().take(300).collect();
    match text.split_once("://") {
        None => text,
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            match authority.rfind('@') {
                None => text,
                Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_http_or_file() {
        for good in ["https://cran.example.org", "http://h:8080/cran/", "file:///srv/cran"] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["ftp://me:secret@h/", "/srv/cran", "", "https://me:secret@h/?q=1", "file://me:secret@host/x"]
        {
            let error = Address::parse(bad).err().map(|e| e.to_string()).expect(bad);
            assert!(!error.contains("secret") && error.contains("https://"), "{error}");
        }
    }

    #[test]
    fn messages_contain_no_userinfo() {
        assert_eq!(redact("https://u:p@h/x"), "https://h/x");
        assert_eq!(redact("https://u:p@ss@h"), "https://h");
        assert_eq!(redact("https://h/x@y"), "https://h/x@y");
    }
}
