//! The table of results.

/// A measured figure and its target.
struct Row {
    what: String,
    ours: String,
    yardstick: String,
    ratio: String,
    aim: &'static str,
}

/// The results.
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Report {
        Report { rows: Vec::new() }
    }

    /// Adds a ratio with its two values.
    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        ours: impl Into<String>,
        yardstick: impl Into<String>,
        ratio: impl Into<String>,
        aim: &'static str,
    ) {
        let row = Row {
            what: what.into(),
            ours: ours.into(),
            yardstick: yardstick.into(),
            ratio: ratio.into(),
            aim,
        };
        eprintln!("  {}: {} against {} → {} (aim {})", row.what, row.ours, row.yardstick, row.ratio, row.aim);
        self.rows.push(row);
    }

    /// Prints the table in Markdown.
    pub(crate) fn print(&self) {
        println!("\n| what | ours | yardstick | ratio | aim |\n|---|---|---|---|---|");
        for r in &self.rows {
            println!("| {} | {} | {} | {} | {} |", r.what, r.ours, r.yardstick, r.ratio, r.aim);
        }
    }
}

/// Returns the median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
