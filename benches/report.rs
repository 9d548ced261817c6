//! The table of results.

/// A measured figure and its target.
struct Row {
    name: String,
    ours: String,
    reference: String,
    ratio: String,
    target: &'static str,
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
        name: impl Into<String>,
        ours: impl Into<String>,
        reference: impl Into<String>,
        ratio: impl Into<String>,
        target: &'static str,
    ) {
        let row = Row {
            name: name.into(),
            ours: ours.into(),
            reference: reference.into(),
            ratio: ratio.into(),
            target,
        };
        eprintln!(
            "  {}: {} against {} → {} (target {})",
            row.name, row.ours, row.reference, row.ratio, row.target
        );
        self.rows.push(row);
    }

    /// Prints the table in Markdown.
    pub(crate) fn print(&self) {
        println!("\n| measurement | rstudio-pm | reference | ratio | target |\n|---|---|---|---|---|");
        for r in &self.rows {
            println!("| {} | {} | {} | {} | {} |", r.name, r.ours, r.reference, r.ratio, r.target);
        }
    }
}

/// Returns the median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
