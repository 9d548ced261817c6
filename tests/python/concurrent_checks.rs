//! The number of uploaded files that are checked at the same time is limited; other uploads wait.

use std::sync::Arc;

use futures_util::StreamExt;
use rstudio_pm::edit::{self, Upload, UploadKind, Uploads};
use rstudio_pm::model::kind::Language;
use rstudio_pm::serve::RepoError;
use tokio::task::JoinHandle;

use crate::support::backend::{Backend, StoresConfig, actor};
use crate::support::python::package::Package;
use crate::support::tarball::Tarball;
use crate::support::zip::zip;

/// Receives a file in a separate task.
fn receive(
    uploads: &Arc<Uploads>,
    name: &str,
    bytes: Vec<u8>,
    kind: UploadKind,
) -> JoinHandle<Result<Upload, RepoError>> {
    let (uploads, name) = (Arc::clone(uploads), name.to_owned());
    tokio::spawn(async move {
        let body = futures_util::stream::iter([Ok(bytes.into())]).boxed();
        edit::package::receive(&uploads, &name, body, kind, &actor()).await
    })
}

fn receive_wheel(uploads: &Arc<Uploads>, project: &str) -> JoinHandle<Result<Upload, RepoError>> {
    let package = Package::new(project, "1.0");
    receive(uploads, &package.wheel_name(), package.wheel(), UploadKind::Project(Language::Python))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_files_and_zip_files_wait_while_two_files_are_checked() {
    let backend = Backend::with_stores(StoresConfig { gcfg: String::new() }).await;
    let permits = [(); 2].map(|()| backend.uploads.check_permit());
    let permits = futures_util::future::try_join_all(permits).await.expect("two checks");
    let wheel = receive_wheel(&backend.uploads, "one");
    let other_wheel = receive_wheel(&backend.uploads, "two");
    let package = Package::new("three", "1.0");
    let sdist = receive(
        &backend.uploads,
        &package.sdist_name(),
        package.sdist(),
        UploadKind::Project(Language::Python),
    );
    // Not a package: its check refuses it.
    let bytes = zip(&[("a/b".to_owned(), "text")]);
    let zip_file = receive(&backend.uploads, "a_1.0.zip", bytes, UploadKind::Binary);
    // Tar archives of R are checked as streams, and do not wait; ten take longer than the check of a small file.
    for version in 0..10 {
        let tarball = Tarball::new("tally", &format!("1.{version}"));
        backend.upload(&tarball).await.expect("a source package");
    }
    for (task, case) in
        [(&wheel, "wheel"), (&other_wheel, "other wheel"), (&sdist, "sdist"), (&zip_file, "zip file")]
    {
        assert!(!task.is_finished(), "{case}");
    }
    // As when the client disconnects.
    other_wheel.abort();
    assert!(other_wheel.await.expect_err("cancelled").is_cancelled());
    drop(permits);
    assert_eq!(wheel.await.expect("no panic").expect("a wheel").package, "one");
    assert_eq!(sdist.await.expect("no panic").expect("a source distribution").package, "three");
    let error = zip_file.await.expect("no panic").expect_err("no package").to_string();
    assert!(error.starts_with("'a_1.0.zip' is refused: "), "{error}");
    // No permit is lost.
    let permits = [(); 2].map(|()| backend.uploads.check_permit());
    assert_eq!(futures_util::future::try_join_all(permits).await.expect("two checks").len(), 2);
}
