//! Parses `Postgres.URL`: address, user, database, TLS mode and schema. Never prints a password.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use super::DbError;
use super::schema::Schema;
use crate::config::{Postgres, Secret};

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Without TLS first, with TLS if that is refused.
    Allow,
    /// With TLS first, unverified; without TLS if the server does not support it. The default.
    Prefer,
    /// TLS, verified only if `sslrootcert` is given.
    Require,
    /// TLS with a certificate of a trusted authority.
    VerifyCa,
    /// TLS with a certificate of a trusted authority that names the host.
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

    /// Returns the value used in the URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, word)| word)
    }
}

/// How a connection takes the advisory lock of its schema, see `server_lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerLock {
    /// As a server.
    Shared,
    /// As the only user.
    Exclusive,
    /// Not at all: the connection only inspects the database.
    None,
}

/// The server and the parameters of connections.
#[derive(Clone)]
pub(super) struct Target {
    /// The driver's configuration, without TLS and schema.
    pub(super) config: tokio_postgres::Config,
    pub(super) ssl_mode: SslMode,
    pub(super) ssl_root: Option<PathBuf>,
    pub(super) search_path: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    /// The property that holds the URL, for errors.
    pub(super) property: &'static str,
    /// The set of tables that the connection uses.
    pub(super) schema: Schema,
    /// How each connection takes the lock of its schema.
    pub(super) lock: ServerLock,
}

/// Returns the URL of a database, the password used if the URL has none, and the property that holds the URL. Without a
/// URL of its own, usage data is in the database of the packages.
fn url_of(postgres: &Postgres, schema: Schema) -> (Option<&Secret>, Option<&Secret>, &'static str) {
    let Postgres { url, password, usage_data_url, usage_data_password, listen_url: _ } = postgres;
    let password = password.as_ref();
    match (schema, usage_data_url) {
        (Schema::Usage, Some(url)) => {
            (Some(url), usage_data_password.as_ref().or(password), "Postgres.UsageDataURL")
        }
        (Schema::Core, _) | (Schema::Usage, None) => (url.as_ref(), password, "Postgres.URL"),
    }
}

impl Target {
    /// Parses the URL of a database; its password property is used if the URL has none.
    pub(super) fn parse(postgres: &Postgres, schema: Schema, timeout: Duration) -> Result<Target, DbError> {
        let (url, password, property) = url_of(postgres, schema);
        let Some(url) = url else {
            let reason =
                "is not set; Database.Provider = postgres needs postgres://user@host:5432/database".into();
            return Err(DbError::Url { property, reason });
        };
        Target::from_url(url, password, property, schema, timeout)
    }

    /// Parses `Postgres.ListenURL`, if it is set. Without a schema of its own it has that of `Postgres.URL`.
    pub(super) fn parse_listen(postgres: &Postgres, timeout: Duration) -> Result<Option<Target>, DbError> {
        let Some(url) = &postgres.listen_url else { return Ok(None) };
        let mut target =
            Target::from_url(url, postgres.password.as_ref(), "Postgres.ListenURL", Schema::Core, timeout)?;
        if target.search_path.is_none() {
            target.search_path = Target::parse(postgres, Schema::Core, timeout)?.search_path;
        }
        Ok(Some(target))
    }

    fn from_url(
        url: &Secret,
        password: Option<&Secret>,
        property: &'static str,
        schema: Schema,
        timeout: Duration,
    ) -> Result<Target, DbError> {
        let invalid = |reason: String| DbError::Url { property, reason };
        let url = url.0.trim();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(invalid("must begin with postgres:// or postgresql://".into()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut ssl_mode, mut ssl_root, mut search_path) = (SslMode::Prefer, None, None);
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "sslmode" => ssl_mode = parse_mode(&value).map_err(invalid)?,
                "sslrootcert" if value != "system" => ssl_root = Some(PathBuf::from(value)),
                "sslrootcert" => ssl_root = None,
                "search_path" => search_path = Some(value).filter(|v| !v.trim().is_empty()),
                _ => rest.push(pair),
            }
        }
        let driver_url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: tokio_postgres::Config = driver_url.parse().map_err(|e: tokio_postgres::Error| {
            // The driver's message names the invalid parameter, never its value.
            let reason = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            invalid(format!(
                "cannot be read: {reason}; URL-encode special characters of the user and the password"
            ))
        })?;
        if config.get_password().is_none()
            && let Some(password) = password
        {
            config.password(&password.0);
        }
        let (host, is_name) = match config.get_hosts().first() {
            Some(Host::Tcp(name)) => (name.clone(), true),
            Some(Host::Unix(path)) => (path.display().to_string(), false),
            None => return Err(invalid("names no host".into())),
        };
        // SECURITY: a password with an unescaped '@' or ':' ends up in the host, so the host is not printed.
        if is_name && host.contains(['@', ':', '/', '#']) && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(invalid(
                "names no valid host; URL-encode special characters of the user and the password".into(),
            ));
        }
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or_default().to_owned();
        if user.is_empty() {
            return Err(invalid("names no user".into()));
        }
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        config
            .connect_timeout(timeout)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30));
        config.application_name("rstudio-pm");
        let lock = ServerLock::Shared;
        Ok(Target {
            config,
            ssl_mode,
            ssl_root,
            search_path,
            host,
            port,
            user,
            database,
            property,
            schema,
            lock,
        })
    }

    /// Returns true for a Unix socket, which never uses TLS.
    pub(super) fn is_local_socket(&self) -> bool {
        matches!(self.config.get_hosts().first(), Some(Host::Unix(_)))
    }

    /// Returns database, host and port, for errors and logs.
    pub(super) fn database_name(&self) -> String {
        format!("'{}' at {}, port {}", self.database, self.host, self.port)
    }
}

fn parse_mode(word: &str) -> Result<SslMode, String> {
    let mode = SslMode::ALL.iter().find(|(_, name)| *name == word).map(|(mode, _)| *mode);
    let modes = SslMode::ALL.map(|(_, name)| name).join(", ");
    let excerpt: String = word.chars().take(40).collect();
    mode.ok_or_else(|| format!("sslmode '{excerpt}' is unknown; known modes are {modes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(url: &str, password: Option<&str>) -> Postgres {
        let secret = |text: &str| Secret(text.to_owned());
        Postgres {
            url: Some(secret(url)),
            password: password.map(secret),
            usage_data_url: None,
            usage_data_password: None,
            listen_url: None,
        }
    }

    fn parse(url: &str, password: Option<&str>) -> Result<Target, DbError> {
        Target::parse(&postgres(url, password), Schema::Core, Duration::from_secs(1))
    }

    #[test]
    fn usage_data_has_its_own_url_if_set_and_either_password() {
        let usage = |settings: &Postgres| {
            let t = Target::parse(settings, Schema::Usage, Duration::from_secs(1)).expect("a URL");
            let password = t.config.get_password().map(|p| String::from_utf8_lossy(p).into_owned());
            (t.database, t.search_path, password, t.property)
        };
        let mut settings = postgres("postgres://pm@db.example/pm?search_path=a", Some("core"));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(usage(&settings), ("pm".to_owned(), text("a"), text("core"), "Postgres.URL"));
        settings.usage_data_password = Some(Secret("own".to_owned()));
        assert_eq!(usage(&settings).2, text("core"), "used only with a URL of its own");
        settings.usage_data_url = Some(Secret("postgres://u@other/usage".to_owned()));
        assert_eq!(usage(&settings), ("usage".to_owned(), None, text("own"), "Postgres.UsageDataURL"));
        settings.usage_data_password = None;
        assert_eq!(usage(&settings).2, text("core"));
        let core = Target::parse(&settings, Schema::Core, Duration::from_secs(1)).expect("a URL");
        assert_eq!((core.database.as_str(), core.property), ("pm", "Postgres.URL"));
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
    fn the_password_property_is_used_if_the_url_has_none() {
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
                Ok(t) => format!("{} {:?}", t.database_name(), t.config),
            };
            assert!(!text.contains("hunter") && !text.contains("hun/ter"), "{url}: {text}");
        }
    }
}
