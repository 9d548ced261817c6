//! The table of results.

/// A measurement, its reference and its target, as texts with units.
struct Row {
    name: String,
    value: String,
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

    /// Adds a row, and prints it to standard error.
    pub(crate) fn row(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
        reference: impl Into<String>,
        ratio: impl Into<String>,
        target: &'static str,
    ) {
        let row = Row {
            name: name.into(),
            value: value.into(),
            reference: reference.into(),
            ratio: ratio.into(),
            target,
        };
        eprintln!(
            "  {}: {} against {} → {} (target {})",
            row.name, row.value, row.reference, row.ratio, row.target
        );
        self.rows.push(row);
    }

    /// Adds a row for a measurement that was not possible, with the reason.
    pub(crate) fn error(&mut self, name: impl Into<String>, reason: &str, target: &'static str) {
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        self.row(name, "—", format!("error: {reason}"), "—", target);
    }

    /// Prints the table in Markdown.
    pub(crate) fn print(&self) {
        println!("\n| measurement | rstudio-pm | reference | ratio | target |\n|---|---|---|---|---|");
        for r in &self.rows {
            println!("| {} | {} | {} | {} | {} |", r.name, r.value, r.reference, r.ratio, r.target);
        }
    }
}

/// Returns the median; of an even number of values the greater of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median and the 99th percentile.
pub(crate) fn percentiles(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() * 99 / 100])
}
