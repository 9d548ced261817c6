//! Targets for the input of clients: request targets, header fields, bodies.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use rstudio_pm::api::public::filter::Filter;
use rstudio_pm::api::public::package::ListPackages;
use rstudio_pm::api::public::repo::SnapshotQuery;
use rstudio_pm::http::repo::conditional::{self, Extent, Validators};
use rstudio_pm::http::route::repo_path::RepoPath;
use rstudio_pm::http::route::{self, Route};
use rstudio_pm::http::target::segments;
use rstudio_pm::r::layout;

const LIMIT: usize = 4096;

/// A valid request target does not lead out of the repository.
pub fn route(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    for method in [Method::GET, Method::POST] {
        for part in &segments(&method, path, LIMIT).unwrap_or_default() {
            assert!(!part.contains(['/', '\\', '\0', '\r', '\n']) && part != "." && part != "..", "{part:?}");
        }
        let Ok((route, query)) = route::parse(&method, path, query, LIMIT) else { continue };
        let _ = (query.read::<ListPackages>(), query.page(), query.all("name").count());
        if let Route::Repository {
            path: RepoPath::R { path, .. } | RepoPath::Bioconductor { path, .. },
            ..
        } = route
        {
            assert_eq!(layout::parse(&path.path()).as_ref(), Ok(&path));
        }
    }
}

/// A part is within the file, and any condition is evaluated without a panic.
pub fn conditional(data: &[u8]) {
    let names = [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n').take(8) {
        let (selector, value) = super::choice(line);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(&names[usize::from(selector) % names.len()], value);
        }
    }
    for (etag, previous) in
        [(None, None), (Some(&b"\"a\""[..]), None), (Some(&b"W/\"b\""[..]), Some(&b"\"a\""[..]))]
    {
        for modified in [None, Some(1_700_000_000)] {
            let current = Validators { etag, previous_etag: previous, modified };
            let _ = (conditional::is_conditional(&headers), conditional::precondition(&headers, current));
            for size in [0, 1, 1000, u64::MAX] {
                if let Extent::Part(part) = conditional::extent(&headers, current, size) {
                    assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
                }
            }
        }
    }
    if let Ok(bytes) = <[u8; 8]>::try_from(data) {
        let _ = conditional::http_date(i64::from_le_bytes(bytes));
    }
}

/// Bodies of the public API.
pub fn api_body(data: &[u8]) {
    let _ = serde_json::from_slice::<SnapshotQuery>(data);
    if let Ok(filter) = serde_json::from_slice::<Filter>(data) {
        let written = serde_json::to_vec(&filter).expect("maps have texts for keys");
        assert_eq!(serde_json::from_slice::<Filter>(&written).expect("what is written can be read"), filter);
    }
}
