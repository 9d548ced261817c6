//! Values in PostgreSQL's binary formats, for parameters, columns and COPY.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

use super::Value;
use super::error::NulText;

/// Returns the type of the first value that is not NULL; if there is none, the unknown type.
pub(in crate::db) fn parameter_type<'a>(values: impl IntoIterator<Item = &'a Value>) -> Type {
    let types = values.into_iter().find_map(|value| match value {
        Value::Null => None,
        Value::Int(_) => Some(Type::INT8),
        Value::Text(_) => Some(Type::TEXT),
        Value::Bytes(_) => Some(Type::BYTEA),
    });
    types.unwrap_or(Type::UNKNOWN)
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(v), &Type::INT8) => v.to_sql(ty, out),
            (Value::Text(v), &Type::TEXT) => NulText::check(v)?.to_sql(ty, out),
            (Value::Bytes(v), &Type::BYTEA) => v.as_slice().to_sql(ty, out),
            (Value::Int(_) | Value::Text(_) | Value::Bytes(_), _) => {
                Err(format!("a parameter of another type where {ty} is expected").into())
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Value, Box<dyn Error + Sync + Send>> {
        match *ty {
            Type::INT8 => Ok(Value::Int(i64::from_sql(ty, raw)?)),
            Type::INT4 => Ok(Value::Int(i32::from_sql(ty, raw)?.into())),
            Type::TEXT | Type::VARCHAR | Type::NAME => Ok(Value::Text(String::from_sql(ty, raw)?)),
            Type::BYTEA => Ok(Value::Bytes(raw.to_vec())),
            _ => Err(format!("a column of the unsupported type {ty}").into()),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Value, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Encodes rows for `COPY … (FORMAT binary)` (documented with the statement). Every integer column is BIGINT.
pub(in crate::db) fn copy(rows: &[Vec<Value>]) -> Result<BytesMut, NulText> {
    let mut out = BytesMut::with_capacity(19 + rows.len() * 128);
    out.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in rows {
        out.put_i16(i16::try_from(row.len()).unwrap_or(i16::MAX));
        for value in row {
            match value {
                Value::Null => out.put_i32(-1),
                Value::Int(v) => {
                    out.put_i32(8);
                    out.put_i64(*v);
                }
                Value::Text(v) => bytes(&mut out, NulText::check(v)?.as_bytes()),
                Value::Bytes(v) => bytes(&mut out, v),
            }
        }
    }
    out.put_i16(-1);
    Ok(out)
}

/// Writes bytes with their length before them.
fn bytes(out: &mut BytesMut, value: &[u8]) {
    // PostgreSQL has no value above 1 GB; a clamped length makes it refuse the row.
    out.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
    out.put_slice(value);
}
