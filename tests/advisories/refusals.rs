//! What is no advisory, or hostile, is refused with the reason.

use rstudio_pm::advisory::{Ecosystem, Format};
use rstudio_pm::upstream::advisories::Feed;

use super::{first, upstream};
use crate::support::advisories::{all_zip, archive, folder, lines, publish, record};
use crate::support::data;
use crate::support::mirror::Mirror;
use crate::support::tarball::Tarball;
use crate::support::zip::streamed;

async fn refused(mirror: &Mirror, file: &str, bytes: Vec<u8>, words: &str) {
    mirror.put(file, bytes);
    let said = first(&format!("{}/{file}", mirror.url())).await.expect_err(file).to_string();
    assert!(said.contains(words) && said.contains(file), "{file}: {said}");
}

#[tokio::test]
async fn files_that_are_something_else_are_refused() {
    let mirror = Mirror::start();
    let one = [record("RSEC-1", "CRAN", "a", "1.0")];
    let page = b"<!doctype html><title>Sign in</title>".to_vec();
    refused(&mirror, "a.tar.gz", page.clone(), "not a package archive").await;
    refused(&mirror, "b.tar.gz", archive(&one)[..90].to_vec(), "cut short").await;
    refused(&mirror, "c.tar.gz", Tarball::new("a", "1").bytes(), "no advisory about packages of CRAN").await;
    refused(&mirror, "a.zip", page.clone(), "zip file").await;
    refused(&mirror, "b.zip", streamed(&[("README.md".to_owned(), "#")]), "no advisory").await;
    refused(&mirror, "c.zip", all_zip(&[record("GHSA-1", "npm", "a", "1.0")]), "no advisory").await;
    refused(&mirror, "a.ndjson", page, "1 of 1 advisories in it are malformed").await;
    refused(&mirror, "b.ndjson.zst", lines(&one).into_bytes(), "").await;
    refused(&mirror, "c.ndjson", Vec::new(), "no advisory").await;
    let half = format!("{}{{\"id\":\"RSEC-2\"", lines(&one));
    refused(&mirror, "d.ndjson", half.into_bytes(), "d.ndjson, line 2: EOF").await;
}

#[tokio::test]
async fn zip_files_that_can_be_read_in_two_ways_are_refused() {
    let mirror = Mirror::start();
    let mut count = 0;
    for entry in std::fs::read_dir(data::path("hostile-zip/reject")).expect("the folder") {
        let path = entry.expect("an entry").path();
        mirror.put("all.zip", std::fs::read(&path).expect("readable"));
        assert!(first(&format!("{}/all.zip", mirror.url())).await.is_err(), "{}", path.display());
        count += 1;
    }
    assert!(count > 30, "{count}");
    // And an advisory in them makes them no better.
    let good = all_zip(&[record("RSEC-1", "CRAN", "a", "1.0")]);
    for (what, bytes) in [
        ("bytes before", [b"x", &good[..]].concat()),
        ("bytes behind", [&good[..], b"x"].concat()),
        ("another before", [&good[..], &good[..]].concat()),
    ] {
        mirror.put("all.zip", bytes);
        let said = first(&format!("{}/all.zip", mirror.url())).await.expect_err(what).to_string();
        assert!(said.contains("zip file") && !said.contains("R CMD"), "{what}: {said}");
    }
}

#[tokio::test]
async fn bombs_are_not_inflated() {
    let mirror = Mirror::start();
    let zeros = vec![b' '; 300 << 20];
    let line = zstd::encode_all(&zeros[..], 3).expect("compressed");
    mirror.put("a.ndjson.zst", [line.clone(), line].concat());
    let said = first(&format!("{}/a.ndjson.zst", mirror.url())).await.expect_err("a bomb").to_string();
    assert!(said.contains("inflates to more than"), "{said}");
    mirror.put("a.zip", streamed(&[("RSEC-1.json".to_owned(), &zeros[..9 << 20])]));
    let said = first(&format!("{}/a.zip", mirror.url())).await.expect_err("too large").to_string();
    assert!(said.contains("RSEC-1.json: it has 9437184 bytes"), "{said}");
}

#[tokio::test]
async fn nothing_outside_of_a_folder_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    folder(&dir.path().join("outside"), &[record("RSEC-2", "CRAN", "a", "1.0")]);
    let inside = dir.path().join("inside");
    folder(&inside, &[record("RSEC-1", "CRAN", "a", "1.0")]);
    std::os::unix::fs::symlink(dir.path().join("outside"), inside.join("link")).expect("a link");
    let url = format!("file://{}", inside.display());
    assert_eq!(first(&url).await.expect("a folder").0.len(), 1, "links to folders are not followed");
    let file = dir.path().join("outside/vulns/x/RSEC-2.json");
    std::os::unix::fs::symlink(file, inside.join("RSEC-2.json")).expect("a link");
    let said = first(&url).await.expect_err("a link to a file").to_string();
    assert!(said.contains("RSEC-2.json") && said.contains("leads out"), "{said}");
}

#[tokio::test]
async fn a_list_that_is_none_and_an_advisory_that_is_none_say_so() {
    let mirror = Mirror::start();
    let records: Vec<_> = (1..20).map(|n| record(&format!("RSEC-{n}"), "CRAN", "a", "1.0")).collect();
    publish(&mirror, "CRAN", &records);
    let feed = Feed::of(&format!("{}/osv", mirror.url()), &[Ecosystem::Cran]).remove(0);
    mirror.put("osv/CRAN/modified_id.csv", "<!doctype html>");
    let said =
        upstream().advisories(&feed, None, std::future::ready(None)).await.expect_err("a page").to_string();
    assert!(
        said.contains("osv/CRAN/modified_id.csv is not a list") || said.contains("not a list of advisories"),
        "{said}"
    );
    // One that nobody can read keeps no other away.
    publish(&mirror, "CRAN", &records);
    let newer =
        format!("2030-01-01T00:00:00Z,RSEC-1\n{}", crate::support::advisories::listing(&records[1..]));
    mirror.put("osv/CRAN/modified_id.csv", newer);
    mirror.put("osv/CRAN/RSEC-1.json", "{\"id\":");
    let rstudio_pm::upstream::advisories::FeedCheck::Read(batch, _) =
        upstream().advisories(&feed, None, std::future::ready(None)).await.expect("the others")
    else {
        panic!("not read");
    };
    assert_eq!((batch.len(), batch.skipped().0), (19, 1), "what was known of it stays");
    assert_eq!(Format::from_path("RSEC-1.json"), Some(Format::Json));
}
