//! Rows as values: `row!` declares a structure whose fields are columns, and `select!` writes the statement that reads it,
//! so that the columns of a statement and the order in which they are decoded are one declaration.

use super::conn::{Cells, Columns};
use super::{DbError, Row};
use base::model::digest::{Md5, Sha256};
use base::model::fingerprint::Fingerprint;
use base::model::identity::Identity;
use base::model::repository::{ChangePolicy, RepoKind};
use base::model::source::SourceKind;
use base::model::time::Timestamp;

impl<T: Columns> Columns for Option<T> {
    fn decode(cells: &mut Cells) -> Result<Option<T>, DbError> {
        if cells.skip_null() { Ok(None) } else { T::decode(cells).map(Some) }
    }
}

macro_rules! tuples {
    ($(($($T:ident)+))+) => {$(
        impl<$($T: Columns),+> Columns for ($($T,)+) {
            fn decode(cells: &mut Cells) -> Result<($($T,)+), DbError> {
                Ok(($($T::decode(cells)?,)+))
            }
        }
    )+};
}
tuples!((A B) (A B C) (A B C D) (A B C D E));

/// Declares how a type is decoded of one column.
macro_rules! column {
    ($($Type:ty: $read:expr,)+) => {$(
        impl $crate::db::conn::Columns for $Type {
            fn decode(cells: &mut $crate::db::conn::Cells) -> Result<$Type, $crate::db::DbError> {
                cells.next($read)
            }
        }
    )+};
    ($($Type:ty = $expected:literal,)+) => {$(
        impl $crate::db::conn::Columns for $Type {
            fn decode(cells: &mut $crate::db::conn::Cells) -> Result<$Type, $crate::db::DbError> {
                cells.parse($expected)
            }
        }
    )+};
}
pub(super) use column;

fn number<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, DbError> {
    let shape = |_| DbError::Shape { column, found: "another number", expected: "a smaller number" };
    T::try_from(row.int(column)?).map_err(shape)
}

column! {
    i64: |row, column| row.int(column),
    u32: |row, column| number(row, column),
    u64: |row, column| number(row, column),
    bool: |row, column| Ok(row.int(column)? != 0),
    Timestamp: |row, column| row.time(column),
    String: Row::text,
    Vec<u8>: Row::bytes,
}
column! {
    Sha256 = "a digest",
    Md5 = "a digest",
    Identity = "an identity",
    Fingerprint = "the fingerprint of a key",
    SourceKind = "a kind of source",
    RepoKind = "a kind of repository",
    ChangePolicy = "a change policy",
}

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl Columns for base::model::ids::$id {
            fn decode(cells: &mut Cells) -> Result<base::model::ids::$id, DbError> {
                i64::decode(cells).map(base::model::ids::$id)
            }
        }
    )*};
}
ids!(SourceId TreeId RepoId PackageId ReleaseId FileId TokenId TxId Seq);

/// Declares a structure whose fields are the columns of a query, after `from` its tables: the column of a field has the name
/// of the field, or is the expression after `=`.
macro_rules! row {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Name:ident from $from:literal {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $Type:ty $(= $column:literal)?,)+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $Name {
            $($(#[$field_attribute])* $field_visibility $field: $Type,)+
        }

        impl $Name {
            /// The statement that selects the columns, without further clauses.
            pub(super) const SELECT: &str = concat!(
                "SELECT ", $crate::db::columns::row!(@list $([$field $($column)?])+), " FROM ", $from, " "
            );
        }

        impl $crate::db::conn::Columns for $Name {
            fn decode(cells: &mut $crate::db::conn::Cells) -> Result<$Name, $crate::db::DbError> {
                Ok($Name { $($field: $crate::db::conn::Columns::decode(cells)?),+ })
            }
        }
    };
    (@list [$($first:tt)+] $([$($further:tt)+])*) => {
        concat!(
            $crate::db::columns::row!(@column $($first)+)
            $(, ", ", $crate::db::columns::row!(@column $($further)+))*
        )
    };
    (@column $field:ident) => { stringify!($field) };
    (@column $field:ident $column:literal) => { $column };
}
pub(super) use row;

/// The text of the statement that selects a type of [`row!`], with the clauses after its tables.
macro_rules! select {
    ($Row:ty, $rest:expr) => {{
        const LENGTH: usize = <$Row>::SELECT.len() + $rest.len();
        const BYTES: [u8; LENGTH] = $crate::db::columns::joined(<$Row>::SELECT, $rest);
        const SQL: &str = match std::str::from_utf8(&BYTES) {
            Ok(sql) => sql,
            Err(_) => panic!("two texts are joined"),
        };
        SQL
    }};
}
pub(super) use select;

/// Returns the bytes of two texts, whose length is `LENGTH`.
pub(super) const fn joined<const LENGTH: usize>(first: &str, second: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (start, end) = bytes.split_at_mut(first.len());
    start.copy_from_slice(first.as_bytes());
    end.copy_from_slice(second.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;
    use base::model::ids::SourceId;

    row! {
        #[derive(Debug, PartialEq)]
        struct Reading from "reading r JOIN package p ON p.id = r.package_id" {
            serial: Option<i64>,
            source: SourceId = "r.source_id",
            is_listed: bool = "coalesce(p.listed, 0)",
        }
    }

    fn decoded(values: Vec<Value>) -> Result<Reading, DbError> {
        Row(values).decode()
    }

    #[test]
    fn the_statement_selects_the_columns_of_the_declaration() {
        assert_eq!(
            select!(Reading, "WHERE p.name = $1"),
            "SELECT serial, r.source_id, coalesce(p.listed, 0) FROM reading r JOIN package p ON p.id = r.package_id \
             WHERE p.name = $1"
        );
    }

    #[test]
    fn fields_are_decoded_in_their_order_and_other_values_are_errors() {
        let row = Reading { serial: None, source: SourceId(2), is_listed: true };
        assert_eq!(decoded(vec![Value::Null, 2.into(), 1.into()]).expect("a row"), row);
        let row = Reading { serial: Some(7), source: SourceId(2), is_listed: false };
        assert_eq!(decoded(vec![7.into(), 2.into(), 0.into()]).expect("a row"), row);
        for wrong in [vec![7.into(), Value::Null, 0.into()], vec![7.into(), 2.into()], vec!["7".into()]] {
            assert!(matches!(decoded(wrong), Err(DbError::Shape { .. })));
        }
        assert!(matches!(Row(vec![(1 << 40).into()]).decode::<u32>(), Err(DbError::Shape { .. })));
    }
}
