//! Opens a connection to PostgreSQL: the attempts of each `sslmode`, the first statements of a session.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Notification, config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pgerror::{connect_error, map, unreachable_error};
use super::target::{SslMode, Target};
use super::{DbError, server_lock, tls};

/// Connects, and returns the client with the runtime that drives it. Must not run on an async thread.
pub(super) fn connect(
    target: &Target,
    notifications: Option<NotificationSender>,
) -> Result<(tokio::runtime::Runtime, Client), DbError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| DbError::Driver { database: target.database_name(), source: e.into() })?;
    let client = runtime.block_on(open(target, notifications))?;
    Ok((runtime, client))
}

/// Sends the notifications of a session to their receiver.
pub(super) type NotificationSender = mpsc::UnboundedSender<Notification>;

/// Connects on the current runtime; `notifications` receives the notifications of the session.
async fn open(target: &Target, notifications: Option<NotificationSender>) -> Result<Client, DbError> {
    let client = if target.is_local_socket() {
        connect_once(target, config::SslMode::Disable, &notifications).await?
    } else {
        match target.ssl_mode {
            SslMode::Disable => connect_once(target, config::SslMode::Disable, &notifications).await?,
            SslMode::Allow => match connect_once(target, config::SslMode::Disable, &notifications).await {
                // If pg_hba.conf admits only connections with TLS, the login is refused.
                Err(DbError::Authentication { .. }) => {
                    connect_once(target, config::SslMode::Require, &notifications).await?
                }
                other => other?,
            },
            SslMode::Prefer => match connect_once(target, config::SslMode::Prefer, &notifications).await {
                Err(DbError::Tls { .. } | DbError::Authentication { .. }) => {
                    connect_once(target, config::SslMode::Disable, &notifications).await?
                }
                other => other?,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                connect_once(target, config::SslMode::Require, &notifications).await?
            }
        }
    };
    prepare(target, &client).await?;
    Ok(client)
}

async fn connect_once(
    target: &Target,
    mode: config::SslMode,
    notifications: &Option<NotificationSender>,
) -> Result<Client, DbError> {
    let mut config = target.config.clone();
    config.ssl_mode(mode);
    let timeout = config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(30));
    // The driver's own timeout covers the TCP connection, not a server that then does not answer.
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

/// Sets the session's parameters and checks that `search_path` names a schema for tables.
async fn prepare(target: &Target, client: &Client) -> Result<(), DbError> {
    // A node that hangs inside a transaction must not block the others permanently.
    client
        .batch_execute("SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '60s'")
        .await
        .map_err(|e| map(target, e))?;
    if let Some(path) = &target.search_path {
        const SET: &str = "SELECT set_config('search_path', $1, false)";
        const SCHEMA: &str =
            "SELECT CASE WHEN has_schema_privilege(current_schema(), 'CREATE') THEN 1 ELSE 0 END";
        client.query(SET, &[path]).await.map_err(|e| map(target, e))?;
        let rows = client.query(SCHEMA, &[]).await.map_err(|e| map(target, e))?;
        if rows.first().and_then(|row| row.try_get::<_, i32>(0).ok()) != Some(1) {
            let (path, user) = (path.clone(), target.user.clone());
            return Err(DbError::SearchPath { property: target.property, path, user });
        }
    }
    // Taken last, because the lock belongs to the schema that search_path selects.
    server_lock::take(target, client).await
}
