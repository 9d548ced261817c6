//! Another `rstudio-pm` as what is downloaded from.

use rstudio_pm::bundle::Product;

use crate::support::downloader::{get_cran, got_cran, is_whole, mirror, read};
use crate::support::server::Builder;

#[tokio::test]
async fn another_server_is_a_mirror_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(
        dir.path(),
        &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-02-01"), ("beta", "1.0", "2020-01-02")],
    );
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}\n", shelf.url())).start();
    server.told("sync --quiet");
    server.told("create repo --name=prod");
    server.told("subscribe --repo=prod --source=cran");
    let to = dir.path().join("bundle");
    let address = server.url("/prod/latest");
    got_cran(&address, &to, &[]);
    is_whole(&to);
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert_eq!((state.listing(), state.releases().count()), (shelf.listing(), 3));
    // Straight from the mirror the same files come.
    let straight = dir.path().join("straight");
    got_cran(&shelf.url(), &straight, &[]);
    let objects = crate::support::downloader::objects;
    assert_eq!(objects(&to), objects(&straight));
    shelf.simple("gamma", "1.0", "2020-03-01");
    shelf.write();
    server.told("sync --quiet");
    got_cran(&address, &to, &[]);
    assert_eq!(read(&to, &Product::Cran).await.2.listing(), shelf.listing());
    // A repository that is not there is named.
    let ended = get_cran(&server.url("/nothing/latest"), &dir.path().join("other"), &[]);
    assert!(ended.code == Some(1) && ended.err.contains("/nothing/latest"), "{}", ended.err);
}
