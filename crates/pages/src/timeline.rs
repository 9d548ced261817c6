//! The releases of a package over time, as bars.

use maud::{Markup, html};

use super::calendar::Month;
use super::picture::{Picture, Scale};
use super::text::{self, visible};
use base::model::text::one_line;
use base::model::time::Day;

/// Maximum number of bars; the first ones are drawn.
const MAX_BARS: usize = 24;
/// Maximum number of characters of a label.
const MAX_LABEL: usize = 14;
/// Maximum number of days with a line and a label.
const MAX_TICKS: usize = 5;
/// Distance of two bars, in user units, as all lengths.
const STEP: i64 = 24;
const LABEL_WIDTH: i64 = 112;
const BARS_WIDTH: i64 = 360;
/// Space for the end of the last label of a day.
const MARGIN: i64 = 64;
/// Space for the labels of the days.
const BOTTOM: i64 = 24;

#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) version: String,
    pub(super) from: Day,
    /// The day on which another release replaced it; `None` if none did.
    pub(super) until: Option<Day>,
}

/// Renders releases from their days on, newest first, up to `end` or the last of these days. Nothing for fewer than two.
pub(super) fn timeline(package: &str, releases: &[Release], end: Option<Day>) -> Markup {
    let drawn = &releases[..releases.len().min(MAX_BARS)];
    let Some(first) = drawn.iter().map(|release| release.from).min().filter(|_| drawn.len() > 1) else {
        return html! {};
    };
    let days = drawn.iter().flat_map(|release| [Some(release.from), release.until]);
    let last = days.chain([end]).flatten().fold(first, Day::max);
    let scale = Scale { first: first.number(), last: last.number(), length: BARS_WIDTH };
    let height = STEP * i64::try_from(drawn.len()).unwrap_or(0);
    let title = format!("Releases of {} over time", visible(package));
    let description = format!(
        "{}, from {first} to {last}; the table has their days.",
        if drawn.len() < releases.len() {
            format!("The newest {} of {}", drawn.len(), text::count(releases.len(), "release", "releases"))
        } else {
            text::count(drawn.len(), "release", "releases")
        }
    );
    let picture = Picture {
        name: "timeline",
        width: LABEL_WIDTH + BARS_WIDTH + MARGIN,
        height: height + BOTTOM,
        title: &title,
        description: &description,
    };
    let bar = |release: &Release| {
        let x = scale.at(release.from.number());
        let until = scale.at(release.until.unwrap_or(last).number());
        (LABEL_WIDTH + x, (until - x).max(3))
    };
    picture.render(
        "img",
        &html! {
            @for (day, label) in ticks(first, last) {
                @let x = LABEL_WIDTH + scale.at(day.number());
                path.tick d={ "M" (x) " 0v" (height) } {}
                text x=(x) y=(height + 16) { (label) }
            }
            @for (at, release) in (0_i64..).zip(drawn) {
                @let (x, width) = bar(release);
                text x="0" y=(at * STEP + 17) { (visible(&one_line(&release.version, MAX_LABEL))) }
                rect class=[release.until.is_none().then_some("current")] x=(x) y=(at * STEP + 4) width=(width) height=(STEP - 8) rx="2" {}
            }
        },
    )
}

/// Returns the beginnings of some years, or else of some months, or else the first day; each with its label.
fn ticks(first: Day, last: Day) -> Vec<(Day, String)> {
    let mut months: Vec<(Day, Month)> = Vec::new();
    let mut month = Month::of(first).next();
    while let Some(day) = month.first_day().filter(|day| *day <= last) {
        months.push((day, month));
        month = month.next();
    }
    let years: Vec<(Day, Month)> = months.iter().copied().filter(|(_, month)| month.is_january()).collect();
    let thinned = |all: Vec<(Day, Month)>| all.len().div_ceil(MAX_TICKS).max(1);
    match (years.len(), months.len()) {
        (0..=1, 0) => vec![(first, first.to_string())],
        (0..=1, _) => {
            let step = thinned(months.clone());
            months.into_iter().step_by(step).map(|(day, month)| (day, month.to_string())).collect()
        }
        _ => {
            let step = thinned(years.clone());
            let label = |(day, month): (Day, Month)| (day, month.year().to_string());
            years.into_iter().step_by(step).map(label).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn release(version: &str, from: &str, until: Option<&str>) -> Release {
        Release { version: version.to_owned(), from: day(from), until: until.map(day) }
    }

    #[test]
    fn bars_begin_and_end_at_their_days() {
        let releases = [
            release("2.0", "2026-01-01", None),
            release("1.0", "2025-01-01", Some("2026-01-01")),
            release("0.9", "2024-01-01", Some("2024-01-01")),
        ];
        let html = timeline("a", &releases, Some(day("2027-01-01"))).into_string();
        for part in [
            "<title id=\"timeline-title\">Releases of a over time</title>",
            "3 releases, from 2024-01-01 to 2027-01-01; the table has their days.",
            "<rect class=\"current\" x=\"352\" y=\"4\" width=\"120\"",
            "<rect x=\"232\" y=\"28\" width=\"120\"",
            "<rect x=\"112\" y=\"52\" width=\"3\"",
            ">2025</text>",
            ">2027</text>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert_eq!(timeline("a", &releases[..1], Some(day("2027-01-01"))).into_string(), "", "one release");
    }

    #[test]
    fn labels_are_few_and_of_years_or_months_or_one_day() {
        let labels = |first: &str, last: &str| -> Vec<String> {
            ticks(day(first), day(last)).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels("2024-05-01", "2026-05-01"), ["2025", "2026"]);
        assert_eq!(labels("2026-01-15", "2026-03-20"), ["2026-02", "2026-03"]);
        assert_eq!(labels("2026-01-15", "2026-01-16"), ["2026-01-15"]);
        assert_eq!(labels("1997-01-01", "2026-05-01"), ["1998", "2004", "2010", "2016", "2022"]);
        assert_eq!(labels("2024-12-15", "2025-12-20"), ["2025-01", "2025-04", "2025-07", "2025-10"]);
    }

    #[test]
    fn a_picture_of_many_hostile_versions_is_small_and_escaped() {
        let version = "<script>\u{202e}&\"'".repeat(20);
        let releases: Vec<Release> = (0..500).map(|_| release(&version, "1997-01-01", None)).collect();
        let html = timeline(&"<b>".repeat(50), &releases, None).into_string();
        assert!(html.len() <= 6_000, "{} bytes", html.len());
        assert!(html.contains("The newest 24 of 500 releases"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains('\u{202e}'), "{html}");
    }
}
