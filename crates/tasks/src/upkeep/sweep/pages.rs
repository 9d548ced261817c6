//! Lists the objects of a class page by page.

use super::PAGE;
use base::model::storage_class::StorageClass;
use content::serve::RepoError;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::storage::{Area, Key, ListedObject};

/// A cursor over the objects of a class in an area, in listing order.
pub(super) struct Pages<'a> {
    state: &'a State,
    lease: Option<&'a Lease>,
    area: Area,
    class: StorageClass,
    after: Option<Key>,
}

impl<'a> Pages<'a> {
    /// Returns a cursor before the first object.
    pub(super) fn of(state: &'a State, area: Area, class: StorageClass) -> Pages<'a> {
        Pages { state, lease: None, area, class, after: None }
    }

    /// Sets a lease that is checked before each page.
    pub(super) fn with_lease(self, lease: &'a Lease) -> Pages<'a> {
        Pages { lease: Some(lease), ..self }
    }

    /// Returns the next page; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, RepoError> {
        let state = self.state;
        if let Some(lease) = self.lease {
            lease.check().await?;
        }
        let page = state.storage.list_in(self.area, self.class, self.after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.key);
        Ok(Some(page))
    }
}
