//! The table of a page. A column without content in any row is omitted.

use maud::{Markup, html};

/// The content of the cells of a column, which determines their alignment and line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Text,
    /// Names, versions and days, which are not broken.
    Name,
    Number,
    /// Texts of packages, in the direction of their script.
    Title,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) heading: Markup,
    content: Content,
    /// `aria-sort`, if the rows are sorted by this column.
    pub(super) order: Option<&'static str>,
}

impl Column {
    fn new(heading: &str, content: Content) -> Column {
        Column { heading: html! { (heading) }, content, order: None }
    }

    pub(super) fn text(heading: &str) -> Column {
        Column::new(heading, Content::Text)
    }

    pub(super) fn name(heading: &str) -> Column {
        Column::new(heading, Content::Name)
    }

    pub(super) fn number(heading: &str) -> Column {
        Column::new(heading, Content::Number)
    }

    pub(super) fn title(heading: &str) -> Column {
        Column::new(heading, Content::Title)
    }
}

/// Renders a table with an accessible name, which is scrolled on its own if it is wider than the window.
pub(super) fn table<const N: usize>(
    label: &str,
    columns: [Column; N],
    rows: impl IntoIterator<Item = [Markup; N]>,
) -> Markup {
    let rows: Vec<[Markup; N]> = rows.into_iter().collect();
    let is_used = |at: usize| rows.iter().any(|row| !row[at].0.is_empty());
    let used: Vec<(usize, &Column)> = columns.iter().enumerate().filter(|(at, _)| is_used(*at)).collect();
    let number = |column: &Column| (column.content == Content::Number).then_some("number");
    html! {
        section.scroll tabindex="0" aria-label=(label) { table {
            thead { tr { @for (_, column) in &used {
                th class=[number(column)] scope="col" aria-sort=[column.order] { (column.heading) }
            } } }
            tbody { @for row in &rows { tr { @for (at, column) in &used {
                @match column.content {
                    Content::Text => td { (row[*at]) },
                    Content::Name => td.name { (row[*at]) },
                    Content::Number => td.number { (row[*at]) },
                    Content::Title => td.title dir="auto" { (row[*at]) },
                }
            } } } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_without_content_is_omitted() {
        let columns = || [Column::name("A"), Column::text("B"), Column::number("C"), Column::title("D")];
        let cell = |text: &str| html! { (text) };
        let rows = [["x", "", "1", ""], ["y", "", "", "<b>"]].map(|row| row.map(cell));
        let html = table("Rows", columns(), rows).into_string();
        assert!(!html.contains('B') && html.matches("<th ").count() == 3, "{html}");
        assert!(
            html.contains("<td class=\"number\"></td><td class=\"title\" dir=\"auto\">&lt;b&gt;</td>"),
            "{html}"
        );
        let empty = table("Rows", columns(), []).into_string();
        assert!(!empty.contains("<th ") && !empty.contains("<td"), "{empty}");
    }
}
