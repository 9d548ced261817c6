//! Generated small source packages.

use std::io::Write;

/// The content of a source package.
#[derive(Clone, Debug)]
pub(crate) struct Tarball {
    pub(crate) package: String,
    pub(crate) version: String,
    /// Additional lines of DESCRIPTION.
    pub(crate) fields: String,
    /// Additional files, by path below the package's folder.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// Whether DESCRIPTION is the last member.
    pub(crate) is_description_last: bool,
    /// Whether the bytes are compressed, which differs between versions of the library.
    pub(crate) is_compressed: bool,
}

impl Tarball {
    pub(crate) fn new(package: &str, version: &str) -> Tarball {
        Tarball {
            package: package.to_owned(),
            version: version.to_owned(),
            fields: String::new(),
            files: vec![
                ("NAMESPACE".to_owned(), b"export(f)\n".to_vec()),
                ("R/f.R".to_owned(), b"f <- function() 1\n".to_vec()),
            ],
            is_description_last: false,
            is_compressed: true,
        }
    }

    pub(crate) fn field(mut self, line: &str) -> Tarball {
        self.fields.push_str(line);
        self.fields.push('\n');
        self
    }

    pub(crate) fn with(mut self, path: &str, text: &str) -> Tarball {
        self.files.push((path.to_owned(), text.as_bytes().to_vec()));
        self
    }

    pub(crate) fn description_last(mut self) -> Tarball {
        self.is_description_last = true;
        self
    }

    pub(crate) fn uncompressed(mut self) -> Tarball {
        self.is_compressed = false;
        self
    }

    pub(crate) fn file(&self) -> String {
        format!("{}_{}.tar.gz", self.package, self.version)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let license = if self.fields.contains("License: ") { "" } else { "License: MIT\n" };
        let title = if self.fields.contains("Title: ") { "" } else { "Title: A Test\n" };
        let text = if self.fields.contains("Description: ") { "" } else { "Description: Tests.\n" };
        let description = format!(
            "Package: {}\nVersion: {}\n{title}{text}{license}{}",
            self.package, self.version, self.fields
        );
        let compression =
            if self.is_compressed { flate2::Compression::fast() } else { flate2::Compression::none() };
        let gz = flate2::write::GzEncoder::new(Vec::new(), compression);
        let mut tar = tar::Builder::new(gz);
        let description = ("DESCRIPTION".to_owned(), description.into_bytes());
        let mut members: Vec<&(String, Vec<u8>)> = self.files.iter().collect();
        members.insert(if self.is_description_last { members.len() } else { 0 }, &description);
        for (path, bytes) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // The default is the zero byte of the old format, which R does not unpack.
            header.set_entry_type(tar::EntryType::Regular);
            let path = format!("{}/{path}", self.package);
            // Set as bytes: some tests need hostile paths.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, bytes.as_slice()).expect("a member");
        }
        let mut gz = tar.into_inner().expect("a tar");
        gz.flush().expect("a flush");
        gz.finish().expect("a gzip")
    }
}
