//! Edits: one write, followed by the new catalog.

use crate::db::{Conn, DbError};
use crate::state::State;

/// Writes a change of what the catalog contains; the next request sees it. The catalog is read in the same write, which
/// saves the wait for another connection.
///
/// # Errors
/// Database errors.
pub async fn write<T, F>(state: &State, edit: F) -> Result<T, DbError>
where
    T: Send + 'static,
    F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
{
    let catalog = state.catalog.clone();
    let write = state.db.write(move |c| {
        let edited = edit(c)?;
        Ok((edited, catalog.read_in_write(c)?))
    });
    let (edited, newer) = write.await?;
    if let Some(newer) = newer {
        state.catalog.install(newer);
    }
    Ok(edited)
}
