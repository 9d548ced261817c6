//! `POST /filter/packages`: what is known of many packages, a JSON object in each line.

use http::Response;

use super::{repository, vulnerabilities};
use crate::api::error::Code;
use crate::api::public::filter::{Dependencies, Details, Filter, FilterError, Filtered};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::response;
use crate::model::snapshot::{BadSnapshot, Snapshot};
use crate::r::dependency::Kind;
use crate::r::description::Description;
use crate::r::name;
use crate::repo::info::PackageDetail;
use crate::repo::vulnerabilities::Vulnerabilities;

/// Names in one question.
const MOST: usize = 10_000;
/// Names looked up in one read, so that a long question does not keep a connection for itself.
const CHUNK: usize = 200;

/// A line of the answer.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Line {
    Package(Box<Filtered>),
    Error(FilterError),
}

/// Answers; `repo` is the one of the address, which wins.
pub(super) async fn answer(app: &App, repo: Option<&str>, asked: &Filter) -> Result<Response<Body>, Failure> {
    let repo = repo.or(asked.repo.as_deref());
    let repo =
        repo.ok_or_else(|| Failure::bad_request("the body names no repository: \"repo\": \"cran\""))?;
    if asked.names.len() > MOST {
        return Err(Failure::bad_request(format!(
            "more than {MOST} names in one request; send them in parts"
        )));
    }
    let snapshot = asked.snapshot.as_deref().filter(|text| !text.is_empty()).unwrap_or("latest");
    let snapshot: Snapshot =
        snapshot.parse().map_err(|error: BadSnapshot| Failure::not_found(error.to_string()))?;
    let name = repository(&app.state.catalog.get(), repo)?.name.clone();
    let point = app.repo.point(name.as_str(), snapshot).await?;
    let known = if asked.vulns { Some(app.repo.vulnerabilities().await) } else { None };
    let mut lines = Vec::with_capacity(asked.names.len());
    for names in asked.names.chunks(CHUNK) {
        let mut wanted = Vec::with_capacity(names.len());
        for text in names {
            match specification(text) {
                Ok(pair) => wanted.push(pair),
                Err(error) => lines.push(Line::Error(FilterError { error, code: Code::Invalid as u16 })),
            }
        }
        let found = app.repo.package_details(&point, wanted).await?;
        let found: Vec<PackageDetail> = found.into_iter().flatten().collect();
        let counts = if asked.omit_downloads || asked.omit_package_details {
            vec![None; found.len()]
        } else {
            let of: Vec<_> = found.iter().map(|one| (one.source, one.release.package.as_str())).collect();
            app.usage.totals(&of).await.into_iter().map(Some).collect()
        };
        let told =
            found.iter().zip(counts).map(|(one, downloads)| told(one, asked, downloads, known.as_ref()));
        lines.extend(told.map(|row| Line::Package(Box::new(row))));
    }
    Ok(response::json_rows(&lines))
}

/// `ggplot2`, `ggplot2==3.5.2`, `ggplot2@3.5.2`.
fn specification(text: &str) -> Result<(String, Option<String>), String> {
    let (package, version) = match text.split_once("==").or_else(|| text.split_once('@')) {
        Some((package, version)) => (package.trim(), Some(version.trim())),
        None => (text.trim(), None),
    };
    if !name::is_package(package) || version.is_some_and(str::is_empty) {
        let shown: String = text.chars().take(80).collect();
        return Err(format!("'{shown}' is no package: write name or name==version"));
    }
    Ok((package.to_owned(), version.map(str::to_owned)))
}

fn told(
    found: &PackageDetail,
    asked: &Filter,
    downloads: Option<i64>,
    known: Option<&Vulnerabilities>,
) -> Filtered {
    let described = Description::from_bytes(&found.description).ok();
    let release = &found.release;
    Filtered {
        name: release.package.clone(),
        version: release.version.clone(),
        blocked: false,
        details: (!asked.omit_package_details).then(|| details(found, described.as_ref())),
        dependencies: (!asked.omit_dependencies && !asked.omit_package_details)
            .then(|| described.as_ref().map(dependencies).unwrap_or_default()),
        downloads,
        vulns: known
            .map(|known| known.of(found.source, &release.package, &release.version))
            .unwrap_or_default()
            .iter()
            .map(vulnerabilities::wire)
            .collect(),
    }
}

fn details(found: &PackageDetail, described: Option<&Description>) -> Details {
    let field = |tag: &str| described.and_then(|described| described.filled(tag)).map(str::to_owned);
    let license = field("License");
    let licenses = license.as_deref().map(alternatives).unwrap_or_default();
    let mut families: Vec<String> = licenses.iter().map(|license| family(license)).collect();
    families.sort_unstable();
    families.dedup();
    let all = std::iter::once(&found.release).chain(&found.others);
    // Of an archived version that was asked for, the listed one is among the others.
    let mut versions: Vec<_> = all.collect();
    versions.sort_by_key(|release| (release.archived, std::cmp::Reverse(release.published_at)));
    Details {
        summary: field("Title"),
        licenses,
        license_types: families,
        license,
        package_date: field("Date").or_else(|| found.release.published_at.map(|at| at.day().to_string())),
        package_size: found.release.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(0),
        available_versions: versions.into_iter().map(|release| release.version.clone()).collect(),
    }
}

fn dependencies(described: &Description) -> Dependencies {
    let of = |kind: Kind| {
        let text = |dependency: crate::r::dependency::Dependency<'_>| dependency.to_string();
        described.dependencies(kind).map(text).collect()
    };
    Dependencies {
        depends: of(Kind::Depends),
        imports: of(Kind::Imports),
        linking_to: of(Kind::LinkingTo),
        suggests: of(Kind::Suggests),
        enhances: of(Kind::Enhances),
    }
}

/// The licences a `License` field lets one choose from ("Writing R Extensions", 1.1.2): parted by `|`, and `+ file LICENSE`
/// is part of the one before it.
fn alternatives(license: &str) -> Vec<String> {
    let parts = license.split('|').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    parts.filter(|part| !part.is_empty()).collect()
}

/// What licences of several versions have in common: `GPL` of `GPL (>= 2)` and `GPL-3`, `MIT` of `MIT + file LICENSE`.
fn family(license: &str) -> String {
    let first = license.split([' ', '(', '+']).next().unwrap_or_default();
    let numbered = first.rsplit_once('-').filter(|(_, end)| end.starts_with(|c: char| c.is_ascii_digit()));
    numbered.map_or(first, |(family, _)| family).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_version() {
        let is = |text, name: &str, version: Option<&str>| {
            assert_eq!(specification(text), Ok((name.to_owned(), version.map(str::to_owned))), "{text}");
        };
        is("ggplot2", "ggplot2", None);
        is("ggplot2==3.5.2", "ggplot2", Some("3.5.2"));
        is(" A3 == 1.0 ", "A3", Some("1.0"));
        is("A3@1.0-2", "A3", Some("1.0-2"));
        for bad in ["", "==1", "a b==1", "../x", "a==", "9a", "a/b"] {
            assert!(specification(bad).expect_err(bad).contains("name==version"), "{bad}");
        }
    }

    #[test]
    fn licences_are_told_one_by_one_and_by_family() {
        let told = |text| {
            let all = alternatives(text);
            (all.join("; "), all.iter().map(|l| family(l)).collect::<Vec<_>>().join("; "))
        };
        let is = |text, all: &str, families: &str| {
            assert_eq!(told(text), (all.to_owned(), families.to_owned()), "{text}");
        };
        is("GPL-2 | GPL-3", "GPL-2; GPL-3", "GPL; GPL");
        is("GPL (>= 2)", "GPL (>= 2)", "GPL");
        is("MIT + file LICENSE", "MIT + file LICENSE", "MIT");
        is(
            "Apache License (== 2.0)|BSD_3_clause +  file LICENSE",
            "Apache License (== 2.0); BSD_3_clause + file LICENSE",
            "Apache; BSD_3_clause",
        );
        is("CC BY-SA 4.0", "CC BY-SA 4.0", "CC");
    }
}
