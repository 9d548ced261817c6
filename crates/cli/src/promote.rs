//! `rspm promote` and `rspm list promotions`.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_time, table, warn};
use api::operations::admin as operations;
use api::promotion::{
    DecidePromotion, ListPromotions, PromotedFile, PromotedPackage, PromotedSource, PromotedState, Promotion,
    PromotionPlan, RequestPromotion,
};
use base::model::recorded_words::PromotionState;

/// Maximum number of packages in the table of a plan; the JSON output has all.
const MAX_ROWS: usize = 100;

/// Maximum number of files of a package in the text of a plan.
const MAX_FILES: usize = 10;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("operation").required(true).args(["from", "approve", "reject", "show"]))]
pub struct Promote {
    /// Repository whose state is promoted; the same repository as --to, with --snapshot, to return to an earlier
    /// state
    #[arg(long, requires = "to", value_name = "REPO")]
    pub from: Option<String>,
    /// Repository that changes
    #[arg(long, requires = "from", value_name = "REPO")]
    pub to: Option<String>,
    #[command(flatten)]
    pub request: RequestPromotion,
    /// Approve and apply the promotion with this number
    #[arg(long, value_name = "ID")]
    pub approve: Option<i64>,
    /// Reject the promotion with this number
    #[arg(long, value_name = "ID")]
    pub reject: Option<i64>,
    /// Print the promotion with this number and what it changes
    #[arg(long, value_name = "ID")]
    pub show: Option<i64>,
    /// Comment, for the transaction and the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    pub comment: String,
}

pub async fn promote(client: &Client, output: &Output, args: Promote) -> Result<(), CliError> {
    let Promote { from, to, request, approve, reject, show, comment } = args;
    let body = DecidePromotion { comment: comment.clone() };
    let decided = match (approve, reject) {
        (Some(id), _) => Some(client.send::<operations::ApprovePromotion>([&id.to_string()], &body).await?),
        (None, Some(id)) => Some(client.send::<operations::RejectPromotion>([&id.to_string()], &body).await?),
        (None, None) => None,
    };
    if let Some(promotion) = decided {
        return output.print(&promotion, || summary(&promotion));
    }
    if let Some(id) = show {
        let promotion = client.call::<operations::Promotion>([&id.to_string()], &()).await?;
        promotion.plan.iter().for_each(print_warnings);
        return output.print(&promotion, || describe(&promotion));
    }
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    let body = RequestPromotion { from: from.clone(), comment, ..request };
    let result = client.send::<operations::Promote>([&to], &body).await?;
    if let Some(plan) = &result.plan {
        print_warnings(plan);
    }
    output.print(&result, || match (&result.plan, &result.promotion) {
        (Some(plan), _) => describe_plan(plan, body.snapshot.is_none().then_some((&from, &to))),
        (None, Some(promotion)) => summary(promotion),
        (None, None) => format!("Nothing to promote: repository '{to}' already has this state of '{from}'."),
    })
}

pub async fn list(client: &Client, output: &Output, args: ListPromotions) -> Result<(), CliError> {
    let promotions = client.call::<operations::Promotions>([], &args).await?;
    output.print(&promotions, || {
        if promotions.is_empty() {
            return "No promotions.".to_owned();
        }
        let row = |p: &Promotion| {
            let decided_by = p.decided_by.clone().unwrap_or_default();
            let repositories = format!("{} to {}", p.from, p.to);
            let requested = format_time(&p.requested);
            vec![
                p.id.to_string(),
                repositories,
                p.state.to_string(),
                requested,
                p.requested_by.clone(),
                decided_by,
            ]
        };
        table(&["ID", "Promotion", "State", "Requested", "By", "Decided by"], promotions.iter().map(row))
    })
}

/// Prints the warnings of a plan on standard error.
fn print_warnings(plan: &PromotionPlan) {
    for warning in &plan.warnings {
        warn(warning);
    }
}

/// Returns the sentence for the result of a request or a decision.
fn summary(promotion: &Promotion) -> String {
    let Promotion { id, from, to, .. } = promotion;
    match (promotion.state, promotion.transaction) {
        (PromotionState::Applied, Some(transaction)) => {
            format!("Promoted '{from}' to '{to}' in transaction {transaction} (promotion {id}).")
        }
        (PromotionState::Requested, _) => format!(
            "Requested promotion {id} of '{from}' to '{to}'. Another person must approve it: rspm promote --approve={id}"
        ),
        (state, _) => format!("Promotion {id} of '{from}' to '{to}' is {state}."),
    }
}

/// Formats a promotion with its difference.
fn describe(promotion: &Promotion) -> String {
    let mut lines = vec![
        summary(promotion),
        format!("State of '{}' as of {}", promotion.from, format_time(&promotion.state_at)),
        format!(
            "Requested by {} at {}{}",
            promotion.requested_by,
            format_time(&promotion.requested),
            suffix(&promotion.comment)
        ),
    ];
    if let (Some(by), Some(at)) = (&promotion.decided_by, &promotion.decided) {
        let verb = if promotion.state == PromotionState::Rejected { "Rejected" } else { "Approved" };
        lines.push(format!("{verb} by {by} at {}{}", format_time(at), suffix(&promotion.reason)));
    }
    let record = |plan: &PromotionPlan| match &plan.sha256 {
        Some(sha256) => format!("Plan as it was recorded with the request, SHA-256 {sha256}:"),
        None => "The request has no recorded plan; the difference under the current rules:".to_owned(),
    };
    let plan = promotion.plan.as_ref();
    let plan = plan.map(|plan| format!("\n\n{}\n{}", record(plan), describe_plan(plan, None)));
    format!("{}{}", lines.join("\n"), plan.unwrap_or_default())
}

fn suffix(comment: &str) -> String {
    if comment.is_empty() { String::new() } else { format!(": {comment}") }
}

/// Formats a difference. `repositories` are the promoted repository and the repository that changes; with them,
/// the text ends with the command that promotes exactly this state.
fn describe_plan(plan: &PromotionPlan, repositories: Option<(&String, &String)>) -> String {
    let source = |source: &PromotedSource| {
        let version = source.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
        vec![
            format!("{}{version}", source.name),
            describe_state(source.before.as_ref()),
            describe_state(source.after.as_ref()),
        ]
    };
    let mut text = table(&["Source", "Before", "After"], plan.sources.iter().map(source));
    let package = |package: &PromotedPackage| {
        // A package that has a source before and afterwards, but no version, comes from an index.
        let version = |version: &Option<String>| match (version, &package.from_source) {
            (Some(version), _) => version.clone(),
            (None, Some(_)) => "not known".to_owned(),
            (None, None) => String::new(),
        };
        let source = match &package.from_source {
            Some(from) => format!("{} (was {from})", package.source),
            None => package.source.clone(),
        };
        vec![
            package.name.clone(),
            package.change.clone(),
            version(&package.from_version),
            version(&package.to_version),
            source,
        ]
    };
    let packages: Vec<Vec<String>> = plan.packages.iter().take(MAX_ROWS).map(package).collect();
    if !packages.is_empty() {
        text += &format!("\n{}", table(&["Package", "Change", "From", "To", "Source"], packages));
    }
    if let Some(more) = plan.packages.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        text += &format!("and {more} more; -o json shows all\n");
    }
    let files: String = plan.packages.iter().take(MAX_ROWS).filter_map(describe_files).collect();
    if !files.is_empty() {
        text += &format!("\n{files}");
    }
    text += &format!("\n{}\n", counts(&plan.packages));
    if plan.has_rules {
        text += "The block rules and name guards of the time of the plan are applied; later ones can only withhold versions.\n";
    }
    if !plan.not_compared.is_empty() {
        text += &format!("The packages of {} are not compared.\n", plan.not_compared.join(", "));
    }
    if let (Some((from, to)), Some(transaction)) = (repositories, plan.transaction) {
        text += &format!(
            "To promote exactly this state, run: rspm promote --from={from} --to={to} --snapshot={transaction}\n"
        );
    }
    text
}

/// Returns the line about the files of a package that differ; `None` if there are none but those that a new version adds.
fn describe_files(package: &PromotedPackage) -> Option<String> {
    let is_of_new_version = |file: &&PromotedFile| {
        package.change == "updated"
            && file.change == "added"
            && Some(&file.version) == package.to_version.as_ref()
    };
    let files: Vec<&PromotedFile> = package.files.iter().filter(|file| !is_of_new_version(file)).collect();
    let named: Vec<String> =
        files.iter().take(MAX_FILES).map(|file| format!("{} {}", file.name, file.change)).collect();
    if named.is_empty() {
        return None;
    }
    let more = files.len().checked_sub(MAX_FILES).filter(|more| *more > 0);
    let more = more.map(|more| format!(", and {more} more; -o json shows all")).unwrap_or_default();
    Some(format!("Files of {}: {}{more}\n", package.name, named.join(", ")))
}

fn describe_state(state: Option<&PromotedState>) -> String {
    let Some(state) = state else { return "not subscribed".to_owned() };
    let content = match (&state.at, state.transaction) {
        (Some(at), Some(transaction)) => format!("transaction {transaction}, {}", format_time(at)),
        (Some(at), None) => format_time(at),
        (None, _) => "nothing published".to_owned(),
    };
    format!("{}. {content}", state.position)
}

/// Returns the number of packages with each kind of change.
fn counts(packages: &[PromotedPackage]) -> String {
    const KINDS: [&str; 7] = ["added", "updated", "downgraded", "replaced", "changed", "moved", "removed"];
    let count = |kind: &&str| {
        let count = packages.iter().filter(|package| package.change == **kind).count();
        (count > 0).then(|| format!("{count} {kind}"))
    };
    let counts: Vec<String> = KINDS.iter().filter_map(count).collect();
    if counts.is_empty() {
        "No package differs.".to_owned()
    } else {
        format!("Packages: {}", counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, change: &str) -> PromotedPackage {
        PromotedPackage {
            name: name.to_owned(),
            change: change.to_owned(),
            from_version: None,
            to_version: Some("1.0".to_owned()),
            source: "team".to_owned(),
            from_source: None,
            files: Vec::new(),
        }
    }

    #[test]
    fn a_plan_names_the_files_that_differ_and_the_earlier_source() {
        let file = |name: &str, version: &str, change: &str| PromotedFile {
            name: name.to_owned(),
            version: version.to_owned(),
            change: change.to_owned(),
        };
        let files = vec![file("a-0.9.whl", "0.9", "added"), file("a-1.0.whl", "1.0", "added")];
        let many = (10..22).map(|n| file(&format!("b-{n}.whl"), &n.to_string(), "yanked"));
        let packages = vec![
            PromotedPackage { files: files.clone(), ..package("a", "updated") },
            PromotedPackage { files: many.collect(), ..package("b", "changed") },
            PromotedPackage { files, ..package("c", "changed") },
            PromotedPackage { files: vec![file("d-1.0.whl", "1.0", "added")], ..package("d", "updated") },
            PromotedPackage {
                to_version: None,
                from_version: Some("0.1".to_owned()),
                source: "pypi".to_owned(),
                from_source: Some("team".to_owned()),
                ..package("e", "moved")
            },
        ];
        let text = describe_plan(&PromotionPlan { packages, ..PromotionPlan::default() }, None);
        for part in [
            "e        moved    0.1   not known  pypi (was team)\n",
            "\nFiles of a: a-0.9.whl added\nFiles of b: b-10.whl yanked, ",
            "b-19.whl yanked, and 2 more; -o json shows all\nFiles of c: a-0.9.whl added, a-1.0.whl added\n\nPackages: ",
            "Packages: 2 updated, 2 changed, 1 moved\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("b-20.whl") && !text.contains("Files of d"), "{text}");
    }

    #[test]
    fn a_plan_names_the_state_to_request_and_counts_the_packages() {
        let state = PromotedState {
            position: 1,
            at: Some("2026-11-20T12:00:00.000001Z".to_owned()),
            transaction: Some(5),
        };
        let source =
            PromotedSource { name: "team".to_owned(), version: None, before: None, after: Some(state) };
        let packages = (0..150).map(|n| package(&format!("p{n}"), "added")).chain([package("q", "updated")]);
        let plan = PromotionPlan {
            sources: vec![source],
            packages: packages.collect(),
            has_rules: true,
            not_compared: vec!["pypi".to_owned()],
            sha256: None,
            transaction: Some(9),
            warnings: Vec::new(),
        };
        let (dev, prod) = ("dev".to_owned(), "prod".to_owned());
        let text = describe_plan(&plan, Some((&dev, &prod)));
        for part in [
            "team    not subscribed  1. transaction 5, 2026-11-20 12:00:00 UTC",
            "p99 ",
            "and 51 more; -o json shows all\n",
            "Packages: 150 added, 1 updated\n",
            "The block rules and name guards of the time of the plan are applied",
            "The packages of pypi are not compared.\n",
            "run: rspm promote --from=dev --to=prod --snapshot=9\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("p100 "), "{text}");
        let nothing = describe_plan(&PromotionPlan::default(), None);
        assert!(nothing.ends_with("\nNo package differs.\n"), "{nothing}");
    }
}
