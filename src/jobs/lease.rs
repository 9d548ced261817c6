//! Leases that assign a job to one of the servers that share a PostgreSQL database. On SQLite they are no-ops.

use crate::config::{Config, Provider};
use crate::db::lease::Fence;
use crate::db::{Conn, Db, DbError, lease};
use crate::model::time::{Clock, SECOND, Timestamp};

/// Duration of a lease without renewal. Longer than the slowest mirror may take between two renewals; a restarted
/// server regains its own lease at once.
const TERM: i64 = 30 * 60 * SECOND;

/// The right to do one job.
pub struct Lease {
    fence: Option<(String, Fence)>,
    clock: Clock,
}

/// Checks in a transaction that the lease is still held, and renews it: the row is locked until the commit, so no
/// other server can take over in between.
struct Guard {
    fence: Option<(String, Fence)>,
    until: Timestamp,
}

/// The error with which a transaction is rolled back when the lease is lost.
#[derive(Debug, thiserror::Error)]
#[error("another server took over")]
pub struct LeaseLost;

/// Why a lease could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another server has the lease with this name.
    #[error("another server has the lease {0}")]
    HeldByOther(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Lease {
    /// Claims the lease `name`.
    ///
    /// # Errors
    /// [`ClaimError::HeldByOther`] while another server has it.
    pub async fn claim(db: &Db, config: &Config, clock: &Clock, name: &str) -> Result<Lease, ClaimError> {
        let mut lease = Lease { fence: None, clock: clock.clone() };
        match config.database.provider {
            Provider::Sqlite => Ok(lease),
            Provider::Postgres => {
                let (key, holder, now) = (name.to_owned(), holder(config), clock());
                let until = Timestamp(now.0.saturating_add(TERM));
                let fence = db.write(move |c| lease::claim(c, &key, &holder, now, until)).await?;
                let fence = fence.ok_or_else(|| ClaimError::HeldByOther(name.to_owned()))?;
                lease.fence = Some((name.to_owned(), fence));
                Ok(lease)
            }
        }
    }

    /// A guard for a transaction that starts now.
    fn guard(&self) -> Guard {
        let until = Timestamp((self.clock)().0.saturating_add(TERM));
        Guard { fence: self.fence.clone(), until }
    }

    /// Renews the lease, for work that does not write for a while.
    ///
    /// # Errors
    /// [`LeaseLost`], or the database failed.
    pub async fn renew(&self, db: &Db) -> Result<(), DbError> {
        if self.fence.is_none() {
            return Ok(());
        }
        self.write(db, |_| Ok(())).await
    }

    /// Runs [`Db::write`] under the lease.
    ///
    /// # Errors
    /// [`LeaseLost`], or the database failed.
    pub async fn write<T, F>(&self, db: &Db, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        db.write(self.guarded(f)).await
    }

    /// Runs [`Db::bulk`] under the lease.
    ///
    /// # Errors
    /// As [`Lease::write`].
    pub async fn bulk<T, F>(&self, db: &Db, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        db.bulk(self.guarded(f)).await
    }

    fn guarded<T, F>(&self, f: F) -> impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static
    where
        T: 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        let guard = self.guard();
        move |c| {
            guard.check(c)?;
            f(c)
        }
    }

    /// Releases the lease.
    pub async fn release(self, db: &Db) {
        if let Some((name, fence)) = self.fence {
            let key = name.clone();
            let released = db.write(move |c| lease::release(c, &key, fence)).await;
            if let Err(error) = released {
                tracing::warn!(%error, "could not release the lease {name}; it expires in half an hour");
            }
        }
    }
}

impl Guard {
    /// Renews the lease within the transaction.
    ///
    /// # Errors
    /// [`LeaseLost`], which rolls the transaction back, or the database failed.
    fn check(&self, c: &mut dyn Conn) -> Result<(), DbError> {
        match &self.fence {
            None => Ok(()),
            Some((name, fence)) if lease::renew(c, name, *fence, self.until)? => Ok(()),
            Some(_) => Err(DbError::refuse(LeaseLost)),
        }
    }
}

/// Identifies this server among those that share the database: host name and data directory. The host name is read by
/// a system call: the unit's sandbox hides `/proc/sys`, and servers without a name would take each other's leases.
fn holder(config: &Config) -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    format!("{}:{}", host.to_string_lossy(), config.server.data_dir.display())
}
