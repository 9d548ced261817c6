//! `CRAN.BinaryURL`: servers from which binaries are fetched. The form of the URL determines the kind of server.

use super::address::{self, PrivateUrl};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryUrl {
    /// The URL up to its first folder, without a trailing slash.
    pub base: PrivateUrl,
    pub kind: BinaryServerKind,
}

/// The kind of a binary server. A field that is `None` was written as a placeholder (`{distribution}`, `{arch}`,
/// `{r}`), which means every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BinaryServerKind {
    /// A CRAN mirror: `bin/windows/contrib/{r}` and `bin/macosx/{folder}/contrib/{r}` below it.
    Mirror,
    /// `bin/linux/{distribution}-{arch}/{r}`: a repository whose index marks binaries by the field `Built`.
    Linux {
        distribution: Option<String>,
        /// As in the URL: `x86_64`, `aarch64` or `arm64`.
        arch: Option<String>,
        /// Minor version of R: `4.5`.
        r: Option<String>,
    },
    /// `__linux__/{distribution}/{snapshot}`: the server selects source or binary by the client's `User-Agent`.
    Negotiated {
        distribution: Option<String>,
        /// `latest` or a date.
        snapshot: String,
    },
}

/// The error text, with the accepted forms.
const INVALID_URL: &str = "is not the URL of a binary server: write the root of a CRAN mirror, \
    https://host/path/bin/linux/{distribution}-{arch}/{r}, or https://host/path/__linux__/{distribution}/latest";

/// Parses one value. Errors are clauses that follow the value, and contain no secret.
pub(super) fn parse(text: &str) -> Result<BinaryUrl, String> {
    let url = address::mirror(text)?;
    let url = url.strip_suffix("/src/contrib").unwrap_or(&url);
    if let Some((base, rest)) = url.split_once("/bin/linux/") {
        return parse_linux(base, rest).ok_or_else(|| INVALID_URL.to_owned());
    }
    if let Some((base, rest)) = url.split_once("/__linux__/") {
        if base.to_ascii_lowercase().starts_with("file:") {
            return Err("is a directory, but __linux__ needs a server over http".to_owned());
        }
        return parse_negotiated(base, rest).ok_or_else(|| INVALID_URL.to_owned());
    }
    if url.contains("/bin/") || url.ends_with("/bin") || url.contains(['{', '}']) || url.contains("__linux__")
    {
        return Err(INVALID_URL.to_owned());
    }
    Ok(BinaryUrl { base: PrivateUrl(url.to_owned()), kind: BinaryServerKind::Mirror })
}

fn parse_linux(base: &str, rest: &str) -> Option<BinaryUrl> {
    let (name, r) = rest.split_once('/')?;
    let (distribution, arch) = name.rsplit_once('-')?;
    let distribution = part(distribution, "{distribution}", is_name)?;
    let arch = part(arch, "{arch}", |arch| ["x86_64", "aarch64", "arm64"].contains(&arch))?;
    let r = part(r, "{r}", is_minor_version)?;
    Some(BinaryUrl {
        base: PrivateUrl(base.to_owned()),
        kind: BinaryServerKind::Linux { distribution, arch, r },
    })
}

fn parse_negotiated(base: &str, rest: &str) -> Option<BinaryUrl> {
    let (distribution, snapshot) = rest.split_once('/')?;
    let distribution = part(distribution, "{distribution}", is_name)?;
    if snapshot.is_empty() || !snapshot.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return None;
    }
    let kind = BinaryServerKind::Negotiated { distribution, snapshot: snapshot.to_owned() };
    Some(BinaryUrl { base: PrivateUrl(base.to_owned()), kind })
}

/// Parses one part of a URL: `Some(None)` for the placeholder, `None` for an invalid value.
fn part(text: &str, placeholder: &str, is_valid: impl Fn(&str) -> bool) -> Option<Option<String>> {
    if text == placeholder {
        return Some(None);
    }
    is_valid(text).then(|| Some(text.to_owned()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_minor_version(text: &str) -> bool {
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_form_of_a_url_determines_the_kind_of_server() {
        let parse_valid = |text| parse(text).expect(text);
        for root in ["https://cloud.r-project.org", "https://cloud.r-project.org/", "file:///srv/cran/"] {
            let BinaryUrl { base, kind } = parse_valid(root);
            assert_eq!((&*base, kind), (root.trim_end_matches('/'), BinaryServerKind::Mirror));
        }
        assert_eq!(
            parse_valid("https://cran.example/bin/linux/noble-x86_64/4.5/"),
            BinaryUrl {
                base: PrivateUrl("https://cran.example".to_owned()),
                kind: BinaryServerKind::Linux {
                    distribution: value("noble"),
                    arch: value("x86_64"),
                    r: value("4.5")
                },
            }
        );
        let every_platform = BinaryServerKind::Linux { distribution: None, arch: None, r: None };
        let template = "https://u:p@h/cran/latest/bin/linux/{distribution}-{arch}/{r}/src/contrib";
        let parsed = parse_valid(template);
        assert_eq!((&*parsed.base, parsed.kind.clone()), ("https://u:p@h/cran/latest", every_platform));
        assert!(!format!("{parsed:?}").contains("u:p"));
        assert_eq!(
            parse_valid("http://h/cran/__linux__/{distribution}/2026-01-02").kind,
            BinaryServerKind::Negotiated { distribution: None, snapshot: "2026-01-02".to_owned() }
        );
        assert_eq!(
            parse_valid("http://h/cran/__linux__/noble/latest").kind,
            BinaryServerKind::Negotiated { distribution: value("noble"), snapshot: "latest".to_owned() }
        );
    }

    #[test]
    fn invalid_binary_urls_are_refused_with_the_accepted_forms() {
        for text in [
            "https://h/bin/linux/noble/4.5",
            "https://h/bin/linux/noble-sparc/4.5",
            "https://h/bin/linux/noble-x86_64/4",
            "https://h/bin/linux/noble-x86_64/4.5/more",
            "https://h/bin/windows/contrib/4.5",
            "https://h/__linux__/noble",
            "https://h/__linux__/no-ble/latest",
            "https://h/__linux__/noble/la/test",
            "https://h/{distribution}",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("__linux__/{distribution}/latest"), "{text}: {error}");
        }
        assert!(parse("ftp://h").expect_err("a scheme").starts_with("must begin with"));
        assert!(parse("file:///m/__linux__/noble/latest").expect_err("a directory").contains("over http"));
    }
}
