//! What a folder of a bundle looks like as a mirror's: its index, tables and files, out of the records. Pure.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::bundle::state::{Package, Release};
use crate::bundle::{Product, Record, State};
use crate::model::digest::{Md5, Sha256};
use crate::model::time::Timestamp;
use crate::r::dcf;
use crate::r::rds::archive_meta::{self, MetaRow};
use crate::r::rds::matrix::write_matrix;

/// Fields that it has whatever else packages say of themselves.
const FIELDS: [&str; 10] = [
    "Package",
    "Version",
    "Title",
    "Description",
    "Author",
    "Maintainer",
    "License",
    "URL",
    "BugReports",
    "SystemRequirements",
];
/// A folder of a product, as a mirror has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// What changes when anything does.
    pub(super) validator: String,
    index: Bytes,
    current: Bytes,
    archive: Bytes,
    events: Bytes,
    pub(super) files: HashMap<String, Object>,
}

/// A package file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Of its bytes.
    pub sha256: Sha256,
    /// Of its bytes.
    pub md5: Md5,
    /// Bytes.
    pub size: u64,
    /// Where it lies, relative to the bundle.
    pub path: String,
}

impl Shown {
    /// The package files, by their paths relative to `src/contrib`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.files.iter().map(|(path, object)| (path.as_str(), object))
    }

    /// The package file at a path relative to `src/contrib`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Object> {
        self.files.get(path)
    }

    pub(super) fn new(
        product: &Product,
        folder: &str,
        validator: String,
        records: &[Record],
    ) -> Result<Shown, String> {
        let mut state = State::default();
        let mut indexes: HashMap<Sha256, &str> = HashMap::new();
        let mut events = String::new();
        for record in records {
            state.apply(record)?;
            match record {
                Record::Ver(ver) => {
                    indexes.extend(ver.index.as_deref().map(|index| (ver.obj.sha256, index)));
                }
                Record::Index(indexed) => {
                    indexes.insert(indexed.sha256, &indexed.index);
                }
                Record::Archive(event) if event.folder.as_deref().unwrap_or_default() == folder => {
                    events +=
                        &format!("Package: {}\nX-CRAN-History: Archived on {}.\n\n", event.name, event.day);
                }
                Record::Restore(event) if event.folder.as_deref().unwrap_or_default() == folder => {
                    events +=
                        &format!("Package: {}\nX-CRAN-History: Restored on {}.\n\n", event.name, event.day);
                }
                Record::Archive(_)
                | Record::Restore(_)
                | Record::Remove(_)
                | Record::Snapshot(_)
                | Record::Unknown => {}
            }
        }
        if let [first, ..] = state.wanting() {
            return Err(format!(
                "{} listed packages have no record, {first} among them: the bundle that this one goes on from is \
                 missing, or is another one",
                state.wanting().len()
            ));
        }
        let mut shown = Shown { validator, events: events.into(), ..Shown::default() };
        let (mut index, mut current, mut archive) = (String::new(), Vec::new(), Vec::new());
        for ((within, name), package) in state.packages() {
            let Some(within) = below(product, folder, within) else { continue };
            if let Some(record) = package.listed().and_then(|listed| indexes.get(&listed.object.sha256)) {
                index += record.trim_end();
                if matches!(product, Product::Binaries(_)) && !record.contains("\nSHA256: ") {
                    let sha256 = package.listed().map(|listed| listed.object.sha256);
                    index += &sha256.map(|sha256| format!("\nSHA256: {sha256}")).unwrap_or_default();
                }
                index += "\n\n";
            }
            shown.add(product, within, name, package, &mut current, &mut archive);
        }
        shown.index = index.into();
        let written = |write: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| {
            let mut bytes = Vec::new();
            write(&mut bytes).map_err(|error| error.to_string())?;
            Ok::<Bytes, String>(bytes.into())
        };
        shown.current = written(&|out| archive_meta::write_current_meta(out, &current))?;
        shown.archive = written(&|out| archive_meta::write_archive_meta(out, &archive))?;
        Ok(shown)
    }

    fn add(
        &mut self,
        product: &Product,
        within: &str,
        name: &str,
        package: &Package,
        current: &mut Vec<MetaRow<String>>,
        archive: &mut Vec<MetaRow<String>>,
    ) {
        for (place, release) in package.releases.iter().enumerate() {
            let Release { version, published, day, object, .. } = release;
            let file = format!("{name}_{version}.{}", object.ext);
            let row = MetaRow {
                package: name.to_owned(),
                file: file.clone(),
                size: object.size,
                mtime: published.unwrap_or_else(|| Timestamp(day.start().0)),
            };
            let listed = package.listed == Some(place);
            let path = match (listed, within) {
                (true, "") => {
                    current.push(row);
                    file
                }
                (true, within) => format!("{within}/{file}"),
                (false, "") => {
                    archive.push(row);
                    format!("Archive/{name}/{file}")
                }
                // What is no longer in a folder of second records was never in `Archive/` from there.
                (false, _) => continue,
            };
            let object = Object {
                sha256: object.sha256,
                md5: object.md5,
                size: object.size,
                path: product.object(object.sha256, &object.ext),
            };
            self.files.insert(path, object);
        }
    }

    /// One of the small files.
    pub(super) fn small(&self, path: &str) -> Option<&Bytes> {
        match path {
            "PACKAGES" => Some(&self.index),
            "Meta/current.rds" => Some(&self.current),
            "Meta/archive.rds" => Some(&self.archive),
            "PACKAGES.in" => Some(&self.events),
            _ => None,
        }
    }
}

/// Where a folder of a product stands below the one that is shown: second records of CRAN are in the index beside the
/// others, Bioconductor's repositories are apart.
fn below<'a>(product: &Product, shown: &str, folder: &'a str) -> Option<&'a str> {
    match product {
        Product::Cran => Some(folder),
        Product::Bioconductor(_) => (folder == shown).then_some(""),
        Product::Binaries(_) => folder.is_empty().then_some(""),
    }
}

/// The DESCRIPTIONs of what is listed, as CRAN's mirrors have them.
pub(super) fn database(records: &[Record]) -> Result<Bytes, String> {
    let mut state = State::default();
    records.iter().try_for_each(|record| state.apply(record))?;
    let listed: HashSet<Sha256> =
        state.packages().filter_map(|(_, package)| Some(package.listed()?.object.sha256)).collect();
    let mut stanzas: Vec<Vec<u8>> = Vec::new();
    for record in records {
        let Record::Ver(ver) = record else { continue };
        let Some(fields) = ver.desc.as_ref().filter(|_| listed.contains(&ver.obj.sha256)) else { continue };
        let mut text = Vec::new();
        for (tag, value) in &fields.0 {
            dcf::write_field(&mut text, tag, value).map_err(|error| error.to_string())?;
        }
        stanzas.push(text);
    }
    let mut bytes = Vec::new();
    write_matrix(&mut bytes, &FIELDS, &stanzas).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}
