//! Indexes and constraints of a new schema: dropped before the rows are written, created afterwards, which is faster.

use super::session::TransferSession;
use super::tables;
use crate::db::DbError;
use crate::db::migrate::MigrationConn;
use crate::db::schema::Schema;

/// Drops indexes, and on PostgreSQL constraints, of a schema. Returns the statements that create them again.
pub(super) fn drop_all(session: &mut TransferSession, schema: Schema) -> Result<Vec<String>, DbError> {
    match session {
        TransferSession::Sqlite(connection) => drop_sqlite(connection, schema),
        TransferSession::Postgres(connection) => drop_postgres(connection, schema),
    }
}

fn is_in_schema(schema: Schema, table: &str) -> bool {
    tables::of(schema).any(|known| known.name == table)
}

/// Drops the indexes of a SQLite database, except the indexes of PRIMARY KEY and UNIQUE, which are part of their table.
fn drop_sqlite(connection: &mut dyn MigrationConn, schema: Schema) -> Result<Vec<String>, DbError> {
    const INDEXES: &str = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name";
    let mut statements = Vec::new();
    for mut row in connection.query(INDEXES, &[])? {
        if is_in_schema(schema, &row.text(0)?) {
            connection.script(&format!("DROP INDEX \"{}\"", row.text(1)?))?;
            statements.push(row.text(2)?);
        }
    }
    Ok(statements)
}

fn drop_postgres(connection: &mut dyn MigrationConn, schema: Schema) -> Result<Vec<String>, DbError> {
    // Foreign keys first, because they depend on the other constraints.
    const CONSTRAINTS: &str = "SELECT CAST(t.relname AS TEXT), quote_ident(c.conname), pg_get_constraintdef(c.oid) \
        FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
        WHERE n.nspname = current_schema() AND c.contype IN ('f', 'p', 'u') \
        ORDER BY CASE c.contype WHEN 'f' THEN 1 ELSE 2 END, t.relname, c.conname";
    const INDEXES: &str = "SELECT CAST(t.relname AS TEXT), quote_ident(i.relname), pg_get_indexdef(i.oid) \
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
        JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = current_schema() \
        AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.oid) ORDER BY i.relname";
    let mut statements = Vec::new();
    for mut row in connection.query(CONSTRAINTS, &[])? {
        let (table, name, definition) = (row.text(0)?, row.text(1)?, row.text(2)?);
        if is_in_schema(schema, &table) {
            connection.script(&format!("ALTER TABLE {table} DROP CONSTRAINT {name}"))?;
            statements.push(format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"));
        }
    }
    for mut row in connection.query(INDEXES, &[])? {
        let (table, name, definition) = (row.text(0)?, row.text(1)?, row.text(2)?);
        if is_in_schema(schema, &table) {
            connection.script(&format!("DROP INDEX {name}"))?;
            statements.push(definition);
        }
    }
    statements.reverse();
    Ok(statements)
}
