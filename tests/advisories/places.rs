//! The forms of `Vulnerabilities.URL`: what is asked for, and that nothing is fetched twice.

use rstudio_pm::advisory::{Batch, Ecosystem};
use rstudio_pm::bundle::shared::{SharedFolder, SharedHead};
use rstudio_pm::bundle::{CompressedFile, layout, seal};
use rstudio_pm::model::time::Timestamp;
use rstudio_pm::upstream::advisories::{Feed, FeedCheck};
use rstudio_pm::upstream::{UpstreamError, Validators};
use serde_json::Value;

use super::{feed, first, ids, upstream};
use crate::support::advisories::{
    all_zip, archive, changed, folder, lines, publish, publish_changes, record,
};
use crate::support::mirror::Mirror;

fn records(count: usize) -> Vec<Value> {
    (1..=count).map(|n| record(&format!("RSEC-{n}"), "CRAN", &format!("p{n}"), "2.0")).collect()
}

async fn again(feed: &Feed, known: Validators, kept: Option<Batch>) -> Result<FeedCheck, UpstreamError> {
    upstream().advisories(feed, Some(known), std::future::ready(kept)).await
}

#[tokio::test]
async fn files_of_every_form_are_read_once_and_then_asked_after() {
    let mirror = Mirror::start();
    let records = records(2);
    let packed = zstd::encode_all(lines(&records).as_bytes(), 3).expect("compressed");
    for (file, bytes) in [
        ("main.tar.gz", archive(&records)),
        ("all.zip", all_zip(&records)),
        ("cran-0a1b.ndjson.zst", packed),
        ("cran.ndjson", lines(&records).into_bytes()),
    ] {
        mirror.put(file, bytes);
        let url = format!("{}/{file}", mirror.url());
        let (batch, validators) = first(&url).await.unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!((ids(&batch).as_str(), batch.skipped().0), ("RSEC-1 RSEC-2", 0), "{file}");
        let look = again(&feed(&url), validators, None).await;
        assert!(matches!(look, Ok(FeedCheck::Unchanged)), "{file}: {look:?}");
    }
}

#[tokio::test]
async fn of_public_data_only_what_changed_is_fetched() {
    let mirror = Mirror::start();
    let mut records = records(300);
    publish(&mirror, "CRAN", &records);
    let feed = Feed::of(&format!("{}/osv", mirror.url()), &[Ecosystem::Cran]).remove(0);
    let Ok(FeedCheck::Read(batch, known)) =
        upstream().advisories(&feed, None, std::future::ready(None)).await
    else {
        panic!("no advisories");
    };
    assert_eq!(batch.len(), 300);
    assert!(matches!(again(&feed, known.clone(), None).await, Ok(FeedCheck::Unchanged)));
    let asked = |path: &str| mirror.asked(path).len();
    assert_eq!(
        (asked("osv/CRAN/all.zip"), asked("osv/CRAN/modified_id.csv"), asked("osv/CRAN/RSEC-7.json")),
        (1, 2, 0)
    );

    // One changed, one new, one gone: two are fetched.
    records[6] = changed(record("RSEC-7", "CRAN", "p7", "9.9"), "2025-01-01T00:00:00.123456Z");
    records.push(record("RSEC-301", "CRAN", "new", "2.0"));
    records.remove(0);
    publish_changes(&mirror, "CRAN", &records);
    let Ok(FeedCheck::Read(batch, known)) = again(&feed, known, Some(*batch)).await else {
        panic!("no change")
    };
    assert_eq!(batch.len(), 300);
    let lines: Vec<&str> = batch.lines(None).collect();
    assert!(lines.iter().any(|line| line.contains("\"9.9\"")), "the new text of RSEC-7");
    assert!(!ids(&batch).split(' ').any(|id| id == "RSEC-1") && ids(&batch).contains("RSEC-301"));
    assert_eq!(
        (asked("osv/CRAN/all.zip"), asked("osv/CRAN/RSEC-7.json"), asked("osv/CRAN/RSEC-8.json")),
        (1, 1, 0)
    );

    // Much changed: all of it is fetched, and what is newer than that file by itself.
    let mut records: Vec<Value> = records.into_iter().map(|r| changed(r, "2025-02-01T00:00:00Z")).collect();
    mirror.put("osv/CRAN/all.zip", all_zip(&records));
    records[0] = changed(records[0].clone(), "2025-02-02T00:00:00Z");
    publish_changes(&mirror, "CRAN", &records);
    let Ok(FeedCheck::Read(batch, _)) = again(&feed, known, Some(*batch)).await else { panic!("no change") };
    assert_eq!((batch.len(), asked("osv/CRAN/all.zip"), asked("osv/CRAN/RSEC-2.json")), (300, 2, 1));
    assert_eq!(batch.modified("RSEC-2").map(|at| at.to_string()).as_deref(), Some("2025-02-02T00:00:00Z"));
}

#[tokio::test]
async fn a_copy_without_the_list_is_read_whole_and_a_folder_that_is_not_there_is_absent() {
    let mirror = Mirror::start();
    mirror.put("osv/CRAN/all.zip", all_zip(&records(3)));
    let feeds = Feed::of(&format!("{}/osv", mirror.url()), &[Ecosystem::Cran, Ecosystem::Bioconductor]);
    let Ok(FeedCheck::Read(batch, known)) =
        upstream().advisories(&feeds[0], None, std::future::ready(None)).await
    else {
        panic!("no advisories");
    };
    assert_eq!(batch.len(), 3);
    assert!(matches!(again(&feeds[0], known, None).await, Ok(FeedCheck::Unchanged)));
    let look = upstream().advisories(&feeds[1], None, std::future::ready(None)).await;
    assert!(matches!(look, Ok(FeedCheck::Absent)), "{look:?}");
}

#[tokio::test]
async fn a_folder_is_read_again_when_a_file_in_it_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", dir.path().display());
    folder(dir.path(), &records(3));
    std::fs::write(dir.path().join("vulns/README.md"), "# No advisory").expect("written");
    std::fs::create_dir(dir.path().join("vulns/.git")).expect("a directory");
    std::fs::write(dir.path().join("vulns/.git/A-1.json"), "{").expect("written");
    let yaml = "id: RSEC-4\naffected:\n- package: {name: p4, ecosystem: CRAN}\n  versions: [1.10]\n";
    std::fs::write(dir.path().join("vulns/x/RSEC-4.yaml"), yaml).expect("written");
    let (batch, known) = first(&url).await.expect("a folder");
    assert_eq!(ids(&batch), "RSEC-1 RSEC-2 RSEC-3 RSEC-4");
    assert!(batch.document().windows(6).any(|text| text == b"\"1.10\""), "the text of the version");
    assert!(matches!(again(&feed(&url), known.clone(), None).await, Ok(FeedCheck::Unchanged)));
    std::fs::remove_file(dir.path().join("vulns/x/RSEC-1.json")).expect("removed");
    let Ok(FeedCheck::Read(batch, _)) = again(&feed(&url), known, None).await else { panic!("no change") };
    assert_eq!(ids(&batch), "RSEC-2 RSEC-3 RSEC-4");
    let look = upstream().advisories(&feed(&format!("{url}/none")), None, std::future::ready(None)).await;
    assert!(matches!(look, Ok(FeedCheck::Absent)));
}

#[tokio::test]
async fn a_folder_may_be_a_copy_of_public_data() {
    let dir = tempfile::tempdir().expect("a directory");
    for (ecosystem, id) in
        [("CRAN", "RSEC-1"), ("Bioconductor", "RSEC-2"), ("npm", "GHSA-1"), ("PyPI", "PYSEC-1")]
    {
        std::fs::create_dir(dir.path().join(ecosystem)).expect("a directory");
        let zip = all_zip(&[record(id, ecosystem, "a", "1.0")]);
        std::fs::write(dir.path().join(ecosystem).join("all.zip"), zip).expect("written");
    }
    let url = format!("file://{}", dir.path().display());
    let feed = Feed::of(&url, &[Ecosystem::Cran, Ecosystem::Bioconductor]).remove(0);
    let Ok(FeedCheck::Read(batch, known)) =
        upstream().advisories(&feed, None, std::future::ready(None)).await
    else {
        panic!("no advisories");
    };
    assert_eq!(ids(&batch), "RSEC-1 RSEC-2", "nobody asked for the others");
    assert!(matches!(again(&feed, known, None).await, Ok(FeedCheck::Unchanged)));
}

/// Files of a bundle's folder `vulns`, each with its path below the bundle.
fn bundle(files: &[(&str, &[Value])]) -> Vec<(String, Vec<u8>)> {
    let mut written = Vec::new();
    let mut named = std::collections::BTreeMap::new();
    for (name, records) in files {
        let text = lines(records);
        let bytes = zstd::encode_all(text.as_bytes(), 3).expect("compressed");
        let sha256 = seal::digest(&bytes);
        let path = format!("{name}-{}.ndjson.zst", &sha256.to_string()[..16]);
        let packed = CompressedFile {
            path: path.clone(),
            size: bytes.len() as u64,
            sha256,
            raw_size: text.len() as u64,
        };
        named.insert((*name).to_owned(), packed);
        written.push((format!("vulns/{path}"), bytes));
    }
    let head = SharedHead::new(SharedFolder::Advisories, Timestamp(0), named);
    written.push((format!("vulns/{}", layout::HEAD), seal::seal(&head)));
    written
}

#[tokio::test]
async fn a_bundle_has_a_file_for_each_ecosystem_on_disk_and_over_http() {
    let (cran, python) = (records(2), [record("PYSEC-1", "PyPI", "a", "1.0")]);
    let files = bundle(&[("cran", &cran), ("pypi", &python)]);
    let (mirror, dir) = (Mirror::start(), tempfile::tempdir().expect("a directory"));
    std::fs::create_dir(dir.path().join("vulns")).expect("a directory");
    let put = |files: &[(String, Vec<u8>)]| {
        for (path, bytes) in files {
            mirror.put(&format!("data/{path}"), bytes.clone());
            std::fs::write(dir.path().join(path), bytes).expect("written");
        }
    };
    for url in [format!("{}/data/vulns", mirror.url()), format!("file://{}/vulns", dir.path().display())] {
        put(&files);
        let (batch, known) = first(&url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!(ids(&batch), "RSEC-1 RSEC-2", "{url}: nobody asked for those of Python");
        assert!(matches!(again(&feed(&url), known.clone(), None).await, Ok(FeedCheck::Unchanged)), "{url}");
        // A file that is not what the head says is no advisory, and says which.
        let changed = bundle(&[("cran", &records(3))]);
        let mut damaged = changed.clone();
        damaged[0].1[20] ^= 1;
        put(&damaged);
        let said = again(&feed(&url), known.clone(), None).await.expect_err("damaged").to_string();
        assert!(said.contains(&damaged[0].0), "{said}");
        put(&changed);
        let Ok(FeedCheck::Read(batch, _)) = again(&feed(&url), known, None).await else {
            panic!("no change")
        };
        assert_eq!(ids(&batch), "RSEC-1 RSEC-2 RSEC-3", "{url}");
    }
    let feed = feed(&format!("{}/vulns", mirror.url()));
    let look = upstream().advisories(&feed, None, std::future::ready(None)).await;
    assert!(matches!(look, Ok(FeedCheck::Absent)), "{look:?}");
}
