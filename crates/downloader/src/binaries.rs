//! `get cran --include-binaries`: the binaries of each platform are a separate product.

use super::args::BinaryFlags;
use super::bundle_inventory;
use super::error::{ExitStatus, OfflineError};
use super::inventory::{Inventory, UpstreamFile, unlist_lower_versions};
use super::metadata::MetadataReader;
use super::mirror::INDEX_FILES;
use super::run::{Run, RunRequest};
use super::setup::Setup;
use base::config::platforms::{Os, Platforms};
use base::config::{BinaryServerKind, BinaryUrl, PrivateUrl};
use formats::bundle::{Product, self_digest};
use formats::r::binary_index::{FileLocation, indexed_binary};
use formats::r::index;
use formats::r::platform::{Arch, BinaryTarget, Platform};
use formats::r::version::RMinor;
use upstream::Mirror;
use upstream::origin::binary_indexes::{Index, lists};
use upstream::origin::bundle::Bundle;

/// Returns the requested platforms, each with the indexes that a mirror may have for it.
pub(super) fn selected_platforms(
    args: &BinaryFlags,
    platforms: &Platforms,
) -> Result<Vec<(Platform, Vec<Index>)>, OfflineError> {
    let usage_error = |text: String| Err(OfflineError::Usage(text));
    if !args.include_binaries {
        let flags = [
            ("--r-versions", &args.r_versions),
            ("--distributions", &args.distributions),
            ("--architectures", &args.architectures),
        ];
        return match flags.iter().find(|(_, values)| !values.is_empty()) {
            Some((name, _)) => usage_error(format!("{name} selects binaries: give --include-binaries too")),
            None => Ok(Vec::new()),
        };
    }
    if args.r_versions.is_empty() || args.distributions.is_empty() {
        return usage_error(
            "--include-binaries needs --r-versions (4.5,4.4) and --distributions (noble,rhel9,windows,macos): the binaries \
             for all platforms would be terabytes"
                .to_owned(),
        );
    }
    let archs = args.architectures.iter().map(|text| {
        Arch::of_spelling(text).ok_or_else(|| {
            OfflineError::Usage(format!("--architectures: '{text}' is neither x86_64 nor arm64"))
        })
    });
    let archs: Vec<Arch> = archs.collect::<Result<_, _>>()?;
    let mut selection = Vec::new();
    for text in &args.r_versions {
        let Some(r) = RMinor::parse(text) else {
            return usage_error(format!("--r-versions: '{text}' is not a minor version of R: write 4.5"));
        };
        for name in &args.distributions {
            for platform in platforms_of(name, r, platforms)? {
                let is_selected = archs.is_empty() || archs.contains(&platform.arch);
                if is_selected && !selection.contains(&platform) {
                    selection.push(platform);
                }
            }
        }
    }
    if selection.is_empty() {
        return usage_error(
            "no distribution of --distributions is available for any architecture of --architectures"
                .to_owned(),
        );
    }
    // Replaces the default configuration's list of minor versions of R: the command line may request others.
    let requested_platforms = Platforms { r_versions: args.r_versions.clone(), ..platforms.clone() };
    let kinds =
        [BinaryServerKind::Mirror, BinaryServerKind::Linux { distribution: None, arch: None, r: None }];
    let urls = kinds.map(|kind| BinaryUrl { base: PrivateUrl::default(), kind });
    let (lists, _) = lists(&urls, &requested_platforms);
    let indexes: Vec<Index> = lists.into_iter().flat_map(|list| list.indexes).collect();
    let platforms_and_indexes = selection.into_iter().map(|platform| {
        let platform_indexes: Vec<Index> =
            indexes.iter().filter(|index| index.platform == platform).cloned().collect();
        (platform, platform_indexes)
    });
    Ok(platforms_and_indexes.collect())
}

/// Returns the platforms of a distribution for a minor version of R, one per architecture.
fn platforms_of(name: &str, r: RMinor, platforms: &Platforms) -> Result<Vec<Platform>, OfflineError> {
    let platforms_with_archs = |target: BinaryTarget, archs: &[Arch]| {
        archs.iter().map(|arch| Platform { r, target: target.clone(), arch: *arch }).collect()
    };
    if name.eq_ignore_ascii_case("windows") {
        return Ok(platforms_with_archs(BinaryTarget::Windows, &[Arch::X86_64]));
    }
    if name.eq_ignore_ascii_case("macos") {
        let folders = platforms.macos_folders(&r.to_string());
        let is_available = |arch: &Arch| match (arch, folders) {
            (_, None) => false,
            (Arch::X86_64, Some(folders)) => folders.x86_64.is_some(),
            (Arch::Arm64, Some(folders)) => folders.arm64.is_some(),
        };
        let archs: Vec<Arch> = Arch::ALL.into_iter().filter(is_available).collect();
        return Ok(platforms_with_archs(BinaryTarget::MacOs, &archs));
    }
    let Some(distribution) = platforms.linux(name) else {
        let names = platforms
            .distributions
            .iter()
            .filter(|d| d.os == Os::Linux && !d.is_hidden)
            .map(|d| d.name.as_str());
        return Err(OfflineError::Usage(format!(
            "--distributions: '{name}' is unknown; known are windows, macos, {}",
            names.collect::<Vec<_>>().join(", ")
        )));
    };
    let archs: Vec<Arch> =
        distribution.architectures.iter().filter_map(|text| Arch::of_spelling(text)).collect();
    Ok(platforms_with_archs(BinaryTarget::Linux(distribution.name.clone()), &archs))
}

/// Downloads the binaries for the given platforms.
pub(super) async fn get(
    setup: &Setup,
    bundle: Option<&Bundle>,
    platforms: Vec<(Platform, Vec<Index>)>,
) -> Result<ExitStatus, OfflineError> {
    let mut status = ExitStatus::Complete;
    // The publication time of binaries is unknown: all of them are fetched, for an incremental bundle too.
    let request = RunRequest { first_day: None, ..setup.request.clone() };
    for (platform, indexes) in platforms {
        let product = Product::Binaries(platform.to_string());
        let run = Run { request: &request, ..setup.run(product.clone(), bundle) };
        let (indexes, product, reader) = (&indexes, &product, &MetadataReader::new(&setup.mirror));
        let result = run
            .run(|_| async move {
                let mut inventory = match bundle {
                    Some(bundle) => bundle_inventory::read_inventory(bundle, product, reader).await?,
                    None => read_inventory(reader, product, indexes).await?,
                };
                if let Some(names) = &setup.request.subset {
                    inventory.files.retain(|file| names.contains(&file.name));
                }
                Ok(inventory)
            })
            .await;
        status = status.after(result, setup.request.output, &product.to_string())?;
    }
    Ok(status)
}

/// Reads the binaries that a mirror has for a platform.
async fn read_inventory(
    reader: &MetadataReader<'_>,
    product: &Product,
    indexes: &[Index],
) -> Result<Inventory, OfflineError> {
    let mirror = reader.mirror();
    for index in indexes {
        for index_file in INDEX_FILES {
            let path = format!("{}/{index_file}", index.folder);
            let Some(bytes) = reader.get(&path).await? else { continue };
            let address = format!("{}/{path}", mirror.address());
            let inventory = read_index(mirror, index_file, &bytes, index)
                .map_err(|reason| OfflineError::Refused(format!("{address}: {reason}")))?;
            return Ok(Inventory { validators: reader.validators(), ..inventory });
        }
    }
    let folders: Vec<&str> = indexes.iter().map(|index| index.folder.as_str()).collect();
    Err(OfflineError::Refused(format!(
        "{} has no {product} (looked for PACKAGES in {}); give a mirror that has it, another rstudio-pm or a bundle with \
         --base-url, or omit this platform",
        mirror.address(),
        folders.join(", ")
    )))
}

fn read_index(mirror: &Mirror, index_file: &str, bytes: &[u8], index: &Index) -> Result<Inventory, String> {
    let mut warnings = Vec::new();
    let text = index::text(index_file, bytes)?;
    let records = index::records(&text, &mut warnings)?;
    let mut files: Vec<UpstreamFile> = Vec::with_capacity(records.len());
    let base = format!("{}/", mirror.address());
    for record in &records {
        let binary = match indexed_binary(record, &index.platform, index.record_filter) {
            Ok(Some(binary)) => binary,
            Ok(None) => continue,
            Err(reason) => {
                warnings.push(reason);
                continue;
            }
        };
        let path = match &binary.location {
            FileLocation::IndexDirectory(file) => format!("{}/{file}", index.folder),
            FileLocation::Url(url) => match url.strip_prefix(&base) {
                Some(path) => path.to_owned(),
                None => {
                    warnings
                        .push(format!("{} {} is on another server: {url}", binary.package, binary.version));
                    continue;
                }
            },
        };
        files.push(UpstreamFile {
            name: binary.package,
            version: binary.version,
            ext: index.platform.extension().to_owned(),
            paths: vec![path],
            size: binary.size,
            md5: binary.md5,
            sha256: binary.sha256,
            is_listed: true,
            index: Some(String::from_utf8_lossy(&binary.stanza).into_owned()),
            ..UpstreamFile::default()
        });
    }
    unlist_lower_versions(&mut files);
    files.retain(|file| file.is_listed);
    warnings.truncate(5);
    let fingerprint = vec![self_digest::digest(bytes)];
    Ok(Inventory { files, has_dates: true, fingerprint, warnings, ..Inventory::default() })
}
