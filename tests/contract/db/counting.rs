//! Counts the rows that are read.

use rstudio_pm::db::{Conn, DbError, Row, Value};
use rstudio_pm::model::time::Timestamp;

/// A connection that counts the rows that queries of a table return.
pub(super) struct Counting<'a> {
    pub(super) inner: &'a mut dyn Conn,
    pub(super) table: &'static str,
    pub(super) count: usize,
}

impl Conn for Counting<'_> {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value],
        row: &mut dyn FnMut(Row) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let is_counted = sql.contains(&format!("FROM {} ", self.table));
        let count = &mut self.count;
        self.inner.each(sql, params, &mut |found| {
            *count += usize::from(is_counted);
            row(found)
        })
    }

    fn query_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<Vec<Vec<Row>>, DbError> {
        let results = self.inner.query_many(sql, params)?;
        if sql.contains(&format!("FROM {} ", self.table)) {
            self.count += results.iter().map(Vec::len).sum::<usize>();
        }
        Ok(results)
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        self.inner.execute(sql, params)
    }

    fn execute_many(&mut self, sql: &'static str, params: &[Vec<Value>]) -> Result<u64, DbError> {
        self.inner.execute_many(sql, params)
    }

    fn batch_insert(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        rows: &[Vec<Value>],
    ) -> Result<(), DbError> {
        self.inner.batch_insert(table, columns, rows)
    }

    fn host_time(&mut self) -> Result<Option<Timestamp>, DbError> {
        self.inner.host_time()
    }
}
