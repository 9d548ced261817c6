//! Targets for R's serialized objects.

use rstudio_pm::r::rds::archive_meta::{
    read_archive_meta, read_current_meta, write_archive_meta, write_current_meta,
};
use rstudio_pm::r::rds::matrix::write_matrix;
use rstudio_pm::r::rds::packages::{PackageTable, read_package_table};
use rstudio_pm::r::rds::{RdsLimits, package_rds, read};

const LIMITS: RdsLimits = RdsLimits { stream: 4 << 20, memory: 16 << 20 };

/// Any object.
pub fn item(data: &[u8]) {
    if let Ok(item) = read::read(data, LIMITS) {
        let _ = PackageTable::from_item(item);
    }
}

/// A table that is written as a matrix is readable and has no further records.
pub fn packages(data: &[u8]) {
    let Ok(table) = read_package_table(data, LIMITS) else { return };
    let stanzas: Vec<Vec<u8>> = (0..table.len())
        .map(|record| {
            let mut stanza = Vec::new();
            table.write_stanza(record, &mut stanza);
            stanza
        })
        .collect();
    let mut written = Vec::new();
    if write_matrix(&mut written, &["Package", "Version"], &stanzas).is_err() {
        return;
    }
    let reread = read_package_table(&*written, RdsLimits::INDEX).expect("what is written can be read");
    assert!(reread.len() <= table.len());
}

/// Written tables of files are read back unchanged.
pub fn meta(data: &[u8]) {
    if let Ok(rows) = read_archive_meta(data, LIMITS) {
        let mut written = Vec::new();
        write_archive_meta(&mut written, &rows).expect("writing to a Vec succeeds");
        assert_eq!(read_archive_meta(&*written, RdsLimits::META).expect("what is written can be read"), rows);
    }
    if let Ok(rows) = read_current_meta(data, LIMITS) {
        let mut written = Vec::new();
        write_current_meta(&mut written, &rows).expect("writing to a Vec succeeds");
        assert_eq!(read_current_meta(&*written, RdsLimits::META).expect("what is written can be read"), rows);
    }
}

/// Setting `Repository` in the description of an installed package is idempotent.
pub fn description(data: &[u8]) {
    let Ok(once) = package_rds::set_repository(data, "some/repository") else { return };
    let twice = package_rds::set_repository(&once, "some/repository").expect("what is written can be read");
    assert_eq!(once, twice);
}
