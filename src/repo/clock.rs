//! The repair of times in the future, at the word of an administrator.

use super::{Repo, RepoError};
use crate::db::skew::{self, Repair};
use crate::model::time::Day;

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
        let repair = self.state.db.write(move |c| skew::repair(c, now, dry_run)).await?;
        if let Some(repair) = repair.as_ref().filter(|_| !dry_run) {
            tracing::warn!(
                transactions = repair.transactions.len(),
                row = %repair.row,
                "the times of transactions were repaired: {}",
                repair.skew
            );
            self.state.catalog.refresh(&self.state.db).await?;
        }
        Ok(repair)
    }
}
