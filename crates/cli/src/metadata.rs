//! `rspm create|list|delete metadata` and `rspm create bulk-metadata`.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, table};
use super::{csv_records, input};
use api::metadata::{
    DeleteMetadata, ListMetadata, Metadata, MetadataRecord, MetadataResult, RefusedMetadata, SetMetadata,
};
use api::operations::admin as operations;
use api::row::Row;
use base::model::errors::refused_rows;
use base::model::text::count_of;

/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 12 << 20;

#[derive(Debug, Args)]
pub struct CreateMetadata {
    #[command(flatten)]
    pub record: MetadataRecord,
    #[command(flatten)]
    pub request: SetMetadata,
}

#[derive(Debug, Args)]
pub struct CreateBulkMetadata {
    /// A JSON file: an array of objects with the keys package_name, key, value, and optionally version, source, repo
    /// (default: standard input)
    #[arg(long, conflicts_with = "csv_in", value_name = "FILE")]
    pub path: Option<PathBuf>,
    /// Instead of --path: a CSV file, whose first line has these keys
    #[arg(long, value_name = "FILE")]
    pub csv_in: Option<PathBuf>,
    /// Set no value if one is refused
    #[arg(long)]
    pub fail_all: bool,
    /// Print an example of a JSON file
    #[arg(long)]
    pub show_example: bool,
    #[command(flatten)]
    pub request: SetMetadata,
}

#[derive(Debug, Args)]
pub struct DeleteMetadataArgs {
    /// Ids as in `rspm list metadata`, comma separated or repeated, or all
    #[arg(long, required = true, value_delimiter = ',', value_name = "ID")]
    pub id: Vec<String>,
}

pub(super) async fn create(client: &Client, output: &Output, args: CreateMetadata) -> Result<(), CliError> {
    let record = serde_json::to_value(args.record)?;
    let body = SetMetadata { records: vec![record.into()], fail_all: true, ..args.request };
    let result = client.send::<operations::SetMetadata>([], &body).await?;
    let (rows, word) = match (&result.created[..], &result.updated[..]) {
        ([], []) => (&result.unchanged, "exists already"),
        ([], _) => (&result.updated, "was updated"),
        _ => (&result.created, "was created"),
    };
    let row = rows.first().ok_or_else(|| CliError::refused("the server set no value"))?;
    output.print(row, || {
        format!("Metadata {} {word}: {} = {} for {}", row.id, row.key, one_line(&row.value), subject(row))
    })
}

/// `rspm create bulk-metadata`. Fails if the file cannot be read, or values are refused; without `--fail-all` the other
/// values are set.
pub(super) async fn create_bulk(
    client: &Client,
    output: &Output,
    args: CreateBulkMetadata,
) -> Result<(), CliError> {
    let rows: Vec<Result<Row, String>> = match (&args.path, &args.csv_in) {
        (_, Some(file)) => {
            let records = parse_csv(&input::read(Some(file), MAX_FILE)?);
            let records =
                records.map_err(|reason| CliError::refused(format!("{}: {reason}", file.display())))?;
            records.into_iter().map(|record| record.map(Row::from)).collect()
        }
        (file, None) => {
            let name = input::name(file.as_deref());
            let text = input::read(file.as_deref(), MAX_FILE)?;
            let rows: Vec<Row> =
                serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|reason| {
                    CliError::refused(format!(
                        "{name}: {reason}\nFor an example: rspm create bulk-metadata --show-example"
                    ))
                })?;
            rows.into_iter().map(Ok).collect()
        }
    };
    let (mut records, mut positions, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for (index, row) in rows.into_iter().enumerate() {
        match row {
            Ok(record) => {
                records.push(record);
                positions.push(index);
            }
            Err(error) => unreadable.push(RefusedMetadata { index, error }),
        }
    }
    if args.fail_all && !unreadable.is_empty() {
        return Err(refusal(&unreadable));
    }
    let body = SetMetadata { records, fail_all: args.fail_all, ..args.request };
    let result = client.send::<operations::SetMetadata>([], &body).await;
    let mut result: MetadataResult = result.map_err(|error: CliError| match positions.as_slice() {
        // The server gives no number to the only row of a request.
        [only] => error.of_row("record", only + 1),
        _ => error,
    })?;
    for refused in &mut result.refused {
        refused.index = positions.get(refused.index).copied().unwrap_or(refused.index);
    }
    result.refused.extend(unreadable);
    result.refused.sort_by_key(|refused| refused.index);
    output.print(&result, || {
        format!(
            "{} created, {} updated, {} unchanged, {} refused",
            result.created.len(),
            result.updated.len(),
            result.unchanged.len(),
            result.refused.len()
        )
    })?;
    if result.refused.is_empty() { Ok(()) } else { Err(refusal(&result.refused)) }
}

fn refusal(refused: &[RefusedMetadata]) -> CliError {
    let rows = refused.iter().map(|refused| (refused.index + 1, refused.error.as_str()));
    CliError::refused(refused_rows("record", rows))
}

/// `rspm create bulk-metadata --show-example`.
pub(super) fn show_example(output: &Output) -> Result<(), CliError> {
    let of_package = MetadataRecord {
        package_name: "ggplot2".to_owned(),
        key: "status".to_owned(),
        value: "approved".to_owned(),
        ..MetadataRecord::default()
    };
    let of_version = MetadataRecord {
        version: Some("3.5.2".to_owned()),
        repo: Some("prod".to_owned()),
        key: "reviewed by".to_owned(),
        value: "Statistics".to_owned(),
        ..of_package.clone()
    };
    let example = [of_package, of_version];
    let text = serde_json::to_string_pretty(&example)?;
    output.print(&example, || text)
}

pub(super) async fn list(client: &Client, output: &Output, args: ListMetadata) -> Result<(), CliError> {
    let rows = client.call::<operations::Metadata>([], &args).await?;
    output.print(&rows, || {
        if rows.is_empty() {
            return "No metadata.".to_owned();
        }
        let row = |row: &Metadata| {
            vec![
                row.id.to_string(),
                row.package_name.clone(),
                row.version.clone().unwrap_or_default(),
                row.source.clone().unwrap_or_default(),
                row.repo.clone().unwrap_or_default(),
                row.key.clone(),
                one_line(&row.value),
            ]
        };
        table(&["Id", "Package", "Version", "Source", "Repository", "Key", "Value"], rows.iter().map(row))
    })
}

/// `rspm delete metadata`. Fails if an id is not a number, or the server refuses.
pub(super) async fn delete(
    client: &Client,
    output: &Output,
    args: DeleteMetadataArgs,
) -> Result<(), CliError> {
    let body = match args.id.as_slice() {
        [all] if all == "all" => DeleteMetadata { all: true, ids: Vec::new() },
        ids => {
            let number = |id: &String| {
                id.trim()
                    .parse()
                    .map_err(|_| CliError::refused(format!("--id: '{id}' is neither a number nor all")))
            };
            DeleteMetadata { all: false, ids: ids.iter().map(number).collect::<Result<_, _>>()? }
        }
    };
    let rows = client.send::<operations::DeleteMetadata>([], &body).await?;
    output.print(&rows, || match rows.as_slice() {
        [] => "There was no metadata.".to_owned(),
        rows => rows
            .iter()
            .map(|row| format!("Metadata {} was deleted: {} for {}\n", row.id, row.key, subject(row)))
            .collect(),
    })
}

/// Returns the packages to which a row applies: `tally 1.0, source team`.
fn subject(row: &Metadata) -> String {
    let version = row.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let source = row.source.as_ref().map(|name| format!(", source {name}")).unwrap_or_default();
    let repo = row.repo.as_ref().map(|name| format!(", repository {name}")).unwrap_or_default();
    format!("{}{version}{source}{repo}", row.package_name)
}

fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads the records of a CSV file, whose first line names the columns. A record that does not have the fields of the
/// first line is an error in its place. Fails if the first line is not valid, or the file is not a CSV file.
fn parse_csv(text: &str) -> Result<Vec<Result<Value, String>>, String> {
    const COLUMNS: [&str; 6] = ["package_name", "version", "source", "repo", "key", "value"];
    let mut rows = csv_records::parse(text)?.into_iter();
    let (_, header) = rows.next().ok_or("it is empty")?;
    let columns: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
    for (position, name) in columns.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) {
            return Err(format!("line 1: there is no column '{name}'; there are {}", COLUMNS.join(", ")));
        }
        if columns.iter().take(position).any(|other| other == name) {
            return Err(format!("line 1: the column '{name}' is repeated"));
        }
    }
    for name in ["package_name", "key", "value"] {
        if !columns.iter().any(|column| column == name) {
            return Err(format!("line 1: the column '{name}' is missing"));
        }
    }
    let record = |(line, fields): (usize, Vec<String>)| {
        if fields.len() != columns.len() {
            let count = count_of(fields.len(), "field", "fields");
            return Err(format!("line {line}: {count}, but line 1 has {}", columns.len()));
        }
        Ok(columns.iter().cloned().zip(fields.into_iter().map(Value::from)).collect())
    };
    Ok(rows.map(record).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_csv_file_has_columns_in_any_order() {
        let records = parse_csv("Key,value,package_name,repo\nstatus,\"a, b\",tally,\n").expect("valid");
        let expected = json!({ "package_name": "tally", "key": "status", "value": "a, b", "repo": "" });
        assert_eq!(records, [Ok(expected)]);
    }

    #[test]
    fn a_wrong_csv_file_is_refused_with_the_line() {
        for (text, error) in [
            ("", "it is empty"),
            ("key,value\n", "line 1: the column 'package_name' is missing"),
            ("key,key,value,package_name\n", "line 1: the column 'key' is repeated"),
            ("name,key,value\n", "line 1: there is no column 'name'"),
        ] {
            let reason = parse_csv(text).expect_err(text);
            assert!(reason.starts_with(error), "{reason}");
        }
        let records = parse_csv("package_name,key,value\n\nx,y\nx\na,b,c\n").expect("a first line");
        assert_eq!(records[0], Err("line 3: 2 fields, but line 1 has 3".to_owned()));
        assert_eq!(records[1], Err("line 4: 1 field, but line 1 has 3".to_owned()));
        assert_eq!(records[2], Ok(json!({ "package_name": "a", "key": "b", "value": "c" })));
    }
}
