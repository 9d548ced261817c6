//! Leases that assign a job to one server of those that share a PostgreSQL database. On SQLite they are no-ops.
//!
//! A lease is short and renewed by a separate task, so that another server can soon claim the job of one that ended
//! unexpectedly. A server suspended for longer than its lease detects at its next write that the fence has changed.

use std::time::Duration;

use tokio::task::JoinHandle;

use base::model::ids::Identity;
use store::db::lease::Fence;
use store::db::link::Link;
use store::db::{Conn, Db, DbError, lease};

/// Duration of a lease without renewal.
pub const TERM: Duration = Duration::from_secs(60);
const RENEWAL_INTERVAL: Duration = Duration::from_secs(15);

/// The right to do one job. Dropping this value releases the lease soon afterwards.
pub struct Lease {
    database_lease: Option<DatabaseLease>,
}

struct DatabaseLease {
    name: String,
    fence: Fence,
    link: Link,
    renewal: JoinHandle<()>,
}

/// Checks in a transaction that the lease is held: the row is locked until the commit.
struct Guard {
    fence: Option<(String, Fence)>,
}

/// The error with which a transaction is rolled back when the lease is lost.
#[derive(Debug, thiserror::Error)]
#[error("another server took over")]
pub struct LeaseLost;

#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("another server has the lease {0}")]
    HeldByOther(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Lease {
    /// Claims the lease `name` for the server `node`, and renews it until it is released or dropped.
    ///
    /// # Errors
    /// [`ClaimError::HeldByOther`] while another server has it.
    pub async fn claim(db: &Db, node: Identity, name: &str) -> Result<Lease, ClaimError> {
        let Some(link) = db.link() else { return Ok(Lease { database_lease: None }) };
        let (key, holder) = (name.to_owned(), node.to_string());
        let claim = link.run(move |c| {
            let now = lease::now(c)?;
            lease::claim(c, &key, &holder, now, now + TERM)
        });
        let fence = match claim.await {
            // The holder has locked the row, because it is writing.
            Err(DbError::RowLocked(_)) => None,
            claim => claim?,
        };
        let fence = fence.ok_or_else(|| ClaimError::HeldByOther(name.to_owned()))?;
        let renewal = tokio::spawn(renew(link.clone(), name.to_owned(), fence));
        Ok(Lease { database_lease: Some(DatabaseLease { name: name.to_owned(), fence, link, renewal }) })
    }

    fn guard(&self) -> Guard {
        Guard {
            fence: self
                .database_lease
                .as_ref()
                .map(|database_lease| (database_lease.name.clone(), database_lease.fence)),
        }
    }

    /// Checks that the lease is still held, for work that does not write for a while.
    ///
    /// # Errors
    /// [`LeaseLost`], or the database failed.
    pub async fn check(&self) -> Result<(), DbError> {
        let Some(database_lease) = &self.database_lease else { return Ok(()) };
        let guard = self.guard();
        database_lease.link.run(move |c| guard.check(c)).await
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
        db.write(self.with_guard(f)).await
    }

    /// Runs [`Db::bulk`] under the lease.
    pub async fn bulk<T, F>(&self, db: &Db, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    {
        db.bulk(self.with_guard(f)).await
    }

    fn with_guard<T, F>(&self, f: F) -> impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static
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

    pub async fn release(mut self) {
        if let Some(database_lease) = self.database_lease.take() {
            database_lease.release().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(database_lease) = self.database_lease.take() {
            database_lease.renewal.abort();
            // Without a runtime the process ends, and the lease expires.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(database_lease.release());
            }
        }
    }
}

impl DatabaseLease {
    async fn release(self) {
        let DatabaseLease { name, fence, link, renewal } = self;
        renewal.abort();
        let key = name.clone();
        if let Err(error) = link.run(move |c| lease::release(c, &key, fence)).await {
            tracing::warn!(%error, "could not release the lease {name}; it expires in a minute");
        }
    }
}

impl Guard {
    /// Checks the lease within the transaction, which [`LeaseLost`] or an error of the database rolls back.
    fn check(&self, c: &mut dyn Conn) -> Result<(), DbError> {
        match &self.fence {
            None => Ok(()),
            Some((name, fence)) if lease::is_held(c, name, *fence)? => Ok(()),
            Some(_) => Err(DbError::refuse(LeaseLost)),
        }
    }
}

/// Renews a lease until another server has claimed it or the task is aborted. A renewal that fails, for example because
/// the database does not answer, is repeated after the interval: the lease is lost only if another server claims it.
async fn renew(link: Link, name: String, fence: Fence) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let key = name.clone();
        let renewal = link.run(move |c| {
            let expiry = lease::now(c)? + TERM;
            lease::renew(c, &key, fence, expiry)
        });
        if let Ok(false) = renewal.await {
            return;
        }
    }
}
