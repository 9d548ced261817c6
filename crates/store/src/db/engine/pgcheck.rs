//! The checks of PostgreSQL's extension amcheck: B-tree indexes against their tables, and the pages of tables.

use super::invariants::Examination;
use super::pgconn::PgConn;
use super::workers::TransactionKind;
use super::{Conn, DbError};

struct Relation {
    oid: i64,
    name: String,
    is_index: bool,
}

/// Examines the schema of a connection.
pub(in crate::db) fn examine(c: &mut PgConn) -> Result<Examination, DbError> {
    let mut examination = Examination::default();
    amcheck(c, &mut examination)?;
    c.begin(TransactionKind::Read)?;
    let result = examination.add_violations(c);
    c.rollback();
    result.map(|()| examination)
}

fn amcheck(c: &mut PgConn, examination: &mut Examination) -> Result<(), DbError> {
    const SCHEMA: &str = "SELECT quote_ident(n.nspname) FROM pg_extension e \
        JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'";
    const RELATIONS: &str = "SELECT CAST(c.oid AS BIGINT), CAST(c.relname AS TEXT), \
        CASE WHEN c.relkind = 'i' THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END \
        FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam \
        WHERE c.relnamespace = CAST(current_schema() AS regnamespace) \
        AND (c.relkind = 'r' OR c.relkind = 'i' AND a.amname = 'btree') ORDER BY c.relname";
    let Some(mut row) = c.run_outside(|c| c.query(SCHEMA, &[]))?.into_iter().next() else {
        let note = "the extension amcheck is not installed, so tables and indexes were not compared: CREATE \
                    EXTENSION amcheck";
        examination.notes.push(note.to_owned());
        return Ok(());
    };
    let schema = row.text(0)?;
    let mut relations = Vec::new();
    for mut row in c.run_outside(|c| c.query(RELATIONS, &[]))? {
        relations.push(Relation { oid: row.int(0)?, name: row.text(1)?, is_index: row.int(2)? == 1 });
    }
    for Relation { oid, name, is_index } in &relations {
        let check = match is_index {
            true => format!("SELECT {schema}.bt_index_check(CAST({oid} AS oid), true)"),
            // The block raises an error for a damaged page, because the rows of a batch are not returned.
            false => format!(
                "DO $$ DECLARE found record; BEGIN FOR found IN SELECT msg FROM {schema}.verify_heapam(CAST({oid} AS oid)) \
                 LOOP RAISE EXCEPTION '%', found.msg USING ERRCODE = 'data_corrupted'; END LOOP; END $$"
            ),
        };
        match c.execute_batch(&check) {
            Ok(()) => {}
            Err(DbError::Driver { source, .. }) => {
                let reason = source.to_string();
                if reason.contains("(SQLSTATE XX") {
                    examination.problems.push(format!("{name}: {reason}"));
                } else {
                    examination.notes.push(format!("{name} was not checked: {reason}"));
                    // The user has no permission to call the function, so the check of every other relation would fail.
                    if reason.contains("(SQLSTATE 42501)") {
                        return Ok(());
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    examination.notes.push(format!("amcheck checked {} tables and indexes", relations.len()));
    Ok(())
}
