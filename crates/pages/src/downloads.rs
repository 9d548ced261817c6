//! The downloads of a package by week: a chart, and a table with the same numbers.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::text::{self, number, visible};
use base::model::time::Day;

/// Width of the chart, in SVG user units.
const WIDTH: usize = 390;
/// Height of the highest bar, in SVG user units.
const HEIGHT: usize = 80;
/// Space between bars, in SVG user units.
const GAP: usize = 4;

#[derive(Clone, Debug)]
pub struct Downloads {
    pub location: Location,
    pub package: String,
    /// The first day of each week and the downloads in it, the oldest first.
    pub weeks: Vec<(Day, i64)>,
    /// All downloads since counting began.
    pub total: i64,
}

impl Downloads {
    pub fn render(&self, root: Root) -> String {
        let Location { repo, snapshot } = &self.location;
        let frame = Frame {
            location: Some((self.location.clone(), Section::Packages)),
            package: Some((self.package.clone(), Some("Downloads"))),
            ..Frame::new(root, format!("Downloads of {}, {repo}, {snapshot}", visible(&self.package)))
        };
        let sum: i64 = self.weeks.iter().map(|(_, count)| count).sum();
        frame.render(&html! {
            h1 { "Downloads of " (visible(&self.package)) }
            p { "From this server: " (number(sum)) " in " (self.weeks.len()) " weeks, " (number(self.total)) " since counting began." }
            (self.chart())
            section.scroll tabindex="0" aria-label="Downloads by week" { table {
                thead { tr { th scope="col" { "Week from" } th.number scope="col" { "Downloads" } } }
                tbody { @for (day, count) in self.weeks.iter().rev() { tr {
                    td { (text::day(*day)) }
                    td.number { (number(*count)) }
                } } }
            } }
        })
    }

    /// Renders the chart. Sizes are attributes, because the policy of the pages forbids inline styles.
    fn chart(&self) -> Markup {
        let highest = self.weeks.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let lowest = self.weeks.iter().map(|(_, count)| *count).min().unwrap_or(0);
        let step = WIDTH / self.weeks.len().max(1);
        let bar = |at: usize, count: i64| {
            let height = usize::try_from(count.max(0).saturating_mul(HEIGHT as i64) / highest).unwrap_or(0);
            let height = height.max(usize::from(count > 0));
            (at * step, HEIGHT - height, step.saturating_sub(GAP).max(1), height)
        };
        html! {
            svg.bars viewbox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) role="img"
                aria-label={ "Downloads by week: " (number(lowest)) " to " (number(highest)) "; the table has the numbers" } {
                @for (at, (_, count)) in self.weeks.iter().enumerate() {
                    @let (x, y, width, height) = bar(at, *count);
                    rect x=(x) y=(y) width=(width) height=(height) fill="currentColor" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_counts_and_in_the_table() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let downloads = Downloads {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: "<a>".to_owned(),
            weeks: vec![(day("2026-11-02"), 0), (day("2026-11-09"), 1_000), (day("2026-11-16"), 1)],
            total: 5_000,
        };
        let html = downloads.render(Root::of_path("/prod/latest/web/packages/a/downloads/"));
        for part in [
            "1\u{202f}001 in 3 weeks, 5\u{202f}000 since",
            "<rect x=\"0\" y=\"80\" width=\"126\" height=\"0\"",
            "<rect x=\"130\" y=\"0\" width=\"126\" height=\"80\"",
            "<rect x=\"260\" y=\"79\" width=\"126\" height=\"1\"",
            "&lt;a&gt;",
            "2026-11-16",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let none = Downloads { weeks: Vec::new(), ..downloads };
        assert!(!none.render(Root::of_path("/")).contains("<rect"));
    }
}
