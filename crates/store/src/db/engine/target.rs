//! Parses `Postgres.URL`: addresses, user, database, TLS mode and schema. Never prints a password.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};

use super::schema::Schema;
use super::{DbError, servers};
use base::config::{Postgres, Secret};

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
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
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, word)| word)
    }
}

/// The mode in which a connection takes the advisory lock of its schema, see `pgconnect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum ServerLock {
    Shared,
    /// Exclusive use of the database.
    Exclusive,
    /// No lock, for a connection that only inspects the database.
    None,
}

/// The servers and the parameters of connections.
#[derive(Clone)]
pub(in crate::db) struct PostgresTarget {
    /// The driver's configuration for each server that the URL names, without TLS and schema.
    pub(in crate::db) configs: Vec<Config>,
    /// The index of the server that accepted the last connection. The others are tried after it.
    pub(in crate::db) last_index: Arc<AtomicUsize>,
    pub(in crate::db) ssl_mode: SslMode,
    pub(in crate::db) ssl_root: Option<PathBuf>,
    pub(in crate::db) search_path: Option<String>,
    /// Host name, address or socket directory, and port, of each server.
    pub(in crate::db) servers: Vec<(String, u16)>,
    pub(in crate::db) user: String,
    pub(in crate::db) database: String,
    /// The property that contains the URL, for errors.
    pub(in crate::db) property: &'static str,
    /// The set of tables that the connection uses.
    pub(in crate::db) schema: Schema,
    /// The mode in which each connection takes the lock of its schema.
    pub(in crate::db) lock: ServerLock,
}

/// Returns the URL of a database, the password used if the URL has none, and the property that contains the URL.
/// Without a separate URL, usage data is in the database of the packages.
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

impl PostgresTarget {
    /// Parses the URL of a database; its password property is used if the URL has none.
    pub(in crate::db) fn parse(
        postgres: &Postgres,
        schema: Schema,
        timeout: Duration,
    ) -> Result<PostgresTarget, DbError> {
        let (url, password, property) = url_of(postgres, schema);
        let Some(url) = url else {
            let reason =
                "is not set; Database.Provider = postgres needs postgres://user@host:5432/database".into();
            return Err(DbError::Url { property, reason });
        };
        PostgresTarget::from_url(url, password, property, schema, timeout)
    }

    /// Parses `Postgres.ListenURL`, if it is set. If it names no schema, the schema of `Postgres.URL` is used.
    pub(in crate::db) fn parse_listen(
        postgres: &Postgres,
        timeout: Duration,
    ) -> Result<Option<PostgresTarget>, DbError> {
        let Some(url) = &postgres.listen_url else { return Ok(None) };
        let mut target = PostgresTarget::from_url(
            url,
            postgres.password.as_ref(),
            "Postgres.ListenURL",
            Schema::Core,
            timeout,
        )?;
        if target.search_path.is_none() {
            target.search_path = PostgresTarget::parse(postgres, Schema::Core, timeout)?.search_path;
        }
        Ok(Some(target))
    }

    fn from_url(
        url: &Secret,
        password: Option<&Secret>,
        property: &'static str,
        schema: Schema,
        timeout: Duration,
    ) -> Result<PostgresTarget, DbError> {
        let invalid = |reason: String| DbError::Url { property, reason };
        let url = url.0.trim();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(invalid("must begin with postgres:// or postgresql://".into()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut ssl_mode, mut ssl_root, mut search_path) = (SslMode::Prefer, None, None);
        let (mut hosts, mut rest) = (Vec::new(), Vec::new());
        let mut is_any_session = true;
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, encoded) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(encoded).decode_utf8_lossy().into_owned();
            match key {
                "sslmode" => ssl_mode = parse_mode(&value).map_err(invalid)?,
                "sslrootcert" if value != "system" => ssl_root = Some(PathBuf::from(value)),
                "sslrootcert" => ssl_root = None,
                "search_path" => search_path = Some(value).filter(|v| !v.trim().is_empty()),
                // The driver accepts only one host in each parameter of a URL.
                "host" => {
                    hosts.extend(value.split(',').map(|host| format!("host={}", servers::encode(host))))
                }
                "port" | "hostaddr" => hosts.push(pair.to_owned()),
                "target_session_attrs" => is_any_session = parse_session(&value).map_err(invalid)?,
                _ => rest.push(pair.to_owned()),
            }
        }
        let parse = |base: &str, query: &[String]| {
            let url = if query.is_empty() { base.to_owned() } else { format!("{base}?{}", query.join("&")) };
            url.parse().map_err(|e: tokio_postgres::Error| {
                // The driver's message names the invalid parameter, never its value.
                let reason = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
                invalid(format!(
                    "cannot be read: {reason}; URL-encode special characters of the user and the password"
                ))
            })
        };
        let all: Config = parse(base, &[&rest[..], &hosts[..]].concat())?;
        let mut config: Config = parse(&servers::remove_hosts(base), &rest)?;
        if config.get_password().is_none()
            && let Some(password) = password
        {
            config.password(&password.0);
        }
        config
            .connect_timeout(timeout)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30));
        config.application_name("rstudio-pm");
        if !is_any_session || all.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let user = config.get_user().unwrap_or_default().to_owned();
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        let (servers, configs) = servers::split(&all, &config).map_err(invalid)?;
        if user.is_empty() {
            return Err(invalid("names no user".into()));
        }
        let first = match all.get_load_balance_hosts() {
            LoadBalanceHosts::Random => rand::random_range(0..configs.len()),
            _ => 0,
        };
        let lock = ServerLock::Shared;
        Ok(PostgresTarget {
            configs,
            last_index: Arc::new(AtomicUsize::new(first)),
            ssl_mode,
            ssl_root,
            search_path,
            servers,
            user,
            database,
            property,
            schema,
            lock,
        })
    }

    /// Returns true for a Unix socket, which never uses TLS.
    pub(in crate::db) fn is_local_socket(&self) -> bool {
        let first = self.configs.first().and_then(|config| config.get_hosts().first());
        matches!(first, Some(Host::Unix(_)))
    }

    /// Returns host and port of each server: `db1, port 5432, or db2, port 5432`.
    pub(in crate::db) fn server_names(&self) -> String {
        let names: Vec<String> =
            self.servers.iter().map(|(host, port)| format!("{host}, port {port}")).collect();
        names.join(", or ")
    }

    /// Returns database, hosts and ports, for errors and logs.
    pub(in crate::db) fn database_name(&self) -> String {
        format!("'{}' at {}", self.database, self.server_names())
    }
}

/// Returns whether `target_session_attrs` allows any server, false if the primary. Any other value is an error.
fn parse_session(word: &str) -> Result<bool, String> {
    match word {
        "any" => Ok(true),
        "read-write" | "primary" => Ok(false),
        _ => {
            Err("target_session_attrs must be read-write, primary or any: standbys cannot be used".to_owned())
        }
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

    fn parse(url: &str, password: Option<&str>) -> Result<PostgresTarget, DbError> {
        PostgresTarget::parse(&postgres(url, password), Schema::Core, Duration::from_secs(1))
    }

    #[test]
    fn usage_data_has_its_own_url_if_set_and_either_password() {
        let usage = |settings: &Postgres| {
            let t = PostgresTarget::parse(settings, Schema::Usage, Duration::from_secs(1)).expect("a URL");
            let password = t.configs[0].get_password().map(|p| String::from_utf8_lossy(p).into_owned());
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
        let core = PostgresTarget::parse(&settings, Schema::Core, Duration::from_secs(1)).expect("a URL");
        assert_eq!((core.database.as_str(), core.property), ("pm", "Postgres.URL"));
    }

    #[test]
    fn every_part_of_the_url_is_read() {
        let url = "postgres://pm:s%40cret@db.example:6543/rstudio_pm?sslmode=verify-full&search_path=pm&sslrootcert=/ca.crt";
        let t = parse(url, Some("other")).expect("a URL");
        assert_eq!((t.server_names().as_str(), t.user.as_str()), ("db.example, port 6543", "pm"));
        assert_eq!((t.database.as_str(), t.search_path.as_deref()), ("rstudio_pm", Some("pm")));
        assert_eq!((t.ssl_mode, t.ssl_root), (SslMode::VerifyFull, Some("/ca.crt".into())));
        assert_eq!(t.configs[0].get_password(), Some(&b"s@cret"[..]));
        assert_eq!(t.configs[0].get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[test]
    fn the_password_property_is_used_if_the_url_has_none() {
        let t = parse("postgresql://pm@db.example/x", Some("word")).expect("a URL");
        assert_eq!(
            (t.configs[0].get_password(), t.servers[0].1, t.ssl_mode),
            (Some(&b"word"[..]), 5432, SslMode::Prefer)
        );
    }

    #[test]
    fn a_socket_directory_is_a_host() {
        for url in ["postgres://pm@%2Frun%2Fpg/x", "postgres://pm@/x?host=/run/pg"] {
            let t = parse(url, None).expect(url);
            assert!(t.is_local_socket() && t.servers[0].0 == "/run/pg", "{url}: {:?}", t.servers);
        }
    }

    #[test]
    fn several_hosts_are_servers_of_which_one_accepts_writes() {
        for url in [
            "postgres://pm:p%2Cw@db1,db2:6543/x",
            "postgres://pm:p%2Cw@db1,db2:6543/x?target_session_attrs=read-write",
            "postgres://pm:p%2Cw@db1:5432,db2:6543/x?target_session_attrs=any",
            "postgres://pm:p%2Cw@/x?host=db1,db2&port=5432,6543&target_session_attrs=primary",
            "postgres://pm:p%2Cw@/x?host=db1%2Cdb2&port=5432,6543",
        ] {
            let t = parse(url, None).expect(url);
            assert_eq!(t.database_name(), "'x' at db1, port 5432, or db2, port 6543", "{url}");
            for (config, host) in t.configs.iter().zip(["db1", "db2"]) {
                assert_eq!(config.get_hosts(), [Host::Tcp(host.to_owned())], "{url}");
                assert_eq!(config.get_ports().len(), 1, "{url}");
                assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite, "{url}");
                assert_eq!((config.get_user(), config.get_dbname()), (Some("pm"), Some("x")));
                assert_eq!(config.get_password(), Some(&b"p,w"[..]));
            }
        }
        let one_port = parse("postgres://pm@/x?host=db1,db2&port=6543", None).expect("one port for both");
        assert_eq!(one_port.server_names(), "db1, port 6543, or db2, port 6543");
        let addresses = parse("postgres://pm@a,b/x?hostaddr=10.0.0.1,10.0.0.2", None).expect("addresses");
        assert_eq!(addresses.configs[1].get_hostaddrs(), [std::net::IpAddr::from([10, 0, 0, 2])]);
        for (url, part) in [
            ("postgres://pm@a,b,c/x?hostaddr=10.0.0.1,10.0.0.2", "3 hosts, 3 ports and 2 addresses"),
            ("postgres://pm@/x?host=a,b,c&port=1,2", "3 hosts, 2 ports"),
            ("postgres://pm@a,/x", "names no valid host"),
            ("postgres://pm@a,%2Frun%2Fpg/x", "names sockets and hosts"),
            ("postgres://pm@a,b/x?target_session_attrs=standby", "standbys cannot be used"),
        ] {
            let error = parse(url, None).map(|t| t.server_names()).expect_err(url).to_string();
            assert!(error.contains(part), "{url}: {error}");
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
                Ok(t) => format!("{} {:?}", t.database_name(), t.configs),
            };
            assert!(!text.contains("hunter") && !text.contains("hun/ter"), "{url}: {text}");
        }
    }
}
