//! Which server syncs: on PostgreSQL several may share a database, on SQLite the file is ours alone.

use super::SyncError;
use crate::config::{Config, Provider};
use crate::db::lease::Fence;
use crate::db::{Conn, Db, DbError, lease};
use crate::model::time::{Clock, SECOND, Timestamp};

/// For so long a server that fell silent keeps the lease. Longer than the slowest mirror may take between two
/// renewals; a server that is restarted has its own lease back at once.
const TERM: i64 = 30 * 60 * SECOND;

/// The right to sync one source.
pub(super) struct Lease {
    held: Option<(String, Fence)>,
    clock: Clock,
}

/// Proves in a transaction that the lease is still held, and prolongs it: the row is locked until the commit, so
/// nobody takes over in between.
pub(super) struct Guard {
    held: Option<(String, Fence)>,
    until: Timestamp,
}

/// The reason of the roll-back when the lease was lost.
#[derive(Debug, thiserror::Error)]
#[error("another server took over the sync")]
pub(super) struct Lost;

impl Lease {
    /// Claims the lease `name`.
    ///
    /// # Errors
    /// [`SyncError::Elsewhere`] while another server has it.
    pub(super) async fn claim(
        db: &Db,
        config: &Config,
        clock: &Clock,
        name: &str,
    ) -> Result<Lease, SyncError> {
        let mut lease = Lease { held: None, clock: clock.clone() };
        match config.database.provider {
            Provider::Sqlite => Ok(lease),
            Provider::Postgres => {
                let (key, holder, now) = (name.to_owned(), holder(config), clock());
                let until = Timestamp(now.0.saturating_add(TERM));
                let fence = db.write(move |c| lease::claim(c, &key, &holder, now, until)).await?;
                let fence = fence.ok_or_else(|| SyncError::Elsewhere(name.to_owned()))?;
                lease.held = Some((name.to_owned(), fence));
                Ok(lease)
            }
        }
    }

    pub(super) fn guard(&self) -> Guard {
        let until = Timestamp((self.clock)().0.saturating_add(TERM));
        Guard { held: self.held.clone(), until }
    }

    pub(super) async fn release(self, db: &Db) {
        if let Some((name, fence)) = self.held {
            let released = db.write(move |c| lease::release(c, &name, fence)).await;
            if let Err(error) = released {
                tracing::warn!(target: "sync", %error, "the lease runs out by itself in half an hour");
            }
        }
    }
}

impl Guard {
    pub(super) fn check(&self, c: &mut dyn Conn) -> Result<(), DbError> {
        match &self.held {
            None => Ok(()),
            Some((name, fence)) if lease::renew(c, name, *fence, self.until)? => Ok(()),
            Some(_) => Err(DbError::refuse(Lost)),
        }
    }
}

/// This server among those that share the database: host and data directory. The name comes from the kernel itself:
/// under the unit's sandbox there is no `/proc/sys`, and servers without a name would take each other's leases.
fn holder(config: &Config) -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    format!("{}:{}", host.to_string_lossy(), config.server.data_dir.display())
}
