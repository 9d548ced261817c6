//! Plans of curated sources of R packages, as a table and as CSV.

use super::output::{format_count, format_time, table};
use api::definition::{DefinitionPlan, PlannedPackage, PlannedRelease};
use base::model::kind::{SourceKind, Supply};
use base::model::text::csv_cell;

/// The header of the table; the first four columns are always present.
const COLUMNS: [&str; 9] =
    ["Name", "Version", "Change", "Why", "License", "Compiled", "Size", "Advisories", "Published"];

/// Returns the kind of the source of a plan; `None` for one that only a newer server has.
pub(super) fn kind(plan: &DefinitionPlan) -> Option<SourceKind> {
    plan.kind.parse().ok()
}

/// Returns a table of the changes, and the number of changes of each kind. With `show_kept`, the table also has
/// the packages that do not change.
pub(super) fn describe(plan: &DefinitionPlan, show_kept: bool) -> String {
    if kind(plan).is_some_and(|kind| kind.supply() == Supply::Snapshot) {
        return format!("All packages of CRAN as of {}", format_time(&plan.state_at));
    }
    let packages = plan.packages.iter().filter(|package| show_kept || package.state != "kept");
    let rows: Vec<Vec<String>> =
        packages.filter_map(|package| Some(row(package, package.release.as_ref()?))).collect();
    let rows = if rows.is_empty() { String::new() } else { format!("{}\n", table(&COLUMNS, rows)) };
    let blocked = plan.packages.iter().filter_map(|package| {
        let release = package.release.as_ref()?;
        let reason = release.blocked.as_ref()?;
        Some(format!("{} {} is {reason}\n", package.name, release.version))
    });
    let counts = counts(plan, &["added", "updated", "downgraded", "removed", "kept"]);
    format!("{rows}{}{counts}", blocked.collect::<String>())
}

/// Returns the number of packages in each of these states, and the time of the state of the index.
pub(super) fn counts(plan: &DefinitionPlan, states: &[&str]) -> String {
    let count = |state: &&str| {
        let count = plan.packages.iter().filter(|package| package.state == **state).count();
        format!("{count} {state}")
    };
    let counts: Vec<String> = states.iter().map(count).collect();
    let origin = kind(plan).map_or("an index", |kind| kind.language().mirror().label());
    format!("{}; selected from {origin} as of {}", counts.join(", "), format_time(&plan.state_at))
}

fn row(package: &PlannedPackage, release: &PlannedRelease) -> Vec<String> {
    let version = match &release.previous {
        Some(previous) => format!("{previous} -> {}", release.version),
        None => release.version.clone(),
    };
    vec![
        package.name.clone(),
        version,
        package.state.clone(),
        chain_text(&release.chain),
        release.license.clone().unwrap_or_default(),
        release.needs_compilation.map(yes_or_no).unwrap_or_default().to_owned(),
        release.size.map(format_count).unwrap_or_default(),
        if release.advisories == 0 { String::new() } else { release.advisories.to_string() },
        day(release).to_owned(),
    ]
}

/// Returns the day of publication. A day is printed instead of an age, so that the output does not depend on the
/// current day.
fn day(release: &PlannedRelease) -> &str {
    release.published.as_deref().and_then(|at| at.get(..10)).unwrap_or_default()
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// Returns the chain of dependencies from a requested package; `root` for a requested package itself.
pub(super) fn chain_text(chain: &[String]) -> String {
    match chain {
        [] => String::new(),
        [_] => "root".to_owned(),
        chain => chain.join(" > "),
    }
}

/// Returns the plan as CSV, with all packages.
pub(super) fn csv(packages: &[PlannedPackage]) -> String {
    let mut text =
        "name,version,previous,change,why,license,compiled,size,advisories,published,blocked\n".to_owned();
    for package in packages {
        let Some(release) = &package.release else { continue };
        let fields = [
            package.name.clone(),
            release.version.clone(),
            release.previous.clone().unwrap_or_default(),
            package.state.clone(),
            chain_text(&release.chain),
            release.license.clone().unwrap_or_default(),
            release.needs_compilation.map(yes_or_no).unwrap_or_default().to_owned(),
            release.size.map(|size| size.to_string()).unwrap_or_default(),
            release.advisories.to_string(),
            day(release).to_owned(),
            release.blocked.clone().unwrap_or_default(),
        ];
        text.push_str(&fields.map(|text| csv_cell(&text)).join(","));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, state: &str, release: PlannedRelease) -> PlannedPackage {
        PlannedPackage {
            name: name.to_owned(),
            state: state.to_owned(),
            release: Some(release),
            ..PlannedPackage::default()
        }
    }

    #[test]
    fn a_plan_is_a_table_with_counts_and_the_flags_of_the_commit() {
        let release = |version: &str, chain: &[&str]| PlannedRelease {
            version: version.to_owned(),
            chain: chain.iter().map(|name| (*name).to_owned()).collect(),
            ..PlannedRelease::default()
        };
        let scales =
            PlannedRelease { previous: Some("1.0".to_owned()), ..release("1.1", &["ggplot2", "scales"]) };
        let blocked = PlannedRelease {
            blocked: Some("blocked by rule 7 in 'prod': name".to_owned()),
            license: Some("GPL-2, \"x\"".to_owned()),
            ..release("3.5", &["ggplot2"])
        };
        let plan = DefinitionPlan {
            kind: "curated-cran".to_owned(),
            packages: vec![
                package("ggplot2", "added", blocked),
                package("R6", "kept", release("2.5", &["R6"])),
                package("scales", "updated", scales),
            ],
            problems: Vec::new(),
            notices: Vec::new(),
            snapshot: "2024-01-31".to_owned(),
            state_at: "2024-01-31T12:00:00.000000Z".to_owned(),
            sha256: String::new(),
            committed: false,
            transaction: None,
        };
        let text = describe(&plan, false);
        assert!(
            text.contains("1.0 -> 1.1") && text.contains("ggplot2 > scales") && !text.contains("R6"),
            "{text}"
        );
        assert!(text.contains("1 added, 1 updated, 0 downgraded, 0 removed, 1 kept"), "{text}");
        assert!(text.contains("ggplot2 3.5 is blocked by rule 7"), "{text}");
        assert!(describe(&plan, true).contains("R6"));
        let csv = csv(&plan.packages);
        let mut lines = csv.lines().skip(1);
        assert_eq!(
            lines.next(),
            Some("ggplot2,3.5,,added,root,\"GPL-2, \"\"x\"\"\",,,0,,blocked by rule 7 in 'prod': name")
        );
        assert_eq!(lines.next(), Some("R6,2.5,,kept,root,,,,0,,"));
        assert_eq!(lines.next(), Some("scales,1.1,1.0,updated,ggplot2 > scales,,,,0,,"));
    }
}
