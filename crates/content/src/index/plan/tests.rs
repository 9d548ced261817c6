//! Tests of the changes that a reading of a page writes.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use base::model::ids::{FileId, ReleaseId};
use base::model::kind::Language;
use formats::language;
use formats::python::facts::FileFacts;
use formats::python::file_name::FileName;
use formats::python::simple::page::PageFile;
use store::db::index_file::OpenLife;

fn row(name: &str, uploaded: Option<i64>) -> PageRow {
    let facts =
        uploaded.map_or_else(FileFacts::default, |at| FileFacts::default().uploaded_at(Timestamp(at)));
    PageRow {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        locator: format!("/packages/{name}"),
        size: Some(7),
        sha256: Sha256([1; 32]),
        uploaded_at: facts.upload_time(),
        metadata: facts.metadata(),
        facts: facts.write(),
        yanked: None,
    }
}

fn plan(known: Vec<KnownIndexFile>, page: Vec<PageRow>, instants: Instants) -> Plan {
    let language = language::of(Language::Python).projects().expect("an index");
    super::plan(language, known, page, instants)
}

/// Returns the row of a file with the properties of `row`; with `from`, a life of the file began then.
fn known(row: &PageRow, from: Option<i64>) -> KnownIndexFile {
    KnownIndexFile {
        release: ReleaseId(1),
        file: FileId(1),
        revision: 0,
        name: row.name.clone(),
        sha256: row.sha256,
        locator: row.locator.clone(),
        last_variant: 0,
        facts: row.facts.clone(),
        life: from.map(|from| OpenLife { from, variant: 0, yanked: row.yanked.clone() }),
        last_end: None,
        metadata: row.metadata,
        is_metadata_of_wheel: false,
    }
}

const FIRST: Instants = Instants {
    previous_valid_at: None,
    valid_at: 200,
    read_at: 300,
    head: 200,
    lists_recent_files: false,
    begins_yanks_at_reading: false,
};
const LATER: Instants = Instants { previous_valid_at: Some(100), ..FIRST };

fn end(from: i64, at: i64) -> FileRowChange {
    FileRowChange::End { release: ReleaseId(1), file: FileId(1), from, at }
}

fn begin(variant: i64, from: i64, yanked: Option<&str>) -> FileRowChange {
    let yanked = yanked.map(str::to_owned);
    FileRowChange::Begin { release: ReleaseId(1), file: FileId(1), variant, from, yanked }
}

/// Returns the instant from which a new file is listed.
fn introduced(plan: &Plan) -> i64 {
    match &plan.changes[..] {
        [FileRowChange::Introduce { from, .. }] => *from,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_first_reading_lists_files_from_their_upload_on() {
    assert_eq!(introduced(&plan(Vec::new(), vec![row("a", Some(7))], FIRST)), 7);
    assert_eq!(introduced(&plan(Vec::new(), vec![row("a", Some(700))], FIRST)), 700, "not visible yet");
    assert_eq!(introduced(&plan(Vec::new(), vec![row("a", None)], FIRST)), 199, "the history begins now");
}

#[test]
fn yanks_that_the_first_reading_finds_may_begin_with_it() {
    let dated = Instants { begins_yanks_at_reading: true, ..FIRST };
    let later = Instants { begins_yanks_at_reading: true, ..LATER };
    let yanked = |uploaded| PageRow { yanked: Some("bad".to_owned()), ..row("a", uploaded) };
    for (page_row, instants, expected) in [
        (yanked(Some(7)), FIRST, None),
        (yanked(Some(7)), dated, Some(199)),
        (row("a", Some(7)), dated, None),
        // The history begins with the reading, or is not visible yet.
        (yanked(None), dated, None),
        (yanked(Some(700)), dated, None),
        // A yank that a later reading finds begins at the time of that reading.
        (yanked(Some(7)), later, None),
    ] {
        let plan = plan(Vec::new(), vec![page_row], instants);
        let [FileRowChange::Introduce { marked_from, .. }] = &plan.changes[..] else { panic!("{plan:?}") };
        assert_eq!(*marked_from, expected);
    }
}

#[test]
fn a_new_file_never_changes_what_was_final() {
    for (uploaded, from) in [(Some(150), 150), (Some(50), 100), (Some(900), 900), (None, 199)] {
        assert_eq!(introduced(&plan(Vec::new(), vec![row("a", uploaded)], LATER)), from);
    }
}

#[test]
fn the_life_of_an_unlisted_file_ends() {
    let file = row("a", Some(7));
    assert_eq!(plan(vec![known(&file, Some(7))], Vec::new(), LATER).changes, [end(7, 199)]);
    assert!(plan(vec![known(&file, None)], Vec::new(), LATER).changes.is_empty());
    // The life of a file that is not visible yet ends where it begins.
    assert_eq!(plan(vec![known(&file, Some(500))], Vec::new(), LATER).changes, [end(500, 500)]);
}

#[test]
fn an_unchanged_page_changes_nothing() {
    let file = row("a", Some(7));
    assert_eq!(plan(vec![known(&file, Some(7))], vec![file], LATER), Plan::default());
}

#[test]
fn a_yank_and_its_end_and_another_reason_begin_other_lives() {
    let (file, mut yanked) = (row("a", Some(7)), row("a", Some(7)));
    yanked.yanked = Some("bad".to_owned());
    let changes = plan(vec![known(&file, Some(7))], vec![yanked.clone()], LATER).changes;
    assert_eq!(changes, [end(7, 199), begin(0, 199, Some("bad"))]);
    let mut other = yanked.clone();
    other.yanked = Some(String::new());
    let changes = plan(vec![known(&yanked, Some(150))], vec![other], LATER).changes;
    assert_eq!(changes, [end(150, 199), begin(0, 199, Some(""))]);
    let changes = plan(vec![known(&yanked, Some(199))], vec![file], LATER).changes;
    assert_eq!(changes, [end(199, 200), begin(0, 200, None)], "two lives cannot begin at one instant");
}

#[test]
fn a_file_that_is_listed_again_begins_a_life() {
    let file = row("a", Some(7));
    let gone = KnownIndexFile { last_end: Some(99), ..known(&file, None) };
    assert_eq!(plan(vec![gone], vec![file.clone()], LATER).changes, [begin(0, 100, None)]);
    // A life that ended before it was visible has the same begin and end, and another life cannot begin at that
    // instant.
    let ended_early = KnownIndexFile { last_end: Some(500), ..known(&file, None) };
    let later = row("a", Some(500));
    assert_eq!(plan(vec![ended_early], vec![file], LATER).changes, [begin(0, 501, None)]);
    let ended_early = KnownIndexFile { last_end: Some(500), ..known(&later, None) };
    assert_eq!(plan(vec![ended_early], vec![later], LATER).changes, [begin(0, 501, None)]);
}

#[test]
fn earlier_bytes_that_are_back_begin_when_the_others_end() {
    let earlier = row("a", Some(7));
    let other = PageRow { sha256: Sha256([2; 32]), ..row("a", Some(120)) };
    let replaced = KnownIndexFile { last_end: Some(99), ..known(&earlier, None) };
    let current = KnownIndexFile { file: FileId(2), revision: 1, ..known(&other, Some(120)) };
    let plan = plan(vec![replaced, current], vec![earlier], LATER);
    let end = FileRowChange::End { release: ReleaseId(1), file: FileId(2), from: 120, at: 199 };
    assert_eq!(plan.changes, [end, begin(0, 199, None)]);
    assert_eq!(plan.replaced, ["a"]);
}

#[test]
fn a_page_of_an_index_without_serials_changes_what_clients_see_now() {
    let after_head = Instants { valid_at: 900, ..LATER };
    let file = row("a", Some(7));
    assert_eq!(plan(vec![known(&file, Some(7))], Vec::new(), after_head).changes, [end(7, 199)]);
    assert_eq!(introduced(&plan(Vec::new(), vec![row("a", None)], after_head)), 199);
    // Read again before the head moves: earlier responses remain valid.
    let again = Instants { previous_valid_at: Some(900), valid_at: 950, ..LATER };
    assert_eq!(plan(vec![known(&file, Some(7))], Vec::new(), again).changes, [end(7, 900)]);
}

#[test]
fn a_time_before_the_epoch_is_the_epoch() {
    let first = Instants { previous_valid_at: None, ..LATER };
    assert_eq!(introduced(&plan(Vec::new(), vec![row("a", Some(-2))], first)), 0);
}

#[test]
fn other_facts_begin_a_life_with_new_facts() {
    let file = row("a", Some(7));
    let mut other = file.clone();
    let requires_python = Some(">=3.9".to_owned());
    let mut facts = FileFacts::read(&other.facts);
    facts.requires_python = requires_python;
    other.facts = facts.write();
    let changes = plan(vec![known(&file, Some(7))], vec![other.clone()], LATER).changes;
    let facts = FileRowChange::Facts { file: FileId(1), variant: 1, facts: other.facts.clone() };
    assert_eq!(changes, [end(7, 199), facts, begin(1, 199, None)]);
    let mut moved = file.clone();
    moved.locator = "/elsewhere/a".to_owned();
    let changes = plan(vec![known(&file, Some(7))], vec![moved], LATER).changes;
    let locate = FileRowChange::Locate { file: FileId(1), locator: "/elsewhere/a".to_owned() };
    assert_eq!(changes, [locate], "the location is not on the page");
}

#[test]
fn metadata_that_was_read_from_a_wheel_stays_whatever_the_index_declares() {
    let (read, other) = (Sha256([5; 32]), Sha256([6; 32]));
    let declares = |core_metadata: MetadataFile| {
        let name = FileName::parse("a-1.0-py3-none-any.whl").unwrap();
        let file =
            PageFile { core_metadata, ..PageFile::new(name, "http://h/a-1.0-py3-none-any.whl".to_owned()) };
        let facts = FileFacts::of_page(&file).uploaded_at(Timestamp(7));
        PageRow { metadata: facts.metadata(), facts: facts.write(), ..row("a", Some(7)) }
    };
    let facts = FileFacts::read(&declares(MetadataFile::None).facts).with_metadata_of_wheel(read);
    let life = Some(OpenLife { from: 150, variant: 1, yanked: None });
    let wheel = KnownIndexFile {
        facts: facts.write(),
        life,
        last_variant: 1,
        metadata: Some(read),
        is_metadata_of_wheel: true,
        ..known(&row("a", Some(7)), None)
    };
    for declared in [MetadataFile::None, MetadataFile::Sha256(read), MetadataFile::Sha256(other)] {
        let mut page_row = declares(declared);
        assert_eq!(plan(vec![wheel.clone()], vec![page_row.clone()], LATER), Plan::default(), "{declared:?}");
        page_row.yanked = Some("bad".to_owned());
        let changes = plan(vec![wheel.clone()], vec![page_row], LATER).changes;
        assert_eq!(changes, [end(150, 199), begin(1, 199, Some("bad"))], "{declared:?}");
    }
    // Facts of the first reading lack the digest of a wheel that the page did not list for some time.
    let gone = KnownIndexFile {
        facts: declares(MetadataFile::None).facts,
        life: None,
        last_end: Some(120),
        ..wheel
    };
    let changes = plan(vec![gone], vec![declares(MetadataFile::None)], LATER).changes;
    let facts = FileRowChange::Facts { file: FileId(1), variant: 2, facts: facts.write() };
    assert_eq!(changes, [facts, begin(2, 121, None)]);
}

#[test]
fn metadata_that_the_index_declares_cannot_change() {
    let (first, other) = (Sha256([5; 32]), Sha256([6; 32]));
    let declares = |metadata: Option<Sha256>| {
        let name = FileName::parse("a-1.0-py3-none-any.whl").unwrap();
        let core_metadata = metadata.map_or(MetadataFile::None, MetadataFile::Sha256);
        let file = PageFile { core_metadata, ..PageFile::new(name, String::new()) };
        PageRow { metadata, facts: FileFacts::of_page(&file).write(), ..row("a", Some(7)) }
    };
    let recorded = |facts: &[u8]| FileFacts::read(facts).with_recorded_metadata().write();
    let metadata = |sha256| FileRowChange::Metadata {
        release: ReleaseId(1),
        revision: 0,
        name: "a".to_owned(),
        locator: "/packages/a.metadata".to_owned(),
        sha256,
    };
    let facts = |facts: &[u8]| FileRowChange::Facts { file: FileId(1), variant: 1, facts: facts.to_vec() };
    // Without a row, as the first reading writes it; with a row, as of a request, and as of version 1.0.0.
    let unrecorded = KnownIndexFile { metadata: None, ..known(&declares(Some(first)), Some(7)) };
    let requested = KnownIndexFile { metadata: Some(first), ..unrecorded.clone() };
    let old = KnownIndexFile { facts: recorded(&requested.facts), ..requested.clone() };
    for (file, is_recorded) in [(unrecorded, false), (requested, true), (old, true)] {
        assert_eq!(plan(vec![file.clone()], vec![declares(Some(first))], LATER), Plan::default());
        for page_row in [declares(Some(other)), declares(None)] {
            let row_change = (!is_recorded).then(|| metadata(first));
            let expected = [end(7, 199), facts(&declares(None).facts), begin(1, 199, None)];
            let expected: Vec<FileRowChange> = row_change.into_iter().chain(expected).collect();
            assert_eq!(plan(vec![file.clone()], vec![page_row], LATER).changes, expected);
        }
    }
    let later = plan(vec![known(&declares(None), Some(7))], vec![declares(Some(first))], LATER);
    let recorded = recorded(&declares(Some(first)).facts);
    assert_eq!(later.changes, [metadata(first), end(7, 199), facts(&recorded), begin(1, 199, None)]);
}

#[test]
fn other_bytes_are_another_revision() {
    let (file, mut other) = (row("a", Some(7)), row("a", Some(7)));
    other.sha256 = Sha256([2; 32]);
    let plan = plan(vec![known(&file, Some(7))], vec![other], LATER);
    assert_eq!(plan.replaced, ["a"]);
    assert_eq!(plan.changes[0], end(7, 199));
    let FileRowChange::Introduce { file, from, read_at, .. } = &plan.changes[1] else { panic!("{plan:?}") };
    assert_eq!((file.revision, *from, *read_at), (1, 199, Some(300)));
}

#[test]
fn the_time_of_a_reading_is_recorded_for_files_that_an_earlier_one_lacked() {
    let later = |previous_valid_at| Instants { previous_valid_at, ..FIRST };
    let returned = KnownIndexFile { last_end: Some(99), ..known(&row("b", Some(7)), None) };
    for (instants, expected) in [
        (FIRST, None),
        // The previous reading left out files whose digests could not be computed.
        (later(Some(0)), None),
        (LATER, Some(300)),
    ] {
        let plan = plan(vec![returned.clone()], vec![row("a", Some(7)), row("b", Some(7))], instants);
        let [FileRowChange::Introduce { read_at, .. }, FileRowChange::Begin { .. }] = &plan.changes[..]
        else {
            panic!("{plan:?}");
        };
        assert_eq!(*read_at, expected, "{instants:?}");
    }
}

/// Files and their lives, as the database stores them.
#[derive(Clone, Default)]
struct Rows {
    files: Vec<KnownIndexFile>,
    ended: Vec<(String, Option<String>, i64, i64)>,
}

impl Rows {
    fn apply(&mut self, changes: Vec<FileRowChange>) {
        for change in changes {
            match change {
                FileRowChange::Introduce { file, from, yanked, marked_from, read_at } => {
                    assert!(file.revision == 0 || read_at.is_some(), "{}", file.name);
                    let next = i64::try_from(self.files.len()).unwrap() + 1;
                    if let Some(at) = marked_from {
                        assert!(from < at, "{from} {at}");
                        self.ended.push((file.name.clone(), None, from, at));
                    }
                    let begin = marked_from.unwrap_or(from);
                    self.files.push(KnownIndexFile {
                        release: ReleaseId(next),
                        file: FileId(next),
                        revision: file.revision,
                        name: file.name,
                        sha256: file.sha256,
                        locator: file.locator,
                        last_variant: 0,
                        facts: file.facts,
                        life: Some(OpenLife { from: begin, variant: 0, yanked }),
                        last_end: marked_from,
                        metadata: None,
                        is_metadata_of_wheel: false,
                    });
                }
                FileRowChange::Begin { file, variant, from, yanked, .. } => {
                    let known = self.files.iter_mut().find(|known| known.file == file).unwrap();
                    assert!(known.life.is_none() && known.last_end.is_none_or(|end| end <= from));
                    known.life = Some(OpenLife { from, variant, yanked });
                }
                FileRowChange::End { file, from, at, .. } => {
                    let known = self.files.iter_mut().find(|known| known.file == file).unwrap();
                    let life = known.life.take().unwrap();
                    assert!(life.from == from && from <= at, "{from} {at}");
                    known.last_end = known.last_end.max(Some(at));
                    self.ended.push((known.name.clone(), life.yanked, from, at));
                }
                FileRowChange::Facts { .. }
                | FileRowChange::Locate { .. }
                | FileRowChange::Metadata { .. }
                | FileRowChange::StoredMetadata { .. } => {}
            }
        }
    }

    /// Returns the listed files at a sequence number, with the reasons of yanked ones.
    fn at(&self, seq: i64) -> BTreeMap<String, Option<String>> {
        let open = self.files.iter().filter_map(|file| {
            let life = file.life.as_ref()?;
            (life.from <= seq).then(|| (file.name.clone(), life.yanked.clone()))
        });
        let ended = self.ended.iter().filter(|(_, _, from, to)| *from <= seq && seq < *to);
        open.chain(ended.map(|(name, yanked, ..)| (name.clone(), yanked.clone()))).collect()
    }
}

proptest! {
    /// Random pages at increasing instants: final responses never change; the newest point lists the page's files.
    #[test]
    fn final_answers_never_change(
        readings in proptest::collection::vec(
            (proptest::collection::btree_map(0_u8..6, (0_i64..900, proptest::option::of(0_u8..3)), 0..6), 1_i64..50),
            1..8,
        ),
        begins_yanks_at_reading in proptest::bool::ANY,
    ) {
        let (mut rows, mut previous_valid_at, mut finals, mut valid_at) = (Rows::default(), None, Vec::new(), 100);
        // A file keeps its upload time.
        let mut uploads: HashMap<u8, i64> = HashMap::new();
        for (page, pause) in readings {
            valid_at += pause;
            let page: Vec<PageRow> = page
                .into_iter()
                .map(|(number, (uploaded, yanked))| {
                    let uploaded = *uploads.entry(number).or_insert(uploaded.min(valid_at - 1));
                    let yanked = yanked.map(|reason| reason.to_string());
                    PageRow { yanked, ..row(&number.to_string(), Some(uploaded)) }
                })
                .collect();
            let instants = Instants {
                previous_valid_at, valid_at, read_at: valid_at, head: valid_at, lists_recent_files: false,
                begins_yanks_at_reading,
            };
            rows.apply(plan(rows.files.clone(), page.clone(), instants).changes);
            for (seq, expected) in &finals {
                prop_assert_eq!(&rows.at(*seq), expected, "at {}", seq);
            }
            let listed: BTreeMap<_, _> = page.into_iter().map(|row| (row.name, row.yanked)).collect();
            prop_assert_eq!(rows.at(valid_at - 1), listed);
            let first = previous_valid_at.unwrap_or(0);
            finals.extend((first..valid_at).map(|seq| (seq, rows.at(seq))));
            previous_valid_at = Some(valid_at);
        }
    }
}

#[test]
fn a_file_newer_than_the_head_is_listed_immediately_on_request() {
    for (lists_recent_files, previous_valid_at, expected) in
        [(false, None, 500), (true, None, 199), (true, Some(150), 199)]
    {
        let instants = Instants { previous_valid_at, lists_recent_files, ..FIRST };
        assert_eq!(instants.begin(Some(Timestamp(500))), expected);
    }
}
