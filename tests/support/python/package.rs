//! Small wheels and source distributions.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::Digest;

use crate::support::server::Server;
use crate::support::zip::zip;

/// A package with one module.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) requires: Vec<String>,
    /// Further lines of the metadata.
    pub(crate) fields: String,
    /// The text of the module.
    pub(crate) code: String,
}

impl Package {
    pub(crate) fn new(name: &str, version: &str) -> Package {
        let code = format!("version = '{version}'\n");
        let (name, version) = (name.to_owned(), version.to_owned());
        Package { name, version, requires: Vec::new(), fields: String::new(), code }
    }

    pub(crate) fn requires(mut self, requirement: &str) -> Package {
        self.requires.push(requirement.to_owned());
        self
    }

    /// Adds a line to the metadata.
    pub(crate) fn field(mut self, line: &str) -> Package {
        self.fields.push_str(line);
        self.fields.push('\n');
        self
    }

    pub(crate) fn code(mut self, code: &str) -> Package {
        code.clone_into(&mut self.code);
        self
    }

    fn stem(&self) -> String {
        format!("{}-{}", self.name.to_lowercase().replace(['-', '.'], "_"), self.version)
    }

    pub(crate) fn wheel_name(&self) -> String {
        format!("{}-py3-none-any.whl", self.stem())
    }

    pub(crate) fn sdist_name(&self) -> String {
        format!("{}.tar.gz", self.stem())
    }

    pub(crate) fn metadata(&self) -> String {
        let requires: String = self.requires.iter().map(|line| format!("Requires-Dist: {line}\n")).collect();
        format!(
            "Metadata-Version: 2.4\nName: {}\nVersion: {}\nSummary: A <test> & more\nRequires-Python: >=3.7\n{requires}{}\nText.\n",
            self.name, self.version, self.fields
        )
    }

    pub(crate) fn wheel(&self) -> Vec<u8> {
        let module = self.name.to_lowercase().replace(['-', '.'], "_");
        let info = format!("{}.dist-info", self.stem());
        let mut members = vec![
            (format!("{module}/__init__.py"), self.code.clone()),
            (format!("{info}/METADATA"), self.metadata()),
            (
                format!("{info}/WHEEL"),
                "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
            ),
        ];
        let line = |(path, text): &(String, String)| {
            let digest = BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text));
            format!("{path},sha256={digest},{}\n", text.len())
        };
        let record: String = members.iter().map(line).collect();
        members.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n")));
        zip(&members)
    }

    pub(crate) fn sdist(&self) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        let mut archive = tar::Builder::new(encoder);
        for (name, text) in [("PKG-INFO", self.metadata()), ("module.py", self.code.clone())] {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            let path = format!("{}/{name}", self.stem());
            archive.append_data(&mut header, path, text.as_bytes()).expect("in memory");
        }
        archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("in memory")
    }
}

/// Writes a file into the directory of a server.
pub(crate) fn write(server: &Server, name: &str, bytes: &[u8]) -> PathBuf {
    let path = server.dir().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

/// Adds the wheel of a package to a source.
pub(crate) fn add(server: &Server, source: &str, package: &Package) {
    let path = write(server, &package.wheel_name(), &package.wheel());
    server.rspm_stdout(&format!("add --source={source} --path={}", path.display()));
}

/// Creates the source `team` and the repository `py` that subscribes to it.
pub(crate) fn repository(server: &Server) {
    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=team");
}

/// The number of the newest transaction of a source.
pub(crate) fn transaction(server: &Server, source: &str) -> i64 {
    let info = server.json(&format!("info --source={source}"));
    info["last_transaction"]["id"].as_i64().expect("a transaction")
}
