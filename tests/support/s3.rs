//! A real S3 server for tests: one `moto_server` for all test processes that run at the same time.

use super::helper_program::HelperProgram;
use super::port::free_port;
use super::rerun;
use super::server::Builder;
use rstudio_pm::config::{ClassLocation, S3Location, StorageConfig};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The address of the server. The first test that needs it starts it; all test processes share it; it stops a few
/// seconds after the last of them.
pub(crate) fn server() -> SocketAddr {
    static SERVER: OnceLock<(SocketAddr, File)> = OnceLock::new();
    SERVER.get_or_init(start).0
}

fn start() -> (SocketAddr, File) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3");
    std::fs::create_dir_all(&folder).expect("a folder for the S3 server");
    // Every user of the server holds a shared lock; the loop below stops the server if there is none.
    let users_lock = File::create(folder.join("users")).expect("the file of users");
    users_lock.lock_shared().expect("a shared lock");
    let start_lock = File::create(folder.join("starting")).expect("the file of starters");
    start_lock.lock().expect("an exclusive lock");
    let recorded_address = std::fs::read_to_string(folder.join("address")).unwrap_or_default();
    if let Some(address) = recorded_address.parse().ok().filter(|address| is_answering(*address)) {
        return (address, users_lock);
    }
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let script = r#"
        "$0" -H 127.0.0.1 -p "$1" & server=$!
        idle=0
        while [ $idle -lt 5 ] && kill -0 $server; do
            sleep 1
            if flock --nonblock --exclusive users true; then idle=$((idle + 1)); else idle=0; fi
        done
        kill $server"#;
    let log = File::options().read(true).write(true).create(true).truncate(true).open(folder.join("log"));
    let mut command = Command::new("sh");
    command.args(["-c", script]).args(["moto_server", &address.port().to_string()]);
    command.current_dir(&folder).env_remove("AWS_SHARED_CREDENTIALS_FILE").process_group(0);
    HelperProgram::start(command, &log.expect("the server's log"), || is_answering(address))
        .unwrap_or_else(|error| panic!("{error}"))
        .keep();
    std::fs::write(folder.join("address"), address.to_string()).expect("the address is recorded");
    (address, users_lock)
}

fn is_answering(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Sends a request without a body directly to the server; returns status and body.
pub(crate) fn request(method: &str, path: &str) -> (u16, Vec<u8>) {
    let (head, body) = exchange(method, path, b"");
    let status = head.get(9..12).and_then(|s| s.parse().ok()).expect("a status");
    (status, body)
}

/// The lines of the answer to HEAD of an object.
pub(crate) fn head(path: &str) -> String {
    exchange("HEAD", path, b"").0
}

/// Writes an object directly to the server.
pub(crate) fn put(path: &str, bytes: &[u8]) {
    let (head, _) = exchange("PUT", path, bytes);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

/// The keys in a bucket that begin with a prefix.
pub(crate) fn keys(bucket: &str, prefix: &str) -> Vec<String> {
    let (status, body) = request("GET", &format!("/{bucket}?list-type=2&prefix={prefix}"));
    assert_eq!(status, 200);
    let text = String::from_utf8(body).expect("XML");
    text.split("<Key>").skip(1).map(|rest| rest.split('<').next().expect("a key").to_owned()).collect()
}

fn exchange(method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut connection = TcpStream::connect(server()).expect("the S3 server answers");
    // The signature is not verified, but without one only public objects are readable.
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=DIRECT/20200101/us-east-1/s3/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), body].concat()).expect("the request is sent");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("the answer is read");
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("the answer has a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).expect("a head is text"), body)
}

/// A server without the AWS settings of this machine, with the credentials of the profiles `default` and `other`.
pub(crate) fn builder() -> Builder {
    // Not deleted: servers may be started later.
    let folder = tempfile::tempdir().expect("a directory").keep();
    let credentials = folder.join("credentials");
    write_credentials(&credentials, "FIRSTKEY");
    let mut builder = Builder::default()
        .env("AWS_SHARED_CREDENTIALS_FILE", &credentials.display().to_string())
        .env("AWS_CONFIG_FILE", &folder.join("config").display().to_string())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        builder = builder.env(&name, "");
    }
    builder
}

/// `[S3Storage]` for a bucket of the test server.
pub(crate) fn lines(location: &S3Location) -> String {
    format!(
        "[S3Storage]\nBucket = {}\nRegion = us-east-1\nEndpoint = {}\nPathStyle = {}\n",
        location.bucket,
        location.endpoint.as_deref().expect("an endpoint"),
        location.path_style,
    )
}

/// Creates an empty bucket, accessible at `address` (the server, or a proxy in front of it).
pub(crate) fn bucket(address: SocketAddr) -> S3Location {
    let bucket = format!("test-{:016x}", rand::random::<u64>());
    assert_eq!(request("PUT", &format!("/{bucket}")).0, 200, "the bucket is created");
    S3Location {
        bucket,
        prefix: "some/prefix".into(),
        endpoint: Some(format!("http://{address}")),
        path_style: true,
        ..S3Location::default()
    }
}

/// All nine classes in one bucket.
pub(crate) fn locations(location: &S3Location) -> [ClassLocation; 9] {
    std::array::from_fn(|_| ClassLocation::S3(location.clone()))
}

/// All nine classes in one bucket, with spools in a folder.
pub(crate) fn config(location: &S3Location, spool_dir: &Path) -> StorageConfig {
    StorageConfig {
        locations: locations(location),
        backups: S3Location::default(),
        spool_dir: spool_dir.to_owned(),
    }
}

/// Runs the current test again with its own file of AWS credentials ([`credentials_file`]); false in that run.
pub(crate) fn rerun_with_credentials() -> bool {
    let folder = tempfile::tempdir().expect("a folder for credentials");
    let file = folder.path().join("credentials");
    write_credentials(&file, "FIRSTKEY");
    rerun::with_command(|command| environment(command, &file))
}

/// Restricts a command to the credentials in `file`.
pub(crate) fn environment(command: &mut Command, file: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env("AWS_SHARED_CREDENTIALS_FILE", file);
    command.env("AWS_CONFIG_FILE", file.with_file_name("config"));
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("NO_PROXY", "127.0.0.1");
}

/// The file of this test's credentials.
pub(crate) fn credentials_file() -> PathBuf {
    std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").expect("the test runs elsewhere").into()
}

/// Writes a credentials file with the profiles `default` and `other`.
pub(crate) fn write_credentials(file: &Path, key: &str) {
    let profile =
        |name, key: &str| format!("[{name}]\naws_access_key_id={key}\naws_secret_access_key=secret\n");
    let text = format!("{}{}", profile("default", key), profile("other", "OTHERKEY"));
    std::fs::write(file, text).expect("the credentials are written");
}
