//! Compares the log with the database: its entries with the signed root, and the states in it with what is served now.

use std::collections::HashSet;

use super::{History, views};
use base::model::snapshot::Snapshot;
use content::serve::{RepoError, proofs};
use formats::r::bioconductor::Part;
use formats::tlog::entry::Entry;
use formats::tlog::record_proof::{INDEX, name_of, records_of};
use formats::tlog::tree::{Accumulator, Root, leaf_hash};
use store::db::tlog::{self, Head};

/// Number of entries that are read at once.
const CHUNK: u64 = 2_000;
/// Maximum number of packages that a problem names.
const MAX_NAMES: usize = 20;

#[derive(Default)]
pub struct Examination {
    /// As sentences.
    pub problems: Vec<String>,
    pub notes: Vec<String>,
}

/// Compares the newest log with its signed root, and the states in it with those that are served now. `share`: only each
/// state whose entry has a number with this remainder of the divisor.
pub async fn examine(history: &History, share: Option<Share>) -> Result<Examination, RepoError> {
    let mut result = Examination::default();
    let Some(head) = history.state.db.read(tlog::head).await? else { return Ok(result) };
    let Some(signed) = proofs::signed(&head)? else { return Ok(result) };
    let mut pass = Pass {
        tree: Accumulator::default(),
        signed_root: None,
        published: HashSet::new(),
        views: Vec::new(),
    };
    let size = signed.checkpoint.root.count;
    let mut number = 0;
    while number < head.size {
        let (log, first) = (head.id, number);
        let texts = history.state.db.read(move |c| tlog::entries(c, log, first, CHUNK)).await?;
        if texts.is_empty() {
            break;
        }
        for text in texts {
            pass.add(number, &text, size, share);
            number += 1;
        }
    }
    if number != head.size || pass.signed_root != Some(signed.checkpoint.root) {
        let found = pass.signed_root.map_or_else(|| format!("{number} entries"), |root| root.to_string());
        let expected = signed.checkpoint.root;
        result.problems.push(format!(
            "the log {} was changed: its signed checkpoint has the root {expected}, its entries have {found}",
            head.origin
        ));
    }
    pass.compare(history, &head, &mut result).await?;
    Ok(result)
}

/// The entries whose number has this remainder.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub remainder: u64,
    pub divisor: u64,
}

struct Pass {
    tree: Accumulator,
    /// The root of the entries that the checkpoint signs.
    signed_root: Option<Root>,
    /// The first 8 bytes of the digests of all records that were published.
    published: HashSet<[u8; 8]>,
    views: Vec<Entry>,
}

impl Pass {
    fn add(&mut self, number: u64, text: &str, size: u64, share: Option<Share>) {
        self.tree.push(text.as_bytes());
        if number + 1 == size {
            self.signed_root = Some(self.tree.root());
        }
        // What cannot be read was changed, and the root differs.
        let Ok(entry) = Entry::parse(text.as_bytes()) else { return };
        if entry.kind() == "records" {
            let digits = entry.values("leaves").flat_map(|line| line.split(' '));
            self.published.extend(digits.filter_map(|digits| {
                let mut hash = [0; 8];
                hex::decode_to_slice(digits, &mut hash).is_ok().then_some(hash)
            }));
        } else if entry.kind() == "view"
            && share.is_none_or(|share| number % share.divisor.max(1) == share.remainder)
        {
            self.views.push(entry);
        }
    }

    /// Compares states under the same rules; of a state that differs, names the packages with records that were never
    /// published.
    async fn compare(
        &self,
        history: &History,
        head: &Head,
        result: &mut Examination,
    ) -> Result<(), RepoError> {
        let catalog = history.state.catalog.get();
        let mut other_rules = 0_usize;
        for view in &self.views {
            let value = |key| view.value(key).unwrap_or_default();
            let (name, snapshot, document) = (value("repository"), value("snapshot"), value("document"));
            let Some(repo) = catalog.repos.iter().find(|repo| repo.name.as_str() == name) else { continue };
            if history.rules.of_repository(&catalog, repo.id) != value("rules") {
                other_rules += 1;
                continue;
            }
            let Ok(selected) = snapshot.parse::<Snapshot>() else { continue };
            let part = document.strip_prefix("packages/").and_then(|rest| rest.strip_suffix(INDEX));
            let part = part.and_then(|part| Part::parse(part.trim_end_matches('/')));
            let Some(state) = views::records(history, name, part, selected).await? else {
                result.problems.push(format!(
                    "{name} has no state of {snapshot} any more, which the log {} has",
                    head.origin
                ));
                continue;
            };
            let root = Root::of(records_of(&state));
            if (hex::encode(root.hash), root.count.to_string())
                == (value("root").to_owned(), value("records").to_owned())
            {
                continue;
            }
            let is_new = |record: &&[u8]| {
                leaf_hash(record).first_chunk().is_some_and(|hash| !self.published.contains(hash))
            };
            let names: Vec<String> = records_of(&state).filter(is_new).take(MAX_NAMES).map(name_of).collect();
            let names = match names.as_slice() {
                [] => "packages were added, removed or exchanged".to_owned(),
                names => format!("records that were never published: {}", names.join(", ")),
            };
            result.problems.push(format!(
                "{document} of {name} on {snapshot} is not what was served: the log {} has another root; {names}",
                head.origin
            ));
        }
        if other_rules > 0 {
            result.notes.push(format!(
                "{other_rules} states of the log were not compared: the block rules of their repositories have changed"
            ));
        }
        Ok(())
    }
}
