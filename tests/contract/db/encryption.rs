//! The fingerprint of the encryption key, and the replacement of encrypted values.

use rstudio_pm::db::encryption_key::{self, EncryptedColumn};
use rstudio_pm::db::{Conn, DbError, Value};
use rstudio_pm::model::digest::{Fingerprint, Sha256};

use crate::support::db::TestDb;

both! {
    the_first_fingerprint_is_recorded_and_a_later_one_is_not
    all_encrypted_values_are_replaced_with_the_fingerprint
    nothing_is_replaced_if_one_value_fails
}

const ONE: Fingerprint = Fingerprint(Sha256([1; 32]));
const TWO: Fingerprint = Fingerprint(Sha256([2; 32]));

const COLUMNS: &[EncryptedColumn] = &[
    EncryptedColumn {
        select: "SELECT id, secret FROM first WHERE secret <> '' ORDER BY id",
        update: "UPDATE first SET secret = $1 WHERE id = $2",
    },
    EncryptedColumn {
        select: "SELECT id, secret FROM second WHERE secret <> '' ORDER BY id",
        update: "UPDATE second SET secret = $1 WHERE id = $2",
    },
];

fn create_tables(db: &TestDb) {
    for sql in [
        "CREATE TABLE first (id BIGINT PRIMARY KEY, secret TEXT)",
        "CREATE TABLE second (id BIGINT PRIMARY KEY, secret TEXT)",
        "INSERT INTO first (id, secret) VALUES (1, 'a'), (2, 'b'), (3, NULL)",
        "INSERT INTO second (id, secret) VALUES (7, 'c')",
    ] {
        db.write(move |c| c.execute(sql, &[]));
    }
}

fn secrets(db: &TestDb) -> Vec<Value> {
    const ALL: &str = "SELECT secret, id FROM first UNION ALL SELECT secret, id FROM second ORDER BY id";
    db.read(|c| c.query(ALL, &[])).into_iter().map(|mut row| row.0.swap_remove(0)).collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn the_first_fingerprint_is_recorded_and_a_later_one_is_not(db: &mut TestDb) {
    assert_eq!(db.read(encryption_key::get), None);
    assert_eq!(db.write(|c| encryption_key::record(c, ONE)), ONE);
    assert_eq!(db.write(|c| encryption_key::record(c, TWO)), ONE);
    db.reopen();
    assert_eq!(db.read(encryption_key::get), Some(ONE));
}

fn all_encrypted_values_are_replaced_with_the_fingerprint(db: &mut TestDb) {
    create_tables(db);
    db.write(|c| encryption_key::record(c, ONE));
    assert_eq!(db.read(|c| encryption_key::count(c, COLUMNS)), 3);
    let double =
        |c: &mut dyn Conn| encryption_key::replace(c, COLUMNS, TWO, &|old| Ok(Some(format!("{old}{old}"))));
    assert_eq!(db.write(double), 3);
    assert_eq!(secrets(db), [text("aa"), text("bb"), Value::Null, text("cc")]);
    assert_eq!(db.read(encryption_key::get), Some(TWO));
    assert_eq!(db.write(|c| encryption_key::replace(c, COLUMNS, ONE, &|_| Ok(None))), 3);
    assert_eq!(secrets(db), vec![Value::Null; 4]);
    assert_eq!(db.read(|c| encryption_key::count(c, COLUMNS)), 0);
}

fn nothing_is_replaced_if_one_value_fails(db: &mut TestDb) {
    create_tables(db);
    db.write(|c| encryption_key::record(c, ONE));
    let replaced = db.try_write(|c| {
        encryption_key::replace(c, COLUMNS, TWO, &|old| match old {
            "c" => Err(DbError::refuse(std::io::Error::other("damaged"))),
            _ => Ok(Some("x".to_owned())),
        })
    });
    assert!(matches!(replaced, Err(DbError::Refused(_))), "{replaced:?}");
    assert_eq!(secrets(db), [text("a"), text("b"), Value::Null, text("c")]);
    assert_eq!(db.read(encryption_key::get), Some(ONE));
}
