//! The page of a repository at a snapshot, and the redirects to it.

use std::collections::BTreeMap;

use http::{Response, StatusCode};

use super::context::FirstState;
use super::{answer, choice, context};
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::net::body::Body;
use crate::http::response::{self, header_value};
use crate::http::target::Query;
use base::model::ids::SourceId;
use base::model::kind::{ChangePolicy, Supply};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use content::serve;
use content::serve::package_query::PackageQuery;
use pages::calendar::{Calendar, Month, PublishedDay, first_day_of_year};
use pages::feed::RepositoryEvent;
use pages::frame::Location;
use pages::repository::{Overview, Stability};
use pages::setup::{Setup, System};
use pages::text::{number, segment};
use runtime::catalog::resolve::today;
use runtime::catalog::{Catalog, Repository, Source, Subscription};
use store::db::tx::Tx;

const MAX_CHANGES: usize = 5;
const SUBSCRIPTIONS: &str = "subscriptions";

/// `/{repo}` and `/{repo}/`: redirects to the newest snapshot, or to the day in the parameter `day`.
pub(in crate::http) fn redirect(
    catalog: &Catalog,
    name: &str,
    trailing_slash: bool,
    query: &Query,
) -> Result<Response<Body>, Failure> {
    if catalog.repo_by_name_or_id(name).is_none() {
        return Err(Failure::not_found(
            "there is no such repository; the URL of a repository ends in a snapshot: /{repository}/latest, a date \
             (YYYY-MM-DD) or a transaction id",
        ));
    }
    let day = query.get("day").filter(|text| !text.is_empty());
    let day: Option<Day> = day
        .map(|text| {
            text.parse().map_err(|_| Failure::bad_request("the parameter day must be a date, YYYY-MM-DD"))
        })
        .transpose()?;
    let snapshot = day.map_or_else(|| "latest".to_owned(), |day| day.to_string());
    let pairs = ["platform", "bioc"].into_iter().filter_map(|parameter| {
        let value = query.get(parameter).filter(|value| !value.is_empty())?;
        Some(format!("{parameter}={}", segment(value)))
    });
    let parameters = pairs.collect::<Vec<_>>().join("&");
    let parameters = if parameters.is_empty() { parameters } else { format!("?{parameters}") };
    // 303 for the result of a form, which is a different page.
    let is_form = query.get("day").is_some() || !parameters.is_empty();
    let status = if is_form { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
    // Relative: a proxy may have removed a prefix of the path.
    let prefix = if trailing_slash { String::new() } else { format!("{}/", segment(name)) };
    Ok(response::redirect(status, header_value(format!("{prefix}{snapshot}/{parameters}"))))
}

/// Returns the page of a repository; `linux` is the distribution in the address.
pub(in crate::http) async fn answer(
    app: &App,
    requested: &str,
    snapshot: Snapshot,
    linux: Option<&str>,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let requested_part = choice::part(serve::find::repo(&app.state.catalog.get(), requested)?, query)?;
    let point = serve::point::resolve_part(&app.repositories, requested, requested_part, snapshot).await?;
    let catalog = app.state.catalog.get();
    let repo =
        catalog.repo_by_id(point.repo).ok_or_else(|| Failure::not_found("there is no such repository"))?;
    let (name, description) = repo.response_name(requested);
    let platforms = app.state.config.load().platforms.clone();
    let (system, is_detected) = choice::system(&platforms, linux, query, &head.parts.headers);
    // The text for Bioconductor has no code that detects the distribution.
    let is_unknown = repo.kind.has_parts() && system == System::AnyLinux;
    let system = if is_unknown { System::Source } else { system };
    let base = base_url::base_url(&app.site.load(), head);
    let first = PackageQuery { limit: 1, ..PackageQuery::default() };
    let first = serve::listing::packages(&app.repositories, &point, first).await?;
    let versions: Vec<String> = if repo.kind.has_parts() {
        catalog.bioconductor_versions().iter().map(ToString::to_string).collect()
    } else {
        Vec::new()
    };
    let chosen = requested_part.map(|part| part.version.to_string());
    let chosen = chosen.or_else(|| catalog.default_bioconductor_version().map(|version| version.to_string()));
    let sources = sources(&catalog, repo, &point, snapshot, head);
    let setup = Setup {
        kind: repo.kind,
        server: base.clone(),
        repository: format!("{base}/{}", segment(name)),
        snapshot: snapshot.to_string(),
        system,
        distributions: choice::distributions(&platforms),
        bioconductor: chosen.filter(|_| repo.kind.has_parts()),
        example: first.packages.first().map(|row| (row.name.clone(), row.version.clone())),
        uploads: sources
            .iter()
            .filter(|source| source.kind.supply() == Supply::Uploads)
            .map(|source| source.name.to_string())
            .collect(),
    };
    let days = published_days(app, &catalog, repo, requested, &sources).await?;
    let now = (app.state.clock)();
    let selected = match snapshot {
        Snapshot::Date(day) => Some(day),
        Snapshot::Latest | Snapshot::Transaction(_) | Snapshot::Alias(_) => None,
    };
    let published = context::published(&catalog, &point, snapshot).map(|at| at.day());
    let month = query.get("month").and_then(|text| text.parse::<Month>().ok());
    let newest = selected.or(published).unwrap_or_else(|| now.day());
    let first_packages = context::first_packages(repo, name, &sources);
    let overview = Overview {
        location: Location { repo: name.to_owned(), snapshot: snapshot.to_string() },
        description: description.to_owned(),
        setup,
        is_detected,
        stability: stability(&point, snapshot, today(&catalog, now)),
        published,
        packages: first.total,
        changes: match snapshot {
            Snapshot::Latest => newest_events(app, repo, &sources, head.principal, MAX_CHANGES).await?,
            Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => Vec::new(),
        },
        // The API discloses the name of a hidden repository, so it has none under the number.
        has_json: !repo.hidden || repo.name.as_str() == name || head.principal.is_administrator(),
        sources: sources.iter().map(|source| source.name.to_string()).collect(),
        bioconductor: versions,
        calendar: Calendar {
            repo: name,
            month: month.unwrap_or_else(|| Month::of(newest)),
            changes: &days,
            today: today(&catalog, now),
            selected,
            first_packages: &first_packages,
        },
        first_packages: &first_packages,
    };
    let root =
        context::root(app, head).with_bioconductor(requested_part.map(|part| part.version.to_string()));
    Ok(answer::page(head, overview.render(root), is_detected))
}

/// Returns the days on which a repository changed; `sources` are those that the client may read.
async fn published_days(
    app: &App,
    catalog: &Catalog,
    repo: &Repository,
    requested: &str,
    sources: &[&Source],
) -> Result<BTreeMap<Day, PublishedDay>, Failure> {
    let days = serve::info::repository_days(&app.state, requested)?;
    // A repository that changes by promotion has the changes of a source on another day.
    let counted = match repo.changes {
        ChangePolicy::Any => sources.iter().map(|source| source.id).collect(),
        ChangePolicy::Promotion | ChangePolicy::TwoPersons => Vec::new(),
    };
    let begin = first_day_of_year(today(catalog, (app.state.clock)()));
    let counts = serve::info::changes_by_day(&app.state, counted, begin).await?;
    let mut published: BTreeMap<Day, PublishedDay> = days
        .into_iter()
        .map(|day| {
            let packages = counts.get(&day).copied().unwrap_or(0);
            (day, PublishedDay { packages, first_syncs: Vec::new() })
        })
        .collect();
    for state in sources.iter().filter_map(|source| FirstState::of(catalog, source)) {
        if let Some(day) = published.get_mut(&state.at.day()) {
            day.first_syncs.push(state.text());
        }
    }
    Ok(published)
}

fn stability(point: &Point, snapshot: Snapshot, today: Day) -> Stability {
    match snapshot {
        Snapshot::Latest => return Stability::Newest,
        Snapshot::Date(day) if day >= today => return Stability::CurrentDay,
        Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => {}
    }
    match (point.frozen, point.open) {
        (true, _) => Stability::Rules,
        (false, true) => Stability::Unfinished,
        (false, false) => Stability::Final,
    }
}

/// Returns the sources of a snapshot, in order: of `latest` the subscribed ones, of others those that had packages.
pub(super) fn sources<'a>(
    catalog: &'a Catalog,
    repo: &Repository,
    point: &Point,
    snapshot: Snapshot,
    head: &RequestHead<'_>,
) -> Vec<&'a Source> {
    let ids = match snapshot {
        Snapshot::Latest => repo.sources(),
        Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => {
            let mut ids: Vec<SourceId> = Vec::new();
            for tree in &point.trees {
                if !ids.contains(&tree.source) {
                    ids.push(tree.source);
                }
            }
            ids
        }
    };
    context::readable_sources(catalog, head.principal, &ids)
}

/// Returns the newest changes of `latest` of a repository; `sources` are its sources that the client may read.
pub(super) async fn newest_events(
    app: &App,
    repo: &Repository,
    sources: &[&Source],
    principal: &Principal,
    limit: usize,
) -> Result<Vec<RepositoryEvent>, Failure> {
    let catalog = app.state.catalog.get();
    let mut events = subscription_events(repo, |subscription| {
        let source = catalog.source_by_id(subscription.source)?;
        if !principal.may_read_source(&catalog, source) {
            return None;
        }
        Some(match subscription.version {
            Some(version) => format!("{} {version}", source.name),
            None => source.name.to_string(),
        })
    });
    for source in sources {
        let changes = serve::info::newest_transactions(&app.state, repo, source.id, limit).await?;
        let first = FirstState::of(&catalog, source);
        let summary = |tx: &Tx| match first.as_ref().filter(|first| first.at == tx.at) {
            Some(first) => format!("{}, {}", first.kind, summary(tx)),
            None => summary(tx),
        };
        events.extend(changes.into_iter().map(|change| RepositoryEvent {
            transaction: change.tx.id,
            snapshot: change.snapshot,
            at: change.at,
            subject: source.name.to_string(),
            summary: summary(&change.tx),
        }));
    }
    events.sort_by_key(|event| std::cmp::Reverse((event.at, event.transaction)));
    events.truncate(limit);
    Ok(events)
}

/// Returns the changes of the list of subscriptions. `name` returns the text for a subscription, or `None` if
/// the client must not learn of it: a change of such ones only is left out.
fn subscription_events(
    repo: &Repository,
    name: impl Fn(&Subscription) -> Option<String>,
) -> Vec<RepositoryEvent> {
    let mut before: Vec<String> = Vec::new();
    let mut events = Vec::new();
    for step in &repo.steps {
        let after: Vec<String> = step.list.iter().filter_map(&name).collect();
        if after != before {
            events.push(RepositoryEvent {
                transaction: step.tx,
                snapshot: step.tx,
                at: step.at,
                subject: SUBSCRIPTIONS.to_owned(),
                summary: list_change(&before, &after),
            });
        }
        before = after;
    }
    events
}

/// Returns the difference of two lists of subscriptions as text: `cran added; team removed`, `order team, cran`.
fn list_change(before: &[String], after: &[String]) -> String {
    let only_in = |list: &[String], other: &[String]| {
        list.iter().filter(|name| !other.contains(name)).cloned().collect::<Vec<String>>()
    };
    let parts = [(only_in(after, before), "added"), (only_in(before, after), "removed")];
    let parts = parts.into_iter().filter(|(names, _)| !names.is_empty());
    let parts: Vec<String> = parts.map(|(names, verb)| format!("{} {verb}", names.join(", "))).collect();
    if parts.is_empty() { format!("order {}", after.join(", ")) } else { parts.join("; ") }
}

/// Returns the numbers of packages that a transaction changed, as text: `3 new, 41 updated`.
fn summary(tx: &Tx) -> String {
    let counts = [
        (tx.counts.added, "new"),
        (tx.counts.updated, "updated"),
        (tx.counts.archived, "archived"),
        (tx.counts.removed, "removed"),
    ];
    let parts = counts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, noun)| format!("{} {noun}", number(*count))).collect();
    if parts.is_empty() { tx.kind.as_str().to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{RepoId, Seq, TxId};
    use base::model::kind::{Language, RepoKind};
    use base::model::time::Timestamp;
    use runtime::catalog::RepoStep;

    #[test]
    fn changes_of_the_subscriptions_name_the_sources_that_the_client_may_read() {
        let step = |number: i64, sources: &[i64]| RepoStep {
            seq: Seq(number),
            at: Timestamp(number),
            tx: TxId(number),
            list: sources.iter().map(|id| Subscription::to(SourceId(*id))).collect(),
            pinned_at: None,
            has_withheld: false,
        };
        let repo = Repository {
            id: RepoId(1),
            name: "prod".parse().expect("a name"),
            kind: RepoKind::R,
            description: String::new(),
            hidden: false,
            authenticated: false,
            created_at: Timestamp(0),
            changes: ChangePolicy::Any,
            // Source 3 is private.
            steps: vec![
                step(1, &[]),
                step(2, &[1]),
                step(3, &[1, 2]),
                step(4, &[1, 3, 2]),
                step(5, &[2, 1]),
                step(6, &[2, 1]),
                step(7, &[3]),
            ],
        };
        let events = subscription_events(&repo, |entry| {
            (entry.source != SourceId(3)).then(|| format!("s{}", entry.source.0))
        });
        let texts: Vec<(i64, String)> =
            events.into_iter().map(|event| (event.transaction.0, event.summary)).collect();
        let expected = [(2, "s1 added"), (3, "s2 added"), (5, "order s2, s1"), (7, "s2, s1 removed")];
        assert_eq!(texts, expected.map(|(number, text)| (number, text.to_owned())));
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list_change(&names[..2], &names[1..]), "c added; a removed");
    }

    #[test]
    fn only_the_current_day_has_not_ended() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let (past, today) = (day("2026-11-01"), day("2026-11-20"));
        let of = |snapshot: Snapshot, open: bool, frozen: bool| {
            let point = Point { open, frozen, ..Point::of_trees(RepoId(1), Language::R, Vec::new()) };
            stability(&point, snapshot, today)
        };
        assert_eq!(of(Snapshot::Latest, true, false), Stability::Newest);
        assert_eq!(of(Snapshot::Date(today), true, false), Stability::CurrentDay);
        assert_eq!(of(Snapshot::Date(past), true, false), Stability::Unfinished);
        // Block rules make every point open.
        assert_eq!(of(Snapshot::Date(past), true, true), Stability::Rules);
        assert_eq!(of(Snapshot::Date(past), false, false), Stability::Final);
    }
}
