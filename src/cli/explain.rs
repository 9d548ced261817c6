//! `rspm explain`: prints the steps of resolving a request under headings, and the result.

use std::fmt::Write;

use super::args::Explain;
use super::client::{Client, segment};
use super::error::CliError;
use super::output::Output;
use crate::api::explain::{Explanation, Step, Topic};

/// `rspm explain`.
///
/// # Errors
/// The server refuses: no such repository, snapshot or distribution.
pub async fn explain(client: &Client, output: &Output, args: Explain) -> Result<(), CliError> {
    let parameters = [
        ("package", Some(args.package)),
        ("version", args.version),
        ("distribution", args.distribution),
        ("user_agent", args.user_agent),
        ("date", Some(args.date)),
        ("bioconductor", args.bioc_version),
    ];
    let query: Vec<String> = parameters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment(&value?))))
        .collect();
    let path = format!("/repos/{}/explain?{}", segment(&args.repo), query.join("&"));
    let explanation: Explanation = client.get(&path).await?;
    output.print(&explanation, || text(&explanation))
}

fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut under = None;
    for step in &explanation.steps {
        if under.replace(step.about) != Some(step.about) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", heading(step.about));
        }
        let Step { subject, found, wins, rule, .. } = step;
        let _ = writeln!(text, "{} {subject}: {found}", if *wins { "*" } else { " " });
        if !rule.is_empty() {
            let _ = writeln!(text, "      {rule}");
        }
    }
    let failed = explanation.failed.as_ref().map(|word| format!(" ({word})")).unwrap_or_default();
    let _ = writeln!(text, "\nThe client gets{failed}\n  {}", explanation.answer);
    text
}

fn heading(about: Topic) -> &'static str {
    match about {
        Topic::Snapshot => "Snapshot",
        Topic::Source => "Sources, in order",
        Topic::Release => "Release",
        Topic::Distribution => "Distribution",
        Topic::Client => "Client",
        Topic::Match => "What fits",
        Topic::Build => "Binaries",
        Topic::File => "File",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_printed_below_their_headings_with_their_rules() {
        let step = |about, subject: &str, wins, rule: &str| Step {
            about,
            subject: subject.to_owned(),
            found: "lists 1.0".to_owned(),
            wins,
            rule: rule.to_owned(),
        };
        let explanation = Explanation {
            repo: "prod".to_owned(),
            package: "a".to_owned(),
            steps: vec![
                step(Topic::Source, "team", true, "the first"),
                step(Topic::Source, "cran", false, ""),
                step(Topic::Release, "a 1.0", true, ""),
            ],
            file: None,
            failed: Some("ua_error_none".to_owned()),
            answer: "the source".to_owned(),
        };
        let expected = "Sources, in order\n* team: lists 1.0\n      the first\n  cran: lists 1.0\nRelease\n\
            * a 1.0: lists 1.0\n\nThe client gets (ua_error_none)\n  the source\n";
        assert_eq!(text(&explanation), expected);
    }
}
