//! Rows as values: `row!` declares a structure whose fields are columns, and `select!` writes the statement that reads it,
//! so that the columns of a statement and the order in which they are decoded are one declaration.

use super::conn::{Cells, Columns};
use super::{DbError, Row};
use base::model::digest::{Fingerprint, Md5, Sha256};
use base::model::ids::Identity;
use base::model::kind::{ChangePolicy, RepoKind, SourceKind};
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
tuples!((A B) (A B C) (A B C D) (A B C D E) (A B C D E F));

/// Decodes a value, or the default value of NULL.
pub(in crate::db) fn or_default<T: Columns + Default>(cells: &mut Cells) -> Result<T, DbError> {
    Option::decode(cells).map(Option::unwrap_or_default)
}

/// Declares how a type is decoded of one column.
macro_rules! column {
    ($($Type:ty: $read:expr,)+) => {$(
        impl $crate::db::engine::conn::Columns for $Type {
            fn decode(cells: &mut $crate::db::engine::conn::Cells) -> Result<$Type, $crate::db::DbError> {
                cells.next($read)
            }
        }
    )+};
    ($($Type:ty = $expected:literal,)+) => {$(
        impl $crate::db::engine::conn::Columns for $Type {
            fn decode(cells: &mut $crate::db::engine::conn::Cells) -> Result<$Type, $crate::db::DbError> {
                cells.parse($expected)
            }
        }
    )+};
}
pub(in crate::db) use column;

/// Declares an enumeration whose values are stored as numbers.
macro_rules! numbers {
    ($(#[$attribute:meta])* pub enum $Name:ident: $expected:literal {
        $($(#[$value_attribute:meta])* $Value:ident = $number:literal,)+
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Name {
            $($(#[$value_attribute])* $Value,)+
        }

        impl $Name {
            pub fn as_i64(self) -> i64 {
                match self {
                    $($Name::$Value => $number,)+
                }
            }
        }

        impl $crate::db::engine::conn::Columns for $Name {
            fn decode(cells: &mut $crate::db::engine::conn::Cells) -> Result<$Name, $crate::db::DbError> {
                match <i64 as $crate::db::engine::conn::Columns>::decode(cells)? {
                    $($number => Ok($Name::$Value),)+
                    _ => Err(cells.shape("another number", $expected)),
                }
            }
        }
    };
}
pub(in crate::db) use numbers;

fn number<T: TryFrom<i64>>(row: &mut Row, column: usize) -> Result<T, DbError> {
    let shape = |_| DbError::Shape { column, found: "another number", expected: "a smaller number" };
    T::try_from(row.int(column)?).map_err(shape)
}

column! {
    i64: |row, column| row.int(column),
    u8: number,
    u32: number,
    u64: number,
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

/// Declares a structure whose fields are columns: the column of a field has the name of the field, or is the expression
/// after `=`, which may be several columns. A field with `= _` has no column and its default value; a function after `=>`
/// decodes the columns of a field. With the tables of a query after `from`, the structure has a statement, see [`select!`].
macro_rules! row {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Name:ident from $from:literal { $($fields:tt)+ }
    ) => {
        $crate::db::engine::columns::row! { $(#[$attribute])* $visibility struct $Name { $($fields)+ } }

        impl $Name {
            /// The statement that selects the columns, without further clauses.
            pub(in crate::db) const SELECT: &str =
                concat!("SELECT ", $crate::db::engine::columns::row!(@list $($fields)+), " FROM ", $from, " ");
        }
    };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Name:ident {
            $(
                $(#[$field_attribute:meta])*
                $field_visibility:vis $field:ident: $Type:ty $(= $column:tt)? $(=> $decode:expr)?,
            )+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $Name {
            $($(#[$field_attribute])* $field_visibility $field: $Type,)+
        }

        impl $crate::db::engine::conn::Columns for $Name {
            fn decode(cells: &mut $crate::db::engine::conn::Cells) -> Result<$Name, $crate::db::DbError> {
                Ok($Name { $($field: $crate::db::engine::columns::row!(@value cells $(= $column)? $(=> $decode)?)),+ })
            }
        }
    };
    (@list
        $(#[$first_attribute:meta])*
        $first_visibility:vis $first:ident: $First:ty $(= $first_column:tt)? $(=> $first_decode:expr)?,
        $(
            $(#[$attribute:meta])*
            $visibility:vis $field:ident: $Type:ty $(= $column:tt)? $(=> $decode:expr)?,
        )*
    ) => {
        concat!(
            $crate::db::engine::columns::row!(@column "" $first $($first_column)?)
            $(, $crate::db::engine::columns::row!(@column ", " $field $($column)?))*
        )
    };
    (@column $separator:literal $field:ident) => { concat!($separator, stringify!($field)) };
    (@column $separator:literal $field:ident _) => { "" };
    (@column $separator:literal $field:ident $column:tt) => { concat!($separator, $column) };
    (@value $cells:ident = _) => { Default::default() };
    (@value $cells:ident $(= $column:tt)? => $decode:expr) => { $cells.with($decode)? };
    (@value $cells:ident $(= $column:tt)?) => { $crate::db::engine::conn::Columns::decode($cells)? };
}
pub(in crate::db) use row;

/// The text of the statement that selects a type of [`row!`], with the clauses after its tables.
macro_rules! select {
    ($Row:ty, $rest:expr) => {{
        const LENGTH: usize = <$Row>::SELECT.len() + $rest.len();
        const BYTES: [u8; LENGTH] = $crate::db::engine::columns::joined(<$Row>::SELECT, $rest);
        const SQL: &str = match std::str::from_utf8(&BYTES) {
            Ok(sql) => sql,
            Err(_) => panic!("two texts are joined"),
        };
        SQL
    }};
}
pub(in crate::db) use select;

/// Inserts a row for each item of an iterator: the columns, with their values by a pattern for the item.
macro_rules! insert {
    ($c:expr, $table:literal, $items:expr, |$item:pat_param| { $($column:ident: $value:expr,)+ }) => {{
        let rows: Vec<Vec<$crate::db::Value>> =
            $items.map(|$item| vec![$($crate::db::Value::from($value)),+]).collect();
        $c.batch_insert($table, &[$(stringify!($column)),+], &rows)
    }};
}
pub(in crate::db) use insert;

/// Returns the bytes of two texts, whose length is `LENGTH`.
pub(in crate::db) const fn joined<const LENGTH: usize>(first: &str, second: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (start, end) = bytes.split_at_mut(first.len());
    start.copy_from_slice(first.as_bytes());
    end.copy_from_slice(second.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Value;
    use base::model::ids::SourceId;

    row! {
        #[derive(Debug, PartialEq)]
        struct Reading from "reading r JOIN package p ON p.id = r.package_id" {
            serial: Option<i64>,
            source: SourceId = "r.source_id",
            is_listed: bool = "coalesce(p.listed, 0)",
            reason: String = "p.reason" => or_default,
            position: usize = _,
            range: (i64, i64) = "r.first, r.last",
        }
    }

    fn decoded(values: Vec<Value>) -> Result<Reading, DbError> {
        Row(values).decode()
    }

    #[test]
    fn the_statement_selects_the_columns_of_the_declaration() {
        assert_eq!(
            select!(Reading, "WHERE p.name = $1"),
            "SELECT serial, r.source_id, coalesce(p.listed, 0), p.reason, r.first, r.last FROM reading r \
             JOIN package p ON p.id = r.package_id WHERE p.name = $1"
        );
    }

    #[test]
    fn fields_are_decoded_in_their_order_and_other_values_are_errors() {
        let further = [Value::Null, 3.into(), 4.into()];
        let values = |first: [Value; 3]| first.into_iter().chain(further.clone()).collect();
        let row = Reading {
            serial: None,
            source: SourceId(2),
            is_listed: true,
            reason: String::new(),
            position: 0,
            range: (3, 4),
        };
        assert_eq!(decoded(values([Value::Null, 2.into(), 1.into()])).expect("a row"), row);
        let row = Reading { serial: Some(7), is_listed: false, ..row };
        assert_eq!(decoded(values([7.into(), 2.into(), 0.into()])).expect("a row"), row);
        for wrong in [values([7.into(), Value::Null, 0.into()]), vec![7.into(), 2.into()], vec!["7".into()]] {
            assert!(matches!(decoded(wrong), Err(DbError::Shape { .. })));
        }
        assert!(matches!(Row(vec![(1 << 40).into()]).decode::<u32>(), Err(DbError::Shape { .. })));
    }
}
