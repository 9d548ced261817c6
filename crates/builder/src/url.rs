//! The accepted URLs of git repositories: `https`, `http`, `ssh`, the form `user@host:path`, and `file` below
//! configured directories. The rules are stricter than git's, so that git cannot interpret a URL differently.

use std::path::Path;

/// The transport for a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Https,
    Http,
    /// SSH, written as `ssh://` or as `user@host:path`.
    Ssh,
    File,
}

/// A URL that is not accepted, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitUrl {
    /// The transport for the repository.
    pub scheme: Scheme,
    /// The host in lower case; empty for `file`.
    pub host: String,
    pub port: Option<u16>,
    /// The path: decoded for `file`, otherwise as written.
    pub path: String,
}

/// Maximum length of a URL in bytes.
const MAX_URL: usize = 2048;

impl GitUrl {
    pub fn parse(text: &str) -> Result<GitUrl, UrlError> {
        if text.is_empty() || text.len() > MAX_URL {
            return Err(error("a URL must have 1 to 2048 characters"));
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || "\\\"'`<>{}|^?#".contains(*c)) {
            return Err(error(format!(
                "the URL contains the character '{}', which must be percent-encoded; queries and fragments are not \
                 supported",
                c.escape_debug()
            )));
        }
        let Some((scheme, rest)) = text.split_once("://") else { return scp_form(text) };
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            "ssh" => Scheme::Ssh,
            "file" => Scheme::File,
            _ => {
                return Err(error(format!(
                    "the scheme '{scheme}' is not supported; use https, ssh, http or file, in lower case"
                )));
            }
        };
        let (authority, path) = match rest.find('/') {
            Some(index) => rest.split_at(index),
            None => (rest, ""),
        };
        if path.len() < 2 {
            return Err(error("the URL has no path"));
        }
        if scheme == Scheme::File {
            if !authority.is_empty() {
                return Err(error(format!("a file URL has three slashes; '{authority}' is read as a host")));
            }
            return Ok(GitUrl { scheme, host: String::new(), port: None, path: local_path(path)? });
        }
        let host_port = match authority.rsplit_once('@') {
            Some((user, host_port)) => {
                check_user(user)?;
                if scheme != Scheme::Ssh {
                    return Err(error(
                        "the URL contains a user name; import it as a credential with `rspm import \
                         https-credential`",
                    ));
                }
                host_port
            }
            None => authority,
        };
        let (host, port) = match host_port.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let has_digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse().ok().filter(|port| has_digits && *port != 0);
                (host, Some(port.ok_or_else(|| error("the port of the URL is invalid"))?))
            }
            _ => (host_port, None),
        };
        check_host(host)?;
        Ok(GitUrl { scheme, host: host.to_ascii_lowercase(), port, path: path.to_owned() })
    }

    /// Checks that a `file` URL is below one of the directories. Other URLs are always accepted.
    pub fn check_local(&self, directories: &[String]) -> Result<(), UrlError> {
        let is_below = |directory: &String| Path::new(&self.path).starts_with(directory);
        if self.scheme != Scheme::File || directories.iter().any(is_below) {
            return Ok(());
        }
        Err(error(format!("{} is not below one of the directories of Git.LocalPaths", self.path)))
    }

    /// Returns the host, with `:` and the port if there is one, as git passes it to a credential helper.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Decodes the path of a `file` URL, as git does.
fn local_path(path: &str) -> Result<String, UrlError> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8();
    let path = path.map_err(|_| error("the path of a file URL must be UTF-8"))?;
    // Quotes and backslashes have a meaning in the configuration of git, which contains the path.
    if path.chars().any(|c| c.is_control() || "\\\"".contains(c)) || path.split('/').any(|name| name == "..")
    {
        return Err(error(
            "the path of a file URL must not contain '..', quotes, backslashes or control characters",
        ));
    }
    Ok(path.into_owned())
}

/// Parses the form of scp, `user@host:path`.
fn scp_form(text: &str) -> Result<GitUrl, UrlError> {
    let Some((authority, path)) = text.split_once(':').filter(|(authority, _)| !authority.contains('/'))
    else {
        return Err(error("this is not a URL; use https://…, ssh://…, user@host:path or file:///…"));
    };
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            check_user(user)?;
            host
        }
        None => authority,
    };
    check_host(host)?;
    if path.is_empty() || path.starts_with([':', '-']) {
        return Err(error("the URL has no path, or a path that begins with ':' or '-'"));
    }
    Ok(GitUrl { scheme: Scheme::Ssh, host: host.to_ascii_lowercase(), port: None, path: path.to_owned() })
}

fn check_user(user: &str) -> Result<(), UrlError> {
    if user.contains(':') {
        return Err(error("the URL contains a password; import it as a credential instead"));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    if user.is_empty() || user.starts_with('-') || !user.chars().all(is_allowed) {
        return Err(error("the user name of the URL is invalid"));
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), UrlError> {
    let is_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(is_allowed)
        }
    };
    if is_valid { Ok(()) } else { Err(error(format!("'{host}' is not the name of a host"))) }
}

fn error(reason: impl Into<String>) -> UrlError {
    UrlError(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_git_knows_are_parsed() {
        for (text, scheme, authority, path) in [
            ("https://Git.example.org/a/b.git", Scheme::Https, "git.example.org", "/a/b.git"),
            ("https://git.example.org:8443/~u/a%20b", Scheme::Https, "git.example.org:8443", "/~u/a%20b"),
            ("http://[::1]:80/a", Scheme::Http, "[::1]:80", "/a"),
            ("http://[2001:db8::1]/a", Scheme::Http, "[2001:db8::1]", "/a"),
            ("ssh://git@host:2222/a", Scheme::Ssh, "host:2222", "/a"),
            ("git@github.com:rstudio/shiny.git", Scheme::Ssh, "github.com", "rstudio/shiny.git"),
            ("host:a", Scheme::Ssh, "host", "a"),
            ("file:///srv/git/a.git", Scheme::File, "", "/srv/git/a.git"),
            ("file:///srv/my%20repos/a%2b%C3%A9", Scheme::File, "", "/srv/my repos/a+é"),
            ("file:///srv/100%", Scheme::File, "", "/srv/100%"),
        ] {
            let url = GitUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.scheme, url.authority().as_str(), url.path.as_str()), (scheme, authority, path));
        }
    }

    #[test]
    fn all_other_forms_are_refused() {
        for text in [
            "",
            "/srv/git/a",
            "./a",
            "--upload-pack=x",
            "-oProxyCommand=x",
            "-oProxyCommand=x:a",
            "ssh://-oProxyCommand=x/a",
            "ssh://u@-oProxyCommand=x/a",
            "ext::sh -c x",
            "ext::sh",
            "fd::17",
            "transport::https://a/b",
            "git://host/a",
            "ftp://host/a",
            "HTTPS://host/a",
            "https:///a",
            "https://host",
            "https://host/",
            "https://u@host/a",
            "https://u:p@host/a",
            "https://u:p@-host/a",
            "ssh://u:p@host/a",
            "https://host:0/a",
            "https://host:99999/a",
            "https://host:+1/a",
            "https://host:/a",
            "https://ho st/a",
            "https://host/a\nhost=other",
            "https://host/a\r",
            "https://host/a?x=1",
            "https://host/a#x",
            "https://host\\@other/a",
            "https://[::1/a",
            "https://[x]/a",
            "host:-x",
            "host::x",
            "host:",
            "file://host/a",
            "file:///srv/../etc",
            "file:///srv/%2e%2e/etc",
            "file:///srv/%2e./etc",
            "file:///srv%2f..%2fetc",
            "file:///srv/a%0ab",
            "file:///srv/a%00b",
            "file:///srv/a%22b",
            "file:///srv/a%5cb",
            "file:///srv/%ff",
            "file:///srv/my repos/a",
            "file://a",
        ] {
            assert!(GitUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn files_must_be_below_a_configured_directory() {
        let url = |path: &str| GitUrl::parse(&format!("file://{path}")).unwrap();
        let directories = ["/srv/git".to_owned()];
        assert!(url("/srv/git/a").check_local(&directories).is_ok());
        assert!(url("/srv/git-other/a").check_local(&directories).is_err());
        assert!(url("/var/lib/rstudio-pm").check_local(&directories).is_err());
        assert!(url("/srv/git/a").check_local(&[]).is_err());
        assert!(GitUrl::parse("https://host/a").unwrap().check_local(&[]).is_ok());
    }
}
