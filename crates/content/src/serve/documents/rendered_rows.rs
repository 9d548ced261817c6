//! Writes the rows of stored documents. The rows that arrive while a transaction runs are written together by the next
//! one, because each transaction takes an fsync.

use std::mem;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use store::db::rendered::{self, RenderedRow};
use store::db::{Db, DbError};

/// The rows of stored documents that wait for a transaction.
#[derive(Default)]
pub(in crate::serve) struct RenderedRows {
    waiting: Mutex<Vec<WaitingRow>>,
    transaction: tokio::sync::Mutex<()>,
}

struct WaitingRow {
    row: RenderedRow,
    /// Receives whether the row was written, see [`RenderedRows::put`].
    result: oneshot::Sender<bool>,
}

impl RenderedRows {
    /// Records a document permanently. Returns false and changes nothing if its key is already known.
    pub(in crate::serve) async fn put(&self, db: &Db, row: RenderedRow) -> Result<bool, DbError> {
        let (sender, result) = oneshot::channel();
        self.waiting.lock().push(WaitingRow { row: row.clone(), result: sender });
        self.write_waiting(db).await?;
        match result.await {
            Ok(is_written) => Ok(is_written),
            // The transaction with this row failed, possibly because of another row.
            Err(_) => db.write(move |c| rendered::put(c, &row)).await,
        }
    }

    /// Writes the rows that wait, after the running transaction. Their results are dropped if that fails.
    async fn write_waiting(&self, db: &Db) -> Result<(), DbError> {
        let _transaction = self.transaction.lock().await;
        let waiting = mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return Ok(());
        }
        let (rows, results): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.row, waiting.result)).unzip();
        let write = db.write(move |c| rows.iter().map(|row| rendered::put(c, row)).collect());
        let written: Vec<bool> = write.await?;
        for (result, is_written) in results.into_iter().zip(written) {
            // The task that waited for it may have ended.
            let _ = result.send(is_written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use base::config::Config;
    use base::model::digest::Sha256;
    use base::model::time::Timestamp;

    fn row(key: &str, byte: u8) -> RenderedRow {
        let digest = Sha256([byte; 32]);
        let (key, encoder) = (key.to_owned(), "plain".to_owned());
        RenderedRow { key, content: digest, encoder, sha256: digest, size: 1, created_at: Timestamp(0) }
    }

    async fn database(folder: &tempfile::TempDir) -> Db {
        let config = Config::example(folder.path(), "").expect("a configuration").config;
        let open = tokio::task::spawn_blocking(move || Db::open(&config));
        open.await.expect("no panic").expect("a database")
    }

    #[tokio::test]
    async fn rows_that_wait_are_written_by_one_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, rows) = (database(&folder).await, RenderedRows::default());
        let mut results = Vec::new();
        for (key, byte) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            let (sender, result) = oneshot::channel();
            rows.waiting.lock().push(WaitingRow { row: row(key, byte), result: sender });
            results.push(result);
        }
        rows.write_waiting(&db).await.expect("a write");
        assert!(rows.waiting.lock().is_empty());
        let results = results.iter_mut().map(|result| result.try_recv().expect("a result"));
        assert_eq!(results.collect::<Vec<_>>(), [true, true, false, true]);
        for (key, byte) in [("a", 1), ("b", 2), ("c", 4)] {
            let read = db.read(move |c| rendered::get(c, key)).await.expect("a read");
            assert_eq!(read, Some(row(key, byte)));
        }
    }

    #[tokio::test]
    async fn a_row_is_written_although_the_transaction_of_its_group_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, rows) = (database(&folder).await, Arc::new(RenderedRows::default()));
        let transaction = rows.transaction.lock().await;
        let put = {
            let (db, rows) = (db.clone(), Arc::clone(&rows));
            tokio::spawn(async move { rows.put(&db, row("a", 1)).await })
        };
        while rows.waiting.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        // As after an error of the transaction that took it.
        rows.waiting.lock().clear();
        drop(transaction);
        assert!(put.await.expect("no panic").expect("a write"));
        assert_eq!(db.read(|c| rendered::get(c, "a")).await.expect("a read"), Some(row("a", 1)));
    }
}
