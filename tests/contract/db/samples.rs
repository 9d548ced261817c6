//! Sample changes and publishes.

use rstudio_pm::db::clock::PublishResult;
use rstudio_pm::db::import::{self, ImportTarget, NewReleaseIds};
use rstudio_pm::db::tx::Publish;
use rstudio_pm::db::tx::TxKind;
use rstudio_pm::db::{Conn, DbError, clock, life, tree};
use rstudio_pm::model::change::{Change, Counts, LifeKey, LifeState, NewFile, NewRelease};
use rstudio_pm::model::ids::{Seq, SourceId, TreeId};
use rstudio_pm::model::time::{SECOND, Timestamp};

/// CRAN's tree.
pub(crate) const CRAN: TreeId = TreeId(1);
/// 2024-01-01.
pub(crate) const NEW_YEAR: Timestamp = Timestamp(1_704_067_200 * SECOND);

/// A new release.
pub(crate) fn release(package: &str, version: &str) -> NewRelease {
    let file = NewFile {
        name: format!("{package}_{version}.tar.gz"),
        locator: format!("{package}_{version}.tar.gz"),
        size: Some(1000),
        md5: Some("00ff".repeat(8).parse().expect("a digest")),
        sha256: None,
        stored: false,
    };
    NewRelease {
        package: package.into(),
        version: version.into(),
        revision: 0,
        published_at: Some(NEW_YEAR),
        stanza: Some(format!("Package: {package}\nVersion: {version}\n").into_bytes()),
        description: None,
        readme: None,
        files: vec![file],
    }
}

/// The change that introduces a release.
pub(crate) fn introduce(package: &str, version: &str, state: LifeState) -> Change {
    Change::Introduce { release: release(package, version), state, path: String::new() }
}

/// The import target of a tree.
pub(crate) fn target(tree: TreeId, pending: Seq) -> ImportTarget {
    ImportTarget { tree, pending, origin: SourceId::CRAN }
}

/// A publish of trees.
pub(crate) fn publish_of(trees: &[TreeId], now: Timestamp) -> Publish {
    Publish {
        source: Some(SourceId::CRAN),
        counts: Counts { added: 1, ..Counts::default() },
        trees: trees.to_vec(),
        ..Publish::new(TxKind::Sync, now, now, "test")
    }
}

/// Begins, applies and publishes a step of a tree.
pub(crate) fn change(
    c: &mut dyn Conn,
    tree: TreeId,
    now: Timestamp,
    changes: &[Change],
) -> Result<(Vec<NewReleaseIds>, PublishResult), DbError> {
    let pending = tree::begin(c, tree, 7)?;
    let introduced = import::apply(c, &target(tree, pending), changes)?;
    Ok((introduced, clock::publish(c, &publish_of(&[tree], now))?))
}

/// The keys of the open lives of a package, in the order in which a plan ends them.
pub(crate) fn keys(c: &mut dyn Conn, tree: TreeId, seq: Seq, package: &str) -> Result<Vec<LifeKey>, DbError> {
    let mut keys = Vec::new();
    life::current(c, tree, seq, &mut |row| {
        if row.name == package {
            keys.push(row.key);
        }
        Ok(())
    })?;
    keys.sort_by_key(|k| (k.state, k.from_seq));
    Ok(keys)
}

/// The content of a step, as text to compare.
pub(crate) fn step_content(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<String, DbError> {
    let mut text = String::new();
    for l in life::listed(c, tree, seq)? {
        text +=
            &format!("listed {} {} {} {}\n", l.name, l.path, l.release, String::from_utf8_lossy(&l.stanza));
    }
    for a in life::archived_files(c, tree, seq)? {
        text += &format!("archived {} {} {:?} {:?}\n", a.name, a.file, a.size, a.published_at);
    }
    let names = life::names(c, tree, seq)?;
    assert_eq!(life::name_count(c, tree, seq)?, names.len());
    for n in names {
        text += &format!("{n:?} {:?}\n", life::package_detail(c, tree, seq, &n.name)?);
    }
    Ok(text)
}
