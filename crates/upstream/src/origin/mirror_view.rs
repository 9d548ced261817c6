//! Builds, from the records of a bundle, its folders in the form of a mirror: index, tables and files. Pure.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;

use base::model::digest::{Md5, Sha256};
use base::model::time::Timestamp;
use formats::bundle::record::EXTENSIONS;
use formats::bundle::state::{PackageState, Release};
use formats::bundle::{Product, ProductState, Record};
use formats::r::dcf;
use formats::r::rds::archive_meta::{self, MetaRow};
use formats::r::rds::matrix::write_matrix;

/// Columns that the package database always has.
const COLUMNS: [&str; 10] = [
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

/// The folder of releases that are no longer listed.
const ARCHIVE: &str = "Archive/";

/// The contents of a folder in the form of a mirror; for CRAN, about 100 bytes per file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MirrorView {
    index: Bytes,
    events: Bytes,
    /// Package files in the order of packages and releases; paths are relative to `src/contrib`.
    files: Vec<(Box<str>, Object)>,
    /// Indexes into `files`, sorted by path.
    by_path: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub sha256: Sha256,
    pub md5: Md5,
    /// Size in bytes.
    pub size: u64,
    /// Publication time, or the start of the day on which it appeared.
    pub published_at: Timestamp,
    /// The extension of its name, without the dot; with the digest it gives the path.
    pub ext: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaFile {
    /// `PACKAGES`.
    Index,
    /// `Meta/current.rds`.
    Current,
    /// `Meta/archive.rds`.
    Archive,
    /// `PACKAGES.in`: the times at which packages left the index and returned.
    Events,
}

impl MetaFile {
    /// Returns the file at a path relative to `src/contrib`.
    pub(super) fn parse(path: &str) -> Option<MetaFile> {
        match path {
            "PACKAGES" => Some(MetaFile::Index),
            "Meta/current.rds" => Some(MetaFile::Current),
            "Meta/archive.rds" => Some(MetaFile::Archive),
            "PACKAGES.in" => Some(MetaFile::Events),
            _ => None,
        }
    }
}

impl MirrorView {
    fn new(index: String, events: String, mut files: Vec<(Box<str>, Object)>) -> MirrorView {
        files.shrink_to_fit();
        let positions = 0..u32::try_from(files.len()).unwrap_or(u32::MAX);
        let mut by_path: Vec<u32> = positions.collect();
        by_path.sort_unstable_by_key(|position| (&files[*position as usize].0, *position));
        MirrorView { index: index.into(), events: events.into(), files, by_path }
    }

    /// Returns the package files by path relative to `src/contrib`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.files.iter().map(|(path, object)| (&**path, object))
    }

    /// Returns the package file at a path relative to `src/contrib`; the last one if there are several.
    pub fn file(&self, path: &str) -> Option<&Object> {
        let end = self.by_path.partition_point(|position| *self.files[*position as usize].0 <= *path);
        let (object_path, object) = &self.files[*self.by_path.get(end.checked_sub(1)?)? as usize];
        (**object_path == *path).then_some(object)
    }

    /// Returns a metadata file; tables are built on request.
    pub(super) fn meta_file(&self, meta_file: MetaFile) -> Result<Bytes, String> {
        let table = |row: fn(&'_ str) -> Option<(&'_ str, &'_ str)>| -> Vec<MetaRow<&str>> {
            let rows = self.files().filter_map(|(path, object)| {
                let (package, file) = row(path)?;
                Some(MetaRow { package, file, size: object.size, mtime: object.published_at })
            });
            rows.collect()
        };
        match meta_file {
            MetaFile::Index => Ok(self.index.clone()),
            MetaFile::Current => to_bytes(|out| archive_meta::write_current_meta(out, &table(parse_listed))),
            MetaFile::Archive => {
                to_bytes(|out| archive_meta::write_archive_meta(out, &table(parse_archived)))
            }
            MetaFile::Events => Ok(self.events.clone()),
        }
    }

    pub(super) fn listed_objects(&self) -> impl Iterator<Item = &Object> {
        self.files().filter(|(path, _)| !path.starts_with(ARCHIVE)).map(|(_, object)| object)
    }
}

/// Returns package and file of a path that belongs in `Meta/current.rds`.
fn parse_listed(path: &str) -> Option<(&str, &str)> {
    let (package, _) = path.split_once('_')?;
    (!path.contains('/')).then_some((package, path))
}

/// Returns package and file of a path that belongs in `Meta/archive.rds`.
fn parse_archived(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(ARCHIVE)?.split_once('/')
}

/// Returns the output of `write` in a buffer of exact size: a table of CRAN takes tens of megabytes.
fn to_bytes(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> Result<Bytes, String> {
    struct Length(usize);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    write(&mut length).map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(length.0);
    write(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// Builds the folders of a product record by record; only the needed fields are stored.
pub(super) struct ProductBuilder {
    product: Product,
    state: ProductState,
    /// Index records, by the digests of their files.
    indexes: HashMap<Sha256, String>,
    /// Removals and returns by folder, in CRAN's format.
    events: HashMap<String, String>,
}

/// The folders of a product by name; the name of the default folder is empty.
pub(super) type Folders = HashMap<String, Arc<MirrorView>>;

impl ProductBuilder {
    pub(super) fn new(product: Product) -> ProductBuilder {
        ProductBuilder {
            product,
            state: ProductState::default(),
            indexes: HashMap::new(),
            events: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, record: Record) -> Result<(), String> {
        self.state.apply(&record)?;
        let (event, action) = match record {
            Record::Release(release) => {
                let release = *release;
                self.indexes.extend(release.index.map(|index| (release.obj.sha256, index)));
                return Ok(());
            }
            Record::Index(index_record) => {
                self.indexes.insert(index_record.sha256, index_record.index);
                return Ok(());
            }
            Record::Archive(event) => (event, "Archived"),
            Record::Restore(event) => (event, "Restored"),
            Record::Remove(_) | Record::Snapshot(_) | Record::Unknown => return Ok(()),
        };
        let text = self.events.entry(event.folder.unwrap_or_default()).or_default();
        text.push_str(&format!("Package: {}\nX-CRAN-History: {action} on {}.\n\n", event.name, event.day));
        Ok(())
    }

    pub(super) fn into_folders(mut self) -> Result<Folders, String> {
        if let [first, ..] = self.state.missing_releases() {
            return Err(format!(
                "{} listed packages have no record, {first} among them: the bundle that this one continues is \
                 missing, or is a different one",
                self.state.missing_releases().len()
            ));
        }
        let mut builders: HashMap<String, FolderBuilder> = HashMap::new();
        for ((folder, name), package) in self.state.into_packages() {
            let Some((mirror_path, subfolder)) = mirror_folder(&self.product, &folder) else { continue };
            if !builders.contains_key(mirror_path) {
                builders.insert(mirror_path.to_owned(), FolderBuilder::default());
            }
            let builder = builders.get_mut(mirror_path).expect("inserted above");
            let listed_sha256 = package.listed_release().map(|release| release.object.sha256);
            if let Some((sha256, record)) =
                listed_sha256.and_then(|sha256| Some((sha256, self.indexes.get(&sha256)?)))
            {
                builder.index += record.trim_end();
                if matches!(self.product, Product::Binaries(_)) && !record.contains("\nSHA256: ") {
                    builder.index += &format!("\nSHA256: {sha256}");
                }
                builder.index += "\n\n";
            }
            builder.add(subfolder, &name, &package);
        }
        drop(self.indexes);
        let mut folders = Folders::with_capacity(builders.len());
        for (folder, FolderBuilder { index, files }) in builders {
            let events = self.events.remove(&folder).unwrap_or_default();
            folders.insert(folder, Arc::new(MirrorView::new(index, events, files)));
        }
        Ok(folders)
    }
}

#[derive(Default)]
struct FolderBuilder {
    index: String,
    files: Vec<(Box<str>, Object)>,
}

impl FolderBuilder {
    fn add(&mut self, subfolder: &str, name: &str, package: &PackageState) {
        for (position, release) in package.releases.iter().enumerate() {
            let Release { version, published, day, object, .. } = release;
            // `ProductState::apply` has refused other extensions.
            let Some(ext) = EXTENSIONS.into_iter().find(|ext| *ext == object.ext) else { continue };
            let file = format!("{name}_{version}.{ext}");
            let path = match (package.listed_index == Some(position), subfolder) {
                (true, "") => file,
                (true, subfolder) => format!("{subfolder}/{file}"),
                (false, "") => format!("{ARCHIVE}{name}/{file}"),
                // `Archive/` has no releases of subfolders such as `4.6.0/Recommended`.
                (false, _) => continue,
            };
            let published_at = published.unwrap_or_else(|| Timestamp(day.start().0));
            let object =
                Object { sha256: object.sha256, md5: object.md5, size: object.size, published_at, ext };
            self.files.push((path.into_boxed_str(), object));
        }
    }
}

/// Returns the folder of the mirror with a folder of a product, and the path below it: subfolders of CRAN such as
/// `4.6.0/Recommended` are in its index, Bioconductor's repositories are separate. `None` for others.
fn mirror_folder<'a>(product: &Product, folder: &'a str) -> Option<(&'a str, &'a str)> {
    match product {
        Product::Cran => Some(("", folder)),
        Product::Bioconductor(_) => Some((folder, "")),
        Product::Binaries(_) => folder.is_empty().then_some(("", "")),
        Product::Projects(_) => None,
    }
}

/// Collects the DESCRIPTIONs of listed releases.
pub(super) struct Database {
    /// Listed files whose record was not read yet.
    listed_files: HashSet<Sha256>,
    stanzas: Vec<Vec<u8>>,
}

impl Database {
    /// Creates a collector for the listed files of a folder.
    pub(super) fn of(view: &MirrorView) -> Database {
        Database {
            listed_files: view.listed_objects().map(|object| object.sha256).collect(),
            stanzas: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, record: Record) -> Result<(), String> {
        let Record::Release(release) = record else { return Ok(()) };
        let Some(fields) = release.desc.as_ref() else { return Ok(()) };
        if !self.listed_files.remove(&release.obj.sha256) {
            return Ok(());
        }
        let mut text = Vec::new();
        for (tag, value) in &fields.0 {
            dcf::write_field(&mut text, tag, value).map_err(|error| error.to_string())?;
        }
        self.stanzas.push(text);
        Ok(())
    }

    /// Returns the table in the format of CRAN's mirrors.
    pub(super) fn bytes(&self) -> Result<Bytes, String> {
        let mut bytes = Vec::new();
        write_matrix(&mut bytes, &COLUMNS, &self.stanzas).map_err(|error| error.to_string())?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::bundle::ReleaseRecord;
    use formats::bundle::record::{PackageEvent, RecordObject};
    use formats::r::rds::RdsLimits;
    use formats::r::rds::archive_meta::{read_archive_meta, read_current_meta};

    fn release(folder: Option<&str>, name: &str, version: &str, byte: u8) -> Record {
        Record::Release(Box::new(ReleaseRecord {
            folder: folder.map(str::to_owned),
            name: name.to_owned(),
            version: version.to_owned(),
            day: "2026-01-02".parse().expect("a day"),
            published: Some(Timestamp(i64::from(byte) * 1_000_000)),
            archived: false,
            obj: RecordObject {
                sha256: Sha256([byte; 32]),
                size: u64::from(byte),
                md5: Md5([byte; 16]),
                ext: "tar.gz".to_owned(),
            },
            index: Some(format!("Package: {name}\nVersion: {version}")),
            desc: None,
            compiled: None,
            readme: None,
        }))
    }

    #[test]
    fn a_folder_has_the_index_tables_and_files_of_its_records() {
        let mut builder = ProductBuilder::new(Product::Cran);
        let removal = PackageEvent {
            folder: None,
            name: "c3".to_owned(),
            version: None,
            sha256: None,
            day: "2026-01-03".parse().expect("a day"),
        };
        for record in [
            release(None, "b2", "1.0", 1),
            release(None, "a1", "0.1", 2),
            release(None, "b2", "1.1", 3),
            // Other bytes under the same name, and then a new version.
            release(None, "a1", "0.1", 4),
            release(None, "a1", "0.2", 5),
            release(Some("4.6.0/Recommended"), "b2", "1.2", 6),
            release(None, "c3", "9", 7),
            Record::Archive(removal),
        ] {
            builder.add(record).expect("fits");
        }
        let folders = builder.into_folders().expect("complete");
        let view = &folders[""];
        let index = view.meta_file(MetaFile::Index).expect("memory");
        let listed =
            "Package: a1\nVersion: 0.2\n\nPackage: b2\nVersion: 1.1\n\nPackage: b2\nVersion: 1.2\n\n";
        assert_eq!(String::from_utf8_lossy(&index), listed);
        let current = view.meta_file(MetaFile::Current).expect("memory");
        let rows = |rows: Vec<MetaRow<String>>| -> Vec<String> {
            rows.iter().map(|row| format!("{} {} {}", row.package, row.file, row.mtime.seconds())).collect()
        };
        let current = rows(read_current_meta(&current[..], RdsLimits::META).expect("a table"));
        assert_eq!(current, ["a1 a1_0.2.tar.gz 5", "b2 b2_1.1.tar.gz 3"]);
        let archive = view.meta_file(MetaFile::Archive).expect("memory");
        let archive = rows(read_archive_meta(&archive[..], RdsLimits::META).expect("a table"));
        let archived = ["a1 a1_0.1.tar.gz 2", "a1 a1_0.1.tar.gz 4", "b2 b2_1.0.tar.gz 1", "c3 c3_9.tar.gz 7"];
        assert_eq!(archive, archived);
        let events = view.meta_file(MetaFile::Events).expect("memory");
        assert!(String::from_utf8_lossy(&events).contains("Package: c3\nX-CRAN-History: Archived on"));
        for (path, size) in [
            ("a1_0.2.tar.gz", Some(5)),
            ("Archive/a1/a1_0.1.tar.gz", Some(4)),
            ("Archive/b2/b2_1.0.tar.gz", Some(1)),
            ("4.6.0/Recommended/b2_1.2.tar.gz", Some(6)),
            ("b2_1.2.tar.gz", None),
            ("zz", None),
            ("", None),
        ] {
            assert_eq!(view.file(path).map(|object| object.size), size, "{path}");
        }
        assert_eq!((view.files().count(), view.listed_objects().count()), (7, 3));
    }
}
