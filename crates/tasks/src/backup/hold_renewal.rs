//! The hold of a running backup, renewed until it is released.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use base::model::identity::Identity;
use runtime::state::State;
use store::db::{DbError, hold};

const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);

/// A hold. Dropping it without a release lets it expire.
pub(super) struct RenewedHold {
    state: Arc<State>,
    id: Identity,
    renewal: JoinHandle<()>,
}

impl RenewedHold {
    /// Takes a hold, during which no object is removed.
    pub(super) async fn take(state: &Arc<State>) -> Result<RenewedHold, DbError> {
        let (id, now) = (Identity(rand::random()), (state.clock)());
        state.db.write(move |c| hold::take(c, id, now)).await?;
        let renewal_state = Arc::clone(state);
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL_INTERVAL).await;
                // If the database does not answer, the next interval is another attempt; an expired hold stays expired.
                let _ = renew(&renewal_state, id).await;
            }
        });
        Ok(RenewedHold { state: Arc::clone(state), id, renewal })
    }

    /// Renews the hold, and returns whether it is still valid. If it has expired, objects may have been removed.
    pub(super) async fn is_held(&self) -> Result<bool, DbError> {
        renew(&self.state, self.id).await
    }

    pub(super) async fn release(self) {
        self.renewal.abort();
        let id = self.id;
        if let Err(error) = self.state.db.write(move |c| hold::release(c, id)).await {
            tracing::warn!(%error, "could not end the hold of a backup; it expires in ten minutes");
        }
    }
}

impl Drop for RenewedHold {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(state: &State, id: Identity) -> Result<bool, DbError> {
    let now = (state.clock)();
    state.db.write(move |c| hold::renew(c, id, now)).await
}
