//! Computes the changes that turn a list of binaries into what binary servers offer. Pure.

use std::collections::{BTreeMap, HashSet};

use crate::sync::package::same_record;
use crate::sync::plan::Loss;
use base::model::ids::{PackageId, ReleaseId};
use formats::r::binary_index::{FileLocation, IndexedBinary};
use formats::r::platform::Platform;
use store::db::binary_list::{BinaryChange, ListedBinary, OfferedBinary, Releases};

pub(super) struct DeclaredIndex {
    pub(super) platform: Platform,
    pub(super) folder: String,
    pub(super) binaries: Vec<IndexedBinary>,
}

#[derive(Debug, Default)]
pub(super) struct BinaryListChanges {
    /// The changes: ended binaries first, then the new ones by package.
    pub(super) changes: Vec<BinaryChange>,
    pub(super) new_count: usize,
    /// Number of binaries of versions that the source does not have, or not yet.
    pub(super) unknown_count: usize,
    /// Number of packages that had binaries, and of those that lost all of them.
    pub(super) loss: Option<Loss>,
}

/// Compares the listed binaries with the offers; of several offers for one platform, the first applies.
/// Binaries for platforms whose indexes were not read do not change.
pub(super) fn plan(
    listed: &[ListedBinary],
    releases: &Releases,
    indexes: Vec<DeclaredIndex>,
) -> BinaryListChanges {
    let mut plan = BinaryListChanges::default();
    let mut offers: BTreeMap<(PackageId, ReleaseId, String), OfferedBinary> = BTreeMap::new();
    let mut read_platforms: HashSet<String> = HashSet::new();
    for DeclaredIndex { platform, folder, binaries } in indexes {
        let platform_column = platform.database_form(Some(platform.arch));
        for binary in binaries {
            let releases = releases.get(&binary.package);
            let Some((_, package, release)) = releases
                .and_then(|releases| releases.iter().find(|(version, ..)| *version == binary.version))
            else {
                plan.unknown_count += 1;
                continue;
            };
            let key = (*package, *release, platform_column.clone());
            offers.entry(key).or_insert_with(|| offer(binary, *package, *release, &platform, &folder));
        }
        read_platforms.insert(platform_column);
    }
    let mut old_packages: HashSet<PackageId> = HashSet::new();
    let mut unchanged_keys: HashSet<(PackageId, ReleaseId, String)> = HashSet::new();
    // The newest first, because it takes precedence.
    for binary in listed.iter().rev().filter(|binary| read_platforms.contains(&binary.platform)) {
        old_packages.insert(binary.package);
        let key = (binary.package, binary.release, binary.platform.clone());
        let is_unchanged = offers.get(&key).is_some_and(|offer| is_same(binary, offer));
        if is_unchanged && unchanged_keys.insert(key) {
            continue;
        }
        let ListedBinary { package, release, file, from_seq, .. } = *binary;
        plan.changes.push(BinaryChange::End { package, release, file, from_seq });
    }
    let new_packages: HashSet<PackageId> = offers.keys().map(|(package, ..)| *package).collect();
    plan.loss = Some(Loss {
        known_count: old_packages.len(),
        lost_count: old_packages.iter().filter(|package| !new_packages.contains(package)).count(),
    });
    let new_offers = offers.into_iter().filter(|(key, _)| !unchanged_keys.contains(key));
    plan.changes.extend(new_offers.map(|(_, offer)| BinaryChange::List(offer)));
    plan.new_count = plan.changes.iter().filter(|change| matches!(change, BinaryChange::List(_))).count();
    plan
}

fn offer(
    binary: IndexedBinary,
    package: PackageId,
    release: ReleaseId,
    platform: &Platform,
    folder: &str,
) -> OfferedBinary {
    OfferedBinary {
        package,
        release,
        platform: platform.database_form(Some(platform.arch)),
        name: format!("{}_{}.{}", binary.package, binary.version, platform.extension()),
        locator: match binary.location {
            FileLocation::IndexDirectory(file) => format!("{folder}/{file}"),
            FileLocation::Url(url) => url,
        },
        size: binary.size.and_then(|size| i64::try_from(size).ok()),
        md5: binary.md5,
        sha256: binary.sha256,
        stanza: binary.stanza,
    }
}

/// Returns whether an offer is the listed binary: by digest if both have one, otherwise by record.
fn is_same(binary: &ListedBinary, offer: &OfferedBinary) -> bool {
    if let Some((listed, offered)) = binary.sha256.zip(offer.sha256) {
        return listed == offered;
    }
    if let Some((listed, offered)) = binary.md5.zip(offer.md5) {
        return listed == offered;
    }
    same_record(&binary.stanza, &offer.stanza)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use base::model::digest::Md5;
    use base::model::ids::{FileId, Seq};

    fn releases() -> Releases {
        let row = |package, release| vec![("1.0".to_owned(), PackageId(package), ReleaseId(release))];
        HashMap::from([("a1".to_owned(), row(1, 11)), ("b2".to_owned(), row(2, 12))])
    }

    fn binary(package: &str, version: &str, md5: u8) -> IndexedBinary {
        IndexedBinary {
            package: package.to_owned(),
            version: version.to_owned(),
            location: FileLocation::IndexDirectory(format!("{package}_{version}.zip")),
            size: Some(7),
            md5: (md5 > 0).then_some(Md5([md5; 16])),
            sha256: None,
            stanza: format!("Package: {package}\nVersion: {version}\n").into_bytes(),
        }
    }

    fn index(tag: &str, binaries: Vec<IndexedBinary>) -> DeclaredIndex {
        let platform = Platform::parse(tag).expect("a tag");
        DeclaredIndex { platform, folder: format!("of/{tag}"), binaries }
    }

    /// Returns the list with the changes applied.
    fn apply(listed: &[ListedBinary], changes: &[BinaryChange]) -> Vec<ListedBinary> {
        let mut list = listed.to_vec();
        for change in changes {
            match change {
                BinaryChange::End { file, .. } => list.retain(|binary| binary.file != *file),
                BinaryChange::List(offer) => list.push(ListedBinary {
                    package: offer.package,
                    release: offer.release,
                    file: FileId(100 + i64::try_from(list.len()).expect("small")),
                    from_seq: Seq(1),
                    platform: offer.platform.clone(),
                    md5: offer.md5,
                    sha256: offer.sha256,
                    stanza: offer.stanza.clone(),
                }),
            }
        }
        list
    }

    #[test]
    fn declared_binaries_are_listed_once_and_then_nothing_changes() {
        let indexes_of_both = || vec![index("4.5-win", vec![binary("a1", "1.0", 0), binary("b2", "1.0", 2)])];
        let first_plan = plan(&[], &releases(), indexes_of_both());
        assert_eq!((first_plan.new_count, first_plan.unknown_count, first_plan.changes.len()), (2, 0, 2));
        let BinaryChange::List(a1) = &first_plan.changes[0] else { panic!("{:?}", first_plan.changes) };
        assert_eq!((a1.name.as_str(), a1.locator.as_str()), ("a1_1.0.zip", "of/4.5-win/a1_1.0.zip"));
        assert_eq!((a1.platform.as_str(), a1.release), ("4.5-win/x86_64", ReleaseId(11)));
        let listed = apply(&[], &first_plan.changes);
        assert!(plan(&listed, &releases(), indexes_of_both()).changes.is_empty());
    }

    #[test]
    fn other_bytes_are_another_binary_and_unknown_versions_are_counted() {
        let listed =
            apply(&[], &plan(&[], &releases(), vec![index("4.5-win", vec![binary("a1", "1.0", 1)])]).changes);
        let next = vec![index(
            "4.5-win",
            vec![binary("a1", "1.0", 9), binary("a1", "2.0", 3), binary("zz", "1.0", 4)],
        )];
        let second_plan = plan(&listed, &releases(), next);
        assert_eq!((second_plan.new_count, second_plan.unknown_count, second_plan.changes.len()), (1, 2, 2));
        assert!(matches!(&second_plan.changes[0], BinaryChange::End { file, .. } if *file == listed[0].file));
        let last_plan = plan(&listed, &releases(), vec![index("4.5-win", vec![binary("b2", "1.0", 2)])]);
        assert_eq!(last_plan.loss, Some(Loss { known_count: 1, lost_count: 1 }));
    }

    #[test]
    fn the_first_address_has_precedence_and_binaries_of_unread_indexes_stay() {
        let two_indexes = |first_md5, second_md5| {
            vec![
                index("4.5-noble", vec![binary("a1", "1.0", first_md5)]),
                index("4.5-noble", vec![binary("a1", "1.0", second_md5), binary("b2", "1.0", 5)]),
            ]
        };
        let listed = apply(&[], &plan(&[], &releases(), two_indexes(1, 2)).changes);
        assert_eq!(
            listed.iter().map(|binary| binary.md5).collect::<Vec<_>>(),
            [Some(Md5([1; 16])), Some(Md5([5; 16]))]
        );
        let arm_plan =
            plan(&listed, &releases(), vec![index("4.5-noble-arm64", vec![binary("a1", "1.0", 7)])]);
        assert_eq!(
            (arm_plan.new_count, arm_plan.changes.len()),
            (1, 1),
            "the other architecture's binaries stay"
        );
        assert!(plan(&listed, &releases(), two_indexes(1, 9)).changes.is_empty());
    }
}
