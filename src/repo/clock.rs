//! A clock that does not agree with the transactions: the repair at the word of an administrator, and after an outage.

use super::{Repo, RepoError};
use crate::db::skew::{self, Repair};
use crate::model::time::{Day, Timestamp};

impl Repo {
    /// Makes the times of transactions agree with this machine's clock; `None` when nothing is to be done. `today` is the day by
    /// the administrator's own knowledge: a clock that is wrong changes nothing.
    ///
    /// # Errors
    /// [`RepoError::Invalid`] when the clock says another day.
    pub async fn repair_clock(&self, today: Day, dry_run: bool) -> Result<Option<Repair>, RepoError> {
        let now = (self.state.clock)();
        if now.day() != today {
            return Err(RepoError::Invalid(format!(
                "this machine's clock says {now}, not {today}: set the clock right first (timedatectl), or give the day in UTC"
            )));
        }
        let repair = self.repair(now, dry_run).await?;
        if let Some(repair) = repair.as_ref().filter(|_| !dry_run) {
            tracing::warn!(
                transactions = repair.transactions.len(),
                row = %repair.row,
                "the times of transactions were repaired: {}",
                repair.skew
            );
        }
        Ok(repair)
    }

    /// Whether nothing can be published because this machine's clock is ahead, by as much as an outage may take.
    #[must_use]
    pub fn may_have_been_off(&self) -> bool {
        self.state.catalog.get().skew((self.state.clock)()).is_some_and(|skew| skew.may_be_an_outage())
    }

    /// Accepts this machine's clock after an outage, when something else vouches for it; `None` when nothing is to be done.
    ///
    /// # Errors
    /// The database.
    pub async fn accept_clock(&self) -> Result<Option<Repair>, RepoError> {
        if !self.may_have_been_off() {
            return Ok(None);
        }
        self.repair((self.state.clock)(), false).await
    }

    async fn repair(&self, now: Timestamp, dry_run: bool) -> Result<Option<Repair>, RepoError> {
        let repair = self.state.db.write(move |c| skew::repair(c, now, dry_run)).await?;
        if repair.is_some() && !dry_run {
            self.state.catalog.refresh(&self.state.db).await?;
        }
        Ok(repair)
    }
}
