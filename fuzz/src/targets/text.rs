//! Targets for short texts: versions, names, paths, times, dependency fields, the `User-Agent` header.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use rstudio_pm::model::digest::{Md5, Sha256};
use rstudio_pm::model::name::Name;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::{Day, Timestamp};
use rstudio_pm::r::bioconductor::{Part, VersionName};
use rstudio_pm::r::layout::{self, PackageFile};
use rstudio_pm::r::name::SourceFileName;
use rstudio_pm::r::platform::Platform;
use rstudio_pm::r::user_agent::{self, RVersion, UserAgent};
use rstudio_pm::r::version::RMinor;
use rstudio_pm::r::{archive, dependency, description, version};
use rstudio_pm::upstream::transport::retry::retry_after;

/// The order of versions is total and consistent with equality.
pub fn version(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let all: Vec<&str> = text.split('\n').take(3).collect();
    for a in &all {
        assert_eq!(version::compare(a, a), Ordering::Equal);
        if version::is_package_version(a) {
            assert!(version::is_numeric(a));
            let parsed: version::PackageVersion = a.parse().expect("a package version");
            assert_eq!(parsed.as_str(), *a);
        }
        for b in &all {
            assert_eq!(version::compare(a, b), version::compare(b, a).reverse());
            let value = |text: &str| version::PackageVersion::lenient(text);
            assert_eq!(value(a) == value(b), version::compare(a, b).is_eq());
            for c in &all {
                if version::compare(a, b).is_le() && version::compare(b, c).is_le() {
                    assert!(version::compare(a, c).is_le(), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }
}

/// A parsed path or name is written unchanged, or parses to the same value again.
pub fn layout(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(path) = layout::parse(&text) {
        let written = path.path();
        assert!(!written.split('/').any(|segment| matches!(segment, "" | "." | "..")), "{written:?}");
        assert_eq!(layout::parse(&written).as_ref(), Ok(&path));
        assert_eq!(path.path_to_root().len() / 3, written.matches('/').count());
    }
    if let Some(file) = PackageFile::parse(&text) {
        assert_eq!(format!("{}_{}.{}", file.package, file.version, file.extension), text);
    }
    if let Ok(file) = SourceFileName::parse_archived(&text) {
        assert_eq!(format!("{}_{}{}", file.package, file.version, file.extension.as_str()), text);
    }
    if let Some(platform) = Platform::parse(&text) {
        assert_eq!(Platform::parse(&platform.to_string()).as_ref(), Some(&platform));
        assert_eq!(
            Platform::parse_database_form(&platform.database_form(Some(platform.arch))),
            Some(platform)
        );
    }
    if let Some(r) = RMinor::parse(&text) {
        assert_eq!(RMinor::parse(&r.to_string()), Some(r));
    }
    if let Some(part) = Part::parse(&text) {
        assert_eq!(Part::parse(&part.to_string()), Some(part));
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(digest) = text.parse::<Sha256>() {
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
    if let Ok(digest) = text.parse::<Md5>() {
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
    let _ = (text.parse::<VersionName>(), archive::readme_rank(&text));
}

/// Written times are read back unchanged, and a time is within its day.
pub fn time(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(at) = text.parse::<Timestamp>() {
        assert_eq!(at.to_string().parse(), Ok(at));
        let day = at.day();
        assert!(day.start() <= at && at < day.end());
    }
    if let Ok(day) = text.parse::<Day>() {
        assert_eq!(day.to_string(), text);
        assert_eq!(day.start().day(), day);
    }
    if let Ok(snapshot) = text.parse::<Snapshot>() {
        assert_eq!(snapshot.to_string().parse(), Ok(snapshot));
    }
    if let Ok(bytes) = <[u8; 8]>::try_from(data) {
        if let Some(at) = Timestamp::from_r_seconds(f64::from_le_bytes(bytes)) {
            let _ = at.day().to_string();
        }
        let _ = Timestamp(i64::from_le_bytes(bytes)).to_string();
    }
    let _ = rstudio_pm::advisory::parse_time(&text).map(|at| at.to_string());
    let _ = retry_after(&text, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
}

/// A written item is read back unchanged.
pub fn dependency(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for item in dependency::parse_list(&text) {
        let written = item.to_string();
        let mut reparsed = dependency::parse_list(&written);
        if !item.name.contains(')') {
            assert_eq!(reparsed.next(), Some(item), "{written:?}");
        }
        if let Some(requirement) = item.requirement {
            let _ = requirement.is_met_by("1.2.3");
        }
    }
    assert!(dependency::r_requirements(&text).count() <= dependency::parse_list(&text).count());
}

/// A written version of R is read back unchanged, and decoding has bounded output.
pub fn user_agent(data: &[u8]) {
    if let UserAgent::R(client) = user_agent::parse(data) {
        let written = client.r.to_string();
        assert_eq!(RVersion::parse(written.as_bytes()), Some(client.r));
    }
    let (label, rest) = super::line(data);
    let decoded = description::decode(rest, std::str::from_utf8(label).ok());
    assert!(decoded.len() <= rest.len() * 4);
}
