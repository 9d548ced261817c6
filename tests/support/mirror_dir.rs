//! A CRAN mirror in a directory whose packages are published, superseded and archived day by day.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rstudio_pm::model::time::{Day, SECOND, Timestamp};
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};
use sha2::Digest;

use super::tarball::Tarball;

/// The mirror.
pub(crate) struct MirrorDir {
    pub(crate) root: PathBuf,
    listed: BTreeMap<String, (MetaRow<String>, String)>,
    archive: Vec<MetaRow<String>>,
    notes: String,
    /// Text at the end of the index, such as a second record of a package.
    pub(crate) further_records: String,
}

fn parse_day(text: &str) -> Day {
    text.parse().expect("a day")
}

impl MirrorDir {
    pub(crate) fn new(root: impl Into<PathBuf>) -> MirrorDir {
        let root = root.into();
        fs::create_dir_all(root.join("src/contrib/Meta")).expect("folders");
        fs::create_dir_all(root.join("src/contrib/Archive")).expect("folders");
        MirrorDir {
            root,
            listed: BTreeMap::new(),
            archive: Vec::new(),
            notes: String::new(),
            further_records: String::new(),
        }
    }

    fn contrib(&self, path: &str) -> PathBuf {
        self.root.join("src/contrib").join(path)
    }

    /// Publishes a package at noon of a day and archives its previous release.
    pub(crate) fn publish(&mut self, tarball: &Tarball, day: &str) {
        if let Some((previous_row, _)) = self.listed.remove(&tarball.package) {
            self.move_to_archive(previous_row);
        }
        let (bytes, file) = (tarball.bytes(), tarball.file());
        let mtime = Timestamp(parse_day(day).start().0 + 12 * 3600 * SECOND);
        let row =
            MetaRow { package: tarball.package.clone(), file: file.clone(), size: bytes.len() as u64, mtime };
        let record = format!(
            "Package: {}\nVersion: {}\n{}License: MIT\nMD5sum: {}\nNeedsCompilation: no\n",
            tarball.package,
            tarball.version,
            tarball.fields,
            hex::encode(md5::Md5::digest(&bytes))
        );
        fs::write(self.contrib(&file), bytes).expect("written");
        self.listed.insert(tarball.package.clone(), (row, record));
    }

    /// Publishes a package with a README at noon of a day.
    pub(crate) fn simple(&mut self, package: &str, version: &str, day: &str) {
        let readme = format!("# {package} {version}\n");
        self.publish(&Tarball::new(package, version).with("README.md", &readme), day);
    }

    /// Removes a package from the index, with a comment in the form of CRAN.
    pub(crate) fn archive(&mut self, package: &str, day: &str) {
        let (row, _) = self.listed.remove(package).expect("it is listed");
        self.move_to_archive(row);
        self.notes
            .push_str(&format!("Package: {package}\nX-CRAN-Comment: Archived on {day} as requested.\n\n"));
    }

    /// Removes the listed release of a package, and does not archive it.
    pub(crate) fn remove(&mut self, package: &str) {
        let (row, _) = self.listed.remove(package).expect("it is listed");
        fs::remove_file(self.contrib(&row.file)).expect("removed");
    }

    /// Lists a release of [`MirrorDir::simple`] again that is in the archive.
    pub(crate) fn restore(&mut self, package: &str, version: &str) {
        let file = format!("{package}_{version}.tar.gz");
        let position = self.archive.iter().position(|row| row.package == package && row.file == file);
        let row = self.archive.remove(position.expect("it is archived"));
        let archived = self.contrib("Archive").join(package).join(&file);
        fs::remove_file(archived).expect("removed");
        let day = row.mtime.day().to_string();
        self.simple(package, version, &day);
    }

    fn move_to_archive(&mut self, row: MetaRow<String>) {
        let folder = self.contrib("Archive").join(&row.package);
        fs::create_dir_all(&folder).expect("a folder");
        fs::rename(self.contrib(&row.file), folder.join(&row.file)).expect("moved");
        self.archive.push(row);
    }

    /// Writes the index and the tables.
    pub(crate) fn write(&self) {
        let records: Vec<&str> = self.listed.values().map(|(_, record)| record.as_str()).collect();
        fs::write(self.contrib("PACKAGES"), records.join("\n") + &self.further_records).expect("written");
        let rows: Vec<MetaRow<String>> = self.listed.values().map(|(row, _)| row.clone()).collect();
        let (mut current, mut archive) = (Vec::new(), Vec::new());
        write_current_meta(&mut current, &rows).expect("memory");
        let mut archived = self.archive.clone();
        archived.sort_by(|a, b| (&a.package, a.mtime).cmp(&(&b.package, b.mtime)));
        write_archive_meta(&mut archive, &archived).expect("memory");
        fs::write(self.contrib("Meta/current.rds"), current).expect("written");
        fs::write(self.contrib("Meta/archive.rds"), archive).expect("written");
        fs::write(self.contrib("PACKAGES.in"), &self.notes).expect("written");
    }

    pub(crate) fn url(&self) -> String {
        file_url(&self.root)
    }

    /// The number of package files.
    pub(crate) fn files(&self) -> usize {
        self.listed.len() + self.archive.len()
    }

    /// `package version` of the listed packages.
    pub(crate) fn listing(&self) -> Vec<String> {
        let line = |(package, (row, _)): (&String, &(MetaRow<String>, String))| {
            let version =
                row.file.strip_prefix(&format!("{package}_")).and_then(|rest| rest.strip_suffix(".tar.gz"));
            format!("{package} {}", version.expect("our own file"))
        };
        let mut lines: Vec<String> = self.listed.iter().map(line).collect();
        lines.sort();
        lines
    }
}

/// The `file://` URL of a directory.
pub(crate) fn file_url(path: &Path) -> String {
    url::Url::from_file_path(path).expect("an absolute path").into()
}
