//! The forms of `Vulnerabilities.URL`: their requests, and that nothing is fetched twice.

use rstudio_pm::advisory::Batch;
use rstudio_pm::bundle::shared::{SharedFolder, SharedHead};
use rstudio_pm::bundle::{CompressedFile, layout, self_digest};
use rstudio_pm::language::Ecosystem;
use rstudio_pm::model::time::Timestamp;
use rstudio_pm::upstream::advisories::{Feed, FeedRefresh};
use rstudio_pm::upstream::{UpstreamError, Validators};
use serde_json::Value;

use super::{feed, fetch, ids, upstream};
use crate::support::advisories::{
    all_zip, archive, folder, lines, publish, publish_changes, record, with_modified,
};
use crate::support::mirror::Mirror;

fn records(count: usize) -> Vec<Value> {
    (1..=count).map(|n| record(&format!("RSEC-{n}"), "CRAN", &format!("p{n}"), "2.0")).collect()
}

async fn refresh(
    feed: &Feed,
    validators: Validators,
    batch: Option<Batch>,
) -> Result<FeedRefresh, UpstreamError> {
    upstream().advisories(feed, Some(validators), std::future::ready(batch)).await
}

#[tokio::test]
async fn files_of_every_form_are_read_once_and_then_revalidated() {
    let mirror = Mirror::start();
    let records = records(2);
    let compressed_lines = zstd::encode_all(lines(&records).as_bytes(), 3).expect("compressed");
    for (file, bytes) in [
        ("main.tar.gz", archive(&records)),
        ("all.zip", all_zip(&records)),
        ("cran-0a1b.ndjson.zst", compressed_lines),
        ("cran.ndjson", lines(&records).into_bytes()),
    ] {
        mirror.put(file, bytes);
        let url = format!("{}/{file}", mirror.url());
        let (batch, validators) = fetch(&url).await.unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!((ids(&batch).as_str(), batch.skipped_files().0), ("RSEC-1 RSEC-2", 0), "{file}");
        let refresh_result = refresh(&feed(&url), validators, None).await;
        assert!(matches!(refresh_result, Ok(FeedRefresh::Unchanged)), "{file}: {refresh_result:?}");
    }
}

#[tokio::test]
async fn only_changed_records_of_the_osv_database_are_fetched() {
    let mirror = Mirror::start();
    let mut records = records(300);
    publish(&mirror, "CRAN", &records);
    let feed = Feed::of(&format!("{}/osv", mirror.url()), &[Ecosystem::Cran]).remove(0);
    let Ok(FeedRefresh::Read(batch, validators)) =
        upstream().advisories(&feed, None, std::future::ready(None)).await
    else {
        panic!("no advisories");
    };
    assert_eq!(batch.len(), 300);
    assert!(matches!(refresh(&feed, validators.clone(), None).await, Ok(FeedRefresh::Unchanged)));
    let requests = |path: &str| mirror.requests(path).len();
    assert_eq!(
        (
            requests("osv/CRAN/all.zip"),
            requests("osv/CRAN/modified_id.csv"),
            requests("osv/CRAN/RSEC-7.json")
        ),
        (1, 2, 0)
    );

    // One record is changed, one is new, one is removed: two are fetched.
    records[6] = with_modified(record("RSEC-7", "CRAN", "p7", "9.9"), "2025-01-01T00:00:00.123456Z");
    records.push(record("RSEC-301", "CRAN", "new", "2.0"));
    records.remove(0);
    publish_changes(&mirror, "CRAN", &records);
    let Ok(FeedRefresh::Read(batch, validators)) = refresh(&feed, validators, Some(*batch)).await else {
        panic!("no change")
    };
    assert_eq!(batch.len(), 300);
    let lines: Vec<&str> = batch.lines(None).collect();
    assert!(lines.iter().any(|line| line.contains("\"9.9\"")), "the new text of RSEC-7");
    assert!(!ids(&batch).split(' ').any(|id| id == "RSEC-1") && ids(&batch).contains("RSEC-301"));
    assert_eq!(
        (requests("osv/CRAN/all.zip"), requests("osv/CRAN/RSEC-7.json"), requests("osv/CRAN/RSEC-8.json")),
        (1, 1, 0)
    );

    // Many records are changed: the whole file is fetched, and each record that is newer than that file.
    let mut records: Vec<Value> =
        records.into_iter().map(|r| with_modified(r, "2025-02-01T00:00:00Z")).collect();
    mirror.put("osv/CRAN/all.zip", all_zip(&records));
    records[0] = with_modified(records[0].clone(), "2025-02-02T00:00:00Z");
    publish_changes(&mirror, "CRAN", &records);
    let Ok(FeedRefresh::Read(batch, _)) = refresh(&feed, validators, Some(*batch)).await else {
        panic!("no change")
    };
    assert_eq!((batch.len(), requests("osv/CRAN/all.zip"), requests("osv/CRAN/RSEC-2.json")), (300, 2, 1));
    assert_eq!(
        batch.modification_time("RSEC-2").map(|time| time.to_string()).as_deref(),
        Some("2025-02-02T00:00:00Z")
    );
}

#[tokio::test]
async fn a_copy_without_a_list_of_changes_is_read_completely_and_a_missing_folder_is_absent() {
    let mirror = Mirror::start();
    mirror.put("osv/CRAN/all.zip", all_zip(&records(3)));
    let feeds = Feed::of(&format!("{}/osv", mirror.url()), &[Ecosystem::Cran, Ecosystem::Bioconductor]);
    let Ok(FeedRefresh::Read(batch, validators)) =
        upstream().advisories(&feeds[0], None, std::future::ready(None)).await
    else {
        panic!("no advisories");
    };
    assert_eq!(batch.len(), 3);
    assert!(matches!(refresh(&feeds[0], validators, None).await, Ok(FeedRefresh::Unchanged)));
    let refresh_result = upstream().advisories(&feeds[1], None, std::future::ready(None)).await;
    assert!(matches!(refresh_result, Ok(FeedRefresh::Absent)), "{refresh_result:?}");
}

#[tokio::test]
async fn a_folder_is_read_again_after_one_of_its_files_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", dir.path().display());
    folder(dir.path(), &records(3));
    std::fs::write(dir.path().join("vulns/README.md"), "# No advisory").expect("written");
    std::fs::create_dir(dir.path().join("vulns/.git")).expect("a directory");
    std::fs::write(dir.path().join("vulns/.git/A-1.json"), "{").expect("written");
    let yaml = "id: RSEC-4\naffected:\n- package: {name: p4, ecosystem: CRAN}\n  versions: [1.10]\n";
    std::fs::write(dir.path().join("vulns/x/RSEC-4.yaml"), yaml).expect("written");
    let (batch, validators) = fetch(&url).await.expect("a folder");
    assert_eq!(ids(&batch), "RSEC-1 RSEC-2 RSEC-3 RSEC-4");
    assert!(batch.document().windows(6).any(|text| text == b"\"1.10\""), "the text of the version");
    assert!(matches!(refresh(&feed(&url), validators.clone(), None).await, Ok(FeedRefresh::Unchanged)));
    std::fs::remove_file(dir.path().join("vulns/x/RSEC-1.json")).expect("removed");
    let Ok(FeedRefresh::Read(batch, _)) = refresh(&feed(&url), validators, None).await else {
        panic!("no change")
    };
    assert_eq!(ids(&batch), "RSEC-2 RSEC-3 RSEC-4");
    let refresh_result =
        upstream().advisories(&feed(&format!("{url}/none")), None, std::future::ready(None)).await;
    assert!(matches!(refresh_result, Ok(FeedRefresh::Absent)));
}

#[tokio::test]
async fn a_folder_may_be_a_copy_of_the_osv_database() {
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
    let Ok(FeedRefresh::Read(batch, validators)) =
        upstream().advisories(&feed, None, std::future::ready(None)).await
    else {
        panic!("no advisories");
    };
    assert_eq!(ids(&batch), "RSEC-1 RSEC-2", "the other ecosystems are not requested");
    assert!(matches!(refresh(&feed, validators, None).await, Ok(FeedRefresh::Unchanged)));
}

/// Files of a bundle's folder `vulns`, each with its path below the bundle.
fn bundle(files: &[(&str, &[Value])]) -> Vec<(String, Vec<u8>)> {
    let mut files_of_bundle = Vec::new();
    let mut head_files = std::collections::BTreeMap::new();
    for (name, records) in files {
        let text = lines(records);
        let bytes = zstd::encode_all(text.as_bytes(), 3).expect("compressed");
        let sha256 = self_digest::digest(&bytes);
        let path = format!("{name}-{}.ndjson.zst", &sha256.to_string()[..16]);
        let file = CompressedFile {
            path: path.clone(),
            size: bytes.len() as u64,
            sha256,
            raw_size: text.len() as u64,
        };
        head_files.insert((*name).to_owned(), file);
        files_of_bundle.push((format!("vulns/{path}"), bytes));
    }
    let head = SharedHead::new(SharedFolder::Advisories, Timestamp(0), head_files);
    files_of_bundle.push((format!("vulns/{}", layout::HEAD), self_digest::serialize(&head)));
    files_of_bundle
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
        let (batch, validators) = fetch(&url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!(ids(&batch), "RSEC-1 RSEC-2", "{url}: the advisories of Python are not requested");
        assert!(
            matches!(refresh(&feed(&url), validators.clone(), None).await, Ok(FeedRefresh::Unchanged)),
            "{url}"
        );
        // A file that does not match the head is refused, and the error names it.
        let changed_files = bundle(&[("cran", &records(3))]);
        let mut damaged_files = changed_files.clone();
        damaged_files[0].1[20] ^= 1;
        put(&damaged_files);
        let error = refresh(&feed(&url), validators.clone(), None).await.expect_err("damaged").to_string();
        assert!(error.contains(&damaged_files[0].0), "{error}");
        put(&changed_files);
        let Ok(FeedRefresh::Read(batch, _)) = refresh(&feed(&url), validators, None).await else {
            panic!("no change")
        };
        assert_eq!(ids(&batch), "RSEC-1 RSEC-2 RSEC-3", "{url}");
    }
    let feed = feed(&format!("{}/vulns", mirror.url()));
    let refresh_result = upstream().advisories(&feed, None, std::future::ready(None)).await;
    assert!(matches!(refresh_result, Ok(FeedRefresh::Absent)), "{refresh_result:?}");
}
