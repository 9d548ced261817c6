//! Invalid and hostile files are refused with the reason.

use rstudio_pm::advisory::Format;
use rstudio_pm::language::Ecosystem;
use rstudio_pm::upstream::advisories::Feed;

use super::{fetch, upstream};
use crate::support::advisories::{all_zip, archive, folder, lines, publish, record};
use crate::support::data;
use crate::support::mirror::Mirror;
use crate::support::tarball::Tarball;
use crate::support::zip::streamed;

async fn assert_refused(mirror: &Mirror, file: &str, bytes: Vec<u8>, words: &str) {
    mirror.put(file, bytes);
    let error = fetch(&format!("{}/{file}", mirror.url())).await.expect_err(file).to_string();
    assert!(error.contains(words) && error.contains(file), "{file}: {error}");
}

#[tokio::test]
async fn files_of_other_content_are_refused() {
    let mirror = Mirror::start();
    let records = [record("RSEC-1", "CRAN", "a", "1.0")];
    let page = b"<!doctype html><title>Sign in</title>".to_vec();
    assert_refused(&mirror, "a.tar.gz", page.clone(), "not a package archive").await;
    assert_refused(&mirror, "b.tar.gz", archive(&records)[..90].to_vec(), "truncated").await;
    assert_refused(&mirror, "c.tar.gz", Tarball::new("a", "1").bytes(), "no advisory about packages of CRAN")
        .await;
    assert_refused(&mirror, "a.zip", page.clone(), "zip file").await;
    assert_refused(&mirror, "b.zip", streamed(&[("README.md".to_owned(), "#")]), "no advisory").await;
    assert_refused(&mirror, "c.zip", all_zip(&[record("GHSA-1", "npm", "a", "1.0")]), "no advisory").await;
    assert_refused(&mirror, "a.ndjson", page, "1 of 1 advisories in it are malformed").await;
    assert_refused(&mirror, "b.ndjson.zst", lines(&records).into_bytes(), "Unknown frame descriptor").await;
    assert_refused(&mirror, "c.ndjson", Vec::new(), "no advisory").await;
    let truncated_lines = format!("{}{{\"id\":\"RSEC-2\"", lines(&records));
    assert_refused(&mirror, "d.ndjson", truncated_lines.into_bytes(), "d.ndjson, line 2: EOF").await;
}

#[tokio::test]
async fn ambiguous_zip_files_are_refused() {
    let mirror = Mirror::start();
    let mut count = 0;
    for entry in std::fs::read_dir(data::path("hostile-zip/reject")).expect("the folder") {
        let path = entry.expect("an entry").path();
        mirror.put("all.zip", std::fs::read(&path).expect("readable"));
        assert!(fetch(&format!("{}/all.zip", mirror.url())).await.is_err(), "{}", path.display());
        count += 1;
    }
    assert!(count > 30, "{count}");
    // These files are refused although they contain an advisory.
    let valid_zip = all_zip(&[record("RSEC-1", "CRAN", "a", "1.0")]);
    for (defect, bytes) in [
        ("bytes before", [b"x", &valid_zip[..]].concat()),
        ("bytes after", [&valid_zip[..], b"x"].concat()),
        ("another before", [&valid_zip[..], &valid_zip[..]].concat()),
    ] {
        mirror.put("all.zip", bytes);
        let error = fetch(&format!("{}/all.zip", mirror.url())).await.expect_err(defect).to_string();
        assert!(error.contains("zip file") && !error.contains("R CMD"), "{defect}: {error}");
    }
}

#[tokio::test]
async fn decompression_bombs_are_refused() {
    let mirror = Mirror::start();
    let zeros = vec![b' '; 300 << 20];
    let line = zstd::encode_all(&zeros[..], 3).expect("compressed");
    mirror.put("a.ndjson.zst", [line.clone(), line].concat());
    let error =
        fetch(&format!("{}/a.ndjson.zst", mirror.url())).await.expect_err("a decompression bomb").to_string();
    assert!(error.contains("inflates to more than"), "{error}");
    mirror.put("a.zip", streamed(&[("RSEC-1.json".to_owned(), &zeros[..9 << 20])]));
    let error = fetch(&format!("{}/a.zip", mirror.url())).await.expect_err("too large").to_string();
    assert!(error.contains("RSEC-1.json: it has 9437184 bytes"), "{error}");
}

#[tokio::test]
async fn links_out_of_a_folder_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    folder(&dir.path().join("outside"), &[record("RSEC-2", "CRAN", "a", "1.0")]);
    let folder_of_feed = dir.path().join("inside");
    folder(&folder_of_feed, &[record("RSEC-1", "CRAN", "a", "1.0")]);
    std::os::unix::fs::symlink(dir.path().join("outside"), folder_of_feed.join("link")).expect("a link");
    let url = format!("file://{}", folder_of_feed.display());
    assert_eq!(fetch(&url).await.expect("a folder").0.len(), 1, "links to folders are not followed");
    let file = dir.path().join("outside/vulns/x/RSEC-2.json");
    std::os::unix::fs::symlink(file, folder_of_feed.join("RSEC-2.json")).expect("a link");
    let error = fetch(&url).await.expect_err("a link to a file").to_string();
    assert!(error.contains("RSEC-2.json") && error.contains("leads out"), "{error}");
}

#[tokio::test]
async fn an_invalid_list_is_refused_and_an_invalid_advisory_is_skipped() {
    let mirror = Mirror::start();
    let records: Vec<_> = (1..20).map(|n| record(&format!("RSEC-{n}"), "CRAN", "a", "1.0")).collect();
    publish(&mirror, "CRAN", &records);
    let feed = Feed::of(&format!("{}/osv", mirror.url()), &[Ecosystem::Cran]).remove(0);
    mirror.put("osv/CRAN/modified_id.csv", "<!doctype html>");
    let error =
        upstream().advisories(&feed, None, std::future::ready(None)).await.expect_err("a page").to_string();
    assert!(
        error.contains("osv/CRAN/modified_id.csv") && error.contains("is not a list of advisories"),
        "{error}"
    );
    // An invalid advisory does not prevent the others from being read.
    publish(&mirror, "CRAN", &records);
    let newer_list =
        format!("2030-01-01T00:00:00Z,RSEC-1\n{}", crate::support::advisories::listing(&records[1..]));
    mirror.put("osv/CRAN/modified_id.csv", newer_list);
    mirror.put("osv/CRAN/RSEC-1.json", "{\"id\":");
    let rstudio_pm::upstream::advisories::FeedRefresh::Read(batch, _) =
        upstream().advisories(&feed, None, std::future::ready(None)).await.expect("the other advisories")
    else {
        panic!("not read");
    };
    assert_eq!((batch.len(), batch.skipped_files().0), (19, 1), "the advisory of all.zip remains");
    assert_eq!(Format::from_path("RSEC-1.json"), Some(Format::Json));
}
