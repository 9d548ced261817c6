//! Downloads from another `rstudio-pm`.

use rstudio_pm::bundle::Product;

use crate::support::downloader::{assert_complete, create_mirror, get_cran, must_get_cran, read};
use crate::support::server::Builder;

#[tokio::test]
async fn another_server_can_be_the_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = create_mirror(
        dir.path(),
        &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-02-01"), ("beta", "1.0", "2020-01-02")],
    );
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}\n", mirror.url())).start();
    server.rspm_stdout("sync --quiet");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let destination = dir.path().join("bundle");
    let address = server.url("/prod/latest");
    must_get_cran(&address, &destination, &[]);
    assert_complete(&destination);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!((state.listing(), state.releases().count()), (mirror.listing(), 3));
    // A download directly from the mirror has the same files.
    let mirror_bundle = dir.path().join("straight");
    must_get_cran(&mirror.url(), &mirror_bundle, &[]);
    let objects = crate::support::downloader::objects;
    assert_eq!(objects(&destination), objects(&mirror_bundle));
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    server.rspm_stdout("sync --quiet");
    must_get_cran(&address, &destination, &[]);
    assert_eq!(read(&destination, &Product::Cran).await.2.listing(), mirror.listing());
    // A missing repository is reported.
    let result = get_cran(&server.url("/nothing/latest"), &dir.path().join("other"), &[]);
    assert!(result.code == Some(1) && result.err.contains("/nothing/latest"), "{}", result.err);
}
