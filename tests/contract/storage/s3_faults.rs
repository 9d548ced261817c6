//! A faulty S3 server: every acknowledged object exists, and a read returns the whole object or an error.

use crate::support::faulty_s3::{Fault, FaultyProxy};
use crate::support::s3;
use crate::support::storage::{bytes, read};
use rstudio_pm::config::{S3Location, StorageConfig};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::StorageClass;
use rstudio_pm::storage::{Key, Storage, StorageError};
use std::time::{Duration, Instant};

struct Fixture {
    storage: Storage,
    proxy: FaultyProxy,
    location: S3Location,
    config: StorageConfig,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let proxy = FaultyProxy::start(s3::server()).await;
        let location = s3::bucket(proxy.address);
        let config = s3::config(&location, folder.path());
        let storage = Storage::open(&config).await.unwrap();
        Fixture { storage, proxy, location, config, _folder: folder }
    }

    async fn commit(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        let mut spool = self.storage.spool(key.class()).await?;
        spool.write_all(bytes).unwrap();
        self.storage.commit(spool, key).await
    }

    /// The object under the key, read without the proxy.
    fn stored_bytes(&self, key: &Key) -> Option<Vec<u8>> {
        let (status, body) =
            s3::request("GET", &format!("/{}/{}/{key}", self.location.bucket, self.location.prefix));
        assert!(matches!(status, 200 | 404), "{status}: {}", String::from_utf8_lossy(&body));
        (status == 200).then_some(body)
    }

    /// Established connections to the proxy.
    fn connections(&self) -> usize {
        let remote = format!("0100007F:{:04X}", self.proxy.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let established = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().take(4).collect();
            matches!(fields[..], [_, _, to, "01"] if to == remote)
        };
        table.lines().filter(established).count()
    }

    /// Whether a multipart upload was neither completed nor aborted.
    async fn has_unfinished_upload(&self) -> bool {
        // An abort after a failure runs in the background.
        let start = Instant::now();
        loop {
            let (_, list) = s3::request("GET", &format!("/{}?uploads", self.location.bucket));
            let has_uploads = String::from_utf8_lossy(&list).contains("<UploadId>");
            if !has_uploads || start.elapsed() > Duration::from_secs(60) {
                return has_uploads;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn cran(digest: Sha256) -> Key {
    Key::Package(StorageClass::Cran, digest)
}

fn put(head: &str) -> bool {
    head.starts_with("PUT ")
}

fn get(head: &str) -> bool {
    head.starts_with("GET ")
}

fn any(_: &str) -> bool {
    true
}

/// Tests that run with separate credentials.
macro_rules! faults {
    ($($name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if !s3::rerun_with_credentials() {
                tests::$name(Fixture::new().await).await;
            }
        }
    )* };
}

faults! {
    temporary_errors_are_retried
    a_permanent_error_is_reported_in_bounded_time
    an_interrupted_body_is_resumed
    a_body_that_is_interrupted_repeatedly_is_an_error
    unread_bodies_hold_few_connections
    a_put_with_a_lost_answer_is_stored
    a_conflict_without_an_object_is_not_success
    a_failed_part_fails_the_commit_and_aborts_the_upload
    an_error_in_an_answer_with_status_200_is_an_error
    expired_credentials_are_reloaded_once
    missing_credentials_are_reported_with_the_bucket_and_a_remedy
    a_missing_bucket_is_reported_with_a_remedy
    a_missing_permission_is_reported_by_name
    an_unreachable_server_is_reported_with_its_address
    a_named_profile_is_used
    acknowledged_objects_exist_after_random_faults
}

mod tests {
    use super::*;

    pub(super) async fn temporary_errors_are_retried(fixture: Fixture) {
        for (n, fault) in [
            Fault::Answer(500, "InternalError"),
            Fault::Answer(503, "SlowDown"),
            Fault::Answer(429, "TooManyRequests"),
            Fault::Reset,
        ]
        .into_iter()
        .enumerate()
        {
            for length in [1_000, 9_000_000] {
                let (content, digest) = bytes(length, n as u64);
                fixture.proxy.next(2, fault.clone(), put);
                fixture.commit(&cran(digest), &content).await.unwrap();
                assert!(fixture.stored_bytes(&cran(digest)).unwrap() == content);
                fixture.proxy.next(2, fault.clone(), get);
                let blob = fixture.storage.get(&cran(digest), None).await.unwrap();
                assert!(read(blob).await.unwrap() == content, "{fault:?} {length}");
            }
        }
    }

    pub(super) async fn a_permanent_error_is_reported_in_bounded_time(fixture: Fixture) {
        let start = Instant::now();
        let (content, digest) = bytes(1_000, 1);
        fixture.proxy.next(usize::MAX, Fault::Answer(503, "SlowDown"), any);
        let failed = fixture.commit(&cran(digest), &content).await.unwrap_err();
        assert!(failed.to_string().contains("s3://") && failed.to_string().contains("SlowDown"), "{failed}");
        let failed = fixture.storage.get(&cran(digest), None).await.err().unwrap();
        assert!(matches!(failed, StorageError::S3 { .. }), "{failed:?}");
        assert!(start.elapsed() < Duration::from_secs(180));
        assert_eq!(fixture.stored_bytes(&cran(digest)), None);
    }

    pub(super) async fn an_interrupted_body_is_resumed(fixture: Fixture) {
        let (content, digest) = bytes(3_000_000, 1);
        fixture.commit(&cran(digest), &content).await.unwrap();
        let whole = |from: u64, to: u64| content[from as usize..to as usize].to_vec();
        for after in [0, 1, 1_500_000, 2_999_999] {
            fixture.proxy.next(1, Fault::Cut(after), get);
            let blob = fixture.storage.get(&cran(digest), None).await.unwrap();
            assert!(read(blob).await.unwrap() == content, "cut after {after}");
        }
        fixture.proxy.next(1, Fault::Cut(100_000), get);
        let blob = fixture.storage.get(&cran(digest), Some(500_000..2_000_000)).await.unwrap();
        assert!(read(blob).await.unwrap() == whole(500_000, 2_000_000));
        let ranges =
            fixture.proxy.heads().iter().filter(|head| head.contains("bytes=600000-1999999")).count();
        assert_eq!(ranges, 1, "only the rest is requested again");
    }

    pub(super) async fn a_body_that_is_interrupted_repeatedly_is_an_error(fixture: Fixture) {
        let (content, digest) = bytes(3_000_000, 1);
        fixture.commit(&cran(digest), &content).await.unwrap();
        fixture.proxy.next(usize::MAX, Fault::Cut(10), get);
        let blob = fixture.storage.get(&cran(digest), None).await.unwrap();
        assert_eq!(blob.size, 3_000_000);
        let failed = read(blob).await.unwrap_err();
        assert!(failed.to_string().contains("s3://"), "{failed}");
        fixture.proxy.clear_faults();
        assert!(read(fixture.storage.get(&cran(digest), None).await.unwrap()).await.unwrap() == content);
    }

    pub(super) async fn unread_bodies_hold_few_connections(fixture: Fixture) {
        const BODIES: usize = 300;
        let (content, digest) = bytes(1_200_000, 1);
        fixture.commit(&cran(digest), &content).await.unwrap();
        let mut blobs = Vec::new();
        for _ in 0..BODIES {
            blobs.push(fixture.storage.get(&cran(digest), None).await.unwrap());
        }
        let limit = 256 + 32;
        let mut open = fixture.connections();
        for _ in 0..9_000 {
            if open <= limit {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            open = fixture.connections();
        }
        assert!((16..=limit).contains(&open), "{open} connections for {BODIES} bodies");
        // The last bodies have no connection; two of them are interrupted while they are read.
        let last = blobs.split_off(BODIES - 4);
        fixture.proxy.next(2, Fault::Cut(1_000), get);
        for blob in last {
            assert!(read(blob).await.unwrap() == content);
        }
        assert!(fixture.connections() <= limit);
    }

    pub(super) async fn a_put_with_a_lost_answer_is_stored(fixture: Fixture) {
        for (length, seed) in [(1_000, 1), (9_000_000, 2)] {
            let (content, digest) = bytes(length, seed);
            fixture.proxy.next(1, Fault::ResetAfterRequest, put);
            fixture.commit(&cran(digest), &content).await.unwrap();
            assert!(fixture.stored_bytes(&cran(digest)).unwrap() == content);
        }
    }

    pub(super) async fn a_conflict_without_an_object_is_not_success(fixture: Fixture) {
        let (content, digest) = bytes(1_000, 1);
        for code in [409, 412] {
            fixture.proxy.next(1, Fault::Answer(code, "ConditionalRequestConflict"), put);
            fixture.commit(&cran(digest), &content).await.unwrap();
            assert_eq!(fixture.stored_bytes(&cran(digest)).as_ref(), Some(&content));
            fixture.storage.delete(&cran(digest)).await.unwrap();
        }
        fixture.proxy.next(usize::MAX, Fault::Answer(409, "ConditionalRequestConflict"), put);
        fixture.commit(&cran(digest), &content).await.unwrap_err();
    }

    pub(super) async fn a_failed_part_fails_the_commit_and_aborts_the_upload(fixture: Fixture) {
        let (content, digest) = bytes(16_000_000, 1);
        fixture
            .proxy
            .next(usize::MAX, Fault::Answer(403, "AccessDenied"), |head| head.contains("partNumber=3"));
        let failed = fixture.commit(&cran(digest), &content).await.unwrap_err();
        assert!(failed.to_string().contains("AccessDenied"), "{failed}");
        assert_eq!(fixture.stored_bytes(&cran(digest)), None);
        assert!(!fixture.has_unfinished_upload().await);
    }

    pub(super) async fn an_error_in_an_answer_with_status_200_is_an_error(fixture: Fixture) {
        let (content, digest) = bytes(9_000_000, 1);
        let complete = |head: &str| head.starts_with("POST ") && head.contains("uploadId=");
        fixture.proxy.next(usize::MAX, Fault::Answer(200, "InternalError"), complete);
        fixture.commit(&cran(digest), &content).await.unwrap_err();
        assert_eq!(fixture.stored_bytes(&cran(digest)), None);
        fixture.proxy.clear_faults();
        fixture.proxy.next(1, Fault::Answer(200, "InternalError"), complete);
        fixture.commit(&cran(digest), &content).await.unwrap();
        assert!(fixture.stored_bytes(&cran(digest)).unwrap() == content);
        // The answer was lost after the upload was completed: the retry finds no such upload.
        let (content, digest) = bytes(9_000_000, 2);
        fixture.proxy.next(1, Fault::ErrorWithStatus200("SlowDown"), complete);
        if fixture.commit(&cran(digest), &content).await.is_ok() {
            assert!(fixture.stored_bytes(&cran(digest)).unwrap() == content);
        }
        fixture.commit(&cran(digest), &content).await.unwrap();
        assert!(fixture.stored_bytes(&cran(digest)).unwrap() == content);
    }

    pub(super) async fn expired_credentials_are_reloaded_once(fixture: Fixture) {
        let expired = |head: &str| head.contains("Credential=FIRSTKEY/");
        let (content, digest) = bytes(3_000_000, 1);
        let (large, large_digest) = bytes(16_000_000, 2);
        fixture.commit(&cran(digest), &content).await.unwrap();

        fixture.proxy.next(usize::MAX, Fault::Answer(403, "ExpiredToken"), expired);
        let before = fixture.proxy.heads().len();
        let (small, small_digest) = bytes(1_000, 3);
        let failed = fixture.commit(&cran(small_digest), &small).await.unwrap_err();
        assert!(failed.to_string().contains("ExpiredToken"), "{failed}");
        assert!(
            fixture.proxy.heads().len() - before <= 2,
            "no repeated requests: {:?}",
            fixture.proxy.heads()
        );

        s3::write_credentials(&s3::credentials_file(), "SECONDKEY");
        let blob = fixture.storage.get(&cran(digest), None).await.unwrap();
        assert!(read(blob).await.unwrap() == content);
        fixture.commit(&cran(large_digest), &large).await.unwrap();
        assert!(fixture.stored_bytes(&cran(large_digest)).unwrap() == large);

        // Expired in the middle of an upload, and of a download.
        fixture.proxy.clear_faults();
        fixture.storage.delete(&cran(large_digest)).await.unwrap();
        let second = |head: &str| head.contains("Credential=SECONDKEY/") && head.contains("partNumber=2");
        fixture.proxy.next(usize::MAX, Fault::Answer(400, "ExpiredToken"), second);
        s3::write_credentials(&s3::credentials_file(), "THIRDKEY");
        fixture.commit(&cran(large_digest), &large).await.unwrap();
        assert!(fixture.stored_bytes(&cran(large_digest)).unwrap() == large);
        assert!(!fixture.has_unfinished_upload().await);
        fixture.proxy.next(1, Fault::Cut(1_000_000), get);
        let third = |head: &str| head.contains("Credential=THIRDKEY/") && head.contains("bytes=1000000-");
        fixture.proxy.next(usize::MAX, Fault::Answer(400, "ExpiredToken"), third);
        let blob = fixture.storage.get(&cran(large_digest), None).await.unwrap();
        s3::write_credentials(&s3::credentials_file(), "FOURTHKEY");
        assert!(read(blob).await.unwrap() == large);
    }

    pub(super) async fn missing_credentials_are_reported_with_the_bucket_and_a_remedy(fixture: Fixture) {
        std::fs::remove_file(s3::credentials_file()).unwrap();
        let refusal = Storage::open(&fixture.config).await.err().unwrap().to_string();
        assert!(
            refusal.contains("no AWS credentials") && refusal.contains(&fixture.location.bucket),
            "{refusal}"
        );
        let parts = [refusal.contains("'cache', 'launcher'"), refusal.contains("IAM role")];
        assert_eq!(parts, [true, true], "{refusal}");
    }

    pub(super) async fn a_missing_bucket_is_reported_with_a_remedy(fixture: Fixture) {
        let location = S3Location { bucket: "not-there".into(), ..fixture.location.clone() };
        let config = StorageConfig { locations: s3::locations(&location), ..fixture.config.clone() };
        let refusal = Storage::open(&config).await.err().unwrap().to_string();
        assert!(
            refusal.contains("NoSuchBucket") && refusal.contains("aws s3 mb s3://not-there"),
            "{refusal}"
        );
    }

    pub(super) async fn a_missing_permission_is_reported_by_name(fixture: Fixture) {
        type Matches = fn(&str) -> bool;
        let cases: [(&str, Matches); 5] = [
            ("s3:PutObject", put),
            ("s3:GetObject", |head| head.starts_with("GET ") && head.contains("/validate.")),
            ("s3:ListBucket", |head| head.starts_with("GET ") && head.contains("list-type=2")),
            ("s3:DeleteObject", |head| head.starts_with("DELETE ") && !head.contains("uploadId=")),
            ("s3:AbortMultipartUpload", |head| head.starts_with("DELETE ") && head.contains("uploadId=")),
        ];
        for (permission, matches) in cases {
            fixture.proxy.next(usize::MAX, Fault::Answer(403, "AccessDenied"), matches);
            for (_, result) in Storage::probe(&fixture.config, |_| true).await {
                let text = result.unwrap_err().to_string();
                let (cause, remedy) = text.split_once("allow the credentials ").unwrap();
                assert!(cause.contains("AccessDenied") && cause.contains("temp/validate."), "{text}");
                assert!(remedy.split('(').next().unwrap().contains(permission), "{permission}: {text}");
            }
            fixture.proxy.clear_faults();
        }
    }

    pub(super) async fn an_unreachable_server_is_reported_with_its_address(fixture: Fixture) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let location = S3Location { endpoint: Some(format!("http://{free}")), ..fixture.location.clone() };
        let config = StorageConfig { locations: s3::locations(&location), ..fixture.config.clone() };
        let start = Instant::now();
        let refusal = Storage::open(&config).await.err().unwrap().to_string();
        assert!(refusal.contains(&format!("check that http://{free} can be reached")), "{refusal}");
        assert!(start.elapsed() < Duration::from_secs(180));
    }

    pub(super) async fn a_named_profile_is_used(fixture: Fixture) {
        let location = S3Location { profile: Some("other".into()), ..fixture.location.clone() };
        let config = StorageConfig { locations: s3::locations(&location), ..fixture.config.clone() };
        let before = fixture.proxy.heads().len();
        Storage::open(&config).await.unwrap();
        let heads = fixture.proxy.heads().split_off(before);
        assert!(
            !heads.is_empty() && heads.iter().all(|head| head.contains("Credential=OTHERKEY/")),
            "{heads:?}"
        );

        let config_file = s3::credentials_file().with_file_name("config");
        std::fs::write(config_file, "[profile shared]\nregion = eu-test-1\nsource_profile = other\n")
            .unwrap();
        std::fs::write(
            s3::credentials_file(),
            "[shared]\naws_access_key_id=SHAREDKEY\naws_secret_access_key=secret\n",
        )
        .unwrap();
        for (enable_shared_config, region) in [(false, "us-east-1"), (true, "eu-test-1")] {
            let location = S3Location {
                profile: Some("shared".into()),
                enable_shared_config,
                ..fixture.location.clone()
            };
            let config = StorageConfig { locations: s3::locations(&location), ..fixture.config.clone() };
            let before = fixture.proxy.heads().len();
            Storage::open(&config).await.unwrap();
            let head = &fixture.proxy.heads()[before];
            assert!(head.contains("Credential=SHAREDKEY/") && head.contains(region), "{head}");
        }
    }

    /// Random faults of fixed seeds: every acknowledged object exists, every read is complete or an error.
    pub(super) async fn acknowledged_objects_exist_after_random_faults(fixture: Fixture) {
        let mut acknowledged = 0;
        for seed in 0..24u64 {
            let (noise, _) = bytes(64, seed);
            let fault = |n: usize| match noise[n] % 6 {
                0 => Fault::Answer(500, "InternalError"),
                1 => Fault::Answer(503, "SlowDown"),
                2 => Fault::Cut(usize::from(noise[n + 1]) * 97),
                3 => Fault::Reset,
                4 => Fault::ResetAfterRequest,
                _ => Fault::Answer(409, "OperationAborted"),
            };
            for (n, times) in noise[50..53].iter().enumerate() {
                fixture.proxy.next(usize::from(times % 3), fault(n * 2), any);
            }
            let length = if seed % 8 == 0 { 9_000_000 } else { usize::from(noise[40]) * 137 };
            let (content, digest) = bytes(length, seed + 1_000);
            let key = cran(digest);
            if fixture.commit(&key, &content).await.is_ok() {
                acknowledged += 1;
                assert!(fixture.stored_bytes(&key).unwrap() == content, "seed {seed}");
            }
            if let Ok(blob) = fixture.storage.get(&key, None).await
                && let Ok(got) = read(blob).await
            {
                assert!(got == content, "seed {seed}");
            }
            fixture.proxy.clear_faults();
        }
        assert!(acknowledged > 12, "{acknowledged}");
    }
}
