//! `rspm create|edit|delete source`.

use super::args::{EditSource, NameArg};
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use api::operations::admin as operations;
use api::source::{self, Source};

/// Formats a source with the lines of Posit Package Manager.
pub fn describe(source: &Source) -> String {
    format!("Source '{}':\n  Type:  {}\n", source.name, source.type_label)
}

pub async fn create(client: &Client, output: &Output, args: source::CreateSource) -> Result<(), CliError> {
    let source = client.send::<operations::CreateSource>([], &args).await?;
    output.print(&source, || describe(&source))
}

pub async fn edit(client: &Client, output: &Output, args: EditSource) -> Result<(), CliError> {
    let source = client.send::<operations::EditSource>([&args.name], &args.request).await?;
    output.print(&source, || describe(&source))
}

pub async fn delete(client: &Client, output: &Output, args: NameArg) -> Result<(), CliError> {
    let _ = client.call::<operations::DeleteSource>([&args.name], &()).await?;
    output.print(&serde_json::json!({ "deleted": args.name }), || format!("Deleted source '{}'.", args.name))
}
