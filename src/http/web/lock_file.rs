//! The page that compares a lock file with a snapshot. Nothing of the file is stored.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, ORIGIN};
use percent_encoding::percent_decode;
use tokio::sync::Semaphore;

use super::context::Context;
use crate::http::app::App;
use crate::http::base_url::{RequestHead, base_url, requested_url};
use crate::http::error::Failure;
use crate::http::login::origin;
use crate::http::net::budget::Share;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::site::SiteSettings;
use api::error::Code;
use base::model::kind::{Language, Layout};
use base::model::locked_version::{ExactVersions, Interval, LockedState};
use base::model::owned_bytes::bytes_with;
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use content::serve;
use content::serve::lock_file::{self, ComparisonPermit, MAX_PACKAGES, MAX_WAIT};
use content::serve::vulnerabilities::Vulnerabilities;
use formats::language;
use formats::r::lock_file::MAX_FILE;
use pages::lock_file::{LockFileForm, OtherDay, RefusedForm, Result as Comparison};

/// Limits the files that are parsed concurrently: the values of a TOML file of 1 MiB take about 80 MB.
static PARSES: Semaphore = Semaphore::const_new(2);
/// Maximum size of a form in bytes: the encoding has up to three bytes for each byte, and six for a line
/// feed, which browsers send as carriage return and line feed.
const MAX_FORM: usize = 6 * MAX_FILE + 64;
/// `Retry-After` in seconds if too many files wait.
const RETRY_AFTER: u64 = 30;
const BODY_TIME: Duration = Duration::from_secs(60);
const FIELD: &str = "file";
/// The name of the field, and of the parameter of the address.
const DAY_FIELD: &str = "day";
/// Maximum size of the text for a day in bytes; the rest is ignored.
const MAX_DAY: usize = 200;

#[derive(Debug)]
pub(in crate::http) struct Posted {
    file: Bytes,
    day: Option<String>,
    is_form: bool,
}

/// Reads a posted file: the field `file` of a form, or any other body unchanged. Fails with 403 for a form of another
/// site, 413 beyond 1 MiB, 408 if the client is too slow, 503 if the budget of request bodies is used up.
pub(in crate::http) async fn read(
    app: &App,
    body: Incoming,
    head: &RequestHead<'_>,
) -> Result<Posted, Failure> {
    let is_form = origin::has_media_type(&head.parts.headers, "application/x-www-form-urlencoded");
    if is_form && is_of_other_site(&own_urls(&app.site.load(), head), &head.parts.headers) {
        let phrase = "the form must be sent from a page of this server";
        return Err(Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, phrase));
    }
    let limit = if is_form { MAX_FORM } else { MAX_FILE };
    let share = body.share();
    let read = read_body::read(body, limit, app.limits.body_timeout);
    let bytes = tokio::time::timeout(BODY_TIME, read).await.map_err(|_| Failure {
        status: StatusCode::REQUEST_TIMEOUT,
        ..Failure::bad_request("the file was not sent within a minute")
    })??;
    if !is_form {
        return Ok(Posted { file: bytes, day: None, is_form });
    }
    let (file, day) = decode(&bytes, share)?;
    Ok(Posted { file, day, is_form })
}

/// Returns file and day of a form. Adds the file's bytes to `share`, returned with its last clone. Fails as [`read`].
fn decode(form: &[u8], mut share: Option<Share>) -> Result<(Bytes, Option<String>), Failure> {
    let size = field(form, FIELD).map_or(0, Iterator::count);
    if size > MAX_FILE {
        return Err(Failure::body_too_large(MAX_FILE as u64));
    }
    if share.as_mut().is_some_and(|share| !share.grow(size)) {
        return Err(Failure::unavailable("too many request bodies are being read", RETRY_AFTER));
    }
    let mut file = Vec::with_capacity(size);
    file.extend(field(form, FIELD).into_iter().flatten());
    let day = field(form, DAY_FIELD).map(|day| day.take(MAX_DAY).collect::<Vec<u8>>());
    let day = day.map(|day| String::from_utf8_lossy(&day).into_owned());
    Ok((bytes_with(file, share), day))
}

/// Returns the decoded bytes of a field, with line feeds as line ends: browsers send carriage returns too.
fn field<'a>(form: &'a [u8], name: &str) -> Option<impl Iterator<Item = u8> + 'a> {
    let mut fields = form.split(|byte| *byte == b'&').map(|field| {
        let end = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
        let (name, value) = field.split_at(end);
        (name, value.get(1..).unwrap_or_default())
    });
    let (_, value) = fields.find(|(encoded, _)| decoded(encoded).eq(name.bytes()))?;
    Some(decoded(value))
}

fn decoded(encoded: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let parts = encoded.split(|byte| *byte == b'+').enumerate();
    let mut bytes = parts
        .flat_map(|(index, part)| (index > 0).then_some(b' ').into_iter().chain(percent_decode(part)))
        .peekable();
    std::iter::from_fn(move || match bytes.next()? {
        b'\r' => Some(bytes.next_if_eq(&b'\n').unwrap_or(b'\r')),
        byte => Some(byte),
    })
}

/// Returns the URLs at which the client may have opened the form: the one that it requests now, and `Server.Address`.
fn own_urls(site: &SiteSettings, head: &RequestHead<'_>) -> [String; 2] {
    [requested_url(site, head), base_url(site, head)]
}

/// Returns whether the headers of a browser state that a page of another site sends the form.
fn is_of_other_site(own_urls: &[String], headers: &HeaderMap) -> bool {
    let is_stated = ["sec-fetch-site", ORIGIN.as_str()].iter().any(|name| headers.contains_key(*name));
    is_stated && !own_urls.iter().any(|url| origin::is_own(Some(url), headers))
}

/// Returns the form, with the comparison of a posted file, and the status. A refused form is returned with
/// its values and the reason; other bodies that cannot be read are a 400.
pub(super) async fn page(
    context: Context<'_>,
    posted: Option<Posted>,
) -> Result<(StatusCode, String), Failure> {
    let files = language::of(context.repo.kind.language()).nouns().lock_files;
    let form = LockFileForm { location: context.location.clone(), files, refused: None };
    let root = context.root.clone();
    let Some(Posted { file, day, is_form }) = posted else {
        return Ok((StatusCode::OK, form.render(root, None)));
    };
    let day = day.as_deref().or_else(|| context.query.get(DAY_FIELD)).map(str::trim);
    let day = day.filter(|text| !text.is_empty()).map(parse_day).transpose();
    let known_day = day.as_ref().ok().copied().flatten();
    let is_bad_day = day.is_err();
    let result = match day {
        Ok(day) => comparison(&context, file.clone(), day).await,
        Err(failure) => Err(failure),
    };
    let failure = match result {
        Ok(comparison) => return Ok((StatusCode::OK, form.render(root, Some(&comparison)))),
        Err(failure) => failure,
    };
    // 404 is the answer for a day without a state.
    let is_unknown_day = failure.status == StatusCode::NOT_FOUND;
    if !is_form || !(is_unknown_day || failure.status == StatusCode::BAD_REQUEST) {
        return Err(failure);
    }
    let refused = RefusedForm {
        text: String::from_utf8_lossy(&file).into_owned(),
        day: known_day,
        reason: failure.phrase,
        is_about_day: is_bad_day || is_unknown_day,
    };
    let form = LockFileForm { refused: Some(refused), ..form };
    Ok((failure.status, form.render(root, None)))
}

async fn comparison(context: &Context<'_>, file: Bytes, day: Option<Day>) -> Result<Comparison, Failure> {
    let language = context.repo.kind.language();
    let ExactVersions { packages, skipped } = packages(file, language, MAX_WAIT).await?;
    if packages.len() > MAX_PACKAGES {
        let count = packages.len();
        return Err(Failure::bad_request(format!(
            "the file has {count} packages, more than the {MAX_PACKAGES} allowed"
        )));
    }
    let permit = ComparisonPermit::acquire(language, MAX_WAIT).await.ok_or_else(busy)?;
    let (repositories, point) = (&*context.app.repositories, context.point);
    let advisories = serve::vulnerabilities::current(&context.app.state).await;
    let other_day = match day {
        Some(day) => Some(other_day(context, &permit, day, &packages, &advisories).await?),
        None => None,
    };
    let locked = match language.layout() {
        Layout::Projects => {
            lock_file::python_projects(repositories, &permit, point, packages, &advisories).await?
        }
        Layout::Lists => {
            lock_file::r_packages(repositories, &permit, &context.listing_scope(), packages, &advisories)
                .await?
        }
    };
    let intervals: Option<Vec<&[Interval]>> = locked.iter().map(|row| row.listed.as_deref()).collect();
    let days = intervals.filter(|lists| !lists.is_empty()).map(lock_file::intersection);
    Ok(Comparison { rows: locked, days, skipped, other_day })
}

fn parse_day(text: &str) -> Result<Day, Failure> {
    text.parse().map_err(|_| {
        let excerpt: String = text.chars().take(60).collect();
        Failure::bad_request(format!("the day {excerpt:?} is not a date such as 2026-11-20"))
    })
}

/// Returns the packages that a day does not list in the version of the file.
async fn other_day(
    context: &Context<'_>,
    permit: &ComparisonPermit,
    day: Day,
    packages: &[(String, String)],
    advisories: &Vulnerabilities,
) -> Result<OtherDay, Failure> {
    let repositories = &context.app.repositories;
    let (repo, snapshot) = (&context.location.repo, Snapshot::Date(day));
    let point = serve::point::resolve_part(repositories, repo, context.part, snapshot).await?;
    let states = match context.repo.kind.layout() {
        Layout::Projects => {
            let packages = packages.to_vec();
            let rows = lock_file::python_projects(repositories, permit, &point, packages, advisories).await?;
            rows.into_iter().map(|row| row.state).collect()
        }
        Layout::Lists => lock_file::r_states(repositories, permit, &point, packages).await?,
    };
    let changes = packages.iter().zip(states).filter(|(_, state)| *state != LockedState::Listed);
    let changes = changes.map(|((name, version), state)| (name.clone(), version.clone(), state));
    Ok(OtherDay { day, changes: changes.collect() })
}

/// Parses a file; waits at most `wait` until fewer than two other files are parsed, then fails with 503.
async fn packages(file: Bytes, language: Language, wait: Duration) -> Result<ExactVersions, Failure> {
    let permit = tokio::time::timeout(wait, PARSES.acquire()).await.map_err(|_| busy())?;
    let parsed = tokio::task::spawn_blocking(move || {
        // The file is parsed to its end even if the client disconnects.
        let _permit = permit;
        language::of(language).exact_versions(&file)
    });
    let parsed = parsed.await.map_err(|_| Failure::unavailable("the server is stopping", 5))?;
    parsed.map_err(Failure::bad_request)
}

fn busy() -> Failure {
    Failure::unavailable("too many lock files are being compared; try again in a minute", RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::net::Client;
    use crate::http::net::budget::MemoryBudget;

    #[test]
    fn a_form_is_of_this_server_if_its_page_has_the_requested_address_or_that_of_the_configuration() {
        let is_other = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().expect("a value"));
            }
            let own_urls = ["http://inner:4242", "https://h.example/rspm"].map(str::to_owned);
            is_of_other_site(&own_urls, &headers)
        };
        assert!(!is_other(&[]), "programs send no such fields");
        assert!(!is_other(&[("origin", "http://inner:4242")]));
        assert!(!is_other(&[("origin", "https://h.example")]), "a proxy replaces the host");
        assert!(!is_other(&[("sec-fetch-site", "same-origin")]));
        for origin in
            ["https://inner:4242", "http://h.example", "http://inner", "https://other.example", "null"]
        {
            assert!(is_other(&[("origin", origin)]), "{origin}");
        }
        assert!(is_other(&[("origin", "https://h.example"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_field_of_a_form_is_decoded_with_the_line_ends_of_files() {
        let form = b"day=2026-11-20&f%69le=a+b%2Bc%0D%0Ad%0De%0A%zz%4&file=second";
        let text = |name: &str| field(form, name).map(|bytes| bytes.map(char::from).collect::<String>());
        assert_eq!(text("file").as_deref(), Some("a b+c\nd\re\n%zz%4"));
        assert_eq!(text("day").as_deref(), Some("2026-11-20"));
        assert_eq!((text("fil"), text("files")), (None, None));
        assert_eq!(field(b"file", "file").map(Iterator::count), Some(0));
    }

    #[test]
    fn the_decoded_file_is_in_the_budget_of_request_bodies() {
        let budget = MemoryBudget::new(10, 10).for_address(Client::Shared).expect("a limit");
        let decode = |form: &[u8]| decode(form, Some(budget.share()));
        let (file, day) = decode(b"file=12345%0D%0A&day=x").expect("decoded");
        assert_eq!((&file[..], day.as_deref()), (&b"12345\n"[..], Some("x")));
        let refused = decode(b"file=12345").expect_err("6 of 10 bytes are used");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(file);
        assert!(decode(b"file=12345").is_ok());
        let larger = [b"file=".as_slice(), &vec![b'x'; MAX_FILE + 1]].concat();
        assert_eq!(decode(&larger).expect_err("too large").status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn two_files_are_parsed_at_the_same_time() {
        let parse = || packages(Bytes::from_static(b"flask==3.0.0\n"), Language::Python, Duration::ZERO);
        let first = PARSES.acquire().await.expect("a permit");
        assert!(parse().await.is_ok());
        let _second = PARSES.acquire().await.expect("a permit");
        let refused = parse().await.expect_err("the third file is refused after its wait");
        assert_eq!((refused.status, refused.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(30)));
        drop(first);
        assert!(parse().await.is_ok());
    }
}
