//! `get cran --include-binaries`: the binaries of each platform are a separate product.

use super::args::Binaries;
use super::copied;
use super::cran::Setup;
use super::declared::{Declared, Row};
use super::error::{Ending, OfflineError};
use super::mirror::FORMS;
use super::run::{Run, Wish};
use super::told::Reader;
use crate::bundle::{Product, seal};
use crate::config::platforms::{Os, Platforms};
use crate::config::{BinaryStyle, BinaryUrl};
use crate::r::index;
use crate::r::layout::RMinor;
use crate::r::offered::{Place as At, offered};
use crate::r::platform::{Arch, Platform, Target};
use crate::upstream::Mirror;
use crate::upstream::bundle::Bundle;
use crate::upstream::indexes::{Index, lists};

/// Returns the requested platforms, each with the indexes that it may have on a mirror.
pub(super) fn wanted(
    args: &Binaries,
    platforms: &Platforms,
) -> Result<Vec<(Platform, Vec<Index>)>, OfflineError> {
    let usage = |text: String| Err(OfflineError::Usage(text));
    if !args.include_binaries {
        let names = [
            ("--r-versions", &args.r_versions),
            ("--distributions", &args.distributions),
            ("--architectures", &args.architectures),
        ];
        return match names.iter().find(|(_, values)| !values.is_empty()) {
            Some((name, _)) => usage(format!("{name} selects binaries: give --include-binaries too")),
            None => Ok(Vec::new()),
        };
    }
    if args.r_versions.is_empty() || args.distributions.is_empty() {
        return usage(
            "--include-binaries needs --r-versions (4.5,4.4) and --distributions (noble,rhel9,windows,macos): all of them \
             would be terabytes"
                .to_owned(),
        );
    }
    let archs = args.architectures.iter().map(|text| {
        Arch::parse(text).ok_or_else(|| {
            OfflineError::Usage(format!("--architectures: '{text}' is neither x86_64 nor arm64"))
        })
    });
    let archs: Vec<Arch> = archs.collect::<Result<_, _>>()?;
    let mut wanted = Vec::new();
    for text in &args.r_versions {
        let Some(r) = RMinor::parse(text) else {
            return usage(format!("--r-versions: '{text}' is not a minor version of R: write 4.5"));
        };
        for name in &args.distributions {
            for platform in of(name, r, platforms)? {
                let is_selected = archs.is_empty() || archs.contains(&platform.arch);
                if is_selected && !wanted.contains(&platform) {
                    wanted.push(platform);
                }
            }
        }
    }
    if wanted.is_empty() {
        return usage("none of --distributions has any of --architectures".to_owned());
    }
    // The table of minor versions lists those for clients; here the caller names them.
    let mut known = platforms.clone();
    known.r_versions = args.r_versions.clone();
    let styles = [BinaryStyle::Mirror, BinaryStyle::Linux { distribution: None, arch: None, r: None }];
    let urls = styles.map(|style| BinaryUrl { base: String::new(), style });
    let (lists, _) = lists(&urls, &known);
    let indexes: Vec<Index> = lists.into_iter().flat_map(|list| list.indexes).collect();
    let found = wanted.into_iter().map(|platform| {
        let of: Vec<Index> = indexes.iter().filter(|index| index.platform == platform).cloned().collect();
        (platform, of)
    });
    Ok(found.collect())
}

/// Returns the platforms of a distribution, one per architecture.
fn of(name: &str, r: RMinor, platforms: &Platforms) -> Result<Vec<Platform>, OfflineError> {
    let each = |target: Target, archs: &[Arch]| {
        archs.iter().map(|arch| Platform { r, target: target.clone(), arch: *arch }).collect()
    };
    if name.eq_ignore_ascii_case("windows") {
        return Ok(each(Target::Windows, &[Arch::X86_64]));
    }
    if name.eq_ignore_ascii_case("macos") {
        let folders = platforms.macos_folders(&r.to_string());
        let has = |arch: &Arch| match (arch, folders) {
            (_, None) => false,
            (Arch::X86_64, Some(folders)) => folders.x86_64.is_some(),
            (Arch::Arm64, Some(folders)) => folders.arm64.is_some(),
        };
        let archs: Vec<Arch> = Arch::ALL.into_iter().filter(has).collect();
        return Ok(each(Target::MacOs, &archs));
    }
    let Some(distribution) = platforms.linux(name) else {
        let known = platforms
            .distributions
            .iter()
            .filter(|d| d.os == Os::Linux && !d.hidden)
            .map(|d| d.name.as_str());
        return Err(OfflineError::Usage(format!(
            "--distributions: '{name}' is unknown; known are windows, macos, {}",
            known.collect::<Vec<_>>().join(", ")
        )));
    };
    let archs: Vec<Arch> = distribution.architectures.iter().filter_map(|text| Arch::parse(text)).collect();
    Ok(each(Target::Linux(distribution.name.clone()), &archs))
}

/// Downloads the binaries for the given platforms.
pub(super) async fn get(
    setup: &Setup,
    bundle: Option<&Bundle>,
    wanted: Vec<(Platform, Vec<Index>)>,
) -> Result<Ending, OfflineError> {
    let mut ending = Ending::Complete;
    // The publication time of binaries is unknown: all of them are fetched, for a difference too.
    let request = Wish { from: None, ..setup.request.clone() };
    for (platform, indexes) in wanted {
        let product = Product::Binaries(platform.to_string());
        let run = Run {
            destination: &setup.destination,
            product: product.clone(),
            mirror: &setup.mirror,
            source: bundle.cloned(),
            own: setup.own.clone(),
            request: &request,
        };
        let (indexes, product, reader) = (&indexes, &product, &Reader::new(&setup.mirror));
        let one = run
            .run(|_| async move {
                let mut declared = match bundle {
                    Some(bundle) => copied::declare(bundle, product, reader).await?,
                    None => declare(reader, product, indexes).await?,
                };
                if let Some(names) = &setup.request.subset {
                    declared.rows.retain(|row| names.contains(&row.name));
                }
                Ok(declared)
            })
            .await;
        match one {
            Ok(Ending::Complete) => {}
            Ok(other) => ending = other,
            // The other platforms are not affected.
            Err(error @ (OfflineError::Upstream(_) | OfflineError::Refused(_) | OfflineError::Bundle(_))) => {
                setup.request.output.warn(&format!("binaries for {product}: {error}"));
                ending = Ending::Incomplete;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ending)
}

/// Reads the binaries that a mirror has for a platform.
async fn declare(
    reader: &Reader<'_>,
    product: &Product,
    indexes: &[Index],
) -> Result<Declared, OfflineError> {
    let mirror = reader.mirror();
    for index in indexes {
        for form in FORMS {
            let path = format!("{}/{form}", index.folder);
            let Some(bytes) = reader.get(&path).await? else { continue };
            let address = format!("{}/{path}", mirror.address());
            let read = read(mirror, form, &bytes, index);
            let read = read.map_err(|reason| OfflineError::Refused(format!("{address}: {reason}")))?;
            return Ok(Declared { told: reader.told(), ..read });
        }
    }
    let folders: Vec<&str> = indexes.iter().map(|index| index.folder.as_str()).collect();
    Err(OfflineError::Refused(format!(
        "{} has no {product} (looked for PACKAGES in {}); give a mirror that has it, another rstudio-pm or a bundle with \
         --base-url, or leave it out",
        mirror.address(),
        folders.join(", ")
    )))
}

fn read(mirror: &Mirror, form: &str, bytes: &[u8], from: &Index) -> Result<Declared, String> {
    let mut warnings = Vec::new();
    let text = index::text(form, bytes)?;
    let records = index::records(&text, &mut warnings)?;
    let mut rows: Vec<Row> = Vec::with_capacity(records.len());
    let base = format!("{}/", mirror.address());
    for record in &records {
        let binary = match offered(record, &from.platform, from.which) {
            Ok(Some(binary)) => binary,
            Ok(None) => continue,
            Err(reason) => {
                warnings.push(reason);
                continue;
            }
        };
        let path = match &binary.place {
            At::Beside(file) => format!("{}/{file}", from.folder),
            At::At(url) => match url.strip_prefix(&base) {
                Some(path) => path.to_owned(),
                None => {
                    warnings
                        .push(format!("{} {} is on another server: {url}", binary.package, binary.version));
                    continue;
                }
            },
        };
        rows.push(Row {
            folder: None,
            name: binary.package,
            version: binary.version,
            ext: from.platform.extension().to_owned(),
            paths: vec![path],
            size: binary.size,
            published: None,
            md5: binary.md5,
            sha256: binary.sha256,
            listed: true,
            index: Some(String::from_utf8_lossy(&binary.stanza).into_owned()),
            told: None,
        });
    }
    // Of several versions the first is listed, as clients read the index.
    let mut names = std::collections::HashSet::new();
    rows.retain(|row| names.insert(row.name.clone()));
    warnings.truncate(5);
    Ok(Declared {
        rows,
        events: Vec::new(),
        complete: false,
        dated: true,
        fingerprint: vec![seal::digest(bytes)],
        serial: None,
        told: None,
        warnings,
    })
}
