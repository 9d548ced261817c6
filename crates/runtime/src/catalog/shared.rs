//! Rows of a catalog, in the order of their ids, and a second order. A catalog shares those that did not change with the
//! previous one, and the whole list if none did: reading a catalog again then costs as much as its changes.

use std::ops::Index;
use std::sync::{Arc, OnceLock};

/// A row of a catalog.
pub trait Row {
    type Id: Copy + Ord;
    /// What rows are looked up by besides their ids.
    type Key: Ord + ?Sized;
    /// What is computed from all rows when it is first used, and kept until a row changes.
    type Summary;

    fn id(&self) -> Self::Id;
    fn key(&self) -> &Self::Key;
    fn summary<'a>(rows: impl Iterator<Item = &'a Self>) -> Self::Summary
    where
        Self: 'a;
}

#[derive(Debug)]
pub struct Shared<T: Row> {
    rows: Arc<Vec<Arc<T>>>,
    /// The ids, in the order of keys, those with the same key in the order of ids.
    by_key: Arc<Vec<T::Id>>,
    summary: Arc<OnceLock<T::Summary>>,
}

impl<T: Row> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        let Shared { rows, by_key, summary } = self;
        Shared { rows: Arc::clone(rows), by_key: Arc::clone(by_key), summary: Arc::clone(summary) }
    }
}

impl<T: Row> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared { rows: Arc::default(), by_key: Arc::default(), summary: Arc::default() }
    }
}

impl<T: Row> FromIterator<T> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Shared<T> {
        let rows: Vec<Arc<T>> = rows.into_iter().map(Arc::new).collect();
        let mut ordered: Vec<&Arc<T>> = rows.iter().collect();
        ordered.sort_by(|a, b| a.key().cmp(b.key()));
        let by_key = ordered.into_iter().map(|row| row.id()).collect();
        Shared { rows: Arc::new(rows), by_key: Arc::new(by_key), summary: Arc::default() }
    }
}

impl<T: Row> Index<usize> for Shared<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.rows[index]
    }
}

impl<T: Row> Shared<T> {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.rows.iter().map(Arc::as_ref)
    }

    pub fn find(&self, id: T::Id) -> Option<&T> {
        let index = self.rows.binary_search_by_key(&id, |row| row.id()).ok()?;
        self.rows.get(index).map(Arc::as_ref)
    }

    pub fn summary(&self) -> &T::Summary {
        self.summary.get_or_init(|| T::summary(self.iter()))
    }

    /// Returns the rows with a key, in the order of their ids.
    pub fn with_key(&self, key: &T::Key) -> impl Iterator<Item = &T> + use<'_, T> {
        let key_of = |id: &T::Id| self.find(*id).map(Row::key);
        let start = self.by_key.partition_point(|id| key_of(id) < Some(key));
        let rest = self.by_key.get(start..).unwrap_or_default();
        let count = rest.partition_point(|id| key_of(id) == Some(key));
        rest.iter().take(count).filter_map(|id| self.find(*id))
    }

    /// Returns the list with other rows for these ids, or without those for which there is none.
    #[must_use]
    pub fn with(&self, changed: impl IntoIterator<Item = (T::Id, Option<T>)>) -> Shared<T> {
        let mut list = self.clone();
        for (id, row) in changed {
            let before = list.find(id).map(Row::key);
            let after = row.as_ref().map(Row::key);
            if before != after {
                let old_place = before.and_then(|key| list.place(key, id).ok());
                if let Some(index) = old_place {
                    Arc::make_mut(&mut list.by_key).remove(index);
                }
                let new_place = after.and_then(|key| list.place(key, id).err());
                if let Some(index) = new_place {
                    Arc::make_mut(&mut list.by_key).insert(index, id);
                }
            }
            let place = list.rows.binary_search_by_key(&id, |row| row.id());
            let rows = Arc::make_mut(&mut list.rows);
            match (place, row.map(Arc::new)) {
                (Ok(index), Some(row)) => rows[index] = row,
                (Ok(index), None) => drop(rows.remove(index)),
                (Err(index), Some(row)) => rows.insert(index, row),
                (Err(_), None) => {}
            }
            list.summary = Arc::default();
        }
        list
    }

    /// Returns the index of an id in the order of keys, or that at which it belongs.
    fn place(&self, key: &T::Key, id: T::Id) -> Result<usize, usize> {
        self.by_key.binary_search_by(|other| {
            let other_key = self.find(*other).map(Row::key);
            other_key.cmp(&Some(key)).then_with(|| other.cmp(&id))
        })
    }
}

#[cfg(test)]
impl<T: Row + Clone> Shared<T> {
    pub(crate) fn push(&mut self, row: T) {
        *self = self.with([(row.id(), Some(row))]);
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut T {
        self.summary = Arc::default();
        Arc::make_mut(&mut Arc::make_mut(&mut self.rows)[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Numbered(i64, &'static str);

    impl Row for Numbered {
        type Id = i64;
        type Key = str;
        type Summary = i64;

        fn id(&self) -> i64 {
            self.0
        }

        fn key(&self) -> &str {
            self.1
        }

        fn summary<'a>(rows: impl Iterator<Item = &'a Numbered>) -> i64 {
            rows.map(|row| row.0).sum()
        }
    }

    fn with_key(list: &Shared<Numbered>, key: &str) -> Vec<i64> {
        list.with_key(key).map(Row::id).collect()
    }

    #[test]
    fn rows_that_do_not_change_are_shared() {
        let before: Shared<Numbered> =
            [Numbered(1, "x"), Numbered(3, "c"), Numbered(5, "a")].into_iter().collect();
        let changes = [(5, None), (3, Some(Numbered(3, "x"))), (2, Some(Numbered(2, "b"))), (9, None)];
        let after = before.with(changes);
        let expected = [Numbered(1, "x"), Numbered(2, "b"), Numbered(3, "x")];
        assert_eq!(after.iter().copied().collect::<Vec<_>>(), expected);
        assert_eq!(before.iter().count(), 3, "the previous list is unchanged");
        assert!(Arc::ptr_eq(&before.rows[0], &after.rows[0]));
        assert!(Arc::ptr_eq(&before.rows, &before.with([]).rows));
        assert!(Arc::ptr_eq(&before.by_key, &before.with([(1, Some(Numbered(1, "x")))]).by_key));
        assert_eq!((after.find(2), after.find(4)), (Some(&Numbered(2, "b")), None));
        assert_eq!((with_key(&before, "a"), with_key(&before, "x")), (vec![5], vec![1]));
        assert_eq!((with_key(&after, "a"), with_key(&after, "x")), (vec![], vec![1, 3]));
        assert_eq!((*before.summary(), *after.summary()), (9, 6));
        assert_eq!(*after.with([(3, None)]).summary(), 3, "it is computed again after a change");
        assert!(Arc::ptr_eq(&after.summary, &after.with([]).summary));
    }
}
