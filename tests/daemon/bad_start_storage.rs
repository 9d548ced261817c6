//! Unusable storage: the start fails with path or bucket, user and remedy; the check reports the same.

use crate::support::process::run_to_end;
use crate::support::recording_server::RecordingServer;
use crate::support::s3;
use crate::support::server::{Builder, Server};

const DAEMON: &str = env!("CARGO_BIN_EXE_rstudio-pm");
const PATHS: &str = "File paths and storage";

fn on_s3(bucket: &str, endpoint: &str) -> Server {
    on_s3_with(bucket, &format!("Region = us-east-1\nEndpoint = http://{endpoint}\nPathStyle = true"))
}

/// Prepares a server whose classes `packages`, `cran`, `bioconductor` and `pypi` are on S3, with further lines of its section,
/// and the credentials in a file.
fn on_s3_with(bucket: &str, lines: &str) -> Server {
    let gcfg = format!("[Storage]\nPackages = s3\n[S3Storage]\nBucket = {bucket}\n{lines}");
    let mut builder = Builder::default().gcfg(&gcfg);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        builder = builder.env(&name, "");
    }
    let home = tempfile::tempdir().expect("a directory").keep();
    let credentials = home.join("credentials");
    s3::write_credentials(&credentials, "FIRSTKEY");
    builder
        .env("AWS_SHARED_CREDENTIALS_FILE", &credentials.display().to_string())
        .env("AWS_CONFIG_FILE", &home.join("config").display().to_string())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1")
        .prepare()
}

/// Asserts that start and check name the four classes, the bucket, the user, the problem and the remedy.
fn assert_refused(server: &Server, bucket: &str, problem: &str, remedy: &str) {
    let start = format!(
        "storage class 'packages', 'cran', 'bioconductor', 'pypi': 's3://{bucket}/' cannot be used by user "
    );
    let output = server.start_refused();
    let finding = server.failed_check(PATHS);
    let location = format!("{}: ", server.position_of(bucket));
    assert!(output.contains(&format!("Error: {start}")), "{output}");
    assert!(finding.starts_with(&format!("{location}{start}")), "{finding}");
    for text in [output, finding] {
        assert!(text.contains(problem) && text.contains(remedy), "{problem}, {remedy}:\n{text}");
    }
}

#[test]
fn a_missing_bucket_is_named_with_the_command() {
    let server = on_s3("no-such-bucket-here", &s3::server().to_string());
    assert_refused(
        &server,
        "no-such-bucket-here",
        "NoSuchBucket",
        "create the bucket: aws s3 mb s3://no-such-bucket-here",
    );
}

#[test]
fn a_bucket_of_amazon_without_a_region_is_reported_with_the_property() {
    let server = on_s3_with("a-bucket", "");
    let remedy = "set S3Storage.Region, AWS_REGION, or a region in the profile";
    assert_refused(&server, "a-bucket", "no region found", remedy);
}

#[test]
fn credentials_unknown_to_s3_are_reported() {
    let body = "<?xml version=\"1.0\"?><Error><Code>InvalidAccessKeyId</Code><Message>The AWS Access Key Id you \
                provided does not exist in our records.</Message></Error>";
    let recorder = RecordingServer::with_answer(403, body);
    assert_refused(
        &on_s3("a-bucket", &recorder.host()),
        "a-bucket",
        "InvalidAccessKeyId",
        "correct the credentials",
    );
}

#[test]
fn credentials_without_permission_are_reported_with_the_permission_to_add() {
    let recorder = RecordingServer::with_answer(
        403,
        "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    );
    assert_refused(
        &on_s3("a-bucket", &recorder.host()),
        "a-bucket",
        "AccessDenied",
        "allow the credentials s3:PutObject",
    );
}

#[test]
fn missing_credentials_are_reported() {
    let server = on_s3("a-bucket", &s3::server().to_string());
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), gcfg + "Profile = nobody-wrote-this\n").expect("written");
    assert_refused(&server, "a-bucket", "no AWS credentials for s3://a-bucket", "S3Storage.Profile");
}

#[test]
fn a_storage_without_bucket_is_refused() {
    let server = Builder::default().gcfg("[Storage]\nCache = s3").prepare();
    let line = "[S3Storage] Bucket: must be set: the storage of cache is s3";
    assert!(server.start_refused().contains(line));
    assert_eq!(server.failed_check("Listeners and start settings"), line);
}

#[test]
fn a_location_of_another_user_is_reported_with_the_command() {
    let server = Builder::default().gcfg("[FileStorage \"binaries\"]\nLocation = {dir}/own").prepare();
    let location = server.dir().join("own");
    std::fs::create_dir(&location).expect("a directory");
    let mut start = server.as_nobody(DAEMON);
    for name in ["data", "run"] {
        let dir = server.dir().join(name);
        std::fs::create_dir(&dir).expect("a directory");
        std::os::unix::fs::chown(dir, Some(65_534), Some(65_534)).expect("root can change the owner");
    }
    let text = format!(
        "storage class 'binaries': '{}' cannot be used by user nobody (uid 65534): ",
        location.display()
    );
    let remedy = format!("sudo chown -R nobody {}", location.display());
    let output = run_to_end(&mut start);
    assert!(
        output.code == Some(1) && output.err.contains(&text) && output.err.contains(&remedy),
        "{output:?}"
    );
    let output = run_to_end(start.arg("--check-config"));
    let line = format!("{}: {text}", server.position_of(&location.display().to_string()));
    assert!(
        output.code == Some(1) && output.out.contains(&line) && output.out.contains(&remedy),
        "{output:?}"
    );
}

#[test]
fn a_location_on_a_file_system_of_the_kernel_is_refused() {
    let reason = "it is on a virtual file system (proc), which stores no files; set another";
    for location in ["/proc/rstudio-pm", "/proc"] {
        let server =
            Builder::default().gcfg(&format!("[FileStorage \"cran\"]\nLocation = {location}")).prepare();
        let text = format!("storage class 'cran': '{location}' cannot be used by user ");
        let (output, finding) = (server.start_refused(), server.failed_check(PATHS));
        assert!(output.contains(&text) && output.contains(reason), "{output}");
        assert!(finding.starts_with(&format!("{}: {text}", server.position_of(location))), "{finding}");
        assert!(finding.contains(reason), "{finding}");
    }
    let server = Builder::default().gcfg("[Server]\nDataDir = /proc/rstudio-pm").prepare();
    let finding = server.failed_check(PATHS);
    assert!(
        finding.contains("Server.DataDir '/proc/rstudio-pm' ") && finding.contains("(proc)"),
        "{finding}"
    );
}

#[test]
fn a_location_below_a_file_is_named() {
    let server = Builder::default().gcfg("[FileStorage \"cran\"]\nLocation = {dir}/file/cran").prepare();
    std::fs::write(server.dir().join("file"), "").expect("written");
    let text =
        format!("storage class 'cran': '{}/file/cran' cannot be used by user ", server.dir().display());
    assert!(server.start_refused().contains(&text));
    let finding = server.failed_check(PATHS);
    assert!(finding.contains(&text) && finding.contains("/file is a file; move it away"), "{finding}");
}
