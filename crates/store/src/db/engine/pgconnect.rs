//! Opens a connection to PostgreSQL: the servers of the URL, the attempts of each `sslmode`, the first statements of a
//! session, the lock of servers, and whether it passes through a pooler.
//!
//! Through a pooler no session state outlasts a transaction: each one sets up settings, schema and prepared statements.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Notification, SimpleQueryMessage, config,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pgerror::{connect_error, map, unreachable_error};
use super::schema::Schema;
use super::target::{PostgresTarget, ServerLock, SslMode};
use super::{DbError, tls};

/// Settings of every session. A server that hangs inside a transaction must not block the others permanently.
const SETTINGS: [(&str, &str); 2] = [("idle_in_transaction_session_timeout", "60s"), ("lock_timeout", "60s")];
/// The value of `lock_timeout` as PostgreSQL displays it.
const LOCK_TIMEOUT_TEXT: &str = "1min";

/// Number of attempts to take the lock: PostgreSQL detects the end of another program with a delay.
const MAX_LOCK_ATTEMPTS: u32 = 150;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The remote end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum SessionKind {
    Dedicated,
    /// A pooler, which may change the session with each transaction: settings and LISTEN do not outlast one.
    Pooled,
}

/// Connects, and returns the client with the runtime that drives it. Must not run on an async thread.
pub(in crate::db) fn connect(
    target: &PostgresTarget,
    notifications: Option<NotificationSender>,
) -> Result<(tokio::runtime::Runtime, Client, SessionKind), DbError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| DbError::Driver { database: target.database_name(), source: e.into() })?;
    let (client, kind) = runtime.block_on(open(target, notifications))?;
    Ok((runtime, client, kind))
}

/// Sends the notifications of a session to their receiver.
pub(in crate::db) type NotificationSender = mpsc::UnboundedSender<Notification>;

/// Connects on the current runtime; `notifications` receives the notifications of the session. If there are several
/// servers, the one that accepted the last connection is tried first.
async fn open(
    target: &PostgresTarget,
    notifications: Option<NotificationSender>,
) -> Result<(Client, SessionKind), DbError> {
    let first = target.last_index.load(Ordering::Relaxed);
    let order = (first..target.configs.len()).chain(0..first);
    let mut refusal = None;
    for index in order {
        match connect_to(target, &target.configs[index], &notifications).await {
            Ok((client, kind)) => {
                target.last_index.store(index, Ordering::Relaxed);
                prepare(target, &client, kind).await?;
                return Ok((client, kind));
            }
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or(DbError::Closed))
}

/// Connects to one server. The settings of the session are options of the connection; poolers are detected because they
/// refuse (PgBouncer) or ignore these options.
async fn connect_to(
    target: &PostgresTarget,
    server: &Config,
    notifications: &Option<NotificationSender>,
) -> Result<(Client, SessionKind), DbError> {
    let settings = SETTINGS.map(|(name, value)| format!("-c {name}={value}")).join(" ");
    let mut config = server.clone();
    config.options(server.get_options().map_or(settings.clone(), |options| format!("{options} {settings}")));
    match connect_with_tls(target, &config, notifications).await {
        Ok(client) => {
            let rows = client.simple_query("SHOW lock_timeout").await.map_err(|e| map(target, e))?;
            let is_own = rows.iter().any(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0) == Some(LOCK_TIMEOUT_TEXT),
                _ => false,
            });
            Ok((client, if is_own { SessionKind::Dedicated } else { SessionKind::Pooled }))
        }
        Err(DbError::Driver { .. }) => {
            Ok((connect_with_tls(target, server, notifications).await?, SessionKind::Pooled))
        }
        Err(error) => Err(error),
    }
}

/// Connects with or without TLS, in the order that the `sslmode` prescribes.
async fn connect_with_tls(
    target: &PostgresTarget,
    server: &Config,
    notifications: &Option<NotificationSender>,
) -> Result<Client, DbError> {
    let connect = |mode| connect_once(target, server, mode, notifications);
    if target.is_local_socket() {
        return connect(config::SslMode::Disable).await;
    }
    match target.ssl_mode {
        SslMode::Disable => connect(config::SslMode::Disable).await,
        SslMode::Allow => match connect(config::SslMode::Disable).await {
            // If pg_hba.conf admits only connections with TLS, the login is refused.
            Err(DbError::Authentication { .. }) => connect(config::SslMode::Require).await,
            other => other,
        },
        SslMode::Prefer => match connect(config::SslMode::Prefer).await {
            Err(DbError::Tls { .. } | DbError::Authentication { .. }) => {
                connect(config::SslMode::Disable).await
            }
            other => other,
        },
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => connect(config::SslMode::Require).await,
    }
}

async fn connect_once(
    target: &PostgresTarget,
    server: &Config,
    mode: config::SslMode,
    notifications: &Option<NotificationSender>,
) -> Result<Client, DbError> {
    let mut config = server.clone();
    config.ssl_mode(mode);
    let timeout = config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(30));
    // The driver's own timeout covers only the TCP connection, not a server that accepts it and does not answer.
    let client = tokio::time::timeout(timeout, async {
        if mode == config::SslMode::Disable {
            let (client, connection) = config.connect(NoTls).await.map_err(|e| connect_error(target, e))?;
            tokio::spawn(drive(connection, notifications.clone()));
            Ok(client)
        } else {
            let tls = MakeRustlsConnect::new(tls::client(target)?);
            let (client, connection) = config.connect(tls).await.map_err(|e| connect_error(target, e))?;
            tokio::spawn(drive(connection, notifications.clone()));
            Ok(client)
        }
    });
    client.await.unwrap_or_else(|_| {
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
        Err(unreachable_error(target, source.into()))
    })
}

/// Drives a connection until it ends.
async fn drive<S, T>(mut connection: Connection<S, T>, notifications: Option<NotificationSender>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let (AsyncMessage::Notification(notification), Some(sender)) = (message, &notifications) {
            let _ = sender.send(notification);
        }
    }
}

/// Returns the statements that give a transaction the settings and the schema, for sessions of a pooler.
pub(in crate::db) fn transaction_settings(target: &PostgresTarget) -> String {
    let mut statements: Vec<String> =
        SETTINGS.map(|(name, value)| format!("SET LOCAL {name} = '{value}'")).to_vec();
    if let Some(path) = &target.search_path {
        statements.push(format!("SELECT set_config('search_path', '{}', true)", path.replace('\'', "''")));
    }
    statements.join("; ")
}

/// Selects the schema, checks that `search_path` names one for tables, and takes the lock.
async fn prepare(target: &PostgresTarget, client: &Client, kind: SessionKind) -> Result<(), DbError> {
    let run = async |sql: &str| client.batch_execute(sql).await.map_err(|e| map(target, e));
    match kind {
        SessionKind::Dedicated => {
            if let Some(path) = &target.search_path {
                const SET: &str = "SELECT set_config('search_path', $1, false)";
                client.query(SET, &[path]).await.map_err(|e| map(target, e))?;
            }
            lock_schema(target, client).await
        }
        SessionKind::Pooled if target.lock == ServerLock::Exclusive => {
            Err(DbError::Pooler { property: target.property })
        }
        SessionKind::Pooled => {
            run(&format!("BEGIN; {}", transaction_settings(target))).await?;
            lock_schema(target, client).await?;
            run("COMMIT").await
        }
    }
}

async fn lock_schema(target: &PostgresTarget, client: &Client) -> Result<(), DbError> {
    if let Some(path) = &target.search_path {
        const SCHEMA: &str =
            "SELECT CASE WHEN has_schema_privilege(current_schema(), 'CREATE') THEN 1 ELSE 0 END";
        let rows = client.query(SCHEMA, &[]).await.map_err(|e| map(target, e))?;
        if rows.first().and_then(|row| row.try_get::<_, i32>(0).ok()) != Some(1) {
            let (path, user) = (path.clone(), target.user.clone());
            return Err(DbError::SearchPath { property: target.property, path, user });
        }
    }
    // Taken last, because the lock belongs to the schema that search_path selects.
    take_lock(target, client).await
}

/// Returns the first half of the lock's key; the second is a hash of the name of the PostgreSQL schema.
fn lock_key(schema: Schema) -> i32 {
    match schema {
        Schema::Core => 1_381_191_758,
        Schema::Usage => 1_381_191_759,
    }
}

/// Takes the advisory lock that indicates that servers use the database: shared by the connections of servers,
/// exclusive for a program that copies the database. PostgreSQL releases it with the connection. On SQLite both take
/// the lock of the directory (`sqlite_dir`), exclusively. Fails with [`DbError::Copying`] and [`DbError::ServerActive`]
/// if another connection holds it.
async fn take_lock(target: &PostgresTarget, client: &Client) -> Result<(), DbError> {
    const TAKE_SHARED: &str =
        "SELECT pg_try_advisory_lock_shared($1, hashtext(coalesce(current_schema(), '')))";
    const TAKE_EXCLUSIVE: &str = "SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))";
    let statement = match target.lock {
        ServerLock::Shared => TAKE_SHARED,
        ServerLock::Exclusive => TAKE_EXCLUSIVE,
        ServerLock::None => return Ok(()),
    };
    let to_error = |error| map(target, error);
    for attempt in 1..=MAX_LOCK_ATTEMPTS {
        let row = client.query_one(statement, &[&lock_key(target.schema)]).await.map_err(to_error)?;
        if row.try_get(0).map_err(to_error)? {
            return Ok(());
        }
        if attempt < MAX_LOCK_ATTEMPTS {
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }
    let database = target.database_name();
    match target.lock {
        ServerLock::Exclusive => {
            Err(DbError::ServerActive { database, clients: lock_holders(target, client).await? })
        }
        ServerLock::Shared | ServerLock::None => Err(DbError::Copying { database }),
    }
}

/// Returns the addresses of the clients that hold the lock, for an error text.
async fn lock_holders(target: &PostgresTarget, client: &Client) -> Result<String, DbError> {
    const HOLDERS: &str = "SELECT DISTINCT coalesce(host(a.client_addr), 'its own host') FROM pg_locks l \
        JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database \
        WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.pid <> pg_backend_pid() \
        AND CAST(l.classid AS BIGINT) = CAST(CAST($1 AS INTEGER) AS BIGINT) \
        AND CAST(l.objid AS BIGINT) = CAST(hashtext(coalesce(current_schema(), '')) AS BIGINT) & 4294967295 \
        ORDER BY 1";
    let rows =
        client.query(HOLDERS, &[&lock_key(target.schema)]).await.map_err(|error| map(target, error))?;
    let addresses: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    Ok(if addresses.is_empty() { "an unknown host".to_owned() } else { addresses.join(", ") })
}
