//! Explains a project of an index: when its page was read, up to when the reading is valid, when files were listed.

use super::sentences::format_time;
use super::{Decision, ExplainRequest, Topic};
use crate::index::Priority;
use crate::serve::{RepoError, Repositories};
use base::model::ids::Seq;
use base::model::point::PointTree;
use base::model::project_name::ProjectName;
use base::model::time::Timestamp;
use formats::language;
use store::db;
use store::db::project::KnownProject;
use store::db::project_file::{self, FileLife, ListedFile};

/// Reads the page of a project as for a client, unless it is known, and explains the stored facts.
pub(super) async fn explain_page(
    repositories: &Repositories,
    request: &ExplainRequest,
    tree: PointTree,
    project: &ProjectName,
) -> Result<Option<Decision>, RepoError> {
    let listing = tree.listing();
    let known = || {
        let name = project.clone();
        repositories.state.db.read(move |c| db::project::known(c, listing.source, name.as_str()))
    };
    let Some(before) = known().await? else { return Ok(None) };
    let reads = repositories.page_reads.of(listing.source)?;
    let failure = reads.at(project, listing.seq, Priority::Client).await.err();
    let failure = failure.map(|error| match request.with_details {
        true => error.to_string(),
        false => RepoError::from(error).phrase(),
    });
    let Some(after) = known().await? else { return Ok(None) };
    let last_read = |known: &KnownProject| known.reading.as_ref().map(|reading| reading.fetched_at);
    let rule = match (failure, last_read(&before), last_read(&after)) {
        (Some(error), ..) => error,
        (None, None, _) => "it had not been requested before: it was read for this explanation".to_owned(),
        (None, before, after) if before != after => "it was read again for this explanation".to_owned(),
        (None, ..) => "it is read again once the list of the index states another serial".to_owned(),
    };
    Ok(Some(Decision {
        topic: Topic::Source,
        subject: format!("page of {project}"),
        state: describe(&after),
        is_selected: after.reading.is_some(),
        rule,
    }))
}

fn describe(known: &KnownProject) -> String {
    let serial =
        |serial: Option<i64>| serial.map_or_else(|| "no serial".to_owned(), |n| format!("serial {n}"));
    let listed = format!("{} on the list", serial(known.project.serial));
    let (Some(reading), Some(valid_at)) = (&known.reading, known.valid_at()) else {
        return format!("{listed}; never read");
    };
    let reason = reading.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "{}{reason}; {listed}; page with {}, read {}, valid until {}",
        reading.status,
        serial(reading.serial),
        format_time(reading.fetched_at),
        format_time(Timestamp(valid_at))
    )
}

/// Explains every period in which the files of the selected version were listed. `files` are those that the
/// tree offers: of a curated source, those that its definition allows.
pub(super) async fn explain_files(
    repositories: &Repositories,
    tree: PointTree,
    selected: &ListedFile,
    files: &[ListedFile],
) -> Result<Vec<Decision>, RepoError> {
    let (package, listing) = (selected.key.package, tree.listing());
    let lives = repositories.state.db.read(move |c| project_file::lives(c, listing.tree, package));
    let lives: Vec<FileLife> = lives.await?;
    let rules = language::of(repositories.state.catalog.get().source_language(tree.source));
    let version = rules.version(&selected.version);
    let of_version = lives.iter().filter(|life| rules.version(&life.version) == version);
    let is_allowed = |life: &FileLife| tree.base.is_none() || files.iter().any(|file| file.name == life.name);
    Ok(of_version.map(|life| file_decision(life, listing.seq, is_allowed(life))).collect())
}

fn file_decision(life: &FileLife, seq: Seq, is_allowed: bool) -> Decision {
    let until = if life.to == Seq::OPEN {
        String::new()
    } else {
        format!(" until {}", format_time(Timestamp(life.to.0)))
    };
    let read = life.read_at.map(|at| format!(", first read {}", format_time(at))).unwrap_or_default();
    let yank = match life.yanked.as_deref() {
        None => String::new(),
        Some("") => ", yanked".to_owned(),
        Some(reason) => format!(", yanked: {reason}"),
    };
    let is_listed = life.from <= seq && seq < life.to;
    let rule = match (is_listed, is_allowed, life.yanked.is_some()) {
        (true, true, true) => "installers use a yanked file only for an exact version",
        (true, true, false) => "",
        (true, false, _) => "the definition of the source does not allow it",
        (false, ..) => "not at this snapshot",
    };
    Decision {
        topic: Topic::File,
        subject: life.name.clone(),
        state: format!("listed from {}{until}{read}{yank}", format_time(Timestamp(life.from.0))),
        is_selected: is_listed && is_allowed && life.yanked.is_none(),
        rule: rule.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_explained_with_its_period_and_mark() {
        let life = |from, to, yanked: Option<&str>| FileLife {
            name: "one-1.0.tar.gz".to_owned(),
            version: "1.0".to_owned(),
            from: Seq(from),
            to: Seq(to),
            yanked: yanked.map(str::to_owned),
            read_at: None,
        };
        let day = 86_400_000_000;
        let ended = file_decision(&life(0, day, None), Seq(2 * day), true);
        assert_eq!(ended.state, "listed from 1970-01-01 00:00:00 UTC until 1970-01-02 00:00:00 UTC");
        assert_eq!((ended.is_selected, &*ended.rule), (false, "not at this snapshot"));
        let yanked = file_decision(&life(day, Seq::OPEN.0, Some("bad")), Seq(2 * day), true);
        assert_eq!(yanked.state, "listed from 1970-01-02 00:00:00 UTC, yanked: bad");
        assert!(!yanked.is_selected && yanked.rule.contains("exact version"));
        let later = FileLife { read_at: Some(Timestamp(2 * day)), ..life(day, Seq::OPEN.0, None) };
        let decision = file_decision(&later, Seq(2 * day), true);
        let expected = "listed from 1970-01-02 00:00:00 UTC, first read 1970-01-03 00:00:00 UTC";
        assert_eq!((&*decision.state, decision.is_selected), (expected, true));
        let excluded = file_decision(&life(day, Seq::OPEN.0, None), Seq(2 * day), false);
        assert!(!excluded.is_selected && excluded.rule.contains("definition"), "{}", excluded.rule);
    }
}
