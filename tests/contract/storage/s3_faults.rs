//! An S3 server that errs, stalls and lies: nothing is acknowledged that is not there, and reads end whole or in an
//! error.

use crate::support::faulty_s3::{Fault, Faulty};
use crate::support::s3;
use crate::support::storage::{bytes, read};
use rstudio_pm::config::{S3Location, StorageClass, StorageConfig};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::storage::{Key, Storage, StorageError};
use std::time::{Duration, Instant};

struct Bench {
    storage: Storage,
    proxy: Faulty,
    place: S3Location,
    config: StorageConfig,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Faulty::start(s3::server()).await;
        let place = s3::bucket(proxy.address);
        let config = StorageConfig { locations: s3::places(&place), spool_dir: folder.path().to_owned() };
        let storage = Storage::open(&config).await.unwrap();
        Bench { storage, proxy, place, config, _folder: folder }
    }

    async fn commit(&self, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
        let mut spool = self.storage.spool(key.class()).await?;
        spool.write_all(bytes).unwrap();
        self.storage.commit(spool, key).await
    }

    /// What the server has under the key, asked without the proxy.
    fn stored(&self, key: &Key) -> Option<Vec<u8>> {
        let (status, body) = s3::ask("GET", &format!("/{}/{}/{key}", self.place.bucket, self.place.prefix));
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

    /// Multipart uploads that were begun and neither completed nor aborted.
    async fn unfinished(&self) -> bool {
        // An abort after a failure runs on its own.
        let begun = Instant::now();
        loop {
            let (_, list) = s3::ask("GET", &format!("/{}?uploads", self.place.bucket));
            let some = String::from_utf8_lossy(&list).contains("<UploadId>");
            if !some || begun.elapsed() > Duration::from_secs(5) {
                return some;
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

/// Tests that run with credentials of their own.
macro_rules! faults {
    ($($name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if !s3::elsewhere() {
                tests::$name(Bench::new().await).await;
            }
        }
    )* };
}

faults! {
    passing_errors_are_retried
    a_server_that_stays_broken_is_reported_in_bounded_time
    a_cut_body_is_resumed
    a_body_cut_again_and_again_is_an_error
    bodies_that_nobody_reads_keep_few_connections
    a_lost_answer_to_a_put_is_no_loss
    a_conflict_without_an_object_is_not_success
    a_failed_part_fails_the_commit_and_aborts_the_upload
    an_error_in_a_successful_answer_is_no_success
    expired_credentials_are_loaded_again_once
    refused_credentials_are_told_clearly
    a_missing_bucket_is_told_with_the_command_that_makes_it
    a_missing_permission_is_named
    an_unreachable_server_is_named
    a_named_profile_is_used
    whatever_happens_acknowledged_objects_are_there
}

mod tests {
    use super::*;

    pub(super) async fn passing_errors_are_retried(bench: Bench) {
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
                bench.proxy.next(2, fault.clone(), put);
                bench.commit(&cran(digest), &content).await.unwrap();
                assert!(bench.stored(&cran(digest)).unwrap() == content);
                bench.proxy.next(2, fault.clone(), get);
                let blob = bench.storage.get(&cran(digest), None).await.unwrap();
                assert!(read(blob).await.unwrap() == content, "{fault:?} {length}");
            }
        }
    }

    pub(super) async fn a_server_that_stays_broken_is_reported_in_bounded_time(bench: Bench) {
        let begun = Instant::now();
        let (content, digest) = bytes(1_000, 1);
        bench.proxy.next(usize::MAX, Fault::Answer(503, "SlowDown"), any);
        let failed = bench.commit(&cran(digest), &content).await.unwrap_err();
        assert!(failed.to_string().contains("s3://") && failed.to_string().contains("SlowDown"), "{failed}");
        let failed = bench.storage.get(&cran(digest), None).await.err().unwrap();
        assert!(matches!(failed, StorageError::S3 { .. }), "{failed:?}");
        assert!(begun.elapsed() < Duration::from_secs(70));
        assert_eq!(bench.stored(&cran(digest)), None);
    }

    pub(super) async fn a_cut_body_is_resumed(bench: Bench) {
        let (content, digest) = bytes(3_000_000, 1);
        bench.commit(&cran(digest), &content).await.unwrap();
        let whole = |from: u64, to: u64| content[from as usize..to as usize].to_vec();
        for after in [0, 1, 1_500_000, 2_999_999] {
            bench.proxy.next(1, Fault::Cut(after), get);
            let blob = bench.storage.get(&cran(digest), None).await.unwrap();
            assert!(read(blob).await.unwrap() == content, "cut after {after}");
        }
        bench.proxy.next(1, Fault::Cut(100_000), get);
        let blob = bench.storage.get(&cran(digest), Some(500_000..2_000_000)).await.unwrap();
        assert!(read(blob).await.unwrap() == whole(500_000, 2_000_000));
        let ranges = bench.proxy.heads().iter().filter(|head| head.contains("bytes=600000-1999999")).count();
        assert_eq!(ranges, 1, "only the rest is asked for again");
    }

    pub(super) async fn a_body_cut_again_and_again_is_an_error(bench: Bench) {
        let (content, digest) = bytes(3_000_000, 1);
        bench.commit(&cran(digest), &content).await.unwrap();
        bench.proxy.next(usize::MAX, Fault::Cut(10), get);
        let blob = bench.storage.get(&cran(digest), None).await.unwrap();
        assert_eq!(blob.size, 3_000_000);
        let failed = read(blob).await.unwrap_err();
        assert!(failed.to_string().contains("s3://"), "{failed}");
        bench.proxy.heal();
        assert!(read(bench.storage.get(&cran(digest), None).await.unwrap()).await.unwrap() == content);
    }

    pub(super) async fn bodies_that_nobody_reads_keep_few_connections(bench: Bench) {
        const BODIES: usize = 300;
        let (content, digest) = bytes(1_200_000, 1);
        bench.commit(&cran(digest), &content).await.unwrap();
        let mut blobs = Vec::new();
        for _ in 0..BODIES {
            blobs.push(bench.storage.get(&cran(digest), None).await.unwrap());
        }
        let most = 256 + 32;
        let mut open = bench.connections();
        for _ in 0..500 {
            if open <= most {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            open = bench.connections();
        }
        assert!((16..=most).contains(&open), "{open} connections for {BODIES} bodies");
        // Those that were opened last have no connection; two of them lose one while they are read.
        let last = blobs.split_off(BODIES - 4);
        bench.proxy.next(2, Fault::Cut(1_000), get);
        for blob in last {
            assert!(read(blob).await.unwrap() == content);
        }
        assert!(bench.connections() <= most);
    }

    pub(super) async fn a_lost_answer_to_a_put_is_no_loss(bench: Bench) {
        for (length, seed) in [(1_000, 1), (9_000_000, 2)] {
            let (content, digest) = bytes(length, seed);
            bench.proxy.next(1, Fault::Lose, put);
            bench.commit(&cran(digest), &content).await.unwrap();
            assert!(bench.stored(&cran(digest)).unwrap() == content);
        }
    }

    pub(super) async fn a_conflict_without_an_object_is_not_success(bench: Bench) {
        let (content, digest) = bytes(1_000, 1);
        for code in [409, 412] {
            bench.proxy.next(1, Fault::Answer(code, "ConditionalRequestConflict"), put);
            bench.commit(&cran(digest), &content).await.unwrap();
            assert_eq!(bench.stored(&cran(digest)).as_ref(), Some(&content));
            bench.storage.delete(&cran(digest)).await.unwrap();
        }
        bench.proxy.next(usize::MAX, Fault::Answer(409, "ConditionalRequestConflict"), put);
        bench.commit(&cran(digest), &content).await.unwrap_err();
    }

    pub(super) async fn a_failed_part_fails_the_commit_and_aborts_the_upload(bench: Bench) {
        let (content, digest) = bytes(16_000_000, 1);
        bench
            .proxy
            .next(usize::MAX, Fault::Answer(403, "AccessDenied"), |head| head.contains("partNumber=3"));
        let failed = bench.commit(&cran(digest), &content).await.unwrap_err();
        assert!(failed.to_string().contains("AccessDenied"), "{failed}");
        assert_eq!(bench.stored(&cran(digest)), None);
        assert!(!bench.unfinished().await);
    }

    pub(super) async fn an_error_in_a_successful_answer_is_no_success(bench: Bench) {
        let (content, digest) = bytes(9_000_000, 1);
        let complete = |head: &str| head.starts_with("POST ") && head.contains("uploadId=");
        bench.proxy.next(usize::MAX, Fault::Answer(200, "InternalError"), complete);
        bench.commit(&cran(digest), &content).await.unwrap_err();
        assert_eq!(bench.stored(&cran(digest)), None);
        bench.proxy.heal();
        bench.proxy.next(1, Fault::Answer(200, "InternalError"), complete);
        bench.commit(&cran(digest), &content).await.unwrap();
        assert!(bench.stored(&cran(digest)).unwrap() == content);
        // The answer was lost after the work was done: the repetition finds no such upload.
        let (content, digest) = bytes(9_000_000, 2);
        bench.proxy.next(1, Fault::Garble("SlowDown"), complete);
        if bench.commit(&cran(digest), &content).await.is_ok() {
            assert!(bench.stored(&cran(digest)).unwrap() == content);
        }
        bench.commit(&cran(digest), &content).await.unwrap();
        assert!(bench.stored(&cran(digest)).unwrap() == content);
    }

    pub(super) async fn expired_credentials_are_loaded_again_once(bench: Bench) {
        let expired = |head: &str| head.contains("Credential=FIRSTKEY/");
        let (content, digest) = bytes(3_000_000, 1);
        let (large, large_digest) = bytes(16_000_000, 2);
        bench.commit(&cran(digest), &content).await.unwrap();

        bench.proxy.next(usize::MAX, Fault::Answer(403, "ExpiredToken"), expired);
        let before = bench.proxy.heads().len();
        let (small, small_digest) = bytes(1_000, 3);
        let failed = bench.commit(&cran(small_digest), &small).await.unwrap_err();
        assert!(failed.to_string().contains("ExpiredToken"), "{failed}");
        assert!(bench.proxy.heads().len() - before <= 2, "no storm of requests: {:?}", bench.proxy.heads());

        s3::write_credentials(&s3::credentials_file(), "SECONDKEY");
        let blob = bench.storage.get(&cran(digest), None).await.unwrap();
        assert!(read(blob).await.unwrap() == content);
        bench.commit(&cran(large_digest), &large).await.unwrap();
        assert!(bench.stored(&cran(large_digest)).unwrap() == large);

        // Expired in the middle of an upload, and of a download.
        bench.proxy.heal();
        bench.storage.delete(&cran(large_digest)).await.unwrap();
        let second = |head: &str| head.contains("Credential=SECONDKEY/") && head.contains("partNumber=2");
        bench.proxy.next(usize::MAX, Fault::Answer(400, "ExpiredToken"), second);
        s3::write_credentials(&s3::credentials_file(), "THIRDKEY");
        bench.commit(&cran(large_digest), &large).await.unwrap();
        assert!(bench.stored(&cran(large_digest)).unwrap() == large);
        assert!(!bench.unfinished().await);
        bench.proxy.next(1, Fault::Cut(1_000_000), get);
        let third = |head: &str| head.contains("Credential=THIRDKEY/") && head.contains("bytes=1000000-");
        bench.proxy.next(usize::MAX, Fault::Answer(400, "ExpiredToken"), third);
        let blob = bench.storage.get(&cran(large_digest), None).await.unwrap();
        s3::write_credentials(&s3::credentials_file(), "FOURTHKEY");
        assert!(read(blob).await.unwrap() == large);
    }

    pub(super) async fn refused_credentials_are_told_clearly(bench: Bench) {
        std::fs::remove_file(s3::credentials_file()).unwrap();
        let refused = Storage::open(&bench.config).await.err().unwrap().to_string();
        assert!(refused.contains("no AWS credentials") && refused.contains(&bench.place.bucket), "{refused}");
        let one = [refused.contains("'cache', 'launcher'"), refused.contains("IAM role")];
        assert_eq!(one, [true, true], "{refused}");
    }

    pub(super) async fn a_missing_bucket_is_told_with_the_command_that_makes_it(bench: Bench) {
        let place = S3Location { bucket: "not-there".into(), ..bench.place.clone() };
        let config = StorageConfig { locations: s3::places(&place), ..bench.config.clone() };
        let refused = Storage::open(&config).await.err().unwrap().to_string();
        assert!(
            refused.contains("NoSuchBucket") && refused.contains("aws s3 mb s3://not-there"),
            "{refused}"
        );
    }

    pub(super) async fn a_missing_permission_is_named(bench: Bench) {
        type Matches = fn(&str) -> bool;
        let cases: [(&str, Matches); 5] = [
            ("s3:PutObject", put),
            ("s3:GetObject", |head| head.starts_with("GET ") && head.contains("/validate.")),
            ("s3:ListBucket", |head| head.starts_with("GET ") && head.contains("list-type=2")),
            ("s3:DeleteObject", |head| head.starts_with("DELETE ") && !head.contains("uploadId=")),
            ("s3:AbortMultipartUpload", |head| head.starts_with("DELETE ") && head.contains("uploadId=")),
        ];
        for (permission, matches) in cases {
            bench.proxy.next(usize::MAX, Fault::Answer(403, "AccessDenied"), matches);
            for (_, result) in Storage::probe(&bench.config).await {
                let said = result.unwrap_err().to_string();
                let (cause, remedy) = said.split_once("allow the credentials ").unwrap();
                assert!(cause.contains("AccessDenied") && cause.contains("temp/validate."), "{said}");
                assert!(remedy.split('(').next().unwrap().contains(permission), "{permission}: {said}");
            }
            bench.proxy.heal();
        }
    }

    pub(super) async fn an_unreachable_server_is_named(bench: Bench) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place = S3Location { endpoint: Some(format!("http://{free}")), ..bench.place.clone() };
        let config = StorageConfig { locations: s3::places(&place), ..bench.config.clone() };
        let begun = Instant::now();
        let refused = Storage::open(&config).await.err().unwrap().to_string();
        assert!(refused.contains(&format!("check that http://{free} can be reached")), "{refused}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    pub(super) async fn a_named_profile_is_used(bench: Bench) {
        let place = S3Location { profile: Some("other".into()), ..bench.place.clone() };
        let config = StorageConfig { locations: s3::places(&place), ..bench.config.clone() };
        let before = bench.proxy.heads().len();
        Storage::open(&config).await.unwrap();
        let heads = bench.proxy.heads().split_off(before);
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
            let place =
                S3Location { profile: Some("shared".into()), enable_shared_config, ..bench.place.clone() };
            let config = StorageConfig { locations: s3::places(&place), ..bench.config.clone() };
            let before = bench.proxy.heads().len();
            Storage::open(&config).await.unwrap();
            let head = &bench.proxy.heads()[before];
            assert!(head.contains("Credential=SHAREDKEY/") && head.contains(region), "{head}");
        }
    }

    /// A seeded storm of faults: every acknowledged object is there, every read is whole or an error.
    pub(super) async fn whatever_happens_acknowledged_objects_are_there(bench: Bench) {
        let mut acknowledged = 0;
        for seed in 0..24u64 {
            let (noise, _) = bytes(64, seed);
            let fault = |n: usize| match noise[n] % 6 {
                0 => Fault::Answer(500, "InternalError"),
                1 => Fault::Answer(503, "SlowDown"),
                2 => Fault::Cut(usize::from(noise[n + 1]) * 97),
                3 => Fault::Reset,
                4 => Fault::Lose,
                _ => Fault::Answer(409, "OperationAborted"),
            };
            for (n, times) in noise[50..53].iter().enumerate() {
                bench.proxy.next(usize::from(times % 3), fault(n * 2), any);
            }
            let length = if seed % 8 == 0 { 9_000_000 } else { usize::from(noise[40]) * 137 };
            let (content, digest) = bytes(length, seed + 1_000);
            let key = cran(digest);
            if bench.commit(&key, &content).await.is_ok() {
                acknowledged += 1;
                assert!(bench.stored(&key).unwrap() == content, "seed {seed}");
            }
            if let Ok(blob) = bench.storage.get(&key, None).await
                && let Ok(got) = read(blob).await
            {
                assert!(got == content, "seed {seed}");
            }
            bench.proxy.heal();
        }
        assert!(acknowledged > 12, "{acknowledged}");
    }
}
