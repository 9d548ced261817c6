//! The downloads of a package by day: a picture, and a table with the same numbers.

use maud::{Markup, html};

use super::calendar::{WEEKDAYS, weekday};
use super::frame::{Frame, Location, Root, Section};
use super::picture::{Picture, bars};
use super::table::{Column, table};
use super::text::{self, number, visible};
use base::model::time::Day;

/// Distance of two bars, in user units.
const STEP: i64 = 5;
/// Height of the highest bar, in user units.
const HEIGHT: i64 = 120;
/// Space above and below the bars, in user units.
const MARGIN: i64 = 22;

#[derive(Clone, Debug)]
pub struct Downloads {
    pub location: Location,
    pub package: String,
    /// The days of whole weeks with their downloads, the oldest first.
    pub days: Vec<(Day, i64)>,
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
        let sum: i64 = self.days.iter().map(|(_, count)| count).sum();
        frame.render(&html! {
            h1 { "Downloads of " (visible(&self.package)) }
            p {
                "From this server: " strong { (number(sum)) } " in " (self.days.len().div_ceil(7)) " weeks, "
                (number(self.total)) " since counting began."
            }
            (self.picture(sum))
            (self.weeks())
        })
    }

    fn picture(&self, sum: i64) -> Markup {
        let Some(((first, _), (last, _))) = self.days.first().zip(self.days.last()).filter(|_| sum > 0)
        else {
            return html! {};
        };
        let counts: Vec<i64> = self.days.iter().map(|(_, count)| *count).collect();
        let highest = counts.iter().copied().max().unwrap_or(0);
        let (title, base) = (format!("Downloads of {} by day", visible(&self.package)), MARGIN + HEIGHT);
        let description = format!(
            "{} downloads from {first} to {last}, at most {} on a day; the table has the numbers.",
            number(sum),
            number(highest)
        );
        let width = STEP * i64::try_from(counts.len()).unwrap_or(0);
        let picture = Picture {
            name: "downloads",
            width,
            height: base + MARGIN,
            title: &title,
            description: &description,
        };
        picture.render(
            "img",
            &html! {
                path.tick d={ "M0 " (MARGIN) "h" (width) "M0 " (base) "h" (width) } {}
                text x="0" y=(MARGIN - 6) { (number(highest)) }
                g transform={ "translate(0 " (MARGIN) ")" } { path.bars d=(bars(&counts, STEP, HEIGHT)) {} }
                text x="0" y=(base + 16) { (first) }
                text.end x=(width) y=(base + 16) { (last) }
            },
        )
    }

    /// Renders the table: a row for each week, the newest first.
    fn weeks(&self) -> Markup {
        let begin = self.days.first().map_or(0, |(day, _)| usize::try_from(weekday(*day)).unwrap_or(0));
        let columns = std::array::from_fn::<Column, 9, _>(|at| match at {
            0 => Column::name("Week from"),
            8 => Column::number("Week"),
            at => Column::number(WEEKDAYS[(begin + at - 1) % 7]),
        });
        let row = |week: &[(Day, i64)]| {
            std::array::from_fn::<Markup, 9, _>(|at| match (at, week.get(at.wrapping_sub(1))) {
                (0, _) => html! { @if let Some((day, _)) = week.first() { (text::day(*day)) } },
                (8, _) => html! { strong { (number(week.iter().map(|(_, count)| count).sum::<i64>())) } },
                (_, day) => html! { @if let Some((_, count)) = day { (number(*count)) } },
            })
        };
        table("Downloads by day", columns, self.days.chunks(7).rev().map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_counts_and_in_the_table() {
        let first = "2026-11-02".parse::<Day>().expect("a day").number();
        let days = [0, 1_000, 1, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
        let downloads = Downloads {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: "<a>".to_owned(),
            days: (first..).map(Day::from_number).zip(days).collect(),
            total: 5_000,
        };
        let html = downloads.render(Root::of_path("/prod/latest/web/packages/a/downloads/"));
        for part in [
            "<strong>1\u{202f}008</strong> in 2 weeks, 5\u{202f}000 since",
            "1\u{202f}008 downloads from 2026-11-02 to 2026-11-15, at most 1\u{202f}000 on a day;",
            "d=\"M5 120v-120h4v120zM10 120v-1h4v1zM35 120v-1h4v1z\"",
            "&lt;a&gt;",
            "2026-11-09</time></td><td class=\"number\">7</td>",
            "<td class=\"number\"><strong>1\u{202f}001</strong></td>",
            "scope=\"col\">Mo</th>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let none = Downloads { days: Vec::new(), ..downloads.clone() };
        assert!(!none.render(Root::of_path("/")).contains("<svg"));
        let many = (first..first + 91).map(|number| (Day::from_number(number), number.pow(3)));
        let many = Downloads { days: many.collect(), package: "<script>".repeat(100), ..downloads };
        let picture = many.picture(1).into_string();
        assert!(picture.len() <= 6_000 && !picture.contains("<script"), "{} bytes: {picture}", picture.len());
    }
}
