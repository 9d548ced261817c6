//! What a folder of a bundle looks like as a mirror's: its index, tables and files, out of the records. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::bundle::record::EXTENSIONS;
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

/// The folder of released versions that are no longer listed.
const ARCHIVE: &str = "Archive/";

/// A folder of a product, as a mirror has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    index: Bytes,
    current: Bytes,
    archive: Bytes,
    events: Bytes,
    files: HashMap<String, Object>,
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
    /// The ending of its name, without the dot: where it lies is told by that and its digest.
    pub ext: &'static str,
}

/// The small files that such a folder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Small {
    /// `PACKAGES`.
    Index,
    /// `Meta/current.rds`.
    Current,
    /// `Meta/archive.rds`.
    Archive,
    /// `PACKAGES.in`: when packages left and came back.
    Events,
}

impl Small {
    /// The file at a path relative to `src/contrib`.
    pub(super) fn parse(path: &str) -> Option<Small> {
        match path {
            "PACKAGES" => Some(Small::Index),
            "Meta/current.rds" => Some(Small::Current),
            "Meta/archive.rds" => Some(Small::Archive),
            "PACKAGES.in" => Some(Small::Events),
            _ => None,
        }
    }
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

    /// One of the small files.
    pub(super) fn small(&self, small: Small) -> &Bytes {
        match small {
            Small::Index => &self.index,
            Small::Current => &self.current,
            Small::Archive => &self.archive,
            Small::Events => &self.events,
        }
    }

    /// The files of what is listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Object> {
        self.files().filter(|(path, _)| !path.starts_with(ARCHIVE)).map(|(_, object)| object)
    }
}

/// A product that is being read, record by record: of most of what a record says nothing is kept.
pub(super) struct Gathered {
    product: Product,
    state: State,
    /// Index records, by the digests of their files.
    indexes: HashMap<Sha256, String>,
    /// What left and came back, by folder, as CRAN writes it.
    events: HashMap<String, String>,
}

/// The folders of a product, by name; the usual one has an empty one.
pub(super) type Folders = HashMap<String, Arc<Shown>>;

impl Gathered {
    pub(super) fn new(product: Product) -> Gathered {
        Gathered { product, state: State::default(), indexes: HashMap::new(), events: HashMap::new() }
    }

    pub(super) fn take(&mut self, record: Record) -> Result<(), String> {
        self.state.apply(&record)?;
        let (event, what) = match record {
            Record::Ver(ver) => {
                let ver = *ver;
                self.indexes.extend(ver.index.map(|index| (ver.obj.sha256, index)));
                return Ok(());
            }
            Record::Index(indexed) => {
                self.indexes.insert(indexed.sha256, indexed.index);
                return Ok(());
            }
            Record::Archive(event) => (event, "Archived"),
            Record::Restore(event) => (event, "Restored"),
            Record::Remove(_) | Record::Snapshot(_) | Record::Unknown => return Ok(()),
        };
        let text = self.events.entry(event.folder.unwrap_or_default()).or_default();
        text.push_str(&format!("Package: {}\nX-CRAN-History: {what} on {}.\n\n", event.name, event.day));
        Ok(())
    }

    /// What is there now that all records were taken.
    pub(super) fn folders(mut self) -> Result<Folders, String> {
        if let [first, ..] = self.state.wanting() {
            return Err(format!(
                "{} listed packages have no record, {first} among them: the bundle that this one goes on from is \
                 missing, or is another one",
                self.state.wanting().len()
            ));
        }
        let mut drafts: HashMap<&str, Draft> = HashMap::new();
        for ((folder, name), package) in self.state.packages() {
            let Some((shown, within)) = place(&self.product, folder) else { continue };
            let draft = drafts.entry(shown).or_default();
            let listed = package.listed().map(|listed| listed.object.sha256);
            if let Some((sha256, record)) =
                listed.and_then(|sha256| Some((sha256, self.indexes.get(&sha256)?)))
            {
                draft.index += record.trim_end();
                if matches!(self.product, Product::Binaries(_)) && !record.contains("\nSHA256: ") {
                    draft.index += &format!("\nSHA256: {sha256}");
                }
                draft.index += "\n\n";
            }
            draft.add(within, name, package);
        }
        let mut folders = Folders::with_capacity(drafts.len());
        for (folder, draft) in drafts {
            let events = self.events.remove(folder).unwrap_or_default();
            folders.insert(folder.to_owned(), Arc::new(draft.shown(events)?));
        }
        Ok(folders)
    }
}

/// A folder that is being put together.
#[derive(Default)]
struct Draft {
    index: String,
    current: Vec<MetaRow<String>>,
    archive: Vec<MetaRow<String>>,
    files: HashMap<String, Object>,
}

impl Draft {
    fn add(&mut self, within: &str, name: &str, package: &Package) {
        for (place, release) in package.releases.iter().enumerate() {
            let Release { version, published, day, object, .. } = release;
            // Refused by the state already.
            let Some(ext) = EXTENSIONS.into_iter().find(|ext| *ext == object.ext) else { continue };
            let file = format!("{name}_{version}.{ext}");
            let row = || MetaRow {
                package: name.to_owned(),
                file: file.clone(),
                size: object.size,
                mtime: published.unwrap_or_else(|| Timestamp(day.start().0)),
            };
            let path = match (package.listed == Some(place), within) {
                (true, "") => {
                    self.current.push(row());
                    file
                }
                (true, within) => format!("{within}/{file}"),
                (false, "") => {
                    self.archive.push(row());
                    format!("{ARCHIVE}{name}/{file}")
                }
                // What is no longer in a folder of second records was never in `Archive/` from there.
                (false, _) => continue,
            };
            let object = Object { sha256: object.sha256, md5: object.md5, size: object.size, ext };
            self.files.insert(path, object);
        }
    }

    fn shown(self, events: String) -> Result<Shown, String> {
        let written = |write: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| {
            let mut bytes = Vec::new();
            write(&mut bytes).map_err(|error| error.to_string())?;
            Ok::<Bytes, String>(bytes.into())
        };
        Ok(Shown {
            index: self.index.into(),
            current: written(&|out| archive_meta::write_current_meta(out, &self.current))?,
            archive: written(&|out| archive_meta::write_archive_meta(out, &self.archive))?,
            events: events.into(),
            files: self.files,
        })
    }
}

/// Under which folder a folder of a product is shown, and where below it: second records of CRAN are in the index beside
/// the others, Bioconductor's repositories are apart.
fn place<'a>(product: &Product, folder: &'a str) -> Option<(&'a str, &'a str)> {
    match product {
        Product::Cran => Some(("", folder)),
        Product::Bioconductor(_) => Some((folder, "")),
        Product::Binaries(_) => folder.is_empty().then_some(("", "")),
    }
}

/// The DESCRIPTIONs of what is listed, being gathered.
pub(super) struct Database {
    /// What is still looked for.
    listed: HashSet<Sha256>,
    stanzas: Vec<Vec<u8>>,
}

impl Database {
    /// Of what a folder lists.
    pub(super) fn of(shown: &Shown) -> Database {
        Database { listed: shown.listed().map(|object| object.sha256).collect(), stanzas: Vec::new() }
    }

    pub(super) fn take(&mut self, record: Record) -> Result<(), String> {
        let Record::Ver(ver) = record else { return Ok(()) };
        let Some(fields) = ver.desc.as_ref() else { return Ok(()) };
        if !self.listed.remove(&ver.obj.sha256) {
            return Ok(());
        }
        let mut text = Vec::new();
        for (tag, value) in &fields.0 {
            dcf::write_field(&mut text, tag, value).map_err(|error| error.to_string())?;
        }
        self.stanzas.push(text);
        Ok(())
    }

    /// As CRAN's mirrors have them.
    pub(super) fn bytes(&self) -> Result<Bytes, String> {
        let mut bytes = Vec::new();
        write_matrix(&mut bytes, &FIELDS, &self.stanzas).map_err(|error| error.to_string())?;
        Ok(bytes.into())
    }
}
