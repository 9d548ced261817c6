//! `[S3Storage]`: one test per property, which sets it and checks the requests or the objects.

use rstudio_pm::config::S3Location;

use crate::support::process::run_to_end;
use crate::support::recording_server::RecordingServer;
use crate::support::s3::{self, builder, keys, lines};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Creates a bucket behind a server that records the requests; returns both, and a builder with all classes in it.
fn recorded_bucket() -> (S3Location, RecordingServer, Builder) {
    let recorder = RecordingServer::to(s3::server());
    let location = s3::bucket(recorder.address);
    let builder = builder().gcfg(&format!("[Storage]\nDefault = s3\n{}", lines(&location)));
    (location, recorder, builder)
}

/// Returns the number of packages of local sources in a bucket.
fn package_count(bucket: &str) -> usize {
    keys(bucket, "").iter().filter(|key| key.starts_with("packages/")).count()
}

fn add(server: &Server) {
    server.store("local", &Tarball::new("alpha", "1.0"));
}

#[test]
pub(super) fn bucket_contains_the_stored_objects() {
    let (location, _recorder, builder) = recorded_bucket();
    let other_bucket = s3::bucket(s3::server());
    add(&builder.start());
    assert_eq!((package_count(&location.bucket), keys(&other_bucket.bucket, "").len()), (1, 0));
}

#[test]
pub(super) fn bucket_of_a_class_overrides_the_bucket_of_all_classes() {
    let (location, _recorder, builder) = recorded_bucket();
    let other_bucket = s3::bucket(s3::server());
    add(&builder.gcfg(&format!("[S3Storage \"packages\"]\nBucket = {}", other_bucket.bucket)).start());
    assert_eq!(package_count(&location.bucket), 0);
    assert_eq!(package_count(&other_bucket.bucket), 1);
}

#[test]
pub(super) fn prefix_begins_every_key() {
    let (location, _recorder, builder) = recorded_bucket();
    add(&builder.gcfg("[S3Storage]\nPrefix = /team/pm/").start());
    let keys = keys(&location.bucket, "");
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("team/pm/")), "{keys:?}");
}

#[test]
pub(super) fn profile_chooses_the_credentials() {
    for (line, key) in [("", "FIRSTKEY"), ("Profile = other", "OTHERKEY")] {
        let (_, recorder, builder) = recorded_bucket();
        drop(builder.gcfg(&format!("[S3Storage]\n{line}")).start());
        let heads = recorder.heads();
        assert!(
            !heads.is_empty() && heads.iter().all(|head| head.contains(&format!("Credential={key}/"))),
            "{heads:?}"
        );
    }
}

#[test]
pub(super) fn region_is_part_of_the_signature_of_requests() {
    let (_, recorder, builder) = recorded_bucket();
    drop(builder.gcfg("[S3Storage]\nRegion = eu-west-3").start());
    let heads = recorder.heads();
    assert!(
        !heads.is_empty() && heads.iter().all(|head| head.contains("/eu-west-3/s3/aws4_request")),
        "{heads:?}"
    );
}

#[test]
pub(super) fn enable_shared_config_reads_the_configuration_file_too() {
    let folder = tempfile::tempdir().expect("a directory");
    let config = folder.path().join("config");
    let text =
        "[profile shared]\nregion = ap-south-1\naws_access_key_id = SHAREDKEY\naws_secret_access_key = x\n";
    std::fs::write(&config, text).expect("written");
    let (_, recorder, builder) = recorded_bucket();
    let builder = builder.env("AWS_CONFIG_FILE", &config.display().to_string());
    let mut server = builder.gcfg("[S3Storage]\nProfile = shared").prepare();
    let output = server.start_refused();
    assert!(output.contains("no AWS credentials"), "{output}");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), gcfg + "EnableSharedConfig = true\n").expect("written");
    server.launch();
    let heads = recorder.heads();
    assert!(
        !heads.is_empty() && heads.iter().all(|head| head.contains("Credential=SHAREDKEY/")),
        "{heads:?}"
    );
}

#[test]
pub(super) fn endpoint_is_the_server_that_gets_the_requests() {
    let (location, recorder, builder) = recorded_bucket();
    let second = RecordingServer::to(s3::server());
    let line = format!("[S3Storage]\nEndpoint = http://{}", second.host());
    add(&builder.gcfg(&line).start());
    assert_eq!(recorder.heads().len(), 0);
    assert!(!second.heads().is_empty() && !keys(&location.bucket, "").is_empty());
}

/// Returns the line of the first request, with host and path, if only the proxy can resolve the endpoint.
fn first_request(line: &str) -> String {
    let recorder = RecordingServer::to(s3::server());
    let location = s3::bucket(s3::server());
    let gcfg = format!(
        "[Storage]\nDefault = s3\n[S3Storage]\nBucket = {}\nRegion = us-east-1\nEndpoint = http://s3.test\n{line}",
        location.bucket
    );
    let server = builder().env("HTTP_PROXY", &format!("http://{}", recorder.host())).gcfg(&gcfg).start();
    add(&server);
    assert_eq!(package_count(&location.bucket), 1, "{:?}", recorder.heads());
    let heads = recorder.heads();
    heads[0].lines().next().expect("a request line").replace(&location.bucket, "BUCKET")
}

#[test]
pub(super) fn path_style_moves_the_bucket_from_the_host_into_the_path() {
    for line in ["", "PathStyle = false"] {
        let request = first_request(line);
        assert!(request.contains("http://BUCKET.s3.test/"), "{request}");
    }
    let request = first_request("PathStyle = true");
    assert!(request.contains("http://s3.test/BUCKET/"), "{request}");
}

#[test]
pub(super) fn s3_force_path_style_is_another_name_of_path_style_which_takes_precedence() {
    let request = first_request("S3ForcePathStyle = true");
    assert!(request.contains("http://s3.test/BUCKET/"), "{request}");
    let request = first_request("S3ForcePathStyle = true\nPathStyle = false");
    assert!(request.contains("http://BUCKET.s3.test/"), "{request}");
}

#[test]
pub(super) fn key_id_names_the_key_that_encrypts_objects() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555";
    let is_encrypted = |line: &str| {
        let (location, recorder, builder) = recorded_bucket();
        add(&builder.gcfg(&format!("[S3Storage]\n{line}")).start());
        let keys = keys(&location.bucket, "");
        let package = keys.iter().find(|key| key.contains("packages/")).expect("stored");
        let head = s3::head(&format!("/{}/{package}", location.bucket)).to_ascii_lowercase();
        // The request that begins a multipart upload, for example the check at start, names the key too.
        let heads = recorder.heads();
        let upload = heads.iter().find(|head| head.starts_with("POST ")).expect("a multipart upload");
        (
            head.contains("x-amz-server-side-encryption: aws:kms"),
            head.contains(&format!("x-amz-server-side-encryption-aws-kms-key-id: {key}")),
            upload.contains(key),
        )
    };
    assert_eq!(is_encrypted(""), (false, false, false));
    assert_eq!(is_encrypted(&format!("KeyID = {key}")), (true, true, true));
}

#[test]
pub(super) fn disable_ssl_sends_requests_over_plain_http() {
    // The default endpoint of Amazon, which only the proxy resolves, and an endpoint without a scheme.
    for endpoint in ["", "Endpoint = s3.us-east-1.amazonaws.com"] {
        let recorder = RecordingServer::to(s3::server());
        let location = s3::bucket(s3::server());
        let gcfg = |further_lines: &str| {
            let bucket = &location.bucket;
            format!(
                "[Storage]\nDefault = s3\n[S3Storage]\nBucket = {bucket}\nRegion = us-east-1\n\
                 PathStyle = true\n{endpoint}\n{further_lines}"
            )
        };
        let proxied_builder = |gcfg: &str| {
            let proxy = format!("http://{}", recorder.host());
            builder().env("HTTP_PROXY", &proxy).env("HTTPS_PROXY", &proxy).gcfg(gcfg)
        };
        let output = proxied_builder(&gcfg("")).prepare().start_refused();
        assert!(output.contains("https://s3.us-east-1.amazonaws.com"), "{output}");
        let head_count = recorder.heads().len();
        let server = proxied_builder(&gcfg("DisableSSL = true")).start();
        add(&server);
        let heads = recorder.heads().split_off(head_count);
        let plain_url = format!("http://s3.us-east-1.amazonaws.com/{}", location.bucket);
        assert!(!heads.is_empty() && heads.iter().all(|head| head.contains(&plain_url)), "{heads:?}");
        assert_eq!(package_count(&location.bucket), 1);
    }
}

#[test]
fn the_check_uses_the_credentials_in_the_environment_of_the_running_server() {
    let (_, _, builder) = recorded_bucket();
    let mut server = builder.gcfg("[CRAN]\nURL = https://cran.invalid").start();
    let check = |server: &Server| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rspm"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("NO_PROXY", "127.0.0.1");
        run_to_end(command.arg("--config").arg(server.config_file()).arg("check-config"))
    };
    let output = check(&server);
    assert_eq!(output.code, Some(0), "{}{}", output.out, output.err);
    server.stop();
    let output = check(&server);
    assert!(output.code == Some(1) && output.out.contains("no AWS credentials for s3://"), "{}", output.out);
}

#[test]
pub(super) fn skip_validation_omits_the_test_of_the_bucket_at_start_and_in_the_check() {
    for (line, is_checked) in [("SkipValidation = true", false), ("", true)] {
        let (location, recorder, builder) = recorded_bucket();
        let has_test_upload = || {
            recorder.heads().iter().any(|head| head.starts_with("PUT ") && head.contains("/temp/validate."))
        };
        let server = builder.gcfg(&format!("[S3Storage]\n{line}")).start();
        assert_eq!(has_test_upload(), is_checked, "{line}");
        add(&server);
        assert_eq!(package_count(&location.bucket), 1);
    }
    // A bucket that does not exist is an error only when it is used.
    let (_, recorder, builder) = recorded_bucket();
    let gcfg = "[S3Storage]\nBucket = not-there\nSkipValidation = true\n[CRAN]\nURL = https://cran.invalid";
    let mut server = builder.gcfg(gcfg).prepare();
    assert_eq!(server.check_config().0, 0);
    assert_eq!(recorder.heads(), [""; 0]);
    server.launch();
}
