//! Rows of a catalog, in the order of their ids. A catalog shares those that did not change with the previous one, and the
//! whole list if none did: reading a catalog again then costs as much as its changes.

use std::ops::Index;
use std::sync::Arc;

#[derive(Debug)]
pub struct Shared<T>(Arc<Vec<Arc<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(Arc::default())
    }
}

impl<T> FromIterator<T> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Shared<T> {
        Shared(Arc::new(rows.into_iter().map(Arc::new).collect()))
    }
}

impl<T> Index<usize> for Shared<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.0[index]
    }
}

impl<T> Shared<T> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.0.iter().map(Arc::as_ref)
    }

    /// Returns the row with an id, which `id` returns.
    pub fn find<Id: Ord>(&self, wanted: Id, id: fn(&T) -> Id) -> Option<&T> {
        let index = self.0.binary_search_by_key(&wanted, |row| id(row)).ok()?;
        self.0.get(index).map(Arc::as_ref)
    }

    /// Returns the list with other rows for these ids, or without those for which there is none.
    #[must_use]
    pub fn with<Id: Ord>(
        &self,
        changed: impl IntoIterator<Item = (Id, Option<T>)>,
        id: fn(&T) -> Id,
    ) -> Shared<T> {
        let mut list = Arc::clone(&self.0);
        for (changed, row) in changed {
            let rows = Arc::make_mut(&mut list);
            let place = rows.binary_search_by_key(&changed, |row| id(row));
            match (place, row.map(Arc::new)) {
                (Ok(index), Some(row)) => rows[index] = row,
                (Ok(index), None) => drop(rows.remove(index)),
                (Err(index), Some(row)) => rows.insert(index, row),
                (Err(_), None) => {}
            }
        }
        Shared(list)
    }
}

#[cfg(test)]
impl<T: Clone> Shared<T> {
    pub(crate) fn push(&mut self, row: T) {
        Arc::make_mut(&mut self.0).push(Arc::new(row));
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut T {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_change_are_shared() {
        let id: fn(&(i64, &'static str)) -> i64 = |row| row.0;
        let before: Shared<(i64, &str)> = [(1, "a"), (3, "c"), (5, "e")].into_iter().collect();
        let after = before.with([(5, None), (3, Some((3, "C"))), (2, Some((2, "b"))), (9, None)], id);
        assert_eq!(after.iter().copied().collect::<Vec<_>>(), [(1, "a"), (2, "b"), (3, "C")]);
        assert_eq!(before.iter().count(), 3, "the previous list is unchanged");
        assert!(Arc::ptr_eq(&before.0[0], &after.0[0]));
        assert!(Arc::ptr_eq(&before.0, &before.with([], id).0));
        assert_eq!((after.find(2, id), after.find(4, id)), (Some(&(2, "b")), None));
    }
}
