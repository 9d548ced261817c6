//! A model of the tables after a plan, without a database.

use std::collections::{BTreeMap, BTreeSet};

use rstudio_pm::model::change::{Change, LifeState};
use rstudio_pm::model::digest::Md5;
use rstudio_pm::model::ids::{FileId, PackageId, ReleaseId};
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::packages::IndexRecord;
use rstudio_pm::r::rds::archive_meta::MetaRow;
use rstudio_pm::sync::existing_source::{ExistingPackage, ExistingRelease, ExistingSource, OpenLife};
use rstudio_pm::sync::plan::{MirrorDeclaration, Plan, plan};

/// A mirror's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) size: u64,
    /// Publication time in seconds since the epoch.
    pub(crate) mtime: i64,
}

/// A mirror's index record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) path: Option<&'static str>,
    pub(crate) md5: Option<u8>,
    /// A further field.
    pub(crate) depends: &'static str,
}

/// The declaration of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) records: Vec<Record>,
    pub(crate) current: Option<Vec<Row>>,
    pub(crate) archive: Option<Vec<Row>>,
    /// In seconds; later releases are delayed.
    pub(crate) cutoff: Option<i64>,
}

pub(crate) fn record(package: &'static str, version: &'static str, md5: u8) -> Record {
    Record { package, version, path: None, md5: Some(md5), depends: "R" }
}

pub(crate) fn row(package: &'static str, version: &'static str, size: u64, mtime: i64) -> Row {
    Row { package, version, size, mtime }
}

fn meta(rows: &[Row]) -> Vec<MetaRow<String>> {
    let meta = |row: &Row| MetaRow {
        package: row.package.to_owned(),
        file: format!("{}_{}.tar.gz", row.package, row.version),
        size: row.size,
        mtime: Timestamp(row.mtime * SECOND),
    };
    rows.iter().map(meta).collect()
}

/// The state of the tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) existing: ExistingSource,
    records: BTreeMap<(ReleaseId, i64), Vec<u8>>,
    seq: i64,
    ids: i64,
}

impl Tables {
    pub(crate) fn plan(&self, mirror: &Mirror) -> Plan {
        let stanzas: Vec<String> = mirror
            .records
            .iter()
            .map(|r| format!("Package: {}\nVersion: {}\nDepends: {}", r.package, r.version, r.depends))
            .collect();
        let records = mirror.records.iter().zip(&stanzas).map(|(r, stanza)| IndexRecord {
            package: r.package,
            version: r.version,
            path: r.path,
            file: None,
            md5: r.md5.map(|byte| Md5([byte; 16])),
            sha256: None,
            size: None,
            stanza: stanza.as_bytes(),
        });
        let declaration = MirrorDeclaration {
            records: records.collect(),
            current: mirror.current.as_deref().map(meta),
            archive: mirror.archive.as_deref().map(meta),
            view: None,
            cutoff: mirror.cutoff.map(|at| Timestamp(at * SECOND)),
        };
        plan(&self.existing, &declaration)
    }

    /// Plans and applies.
    pub(crate) fn sync(&mut self, mirror: &Mirror) -> Plan {
        let plan = self.plan(mirror);
        self.apply(&plan.changes);
        plan
    }

    fn apply(&mut self, changes: &[Change]) {
        self.seq += 1;
        for change in changes {
            match change {
                Change::Introduce { release, state, path } => {
                    self.ids += 1;
                    let id = self.ids;
                    if let Some(stanza) = &release.stanza {
                        self.records.insert((ReleaseId(id), 0), stanza.clone());
                    }
                    let package = self.existing.packages.entry(release.package.clone());
                    let package = package.or_insert_with(|| ExistingPackage {
                        id: PackageId(1000 + id),
                        releases: Vec::new(),
                    });
                    let is_duplicate = |known: &ExistingRelease| {
                        *known.version == *release.version && known.revision == release.revision
                    };
                    assert!(
                        !package.releases.iter().any(is_duplicate),
                        "the database would refuse {release:?}"
                    );
                    let [file] = release.files.as_slice() else { panic!("not one file: {release:?}") };
                    package.releases.push(ExistingRelease {
                        id: ReleaseId(id),
                        version: release.version.clone().into_boxed_str(),
                        revision: release.revision,
                        published_at: release.published_at,
                        size: file.size,
                        md5: file.md5,
                        sha256: file.sha256,
                        variant: 0,
                        has_unusual_file: false,
                        lives: Vec::new(),
                    });
                    self.open(ReleaseId(id), 0, *state, path);
                }
                Change::Record { release, variant, stanza, md5, size } => {
                    let previous = self.records.insert((*release, *variant), stanza.clone());
                    assert_eq!(previous, None, "a published record would be overwritten");
                    let known_release = self.release(*release);
                    known_release.md5 = known_release.md5.or(*md5);
                    known_release.size = known_release.size.or(*size);
                    known_release.variant = known_release.variant.min(*variant);
                }
                Change::BeginLife { state, release, variant, path, .. } => {
                    self.open(*release, *variant, *state, path);
                }
                Change::EndLife(key) => {
                    let lives = &mut self.release(key.release).lives;
                    let old_count = lives.len();
                    lives.retain(|life| {
                        life.state != key.state || *life.path != *key.path || life.from_seq != key.from_seq
                    });
                    assert_eq!(lives.len() + 1, old_count, "{key:?} is no open life");
                }
            }
        }
        self.check();
    }

    fn open(&mut self, release: ReleaseId, variant: i64, state: LifeState, path: &str) {
        let stanza = match state {
            LifeState::Listed => Some(self.records[&(release, variant)].clone().into_boxed_slice()),
            LifeState::Archived => None,
        };
        let from_seq = self.seq;
        let life = OpenLife { state, path: path.into(), file: FileId(0), from_seq, stanza };
        self.release(release).lives.push(life);
    }

    fn release(&mut self, id: ReleaseId) -> &mut ExistingRelease {
        let mut releases =
            self.existing.packages.values_mut().flat_map(|package| package.releases.iter_mut());
        releases.find(|release| release.id == id).expect("a release that exists")
    }

    /// Checks the invariants: one listed release for each package and path, one archived release for each file.
    fn check(&self) {
        for (name, package) in &self.existing.packages {
            let (mut listed, mut archived) = (BTreeSet::new(), BTreeSet::new());
            for release in &package.releases {
                for life in &release.lives {
                    match life.state {
                        LifeState::Listed => assert!(listed.insert(&life.path), "{name} is listed twice"),
                        LifeState::Archived => {
                            assert!(
                                archived.insert(&release.version),
                                "{name} {} is archived twice",
                                release.version
                            );
                        }
                    }
                }
            }
        }
    }

    /// `name version[ revision N][ at path]`, sorted.
    pub(crate) fn listed(&self) -> Vec<String> {
        self.lines_in_state(LifeState::Listed)
    }

    /// Like [`Tables::listed`].
    pub(crate) fn archived(&self) -> Vec<String> {
        self.lines_in_state(LifeState::Archived)
    }

    fn lines_in_state(&self, state: LifeState) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, package) in &self.existing.packages {
            for release in &package.releases {
                for life in release.lives.iter().filter(|life| life.state == state) {
                    let mut text = format!("{name} {}", release.version);
                    if release.revision > 0 {
                        text.push_str(&format!(" revision {}", release.revision));
                    }
                    if !life.path.is_empty() {
                        text.push_str(&format!(" at {}", life.path));
                    }
                    lines.push(text);
                }
            }
        }
        lines.sort();
        lines
    }

    /// The listed record of a package.
    pub(crate) fn stanza(&self, package: &str) -> String {
        let lives = self.existing.packages[package].releases.iter().flat_map(|release| &release.lives);
        let mut stanzas = lives.filter_map(|life| life.stanza.as_deref());
        String::from_utf8_lossy(stanzas.next().expect("it is listed")).into_owned()
    }

    /// Publication date and size of a release.
    pub(crate) fn date_and_size(
        &self,
        package: &str,
        version: &str,
        revision: i64,
    ) -> (Option<i64>, Option<i64>) {
        let mut releases = self.existing.packages[package].releases.iter();
        let release = releases.find(|r| &*r.version == version && r.revision == revision).expect("a release");
        (release.published_at.map(Timestamp::seconds), release.size)
    }
}
