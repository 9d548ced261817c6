//! `Postgres.URL` as parts: where to connect, as whom, with which TLS mode and schema. Nothing here prints a password.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use super::DbError;
use crate::config::Postgres;

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Without TLS first, with TLS when that is refused.
    Allow,
    /// With TLS first, unverified; without when the server has none. The default.
    Prefer,
    /// TLS, verified only when `sslrootcert` is given.
    Require,
    /// TLS, the certificate signed by a known authority.
    VerifyCa,
    /// And it names the host.
    VerifyFull,
}

impl SslMode {
    const ALL: [(SslMode, &'static str); 6] = [
        (SslMode::Disable, "disable"),
        (SslMode::Allow, "allow"),
        (SslMode::Prefer, "prefer"),
        (SslMode::Require, "require"),
        (SslMode::VerifyCa, "verify-ca"),
        (SslMode::VerifyFull, "verify-full"),
    ];

    /// As written in the URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, word)| word)
    }
}

/// Where to connect.
#[derive(Clone)]
pub(super) struct Target {
    /// All but TLS and schema.
    pub(super) config: tokio_postgres::Config,
    pub(super) ssl_mode: SslMode,
    pub(super) ssl_root: Option<PathBuf>,
    pub(super) search_path: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
}

impl Target {
    /// Reads the URL; `Postgres.Password` is used when the URL has none.
    pub(super) fn parse(written: &Postgres, wait: Duration) -> Result<Target, DbError> {
        let bad = |text: String| DbError::Url(text);
        let Some(url) = &written.url else {
            return Err(bad(
                "is not set; Database.Provider = postgres needs postgres://user@host:5432/database".into(),
            ));
        };
        let url = url.0.trim();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(bad("must begin with postgres:// or postgresql://".into()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut ssl_mode, mut ssl_root, mut search_path) = (SslMode::Prefer, None, None);
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "sslmode" => ssl_mode = mode(&value)?,
                "sslrootcert" if value != "system" => ssl_root = Some(PathBuf::from(value)),
                "sslrootcert" => ssl_root = None,
                "search_path" => search_path = Some(value).filter(|v| !v.trim().is_empty()),
                _ => rest.push(pair),
            }
        }
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: tokio_postgres::Config = plain.parse().map_err(|e: tokio_postgres::Error| {
            // The driver names the parameter it stumbles over, never its value.
            let reason = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            bad(format!(
                "cannot be read: {reason}; URL-encode special characters of the user and the password"
            ))
        })?;
        if config.get_password().is_none()
            && let Some(password) = &written.password
        {
            config.password(&password.0);
        }
        let (host, is_name) = match config.get_hosts().first() {
            Some(Host::Tcp(name)) => (name.clone(), true),
            Some(Host::Unix(path)) => (path.display().to_string(), false),
            None => return Err(bad("names no host".into())),
        };
        // A password with a bare '@' or ':' ends up in the host: better no name than that one in a log.
        if is_name && host.contains(['@', ':', '/', '#']) && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(bad(
                "names no valid host; URL-encode special characters of the user and the password".into(),
            ));
        }
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or_default().to_owned();
        if user.is_empty() {
            return Err(bad("names no user".into()));
        }
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        config
            .connect_timeout(wait)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30));
        config.application_name("rstudio-pm");
        Ok(Target { config, ssl_mode, ssl_root, search_path, host, port, user, database })
    }

    /// True for a socket in the file system, which never speaks TLS.
    pub(super) fn is_local_socket(&self) -> bool {
        matches!(self.config.get_hosts().first(), Some(Host::Unix(_)))
    }

    /// For errors and logs.
    pub(super) fn place(&self) -> String {
        format!("'{}' at {}, port {}", self.database, self.host, self.port)
    }
}

fn mode(word: &str) -> Result<SslMode, DbError> {
    let found = SslMode::ALL.iter().find(|(_, name)| *name == word).map(|(mode, _)| *mode);
    let known = SslMode::ALL.map(|(_, name)| name).join(", ");
    let shown: String = word.chars().take(40).collect();
    found.ok_or_else(|| DbError::Url(format!("sslmode '{shown}' is unknown; known are {known}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn parse(url: &str, password: Option<&str>) -> Result<Target, DbError> {
        let written =
            Postgres { url: Some(Secret(url.into())), password: password.map(|p| Secret(p.into())) };
        Target::parse(&written, Duration::from_secs(1))
    }

    #[test]
    fn every_part_of_the_url_is_read() {
        let url = "postgres://pm:s%40cret@db.example:6543/rstudio_pm?sslmode=verify-full&search_path=pm&sslrootcert=/ca.crt";
        let t = parse(url, Some("other")).expect("a URL");
        assert_eq!((t.host.as_str(), t.port, t.user.as_str()), ("db.example", 6543, "pm"));
        assert_eq!((t.database.as_str(), t.search_path.as_deref()), ("rstudio_pm", Some("pm")));
        assert_eq!((t.ssl_mode, t.ssl_root), (SslMode::VerifyFull, Some("/ca.crt".into())));
        assert_eq!(t.config.get_password(), Some(&b"s@cret"[..]));
    }

    #[test]
    fn the_password_property_fills_in() {
        let t = parse("postgresql://pm@db.example/x", Some("word")).expect("a URL");
        assert_eq!(
            (t.config.get_password(), t.port, t.ssl_mode),
            (Some(&b"word"[..]), 5432, SslMode::Prefer)
        );
    }

    #[test]
    fn a_socket_directory_is_a_host() {
        for url in ["postgres://pm@%2Frun%2Fpg/x", "postgres://pm@/x?host=/run/pg"] {
            let t = parse(url, None).expect(url);
            assert!(t.is_local_socket() && t.host == "/run/pg", "{url}: {}", t.host);
        }
    }

    #[test]
    fn no_error_prints_the_password() {
        for url in [
            "postgres://pm:hunter@2@db/x",
            "postgres://pm:hun/ter2@db:port/x",
            "postgres://pm:hunter2@db/x?sslmode=maybe",
            "postgres://pm:hunter2@db/x?unknown=1",
            "postgres://pm:hunter2@",
            "mysql://pm:hunter2@db/x",
            "postgres://pm:hunter?2@db/x",
            "postgres://pm:hunter#2@db:1/x?port=hunter",
            "postgres://:hunter2@db/x",
        ] {
            let text = match parse(url, None) {
                Err(error) => format!("{error} {error:?}"),
                Ok(t) => format!("{} {:?}", t.place(), t.config),
            };
            assert!(!text.contains("hunter") && !text.contains("hun/ter"), "{url}: {text}");
        }
    }
}
