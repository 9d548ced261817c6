//! The page of health: what needs a hand, with the command beside it, and the facts of the server.

use maud::{Markup, html};

use super::{AdministrationFrame, AdministrationSection};
use crate::picture::{Picture, Scale, bars};
use crate::table::{Column, table};
use crate::text::{count, number, size, time, visible};
use api::backup::LastBackupResult;
use api::health::{
    EndingToken, Health, HealthProblem, HistoryHealth, HourOfRequests, JobNumbers, KindOfRequests,
    RecentRequests, StorageDirectory,
};
use base::model::recorded_words::RecordedCommand;

/// Distance of two bars, in user units.
const STEP: i64 = 20;
/// Height of the highest bar, in user units.
const HEIGHT: i64 = 80;
/// Space above and below the bars, in user units.
const MARGIN: i64 = 22;
/// Percentage of a file system in use from which it is marked.
const FULL_PERCENT: u64 = 90;

pub fn show(page: &AdministrationFrame, health: &Health) -> String {
    let section = |section: AdministrationSection, name: &str| html! { a href=(section.address(&page.root)) { (name) } };
    page.render(
        "Health",
        &html! {
            (problems(health))
            h2 { "Requests" }
            (requests(&health.requests))
            h2 { "Storage" }
            (storage(&health.storage))
            p { (section(AdministrationSection::Storage, "All classes, with their owners and the trash")) }
            h2 { "Jobs and builds" }
            (work(&health.work))
            p { (section(AdministrationSection::Jobs, "All jobs, with their results")) }
            h2 { "Schedules" }
            (syncs(health))
            h2 { "Tokens" }
            (tokens(health))
            p { (section(AdministrationSection::Tokens, "All tokens")) }
            h2 { "Certificate, backups and log" }
            dl.facts {
                dt { "HTTPS" }
                dd { @match &health.certificate_end {
                    None => { "no certificate: this server encrypts nothing itself" }
                    Some(end) => { "the certificate ends " (time(end)) }
                } }
                (backups(&health.backups))
                dt { "Log" }
                dd { (history(health.history.as_ref())) }
            }
            p.muted {
                "As of " (time(&health.at)) ". The problems in a terminal: " code { "rspm status" }
                ". For graphs and alerts see " a href={ (page.root) "__docs__/metrics/" } { "metrics" } "."
            }
        },
    )
}

fn problems(health: &Health) -> Markup {
    let Health { problems, problem_count, .. } = health;
    if problems.is_empty() {
        return html! { p role="status" { span.ok { "Nothing needs a hand." } } };
    }
    html! {
        h2 { "What needs a hand" }
        ul.problems { @for problem in problems { (self::problem(problem)) } }
        @if *problem_count > problems.len() {
            p { "And " (count(problem_count - problems.len(), "other problem", "other problems")) ": " code { "rspm status" } }
        }
    }
}

fn problem(problem: &HealthProblem) -> Markup {
    let sentence = visible(&problem.message);
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    // A sentence that begins with the name of a job keeps it.
    let is_name = sentence.starts_with(&problem.name);
    html! {
        li {
            p dir="auto" {
                @if is_name { (sentence) } @else { (first) (letters.as_str()) }
                "."
                @if let Some(since) = &problem.since { " " small { "Since " (time(since)) } }
            }
            pre tabindex="0" { code { (visible(&problem.command)) } }
        }
    }
}

fn requests(requests: &RecentRequests) -> Markup {
    let sum = |count: fn(&HourOfRequests) -> u64| requests.hours.iter().map(count).sum::<u64>();
    let (all, refused, failed) =
        (sum(|hour| hour.requests), sum(|hour| hour.client_errors), sum(|hour| hour.server_errors));
    html! {
        p {
            strong { (whole(all)) } " since " (time(&requests.since)) ": "
            @if failed == 0 { span.ok { "none failed" } } @else { span.danger { (whole(failed)) " failed" } }
            " (5xx), " (whole(refused)) " named something that is not there or not permitted (4xx)."
        }
        @if all > 0 {
            (hours(requests))
            (kinds(&requests.kinds))
        }
        p.muted {
            "Counted in the memory of this process since its start, at most for 24 hours; other servers have their own. Times \
             include the transfer to slow clients."
        }
    }
}

/// Renders a picture of the hours, and a table with the same numbers.
fn hours(requests: &RecentRequests) -> Markup {
    let values = |count: fn(&HourOfRequests) -> u64| -> Vec<i64> {
        requests.hours.iter().map(|hour| i64::try_from(count(hour)).unwrap_or(i64::MAX)).collect()
    };
    let (all, failed) = (values(|hour| hour.requests), values(|hour| hour.server_errors));
    let highest = |values: &[i64]| values.iter().copied().max().unwrap_or(0);
    let scale = Scale { first: 0, last: highest(&all), length: HEIGHT };
    let failed_height = scale.at(highest(&failed)).max(1);
    let (width, base) = (STEP * i64::try_from(all.len()).unwrap_or(0), MARGIN + HEIGHT);
    let description = format!(
        "At most {} in an hour, and at most {} that failed; the table has the numbers.",
        number(highest(&all)),
        number(highest(&failed))
    );
    let picture = Picture {
        name: "hours",
        width,
        height: base + MARGIN,
        title: "Requests by the hour",
        description: &description,
    };
    let labels = requests.hours.first().zip(requests.hours.last());
    let clock = |hour: &HourOfRequests| hour.start.get(11..16).unwrap_or_default().to_owned();
    let rows = requests.hours.iter().rev().filter(|hour| hour.requests > 0).map(|hour| {
        [
            time(&hour.start),
            html! { (whole(hour.requests)) },
            html! { (whole(hour.client_errors)) },
            html! { (whole(hour.server_errors)) },
        ]
    });
    let columns =
        [Column::name("Hour from"), Column::number("Requests"), Column::number("4xx"), Column::number("5xx")];
    html! {
        (picture.render("img", &html! {
            path.tick d={ "M0 " (MARGIN) "h" (width) "M0 " (base) "h" (width) } {}
            text x="0" y=(MARGIN - 6) { (number(highest(&all))) }
            g transform={ "translate(0 " (MARGIN) ")" } { path.bars d=(bars(&all, STEP, HEIGHT)) {} }
            g transform={ "translate(0 " (base - failed_height) ")" } {
                path.failed d=(bars(&failed, STEP, failed_height)) {}
            }
            @if let Some((first, last)) = labels {
                text x="0" y=(base + 16) { (clock(first)) }
                text.end x=(width) y=(base + 16) { (clock(last)) }
            }
        }))
        details { summary { "By the hour" } (table("Requests of each hour", columns, rows)) }
    }
}

/// Renders the kinds of addresses, the slowest ones first.
fn kinds(kinds: &[KindOfRequests]) -> Markup {
    let columns = [
        Column::name("Slowest addresses"),
        Column::number("Requests"),
        Column::number("Failed"),
        Column::number("Half within"),
        Column::number("95 % within"),
        Column::number("Slowest"),
        Column::title("Its path"),
    ];
    table(
        "Slowest addresses",
        columns,
        kinds.iter().map(|kind| {
            [
                html! { (kind.name) },
                html! { (whole(kind.requests)) },
                html! { @if kind.server_errors > 0 { span.danger { (whole(kind.server_errors)) } } @else { "0" } },
                html! { (duration(kind.half_within)) },
                html! { (duration(kind.most_within)) },
                html! { (duration(kind.slowest)) },
                html! {
                    code.long { (visible(&kind.slowest_path)) }
                    @if let Some(at) = &kind.slowest_at { " " br; small { (time(at)) } }
                },
            ]
        }),
    )
}

fn storage(directories: &[StorageDirectory]) -> Markup {
    if directories.is_empty() {
        return html! { p { "The space is measured within a minute after the start." } };
    }
    let columns =
        [Column::text("Classes"), Column::name("Location"), Column::number("Files"), Column::number("Free")];
    table(
        "Storage",
        columns,
        directories.iter().map(|directory| {
            [
                html! { (directory.classes.join(", ")) },
                html! { code { (visible(&directory.location)) } },
                html! { @match directory.used { None => { "not measured" } Some(used) => { (size(used)) } } },
                free(directory),
            ]
        }),
    )
}

/// Renders the free space on the file system of a directory.
fn free(directory: &StorageDirectory) -> Markup {
    let Some((all, free)) = directory.size.zip(directory.free).filter(|(all, _)| *all > 0) else {
        return html! { "not measured" };
    };
    let used = u128::from(all.saturating_sub(free)) * 100 / u128::from(all);
    let text = html! { (size(free)) " of " (size(all)) };
    html! {
        @if used >= u128::from(FULL_PERCENT) { span.danger { (text) } } @else { (text) }
    }
}

fn work(work: &JobNumbers) -> Markup {
    let failed =
        |number: i64| html! { @if number > 0 { span.danger { (number) " failed" } } @else { "none failed" } };
    html! {
        dl.facts {
            dt { "Jobs" }
            dd { (work.running_jobs) " running on this server; " (failed(work.failed_jobs)) " within 24 hours" }
            dt { "Builds" }
            dd {
                (work.waiting_builds) " waiting, " (work.running_builds) " running; " (failed(work.failed_builds))
                " within 24 hours"
            }
        }
    }
}

fn syncs(health: &Health) -> Markup {
    if health.schedules.is_empty() {
        return html! { p { "The database did not return the schedules in time: " code { "rspm status" } } };
    }
    let is_problem = |name: &str| {
        let key = format!("sync:{name}");
        health.problems.iter().any(|problem| problem.kind == "job" && problem.name == key)
    };
    let columns =
        [Column::name("Task"), Column::name("State"), Column::text("Last success"), Column::text("Next run")];
    table(
        "Schedules",
        columns,
        health.schedules.iter().map(|schedule| {
            [
                html! { (schedule.name) },
                html! {
                    @if is_problem(&schedule.name) { span.danger { "needs a hand" } }
                    @else if schedule.last.is_some() { span.ok { "well" } }
                    @else { "no run yet" }
                },
                html! { @match &schedule.last { None => { "never" } Some(at) => { (time(at)) } } },
                html! { @match &schedule.next { None => { "none" } Some(at) => { (time(at)) } } },
            ]
        }),
    )
}

fn tokens(health: &Health) -> Markup {
    if health.tokens.is_empty() {
        return html! { p { "No token ends within 30 days, except those for less than four weeks." } };
    }
    let columns =
        [Column::name("Token"), Column::title("Purpose"), Column::text("Ends"), Column::text("Last used")];
    let row = |token: &EndingToken| {
        [
            html! { code { (token.excerpt) } },
            html! { (visible(&token.description)) @if !token.user.is_empty() { " (" (visible(&token.user)) ")" } },
            html! { (time(&token.expires)) },
            html! { @match &token.last_used { None => { "never" } Some(day) => { (time(day)) } } },
        ]
    };
    html! {
        p { "These end within 30 days:" }
        (table("Tokens that end soon", columns, health.tokens.iter().map(row)))
        @if health.more_tokens { p { "And more: " code { "rspm list tokens" } } }
    }
}

/// Renders the facts about the last backup and the last test of each folder.
fn backups(backups: &[LastBackupResult]) -> Markup {
    html! {
        @if backups.is_empty() {
            dt { "Backup" }
            dd { "none was made yet: " code { "rspm backup create --to=FOLDER" } }
        }
        @for LastBackupResult { place, command, at, error, last_success, missing } in backups {
            dt { @if *command == RecordedCommand::Test { "Test of a backup" } @else { "Backup" } }
            dd {
                (time(at)) " in " code.long { (visible(place)) }
                @if *missing > 0 { "; " (whole(*missing)) " files were missing" }
                @if let Some(error) = error {
                    ": " span.danger { "failed" } ", " (visible(error))
                    @if let Some(success) = last_success { "; the last success was " (time(success)) }
                }
            }
        }
    }
}

fn history(log: Option<&HistoryHealth>) -> Markup {
    let Some(log) = log else {
        return html! { "this server keeps no log of what it published: " code { "rspm history init" } };
    };
    html! {
        code.long { (visible(&log.origin)) } ": " (whole(log.entries)) " entries, " (whole(log.signed)) " signed, "
        (count(log.waiting, "transaction", "transactions")) " waiting; "
        (count(log.witnesses, "witness", "witnesses"))
        @if let Some(at) = &log.cosigned_at { ", cosigned by all " (time(at)) }
        @if let Some(reason) = &log.pause { "; " span.danger { "paused" } ": " (visible(reason)) }
    }
}

fn whole(count: u64) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Formats milliseconds with a unit in which the number is short.
fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..100_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => format!("{} min", whole(milliseconds / 60_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Root;

    const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}x";

    fn page() -> AdministrationFrame {
        AdministrationFrame {
            root: Root::of_path("/__ui__/admin/health/"),
            section: AdministrationSection::Health,
            object: None,
            form_token: Some("0a".to_owned()),
            done: None,
            rejected: None,
        }
    }

    fn problem(message: &str, command: &str) -> HealthProblem {
        HealthProblem {
            kind: "job".to_owned(),
            name: "sync:cran".to_owned(),
            message: message.to_owned(),
            command: command.to_owned(),
            since: Some("2026-11-20T09:14:03Z".to_owned()),
        }
    }

    fn health() -> Health {
        let hour = |number: u64| HourOfRequests {
            start: format!("2026-11-20T{number:02}:00:00Z"),
            requests: if number == 22 { 200 } else { 0 },
            client_errors: 20,
            server_errors: if number == 22 { 50 } else { 0 },
        };
        Health {
            at: "2026-11-20T23:00:00Z".to_owned(),
            problems: Vec::new(),
            problem_count: 0,
            requests: RecentRequests {
                since: "2026-11-20T00:00:00Z".to_owned(),
                hours: (0..24).map(hour).collect(),
                kinds: vec![KindOfRequests {
                    name: "Web pages".to_owned(),
                    example: "/prod/".to_owned(),
                    requests: 200,
                    server_errors: 50,
                    half_within: 25,
                    most_within: 2_500,
                    slowest: 180_000,
                    slowest_path: format!("/{HOSTILE}"),
                    slowest_at: Some("2026-11-20T22:05:00Z".to_owned()),
                }],
            },
            storage: vec![StorageDirectory {
                classes: vec!["cran".to_owned(), "pypi".to_owned()],
                location: format!("/srv/{HOSTILE}"),
                used: Some(5_000_000),
                size: Some(100),
                free: Some(9),
            }],
            work: JobNumbers { waiting_builds: 3, failed_builds: 2, ..JobNumbers::default() },
            tokens: vec![EndingToken {
                guid: "0a".to_owned(),
                excerpt: "rspm_a…b".to_owned(),
                description: HOSTILE.to_owned(),
                user: HOSTILE.to_owned(),
                expires: "2026-12-01T00:00:00Z".to_owned(),
                last_used: None,
            }],
            more_tokens: true,
            certificate_end: Some("2027-01-01T00:00:00Z".to_owned()),
            backups: vec![LastBackupResult {
                place: HOSTILE.to_owned(),
                command: RecordedCommand::Create,
                at: "2026-11-20T01:00:00Z".to_owned(),
                error: Some(HOSTILE.to_owned()),
                last_success: Some("2026-11-19T01:00:00Z".to_owned()),
                missing: 0,
            }],
            history: Some(HistoryHealth {
                origin: HOSTILE.to_owned(),
                entries: 12,
                signed: 12,
                waiting: 1,
                pause: Some(HOSTILE.to_owned()),
                witnesses: 2,
                cosigned_at: None,
            }),
            schedules: Vec::new(),
        }
    }

    #[test]
    fn a_server_without_problems_is_one_line_and_the_facts() {
        let html = show(&page(), &health());
        for part in [
            "<span class=\"ok\">Nothing needs a hand.</span>",
            "<strong>200</strong> since",
            "<span class=\"danger\">50 failed</span>",
            // The bar of failures is a quarter as high.
            "<path class=\"bars\" d=\"M440 80v-80h19v80z\">",
            "<g transform=\"translate(0 82)\"><path class=\"failed\" d=\"M440 20v-20h19v20z\">",
            ">25 ms<",
            ">2.5 s<",
            ">3 min<",
            "<span class=\"danger\">9 bytes of 100 bytes</span>",
            "3 waiting, 0 running; <span class=\"danger\">2 failed</span>",
            "And more: <code>rspm list tokens</code>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("What needs a hand"), "{html}");
    }

    #[test]
    fn texts_of_others_are_escaped() {
        let problems = vec![problem(HOSTILE, HOSTILE)];
        let html = show(&page(), &Health { problems, problem_count: 1, ..health() });
        assert!(!html.contains("<script>alert") && !html.contains('\u{202e}'), "{html}");
    }

    #[test]
    fn each_problem_has_its_command_and_the_rest_is_counted() {
        let problems = vec![
            problem("sync:cran failed; the last good state is served: gone", "rspm sync --type=cran"),
            problem("the file system is full", "rspm list storage"),
        ];
        let html = show(&page(), &Health { problems, problem_count: 52, ..health() });
        for part in [
            "<p dir=\"auto\">sync:cran failed; the last good state is served: gone.",
            "<code>rspm sync --type=cran</code>",
            "<p dir=\"auto\">The file system is full.",
            "And 50 other problems: <code>rspm status</code>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
