//! Sets the `Repository` field in `Meta/package.rds`, which `packageDescription()` reads for an installed package.

use std::io::Write;

use super::item::{Data, Item, Strings};
use super::write::Writer;
use super::{RdsError, RdsLimits, read};
use crate::r::rewrite::ORIGIN_FIELDS;

/// Limits of the object, which contains DESCRIPTION (up to 1 MiB in a tar archive) and tables derived from it.
const LIMITS: RdsLimits = RdsLimits { stream: 4 << 20, memory: 16 << 20 };

/// Sets `Repository` in the element `DESCRIPTION` of `Meta/package.rds`, and removes the fields of another origin, as
/// [`crate::r::rewrite`] does in DESCRIPTION. Bytes for which that changes nothing are returned as they are. Equal arguments
/// produce equal bytes.
pub fn set_repository(package_rds: &[u8], value: &str) -> Result<Vec<u8>, RdsError> {
    let mut item = read::read(package_rds, LIMITS)?;
    let shape_error =
        |found: &str| RdsError::Shape { expected: "the description of a package", found: found.to_owned() };
    let index = {
        let names = item.attribute("names").and_then(Item::text);
        let names = names.ok_or_else(|| shape_error("a list without names"))?;
        names
            .iter()
            .position(|name| name == Some("DESCRIPTION"))
            .ok_or_else(|| shape_error("a list without DESCRIPTION"))?
    };
    let Data::List(elements) = &mut item.data else { return Err(shape_error("not a list")) };
    let description = elements.get_mut(index).ok_or_else(|| shape_error("fewer elements than names"))?;
    let mut fields = names(description).ok_or_else(|| shape_error("a DESCRIPTION without names"))?;
    let mut values = texts(description).ok_or_else(|| shape_error("a DESCRIPTION that is not text"))?;
    if fields.len() != values.len() {
        return Err(shape_error("a DESCRIPTION with another number of fields than of names"));
    }
    let before = (fields.clone(), values.clone());
    let is_kept =
        |field: &Option<String>| !field.as_deref().is_some_and(|name| ORIGIN_FIELDS.contains(&name));
    (fields, values) = fields.into_iter().zip(values).filter(|(field, _)| is_kept(field)).unzip();
    match fields.iter().position(|field| field.as_deref() == Some("Repository")) {
        Some(index) => values[index] = Some(value.to_owned()),
        None => {
            fields.push(Some("Repository".to_owned()));
            values.push(Some(value.to_owned()));
        }
    }
    if (&before.0, &before.1) == (&fields, &values) {
        return Ok(package_rds.to_vec());
    }
    let too_long = |_| shape_error("a DESCRIPTION of gigabytes");
    description.data = Data::Text(strings(&values).map_err(too_long)?);
    for (name, attribute) in &mut description.attributes {
        if &**name == "names" {
            attribute.data = Data::Text(strings(&fields).map_err(too_long)?);
        }
    }
    let damaged_error = |source| RdsError::Damaged { offset: 0, source };
    let mut encoder = crate::r::packages::gzip(Vec::new());
    let mut writer = Writer::new(&mut encoder);
    writer
        .item(&item)
        .and_then(|()| writer.finish())
        .and_then(|()| encoder.flush())
        .map_err(damaged_error)?;
    encoder.finish().map_err(damaged_error)
}

fn names(item: &Item) -> Option<Vec<Option<String>>> {
    texts(item.attribute("names")?)
}

fn texts(item: &Item) -> Option<Vec<Option<String>>> {
    Some(item.text()?.iter().map(|text| text.map(str::to_owned)).collect())
}

fn strings(values: &[Option<String>]) -> Result<Strings, super::item::TextTooLong> {
    let mut strings = Strings::default();
    values.iter().try_for_each(|value| strings.push(value.as_deref())).map(|()| strings)
}
