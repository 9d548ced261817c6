//! URLs in the configuration: the schemes and parts that each property allows, and printing without secrets.

use std::fmt;
use std::ops::Deref;

use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlPurpose {
    /// The server's own public address: http or https, optionally with a path prefix.
    Server,
    /// A package mirror: http, https or file.
    Mirror,
    /// A binary server: the schemes of a mirror, and one of the forms of [`super::binaries`].
    Binaries,
    /// Another S3 server: `host[:port]`, or http, https; no path.
    S3,
    /// An outbound proxy: `host:port`, or http, https, socks5, socks5h.
    Proxy,
    Postgres,
    /// Any http or https address.
    Web,
    /// A witness of the log: http or https.
    Witness,
}

/// A URL that may contain user and password. SECURITY: `Debug` leaves them out, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PrivateUrl(pub String);

impl Deref for PrivateUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_userinfo(self), f)
    }
}

/// Maximum length of a contact, in characters.
const MAX_CONTACT: usize = 200;

/// Checks an email address or a URL that a comment of the header `User-Agent` contains; returns it. The error is a clause
/// that follows the value.
pub fn contact(text: &str) -> Result<String, String> {
    let is_address = text.contains('@') || text.contains("://");
    // Parentheses delimit a comment, and a backslash begins a quoted character (RFC 9110 section 5.6.5).
    let is_allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '(' | ')' | '\\');
    if is_address && text.len() <= MAX_CONTACT && text.chars().all(is_allowed) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be an email address or a URL of at most {MAX_CONTACT} ASCII characters, without spaces, parentheses and \
         backslashes"
    ))
}

/// What the URLs of one purpose may contain.
struct UrlRules {
    schemes: &'static [&'static str],
    /// The scheme of a text without one; `None` if the scheme is required.
    default_scheme: Option<&'static str>,
    allows_userinfo: bool,
    allows_path: bool,
    allows_query: bool,
}

impl UrlPurpose {
    fn rules(self) -> UrlRules {
        let http = UrlRules {
            schemes: &["http", "https"],
            default_scheme: None,
            allows_userinfo: true,
            allows_path: true,
            allows_query: false,
        };
        match self {
            UrlPurpose::Server => UrlRules { allows_userinfo: false, ..http },
            UrlPurpose::Mirror | UrlPurpose::Binaries => {
                UrlRules { schemes: &["https", "http", "file"], ..http }
            }
            UrlPurpose::S3 => {
                UrlRules { default_scheme: Some("https"), allows_userinfo: false, allows_path: false, ..http }
            }
            UrlPurpose::Proxy => UrlRules {
                schemes: &["http", "https", "socks5", "socks5h"],
                default_scheme: Some("http"),
                allows_path: false,
                ..http
            },
            UrlPurpose::Postgres => {
                UrlRules { schemes: &["postgres", "postgresql"], allows_query: true, ..http }
            }
            UrlPurpose::Web => UrlRules { allows_query: true, ..http },
            UrlPurpose::Witness => http,
        }
    }
}

/// Checks a URL and returns it without a trailing slash. Errors follow the value, and contain no secret.
pub(super) fn url(text: &str, purpose: UrlPurpose) -> Result<String, String> {
    let rules = purpose.rules();
    // `proxy:3128` alone would be parsed as scheme and path.
    let absolute_url = match rules.default_scheme {
        Some(scheme) if !text.contains("://") => format!("{scheme}://{text}"),
        Some(_) | None => text.to_owned(),
    };
    let scheme_error = || {
        format!(
            "must begin with {}",
            rules.schemes.iter().map(|s| format!("{s}://")).collect::<Vec<_>>().join(" or ")
        )
    };
    if absolute_url.chars().any(char::is_whitespace) {
        return Err("must not contain spaces; write %20".to_owned());
    }
    let (scheme, rest) = absolute_url.split_once("://").ok_or_else(scheme_error)?;
    if !rules.schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(scheme_error());
    }
    // The URL may name several hosts, each with a port.
    if purpose == UrlPurpose::Postgres {
        return postgres(scheme, rest).map(|()| text.to_owned());
    }
    let parsed_url = parse(&absolute_url)?;
    if scheme.eq_ignore_ascii_case("file") {
        if !rest.starts_with('/') {
            return Err(
                "must have an absolute path after file://, that is three slashes: file:///srv/mirror"
                    .to_owned(),
            );
        }
        if rest.contains(['?', '#']) {
            return Err("must be a path only; write %3F and %23 for ? and #".to_owned());
        }
        let trimmed_url = absolute_url.trim_end_matches('/');
        return Ok(if trimmed_url.len() < "file:///".len() {
            "file:///".to_owned()
        } else {
            trimmed_url.to_owned()
        });
    }
    if parsed_url.host_str().is_none_or(str::is_empty) {
        return Err("must name a host".to_owned());
    }
    if parsed_url.fragment().is_some() || (parsed_url.query().is_some() && !rules.allows_query) {
        return Err("must not contain ? or #".to_owned());
    }
    if !rules.allows_path && !parsed_url.path().trim_matches('/').is_empty() {
        return Err("must not contain a path".to_owned());
    }
    if !rules.allows_userinfo && (!parsed_url.username().is_empty() || parsed_url.password().is_some()) {
        return Err("must not contain a user or a password".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Checks the URL of a mirror ([`url`]).
pub(super) fn mirror(text: &str) -> Result<PrivateUrl, String> {
    url(text, UrlPurpose::Mirror).map(PrivateUrl)
}

fn parse(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("is not a URL: {error}"))
}

/// Checks the URL of a database for each of its hosts.
fn postgres(scheme: &str, rest: &str) -> Result<(), String> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (credentials, hosts) =
        authority.rfind('@').map_or(("", authority), |end| authority.split_at(end + 1));
    // A URL may have no host here, because its query may name the host.
    let hosts = if hosts.is_empty() && !tail.is_empty() { "localhost" } else { hosts };
    hosts.split(',').try_for_each(|host| parse(&format!("{scheme}://{credentials}{host}{tail}")).map(drop))
}

/// Returns a URL that is safe to print: user and password are replaced with `***`.
pub fn without_userinfo(url: &str) -> String {
    let (scheme, rest) = url.find("://").map_or(("", url), |end| url.split_at(end + "://".len()));
    // The part up to the last `@` is removed: a password with an unescaped `/` must not be printed.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_an_address_that_fits_into_a_comment_of_a_header() {
        for text in
            ["packages@example.org", "mailto:packages@example.org", "https://example.org/packages?team=a"]
        {
            assert_eq!(contact(text), Ok(text.to_owned()));
        }
        let long = format!("{}@example.org", "a".repeat(MAX_CONTACT));
        for text in ["", "our-team", "a@b c", "a@b\r\nX: y", "a@(b)", "a@\\b", "ä@example.org", long.as_str()]
        {
            assert!(contact(text).expect_err("is refused").contains("email address or a URL"), "{text:?}");
        }
    }

    #[test]
    fn mirrors_are_web_addresses_or_directories() {
        for (text, expected) in [
            ("https://cloud.r-project.org/", "https://cloud.r-project.org"),
            ("http://10.0.0.1:8080/cran", "http://10.0.0.1:8080/cran"),
            ("file:///srv/mirror/", "file:///srv/mirror"),
            ("file:///", "file:///"),
            ("https://user:pw@mirror.example/cran", "https://user:pw@mirror.example/cran"),
        ] {
            assert_eq!(url(text, UrlPurpose::Mirror), Ok(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn an_invalid_mirror_is_refused_with_the_remedy() {
        let reason = |text| url(text, UrlPurpose::Mirror).expect_err("is refused");
        assert_eq!(reason("ftp://x"), "must begin with https:// or http:// or file://");
        assert!(reason("cloud.r-project.org").starts_with("must begin with"));
        assert!(reason("/srv/mirror").starts_with("must begin with"));
        assert!(reason("file://srv/mirror").contains("three slashes"));
        assert!(reason("https://").starts_with("is not a URL") || reason("https://").contains("host"));
        assert!(reason("https://a b/").contains("%20"));
        assert!(reason("https://x/?q").contains("must not contain"));
        assert!(reason("file:///x#y").contains("%23"));
    }

    #[test]
    fn the_servers_address_may_have_a_path_prefix_only() {
        assert_eq!(
            url("https://h.example/rspm/", UrlPurpose::Server),
            Ok("https://h.example/rspm".to_owned())
        );
        for text in ["file:///x", "https://u:p@h", "https://h/#a", "https://h?x", "h.example"] {
            assert!(url(text, UrlPurpose::Server).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_proxy_may_be_host_and_port_alone() {
        for text in ["proxy.example:3128", "http://u:p@proxy:3128", "socks5://proxy:1080", "u:p@proxy:3128"] {
            assert_eq!(url(text, UrlPurpose::Proxy), Ok(text.to_owned()));
        }
        assert!(url("ftp://proxy:21", UrlPurpose::Proxy).is_err());
        assert!(url("http://proxy/path", UrlPurpose::Proxy).is_err());
    }

    #[test]
    fn urls_of_databases_and_s3_servers_are_checked() {
        assert!(url("postgres://u:p@h/db?sslmode=disable&search_path=x", UrlPurpose::Postgres).is_ok());
        assert!(url("postgres:///db?host=/run/postgresql", UrlPurpose::Postgres).is_ok());
        assert!(url("postgres://u:p@h1,h2:5433/db", UrlPurpose::Postgres).is_ok());
        assert!(url("postgres://u:p,w@[::1]:5432,h2:5433/db", UrlPurpose::Postgres).is_ok());
        assert!(url("postgres://u@/db?host=h1,h2&port=5432,5433", UrlPurpose::Postgres).is_ok());
        assert!(url("postgres://u:p@h1,h2:port/db", UrlPurpose::Postgres).is_err());
        assert!(url("mysql://h/db", UrlPurpose::Postgres).is_err());
        assert_eq!(url("http://127.0.0.1:9000/", UrlPurpose::S3), Ok("http://127.0.0.1:9000".to_owned()));
        assert_eq!(url("minio:9000", UrlPurpose::S3), Ok("minio:9000".to_owned()));
        assert!(url("http://h/bucket", UrlPurpose::S3).is_err());
        assert!(url("h/bucket", UrlPurpose::S3).is_err());
    }

    #[test]
    fn printed_urls_contain_no_userinfo() {
        assert_eq!(without_userinfo("https://u:p@h:1/x"), "https://***@h:1/x");
        assert_eq!(without_userinfo("u:p@h:1"), "***@h:1");
        assert_eq!(without_userinfo("https://u:p/w@h/x"), "https://***@h/x");
        assert_eq!(without_userinfo("https://h/x"), "https://h/x");
    }
}
