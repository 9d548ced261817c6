//! `list from-…`: reads what another server has, and since when, and prints the list of an import. One file for each kind of
//! origin.

mod autoindex;
mod cran;
mod devpi;
mod events;
mod folder;
mod git;
mod index;
mod snapshots;

use std::io::{BufWriter, Write};
use std::path::Path;

use super::args::{ListOrigin, OriginKind};
use super::destination::{Destination, persist};
use super::error::{ExitStatus, OfflineError};
use super::progress::Output;
use super::setup::{client, now};
use base::model::import_list::Event;
use base::model::text::count_of;
use events::Events;

pub(super) async fn run(mut args: ListOrigin, output: Output) -> Result<ExitStatus, OfflineError> {
    check_flags(&args)?;
    let has_address = matches!(args.kind, OriginKind::FromIndex | OriginKind::FromCran);
    if has_address && !args.origin.contains("://") {
        args.origin = Destination::open(Path::new(&args.origin))?.url()?;
    }
    let (mut events, origin) = (Events::new(now()), args.origin.as_str());
    let upstream = client(args.outbound_proxy.clone(), None)?;
    let result = match args.kind {
        OriginKind::FromFolder => {
            tokio::task::block_in_place(|| folder::read(Path::new(origin), &mut events))
        }
        OriginKind::FromIndex => index::read(upstream, &args, &mut events).await,
        OriginKind::FromCran => cran::read(&upstream, origin, &mut events, output).await,
        OriginKind::FromSnapshots => snapshots::read(upstream, origin, &mut events).await,
        OriginKind::FromGit => tokio::task::block_in_place(|| git::read(&args, &mut events)),
        OriginKind::FromDevpi => match &args.index {
            Some(index) => devpi::read_export(&upstream, Path::new(origin), index, &mut events).await,
            None => devpi::read_server(&upstream, origin, &mut events).await,
        },
    };
    result.map_err(|error| error.if_denied("give the address as http://USER:PASSWORD@HOST"))?;
    let events = events.sorted(args.kind == OriginKind::FromGit);
    print(&events, args.out.as_deref())?;
    let lost = events.iter().filter(|event| matches!(event, Event::Lost(_))).count();
    output.info(&format!(
        "{}, and {} that cannot be imported",
        count_of(events.len() - lost, "event", "events"),
        count_of(lost, "object", "objects")
    ));
    Ok(ExitStatus::Complete)
}

/// Refuses flags of other kinds.
fn check_flags(args: &ListOrigin) -> Result<(), OfflineError> {
    let flags = [
        ("--projects", args.projects.is_some(), OriginKind::FromIndex),
        ("--file-hosts", !args.file_hosts.is_empty(), OriginKind::FromIndex),
        ("--branch", args.branch.is_some(), OriginKind::FromGit),
        ("--index", args.index.is_some(), OriginKind::FromDevpi),
    ];
    match flags.into_iter().find(|(_, is_given, kind)| *is_given && *kind != args.kind) {
        Some((flag, _, _)) => {
            Err(OfflineError::Usage(format!("{flag} is a flag of another kind of origin: see --help")))
        }
        None => Ok(()),
    }
}

fn print(events: &[Event], out: Option<&Path>) -> Result<(), OfflineError> {
    let write = |out: &mut dyn Write| -> std::io::Result<()> {
        for event in events {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    let Some(path) = out else {
        let result = write(&mut BufWriter::new(std::io::stdout().lock()));
        return result.map_err(|e| OfflineError::Refused(format!("could not write the list: {e}")));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let to_error = |e| OfflineError::destination("write", path, e);
    let mut file = Destination::temp_file(folder).map_err(to_error)?;
    write(&mut BufWriter::new(&mut file)).map_err(to_error)?;
    persist(file, path).map_err(to_error)
}
