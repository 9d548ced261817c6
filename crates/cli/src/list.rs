//! `rspm list …` and `rspm info`.

use serde::Serialize;

use super::args::{Info, ListBinaries, ListPackages};
use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, format_time, table};
use super::repo::{changes, version_suffix};
use api::binary::Binary;
use api::choices::{BioconductorVersion, LicenseType, ListLicenseTypes};
use api::operations::admin as operations;
use api::repo::{ListRepos, Repo};
use api::source::{ListSources, Source};
use base::model::kind::Layout;
use base::model::text::count_of;

pub async fn overview(client: &Client, output: &Output) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Overview {
        repos: Vec<Repo>,
        sources: Vec<Source>,
    }
    let overview = Overview {
        repos: client.call::<operations::Repos>([], &ListRepos::default()).await?,
        sources: client.call::<operations::Sources>([], &ListSources::default()).await?,
    };
    output.print(&overview, || {
        format!("Repositories\n{}\nSources\n{}", repo_table(&overview.repos), source_table(&overview.sources))
    })
}

pub async fn repos(client: &Client, output: &Output, args: ListRepos) -> Result<(), CliError> {
    let repos = client.call::<operations::Repos>([], &args).await?;
    output.print(&repos, || repo_table(&repos))
}

pub async fn sources(client: &Client, output: &Output, args: ListSources) -> Result<(), CliError> {
    let sources = client.call::<operations::Sources>([], &args).await?;
    output.print(&sources, || source_table(&sources))
}

pub async fn distributions(client: &Client, output: &Output) -> Result<(), CliError> {
    let distributions = client.call::<operations::Distributions>([], &()).await?;
    output.print(&distributions, || {
        let rows: Vec<Vec<String>> = distributions
            .iter()
            .map(|d| {
                let r = d.r_version.as_ref().map(|r| format!("R {r}{}", if d.forced { " only" } else { "" }));
                let hidden = d.hidden.then(|| "hidden".to_owned());
                let notes = r.into_iter().chain(hidden).collect::<Vec<_>>().join(", ");
                let url = if d.url == d.name { String::new() } else { d.url.clone() };
                let (arch, aliases) = (d.arch.join(", "), d.aliases.join(", "));
                vec![d.name.clone(), url, d.display.clone(), arch, aliases, notes]
            })
            .collect();
        table(&["Name", "In URLs", "Distribution", "Architectures", "Also", "Notes"], rows)
    })
}

pub async fn bioconductor_versions(client: &Client, output: &Output) -> Result<(), CliError> {
    let versions = client.call::<operations::BioconductorVersions>([], &()).await?;
    output.print(&versions, || {
        if versions.is_empty() {
            return "Bioconductor has not been synced yet. Sync it: rspm sync --type=bioconductor".to_owned();
        }
        let row = |v: &BioconductorVersion| {
            let packages = v.packages.map_or_else(|| "not synced".to_owned(), format_count);
            let change_time = v.changed.as_deref().map(format_time).unwrap_or_default();
            let (version, r) = (v.version.clone(), v.r_version.clone());
            vec![version, r, v.status.clone(), v.cran_snapshot.clone(), packages, change_time]
        };
        table(&["Version", "R", "Status", "CRAN", "Packages", "Last change"], versions.iter().map(row))
    })
}

pub async fn binaries(client: &Client, output: &Output, args: ListBinaries) -> Result<(), CliError> {
    let binaries = client.call::<operations::SourceBinaries>([&args.source], &args.query).await?;
    output.print(&binaries, || {
        if binaries.is_empty() {
            let name = args.query.package.as_deref().unwrap_or_default();
            return format!("No binaries of {name} in source '{}'.", args.source);
        }
        let row = |b: &Binary| {
            let publication_date = b.published.get(..10).unwrap_or("").to_owned();
            // Enough digits to distinguish files; the JSON has all.
            let sha256 = b.sha256.as_deref().unwrap_or_default().chars().take(16).collect();
            vec![b.version.clone(), b.platform.clone(), b.arch.clone(), publication_date, sha256]
        };
        table(&["Version", "Platform", "Architecture", "Published", "SHA-256"], binaries.iter().map(row))
    })
}

pub async fn packages(client: &Client, output: &Output, args: ListPackages) -> Result<(), CliError> {
    let ListPackages { repo, source, query } = args;
    let page = match (&repo, &source) {
        (Some(repo), _) => client.call::<operations::RepoPackages>([repo], &query).await?,
        (None, source) => {
            let source = source.as_deref().unwrap_or_default();
            client.call::<operations::SourcePackages>([source], &query).await?
        }
    };
    output.print(&page, || {
        let rows: Vec<Vec<String>> = page
            .packages
            .iter()
            .map(|p| {
                let publication_date = p.published.as_deref().unwrap_or("").get(..10).unwrap_or("");
                vec![p.name.clone(), p.version.clone(), p.source.clone(), publication_date.to_owned()]
            })
            .collect();
        let (count, total) = (rows.len(), format_count(page.total));
        match (count, page.total) {
            (0, 0) => "No packages.".to_owned(),
            (0, 1) => format!("Page {} is past the end: there is 1 package.", page.page),
            (0, _) => format!("Page {} is past the end: there are {total} packages.", page.page),
            _ => format!("{}\n{count} of {total}", table(&["Name", "Version", "Source", "Published"], rows)),
        }
    })
}

pub async fn info(client: &Client, output: &Output, args: Info) -> Result<(), CliError> {
    if let Some(name) = args.repo {
        let repo = client.call::<operations::Repo>([&name], &()).await?;
        return output.print(&repo, || {
            let state_at =
                repo.state_at.as_deref().map(|at| format!("; serves the state of {}", format_time(at)));
            let changes = changes(&repo).to_owned() + &state_at.unwrap_or_default();
            let sources: Vec<String> = repo
                .sources
                .iter()
                .map(|s| format!("{}{} ({})", s.name, version_suffix(s), s.type_label))
                .collect();
            fields(&[
                ("Repository", repo.name.clone()),
                ("Type", repo.kind.clone()),
                ("Description", repo.description.clone()),
                ("Hidden", if repo.hidden { "yes" } else { "no" }.to_owned()),
                ("Created", format_time(&repo.created)),
                ("Changes", changes),
                ("Sources", sources.join(", ")),
                ("URL", repo.url.clone()),
            ])
        });
    }
    let source = client.call::<operations::Source>([&args.source.unwrap_or_default()], &()).await?;
    output.print(&source, || {
        // The sources that a migration of the schema creates have the epoch as their time of creation.
        let is_built_in = source.created.starts_with("1970-01-01");
        let last_transaction = source.last_transaction.as_ref().map_or_else(
            || "none yet".to_owned(),
            |t| {
                format!(
                    "{} at {} ({} added, {} updated, {} archived, {} removed)",
                    t.id,
                    format_time(&t.at),
                    t.added,
                    t.updated,
                    t.archived,
                    t.removed
                )
            },
        );
        let index = source.index.as_ref();
        let state_at = index.and_then(|index| index.state_at.as_deref());
        let first_sync = index.and_then(|index| index.first_sync.as_deref());
        let definition = source.definition.as_ref();
        let written = definition.filter(|definition| !definition.files.is_empty());
        let summary = written.map(|definition| {
            let names: Vec<&str> = definition.files.iter().map(|file| file.name.as_str()).collect();
            format!("{}, SHA-256 {}", names.join(", "), definition.sha256)
        });
        let language = source.kind.language();
        let selected = definition.map(|definition| {
            let origin = language.mirror().label();
            format!("snapshot {}, {origin} as of {}", definition.snapshot, format_time(&definition.state_at))
        });
        let with_dependencies = written
            .filter(|definition| language.layout() == Layout::Projects && definition.include.is_some());
        let dependencies = with_dependencies.map(|definition| {
            format!("{} that others require", count_of(definition.dependencies.len(), "package", "packages"))
        });
        fields(&[
            ("Source", source.name.clone()),
            ("Type", source.type_label.clone()),
            (
                "Created",
                if is_built_in { "with the server".to_owned() } else { format_time(&source.created) },
            ),
            ("Packages", format_count(source.packages)),
            ("Pages read", index.map(|index| format_count(index.read_projects)).unwrap_or_default()),
            ("First sync", first_sync.map(format_time).unwrap_or_default()),
            ("State as of", state_at.map(format_time).unwrap_or_default()),
            ("Definition", summary.unwrap_or_default()),
            ("Dependencies", dependencies.unwrap_or_default()),
            ("Selected from", selected.unwrap_or_default()),
            ("Last transaction", last_transaction),
        ])
    })
}

fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{:<width$}  {value}\n", format!("{name}:")))
        .collect()
}

fn repo_table(repos: &[Repo]) -> String {
    if repos.is_empty() {
        return "There is no repository yet. Create one: rspm create repo --name=NAME\n".to_owned();
    }
    let rows: Vec<Vec<String>> = repos
        .iter()
        .map(|r| {
            let sources: Vec<String> =
                r.sources.iter().map(|s| format!("{}{}", s.name, version_suffix(s))).collect();
            let hidden = if r.hidden { "hidden" } else { "" }.to_owned();
            vec![r.name.clone(), r.kind.clone(), sources.join(", "), r.description.clone(), hidden]
        })
        .collect();
    table(&["Name", "Type", "Sources", "Description", ""], rows)
}

fn source_table(sources: &[Source]) -> String {
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|s| {
            let last = s.last_transaction.as_ref().map_or_else(String::new, |t| format_time(&t.at));
            vec![s.name.clone(), s.type_label.clone(), format_count(s.packages), last]
        })
        .collect();
    table(&["Name", "Type", "Packages", "Last change"], rows)
}

pub async fn license_types(client: &Client, output: &Output, args: ListLicenseTypes) -> Result<(), CliError> {
    let types = client.call::<operations::LicenseTypes>([], &args).await?;
    output.print(&types, || {
        if types.is_empty() {
            return "No packages.".to_owned();
        }
        let row = |license: &LicenseType| {
            let packages =
                license.packages.map(|count| format_count(i64::try_from(count).unwrap_or(i64::MAX)));
            [Some(license.id.clone()), packages, Some(license.name.clone())].into_iter().flatten().collect()
        };
        let rows: Vec<Vec<String>> = types.iter().map(row).collect();
        match args.current {
            true => table(&["Type", "Packages", "License"], rows),
            false => table(&["Type", "License"], rows),
        }
    })
}
