//! `rspm explain`: prints the decisions for a request under headings, and the result.

use std::fmt::Write;

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::output::Output;
use api::explain::{self, Decision, Explanation, Topic};
use api::operations::admin as operations;

#[derive(Debug, Args)]
pub struct Explain {
    /// The repository
    pub repo: String,
    #[command(flatten)]
    pub query: explain::Explain,
}

pub async fn explain(client: &Client, output: &Output, args: Explain) -> Result<(), CliError> {
    let explanation = client.call::<operations::Explain>([&args.repo], &args.query).await?;
    output.print(&explanation, || text(&explanation))
}

fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut last_topic = None;
    for Decision { topic, subject, state, selected, rule } in &explanation.decisions {
        if last_topic.replace(*topic) != Some(*topic) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", heading(*topic));
        }
        let _ = writeln!(text, "{} {subject}: {state}", if *selected { "*" } else { " " });
        for line in rule.lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
    let reason = explanation.no_binary_reason.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let _ = writeln!(text, "\nThe client gets{reason}\n  {}", explanation.answer);
    text
}

fn heading(topic: Topic) -> &'static str {
    match topic {
        Topic::Snapshot => "Snapshot",
        Topic::Source => "Sources, in order",
        Topic::Release => "Release",
        Topic::Distribution => "Distribution",
        Topic::Client => "Client",
        Topic::Match => "Platform",
        Topic::Binary => "Binaries",
        Topic::File => "File",
        Topic::Build => "Last build from git",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_printed_below_their_headings_with_their_rules() {
        let decision = |topic, subject: &str, selected, rule: &str| Decision {
            topic,
            subject: subject.to_owned(),
            state: "lists 1.0".to_owned(),
            selected,
            rule: rule.to_owned(),
        };
        let explanation = Explanation {
            repo: "prod".to_owned(),
            package: "a".to_owned(),
            decisions: vec![
                decision(Topic::Source, "team", true, "the first"),
                decision(Topic::Source, "cran", false, ""),
                decision(Topic::Release, "a 1.0", true, ""),
            ],
            file: None,
            no_binary_reason: Some("ua_error_none".to_owned()),
            answer: "the source".to_owned(),
        };
        let expected = "Sources, in order\n* team: lists 1.0\n      the first\n  cran: lists 1.0\nRelease\n\
            * a 1.0: lists 1.0\n\nThe client gets (ua_error_none)\n  the source\n";
        assert_eq!(text(&explanation), expected);
    }
}
