//! Reads the index of a mirror in any of its formats, and its valid records.

use std::borrow::Cow;

use super::description::check;
use super::packages::{self, IndexRecord};
use super::rds::RdsLimits;
use super::rds::packages::read_package_table;
use base::model::text::count_of;

/// Maximum size of a decompressed index in bytes, about ten times the size of CRAN's.
const MAX_TEXT: u64 = 64 << 20;
/// Maximum number of records of an index, ten times that of CRAN: a short one takes ten times its size of memory.
const MAX_RECORDS: usize = 250_000;

/// Returns the index as text. `path` determines the format: RDS for `.rds`, otherwise text, compressed or not.
pub fn text<'a>(path: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    if !path.ends_with(".rds") {
        return packages::decode_text(bytes, MAX_TEXT).map_err(|e| e.to_string());
    }
    let table = read_package_table(bytes, RdsLimits::INDEX).map_err(|e| e.to_string())?;
    // Counted first, because the names of the fields are in each record.
    let (mut stanza, mut size) = (Vec::new(), 0);
    for record in 0..table.len() {
        stanza.clear();
        table.write_stanza(record, &mut stanza);
        size += stanza.len() + 1;
        if size as u64 > RdsLimits::INDEX.stream {
            return Err(format!("the PACKAGES index is larger than {} bytes", RdsLimits::INDEX.stream));
        }
    }
    let mut text = Vec::with_capacity(size);
    for record in 0..table.len() {
        table.write_stanza(record, &mut text);
        text.push(b'\n');
    }
    Ok(Cow::Owned(text))
}

/// Returns the records of an index; there may be none. Invalid records, and those whose version R cannot compare with
/// others, are skipped with a warning: one of these would make every installation fail for clients of two repositories
/// that list it. A requirement on R that R cannot read is reported; an index is served without it
/// ([`check::served_record`]).
///
/// # Errors
/// More than half of the records are invalid, there are more than [`MAX_RECORDS`], or the text is not DCF.
pub fn records<'a>(text: &'a [u8], warnings: &mut Vec<String>) -> Result<Vec<IndexRecord<'a>>, String> {
    let mut valid_records = Vec::new();
    let (mut invalid_count, mut first_error) = (0_usize, None);
    let (mut incomparable, mut unreadable) = (Examples::default(), Examples::default());
    for (number, record) in packages::records(text).enumerate() {
        if number == MAX_RECORDS {
            return Err(format!("the index has more than {MAX_RECORDS} records"));
        }
        match record {
            Ok(record) if !check::is_comparable_version(record.version) => {
                incomparable.add(|| format!("{} {}", record.package, record.version));
            }
            Ok(record) => {
                if let Some(item) = check::unreadable_item(record.stanza) {
                    unreadable.add(|| format!("{} {} has '{item}'", record.package, record.version));
                }
                valid_records.push(record);
            }
            Err(error @ packages::IndexError::Dcf(_)) => return Err(error.to_string()),
            Err(error) => {
                invalid_count += 1;
                first_error.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first_error {
        if invalid_count > valid_records.len() {
            return Err(format!(
                "{invalid_count} of {} records are invalid: {error}",
                invalid_count + valid_records.len()
            ));
        }
        warnings.push(format!("skipped {invalid_count} invalid records of the index: {error}"));
    }
    incomparable
        .warn(warnings, |count| format!("skipped {count} with a version that R cannot compare with others"));
    unreadable.warn(warnings, |count| {
        format!("{count} with a requirement on R that R cannot read, served without it")
    });
    Ok(valid_records)
}

/// The number of records with a defect, and the first of them.
#[derive(Default)]
struct Examples {
    count: usize,
    first: Option<String>,
}

impl Examples {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(example);
    }

    fn warn(self, warnings: &mut Vec<String>, text: impl Fn(&str) -> String) {
        if let Some(first) = self.first {
            let text = text(&count_of(self.count, "record of the index", "records of the index"));
            warnings.push(format!("{text}: {first}"));
        }
    }
}
