//! A repository of R packages on a server with snapshots, this one or Posit Package Manager: the index of each day on which it
//! changed, and the releases of its source, with exact times and with versions that were archived when they arrived.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use url::Url;

use super::events::{Events, removal};
use super::index::CONCURRENCY;
use crate::error::OfflineError;
use crate::inventory::UpstreamFile;
use crate::metadata::MetadataReader;
use crate::mirror::Tree;
use crate::workers::run_all;
use base::model::digest::Md5;
use base::model::import_list::{AddedFile, Event};
use base::model::time::{Day, Timestamp};
use formats::r::version;
use upstream::{FileRequest, FileResponse, Upstream, UpstreamError};

/// Maximum size of an answer in bytes, and number of days.
const MAX_ANSWER: u64 = 64 << 20;
const MAX_DAYS: usize = 20_000;
/// The evidence for a time that the releases do not state.
const INDEX: &str = "index of the day";

/// The addresses of a server, and of the repository without a snapshot.
#[derive(Clone)]
struct Origin {
    upstream: Upstream,
    server: String,
    repository: String,
}

/// What the releases state about a version: when it was published, and the SHA-256 of its file.
#[derive(Clone, Default)]
struct Release {
    published: Option<Timestamp>,
    sha256: Option<String>,
}

/// The releases of each package, by version.
type Releases = HashMap<String, BTreeMap<String, Release>>;

/// The state before a day, and the events up to it.
#[derive(Default)]
struct Import {
    /// The address of the repository, without user and password.
    address: String,
    releases: Releases,
    listed: BTreeMap<String, UpstreamFile>,
    /// The versions of each package, with the time of each and the digest that an index stated last.
    present: BTreeMap<String, BTreeMap<String, (Timestamp, Option<Md5>)>>,
    /// The names of all added files.
    added: BTreeSet<String>,
    events: Vec<Event>,
}

pub(super) async fn read(upstream: Upstream, origin: &str, events: &mut Events) -> Result<(), OfflineError> {
    let address = origin.trim_end_matches('/');
    let address = match address.rsplit_once('/') {
        Some((rest, snapshot)) if snapshot == "latest" || snapshot.parse::<Day>().is_ok() => rest,
        _ => address,
    };
    let usage =
        |text: &str| OfflineError::Usage(format!("{}: {text}", base::config::without_userinfo(address)));
    let no_repository = || {
        usage(
            "is not the address of a repository that the server lists, such as http://host:4242/team, or with a token \
             http://__token__:TOKEN@host:4242/team",
        )
    };
    let is_server = |(server, _): &(&str, &str)| Url::parse(server).is_ok_and(|url| url.has_host());
    let (server, name) = address.rsplit_once('/').filter(is_server).ok_or_else(no_repository)?;
    let origin = Origin { upstream, server: server.to_owned(), repository: address.to_owned() };
    let repositories = origin.answer("repos").await?.unwrap_or_default();
    let repository =
        repositories.iter().find(|repository| repository["name"] == name).ok_or_else(no_repository)?;
    if repository["type"] != "R" {
        return Err(usage("is not of type R; for Python, use list from-index with the address and /latest"));
    }
    let repository = format!("repos/{}", repository["id"]);
    let sources = origin.answer(&format!("{repository}/sources")).await?;
    if sources.as_ref().is_some_and(|sources| sources.len() != 1) {
        return Err(usage(
            "has several sources: give a repository that subscribes only to the one to be imported",
        ));
    }
    let changes = origin.answer(&format!("{repository}/transaction-dates")).await?.unwrap_or_default();
    let days: BTreeSet<Day> =
        changes.iter().filter_map(|change| change["alias"].as_str()?.parse().ok()).collect();
    if days.is_empty() || days.len() > MAX_DAYS {
        return Err(usage(&format!("changed on {} days; 1 to {MAX_DAYS} are supported", days.len())));
    }
    let mut states = Vec::with_capacity(days.len());
    for day in days {
        states.push((day, origin.index(day).await?));
    }
    let names: BTreeSet<String> = states.iter().flat_map(|(_, state)| state.keys().cloned()).collect();
    let mut import = Import { address: origin.upstream.transport(address)?.address(), ..Import::default() };
    if let Some([source]) = sources.as_deref() {
        import.releases = origin.releases(&source["id"].to_string(), names).await?;
    }
    for (day, state) in states {
        import.apply(day, state);
    }
    import.add_archived(events)?;
    import.events.into_iter().try_for_each(|event| events.push(event))
}

impl Origin {
    /// Requests a list of the API; `None` if the server does not have it.
    async fn answer(&self, path: &str) -> Result<Option<Vec<Value>>, OfflineError> {
        let path = format!("__api__/{path}");
        let transport = self.upstream.transport(&self.server)?;
        match transport.fetch(FileRequest { path: &path, validators: None, limit: MAX_ANSWER }).await {
            Ok(FileResponse::Body { bytes, .. }) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                    OfflineError::Refused(format!("{}/{path} is not a list: {error}", transport.address()))
                })
            }
            Ok(FileResponse::Unchanged) | Err(UpstreamError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the packages that a day lists.
    async fn index(&self, day: Day) -> Result<BTreeMap<String, UpstreamFile>, OfflineError> {
        let mirror = self.upstream.mirror(&format!("{}/{day}", self.repository))?;
        let reader = MetadataReader::new(&mirror);
        let tree = Tree { reader: &reader, prefix: String::new(), folder: None, may_be_empty: true };
        let files = tree.listed_files().await?.into_iter().filter(|file| file.is_listed);
        Ok(files.map(|file| (file.name.clone(), file)).collect())
    }

    async fn releases(&self, source: &str, names: BTreeSet<String>) -> Result<Releases, OfflineError> {
        let work = |name: String| {
            let (origin, path) = (self.clone(), format!("sources/{source}/packages/{name}/releases"));
            async move {
                let releases = origin.answer(&path).await?.unwrap_or_default();
                let release = |release: &Value| {
                    let text = |key: &str| release[key].as_str().filter(|text| !text.is_empty());
                    let published = text("date_publication").and_then(|text| text.parse().ok());
                    let sha256 = text("checksum").map(str::to_owned);
                    Some((text("version")?.to_owned(), Release { published, sha256 }))
                };
                let releases: BTreeMap<String, Release> = releases.iter().filter_map(release).collect();
                Ok::<_, OfflineError>((name, releases))
            }
        };
        run_all(names.into_iter().collect(), CONCURRENCY, work).await.into_iter().collect()
    }
}

impl Import {
    /// Removes those versions of a package that are selected.
    fn remove(&mut self, package: &str, day: Day, is_selected: impl Fn(&str) -> bool) {
        let Some(present) = self.present.get_mut(package) else { return };
        for (version, _) in present.extract_if(.., |version, _| is_selected(version)) {
            let file = format!("{package}_{version}.tar.gz");
            self.events.push(removal(Some(Timestamp(day.start().0)), INDEX, &file));
        }
    }

    /// Adds the changes since the day before.
    fn apply(&mut self, day: Day, state: BTreeMap<String, UpstreamFile>) {
        let previous = std::mem::take(&mut self.listed);
        for package in previous.keys().filter(|package| !state.contains_key(*package)) {
            self.remove(package, day, |_| true);
        }
        for (package, file) in &state {
            // A server lists the highest version: to list a lower one, the higher ones are removed.
            self.remove(package, day, |version| version::compare(version, &file.version).is_gt());
            let present = self.present.entry(package.clone()).or_default();
            let before = present.get(&file.version);
            // It may have got them while a higher version was listed.
            let has_other_bytes =
                before.is_some_and(|(_, md5)| md5.zip(file.md5).is_some_and(|(before, now)| before != now));
            if before.is_some() && !has_other_bytes {
                continue;
            }
            let release = self.releases.get(package).and_then(|all| all.get(&file.version));
            let release = release.filter(|_| !has_other_bytes);
            let (at, exact, sha256) = match release.map(|release| (release.published, &release.sha256)) {
                Some((Some(at), sha256)) if at.day() == day => (at, "releases", sha256.clone()),
                _ => (Timestamp(day.start().0), INDEX, None),
            };
            present.insert(file.version.clone(), (at, file.md5));
            let name = file.path().rsplit('/').next().unwrap_or_default();
            self.added.insert(name.to_owned());
            let added = AddedFile {
                from: Some(format!("{}/{day}/{}", self.address, file.path())),
                sha256,
                md5: file.md5.map(|digest| digest.to_string()),
                size: file.size,
                ..AddedFile::new(name, Some(at), exact)
            };
            self.events.push(if has_other_bytes { Event::Replace(added) } else { Event::Add(added) });
        }
        self.listed = state;
    }

    /// Adds the releases that no day listed: they were archived when they arrived.
    fn add_archived(&mut self, events: &mut Events) -> Result<(), OfflineError> {
        for (package, listed) in &self.listed {
            let first =
                self.present.get(package).and_then(|versions| versions.values().map(|(at, _)| at).min());
            for (version, release) in self.releases.get(package).into_iter().flatten() {
                let file = format!("{package}_{version}.tar.gz");
                if self.added.contains(&file) {
                    continue;
                }
                if version::compare(version, &listed.version).is_gt() {
                    events.lose(file, "is archived, and higher than the listed version")?;
                    continue;
                }
                // Not before the first listed version, so that it is not listed itself.
                let at = release.published.max(first.copied());
                self.events.push(Event::Add(AddedFile {
                    from: Some(format!("{}/latest/src/contrib/Archive/{package}/{file}", self.address)),
                    sha256: release.sha256.clone(),
                    ..AddedFile::new(&file, at, "releases")
                }));
            }
        }
        Ok(())
    }
}
