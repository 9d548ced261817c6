//! Lists the possible indexes of binaries at the addresses of `CRAN.BinaryURL`, by platform. Pure.

use base::config::platforms::{Distribution, Os, Platforms};
use base::config::{BinaryServerKind, BinaryUrl};
use formats::r::binary_index::RecordFilter;
use formats::r::layout::Tree;
use formats::r::platform::{Arch, BinaryTarget, Platform};
use formats::r::version::RMinor;

/// An index of binaries for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Position of its address in the configuration.
    pub url_index: usize,
    pub platform: Platform,
    /// Its folder, relative to the address.
    pub folder: String,
    /// The selection of its records that are binaries.
    pub record_filter: RecordFilter,
}

/// The indexes of one list of binaries, in the order of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryList {
    /// The label that all its platforms have: [`Platform::label`].
    pub label: String,
    /// The indexes; never empty.
    pub indexes: Vec<Index>,
}

/// Returns all possible indexes by list, and errors of the configuration.
pub fn lists(urls: &[BinaryUrl], platforms: &Platforms) -> (Vec<BinaryList>, Vec<String>) {
    let (mut lists, mut errors): (Vec<BinaryList>, Vec<String>) = (Vec::new(), Vec::new());
    for (url_index, BinaryUrl { kind, .. }) in urls.iter().enumerate() {
        let indexes = match kind {
            BinaryServerKind::Mirror => mirror(url_index, platforms),
            BinaryServerKind::Linux { distribution, arch, r } => {
                let indexes =
                    linux(url_index, platforms, distribution.as_deref(), arch.as_deref(), r.as_deref());
                indexes.unwrap_or_else(|error| {
                    errors.push(error);
                    Vec::new()
                })
            }
            // Such a server has no index; binaries are discovered by request.
            BinaryServerKind::Negotiated { .. } => Vec::new(),
        };
        for index in indexes {
            let label = index.platform.label();
            match lists.iter_mut().find(|list| list.label == label) {
                Some(list) => list.indexes.push(index),
                None => lists.push(BinaryList { label, indexes: vec![index] }),
            }
        }
    }
    (lists, errors)
}

fn r_minors(platforms: &Platforms) -> impl Iterator<Item = RMinor> {
    platforms.r_versions.iter().filter_map(|text| RMinor::parse(text))
}

/// Returns the indexes for Windows and macOS of a CRAN mirror.
fn mirror(url_index: usize, platforms: &Platforms) -> Vec<Index> {
    let mut indexes = Vec::new();
    let mut add = |platform: Platform, tree: &Tree| {
        indexes.push(Index {
            url_index,
            platform,
            folder: tree.contrib_dir(),
            record_filter: RecordFilter::All,
        });
    };
    for r in r_minors(platforms) {
        add(Platform { r, target: BinaryTarget::Windows, arch: Arch::X86_64 }, &Tree::Windows { r });
        let Some(folders) = platforms.macos_folders(&r.to_string()) else { continue };
        for (arch, folder) in [(Arch::Arm64, &folders.arm64), (Arch::X86_64, &folders.x86_64)] {
            let tree = match folder.as_deref() {
                None => None,
                Some("") => Some(Tree::MacOs { flavor: None, r }),
                Some(folder) => Tree::macos(folder, r),
            };
            if let Some(tree) = tree {
                add(Platform { r, target: BinaryTarget::MacOs, arch }, &tree);
            }
        }
    }
    indexes
}

/// Returns the indexes below `bin/linux`; `None` for a part means all values.
fn linux(
    url_index: usize,
    platforms: &Platforms,
    distribution: Option<&str>,
    arch: Option<&str>,
    r: Option<&str>,
) -> Result<Vec<Index>, String> {
    let distributions: Vec<(&str, &Distribution)> = match distribution {
        Some(name) => {
            let distribution = platforms.linux(name).ok_or_else(|| {
                format!("CRAN.BinaryURL names the distribution '{name}', which this server does not know")
            })?;
            vec![(name, distribution)]
        }
        None => {
            let is_listed = |d: &&Distribution| d.os == Os::Linux && d.alias.is_none() && !d.is_hidden;
            platforms.distributions.iter().filter(is_listed).map(|d| (d.name.as_str(), d)).collect()
        }
    };
    let r_minors: Vec<RMinor> = match r {
        Some(r) => RMinor::parse(r).into_iter().collect(),
        None => r_minors(platforms).collect(),
    };
    let mut indexes = Vec::new();
    for (name, distribution) in distributions {
        let supported_archs = distribution.architectures.iter().filter_map(|name| Arch::of_spelling(name));
        let requested_arch = arch.and_then(Arch::of_spelling);
        let archs: Vec<Arch> = supported_archs
            .filter(|arch| requested_arch.is_none_or(|requested| requested == *arch))
            .collect();
        if let (Some(requested_arch), []) = (arch, archs.as_slice()) {
            let names = distribution.architectures.join(" and ");
            return Err(format!(
                "CRAN.BinaryURL requests {name} on {requested_arch}, and {name} has {names}"
            ));
        }
        for index_arch in archs {
            // R-universe and Linux itself use aarch64.
            let default_name = if index_arch == Arch::Arm64 { "aarch64" } else { index_arch.as_str() };
            let arch_name = arch.unwrap_or(default_name);
            for r in &r_minors {
                indexes.push(Index {
                    url_index,
                    platform: Platform {
                        r: *r,
                        target: BinaryTarget::Linux(distribution.name.clone()),
                        arch: index_arch,
                    },
                    folder: format!("bin/linux/{name}-{arch_name}/{r}/src/contrib"),
                    record_filter: RecordFilter::Built,
                });
            }
        }
    }
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists_of(values: &[&str]) -> (Vec<(String, Vec<String>)>, Vec<String>) {
        let lines: String = values.iter().map(|value| format!("BinaryURL = {value}\n")).collect();
        let text = format!("[Platforms]\nRVersion = 4.6\nRVersion = 4.1\n[CRAN]\n{lines}");
        let config = base::config::parse("f", text.as_bytes(), []).expect("valid").config;
        let (lists, errors) = lists(&config.cran.binaries, &config.platforms);
        let folder = |index: &Index| format!("{} {}", index.platform, index.folder);
        let lists = lists.into_iter().map(|l| (l.label, l.indexes.iter().map(folder).collect()));
        (lists.collect(), errors)
    }

    fn list(label: &str, indexes: &[&str]) -> (String, Vec<String>) {
        (label.to_owned(), indexes.iter().map(|i| (*i).to_owned()).collect())
    }

    #[test]
    fn a_mirror_has_trees_of_windows_and_macos_for_the_versions_of_the_table() {
        let (lists, errors) = lists_of(&["https://cran.example"]);
        assert_eq!(
            lists,
            [
                list("4.6-win", &["4.6-win bin/windows/contrib/4.6"]),
                list(
                    "4.6-macos",
                    &[
                        "4.6-macos-arm64 bin/macosx/sonoma-arm64/contrib/4.6",
                        "4.6-macos bin/macosx/big-sur-x86_64/contrib/4.6"
                    ]
                ),
                list("4.1-win", &["4.1-win bin/windows/contrib/4.1"]),
                list(
                    "4.1-macos",
                    &[
                        "4.1-macos-arm64 bin/macosx/big-sur-arm64/contrib/4.1",
                        "4.1-macos bin/macosx/contrib/4.1"
                    ]
                ),
            ]
        );
        assert!(errors.is_empty());
    }

    #[test]
    fn an_address_of_linux_binaries_is_one_index_or_all_of_them() {
        let address = "https://h/bin/linux/noble-x86_64/4.5";
        let (lists, _) = lists_of(&[address, "https://other/bin/linux/noble-x86_64/4.5"]);
        let folder = "4.5-noble bin/linux/noble-x86_64/4.5/src/contrib";
        assert_eq!(lists, [list("4.5-noble", &[folder, folder])]);
        let (all_lists, _) = lists_of(&["https://h/bin/linux/{distribution}-{arch}/{r}"]);
        assert!(all_lists.contains(&list(
            "4.6-noble",
            &[
                "4.6-noble bin/linux/noble-x86_64/4.6/src/contrib",
                "4.6-noble-arm64 bin/linux/noble-aarch64/4.6/src/contrib"
            ]
        )));
        assert!(
            all_lists.iter().all(|(label, _)| !label.ends_with("-xenial")),
            "hidden ones are named by hand"
        );
        assert_eq!(lists_of(&["https://h/__linux__/{distribution}/latest"]).0, []);
    }

    #[test]
    fn unknown_distributions_and_processors_are_reported() {
        let rejections = |value| lists_of(&[value]).1.join(" ");
        assert!(rejections("https://h/bin/linux/nobel-x86_64/4.5").contains("the distribution 'nobel'"));
        assert!(rejections("https://h/bin/linux/jammy-aarch64/4.5").contains("jammy has x86_64"));
    }
}
