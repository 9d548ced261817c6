//! The fingerprint of the encryption key of this database, and the columns with values that are encrypted with it.

use super::{Conn, DbError, Value};
use base::model::digest::Fingerprint;

/// A column with encrypted values; a value may be NULL.
pub struct EncryptedColumn {
    /// Selects the id and the value of each row whose value is not NULL.
    pub select: &'static str,
    /// Sets the value of a row. The first parameter is the value, the second the id of the row.
    pub update: &'static str,
}

/// All columns with encrypted values. A transaction that writes such a value calls [`check`] with the fingerprint of the
/// key that it used, because another process may have replaced the key.
pub const COLUMNS: &[EncryptedColumn] = &[
    EncryptedColumn {
        select: "SELECT id, secret FROM git_credential WHERE secret IS NOT NULL",
        update: "UPDATE git_credential SET secret = $1 WHERE id = $2",
    },
    EncryptedColumn {
        select: "SELECT id, webhook_secret FROM git_builder WHERE webhook_secret IS NOT NULL",
        update: "UPDATE git_builder SET webhook_secret = $1 WHERE id = $2",
    },
    EncryptedColumn {
        select: "SELECT id, seed FROM tlog",
        update: "UPDATE tlog SET seed = $1 WHERE id = $2",
    },
    EncryptedColumn {
        select: "SELECT id, old_seed FROM tlog WHERE old_seed IS NOT NULL",
        update: "UPDATE tlog SET old_seed = $1 WHERE id = $2",
    },
];

/// Returns the fingerprint of the key of this database, if it has one.
pub fn get(c: &mut dyn Conn) -> Result<Option<Fingerprint>, DbError> {
    c.first("SELECT fingerprint FROM encryption_key WHERE id = 1", &[])
}

/// Records the fingerprint of the first key, unless the database has a key. Returns the fingerprint of the database's
/// key, which differs from `first` if another key was recorded before.
pub fn record(c: &mut dyn Conn, first: Fingerprint) -> Result<Fingerprint, DbError> {
    const INSERT: &str =
        "INSERT INTO encryption_key (id, fingerprint) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
    c.execute(INSERT, &[first.digits().into()])?;
    Ok(get(c)?.unwrap_or(first))
}

/// Fails if the database has another key. Records the first one.
pub fn check(c: &mut dyn Conn, key: Fingerprint) -> Result<(), DbError> {
    #[derive(Debug, thiserror::Error)]
    #[error("the encryption key of the database was replaced; restart the server")]
    struct KeyReplaced;

    if record(c, key)? == key { Ok(()) } else { Err(DbError::refuse(KeyReplaced)) }
}

/// Records the fingerprint of a new key, and replaces every encrypted value in `columns` by the result of `encrypt`; a
/// value is deleted if the result is `None`. Returns the number of values.
pub fn replace(
    c: &mut dyn Conn,
    columns: &[EncryptedColumn],
    new: Fingerprint,
    encrypt: &dyn Fn(&str) -> Result<Option<String>, DbError>,
) -> Result<usize, DbError> {
    record(c, new)?;
    c.execute("UPDATE encryption_key SET fingerprint = $1 WHERE id = 1", &[new.digits().into()])?;
    let mut count = 0;
    for column in columns {
        let mut updates = Vec::new();
        for (id, text) in c.all::<(i64, String)>(column.select, &[])? {
            updates.push(vec![Value::opt_text(encrypt(&text)?), id.into()]);
        }
        count += updates.len();
        c.execute_many(column.update, &updates)?;
    }
    Ok(count)
}

/// Returns the number of encrypted values in `columns`.
pub fn count(c: &mut dyn Conn, columns: &[EncryptedColumn]) -> Result<usize, DbError> {
    columns.iter().try_fold(0, |count, column| Ok(count + c.query(column.select, &[])?.len()))
}
