//! Leases of the upkeep: one server of a database does each task at a time.

use content::serve::RepoError;
use runtime::jobs::lease::{ClaimError, Lease};
use runtime::state::State;

/// Claims a lease for a task that one server of a database does at a time. `activity` is the verb of the error text
/// "another server that uses this database …".
///
/// # Errors
/// [`RepoError::Conflict`] while another server does the task; database errors.
pub(super) async fn claim(state: &State, name: &str, activity: &str) -> Result<Lease, RepoError> {
    match Lease::claim(&state.db, state.node, name).await {
        Ok(lease) => Ok(lease),
        Err(ClaimError::Db(error)) => Err(error.into()),
        Err(ClaimError::HeldByOther(_)) => {
            let text =
                format!("another server that uses this database {activity}; try again when that is done");
            Err(RepoError::Conflict(text))
        }
    }
}
