//! `[Server]` and `[Proxy]`.

use super::address::{self, UrlPurpose};
use super::backup_place::BackupPlace;
use super::choice::AccessLogFormat;
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::value;
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Server {
    /// Public base URL, without a trailing slash; its path is empty or a prefix (`https://host/rspm`). `None` if
    /// the URL is derived from each request.
    pub address: Option<String>,
    /// Email address or URL of the administrators, for the header `User-Agent` of requests to mirrors.
    pub contact: Option<String>,
    /// Reverse proxies whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum number of simultaneous connections per client address; `None`: no limit.
    pub connections_per_address: Option<usize>,
    pub data_dir: PathBuf,
    /// Directory for temporary files; never inside `data_dir`.
    pub temp_dir: PathBuf,
    pub access_log: PathBuf,
    pub access_log_format: AccessLogFormat,
    /// File of the package service log; `None` if it is turned off.
    pub service_log: Option<PathBuf>,
    /// Directory of `rstudio-pm.sock`.
    pub sock_file_dir: PathBuf,
    pub encryption_key_path: PathBuf,
    /// Locations for backups; the first is the default.
    pub backup_paths: Vec<BackupPlace>,
    /// gzip level 1 to 9 for local packages.
    pub package_rewrite_compression_level: u32,
    /// Write buffer for local packages, in bytes.
    pub package_rewrite_buffer_size: usize,
    /// Whether clients may detect content types; if false, `X-Content-Type-Options: nosniff` is sent.
    pub content_type_sniffing: bool,
    /// Whether names of local and git sources are guarded from their first upload on.
    pub automatic_name_guard: bool,
    /// Time at the beginning of a stop, or of going offline, during which only health checks fail.
    pub drain_delay: Duration,
    pub usage_data_enabled: bool,
    /// Schedule for aggregating past days and removing old ones; five cron fields, UTC.
    pub usage_data_schedule: String,
    /// Retention of daily counts; zero keeps them permanently.
    pub usage_data_retention: Duration,
}

/// A value that must not appear in logs: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Server {
    pub(super) fn read(reader: &mut Reader<'_>) -> Server {
        let server = Server {
            address: reader.optional("Server", "Address", |text| address::url(text, UrlPurpose::Server)),
            contact: reader.optional("Server", "Contact", address::contact),
            trusted_proxies: reader.values("Server", "TrustedProxy", value::network),
            connections_per_address: Some(reader.number("Server", "ConnectionsPerAddress"))
                .filter(|limit| *limit > 0),
            data_dir: reader.value("Server", "DataDir", value::path),
            temp_dir: reader.value("Server", "TempDir", value::path),
            access_log: reader.value("Server", "AccessLog", value::path),
            access_log_format: reader.value("Server", "AccessLogFormat", str::parse),
            service_log: reader.optional("Server", "ServiceLog", value::path),
            sock_file_dir: reader.value("Server", "SockFileDir", value::path),
            encryption_key_path: reader.value("Server", "EncryptionKeyPath", value::path),
            backup_paths: reader.values("Server", "BackupPaths", str::parse),
            package_rewrite_compression_level: reader
                .number("Server", "PackageRewriteCompressionLevel")
                .try_into()
                .expect("is between 1 and 9"),
            package_rewrite_buffer_size: reader
                .size("Server", "PackageRewriteBufferSize")
                .try_into()
                .expect("is at most 1 GB"),
            automatic_name_guard: reader.value("Server", "AutomaticNameGuard", value::boolean),
            drain_delay: reader.value("Server", "DrainDelay", value::duration),
            content_type_sniffing: reader.value("Server", "ContentTypeSniffing", value::boolean),
            usage_data_enabled: reader.value("Server", "UsageDataEnabled", value::boolean),
            usage_data_schedule: reader.value("Server", "UsageDataSchedule", value::cron),
            usage_data_retention: reader.value("Server", "UsageDataRetention", value::duration),
        };
        if server.temp_dir.starts_with(&server.data_dir) {
            let message = format!(
                "{} must not be inside Server.DataDir, {}",
                server.temp_dir.display(),
                server.data_dir.display()
            );
            reader.error(ProblemCategory::Path, "Server", None, "TempDir", &message);
        }
        server
    }
}

#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// `host:port` or a full URL, which may contain credentials.
    pub url: Option<Secret>,
    /// User, when the URL has none.
    pub user: Option<String>,
    /// Password, when the URL has none.
    pub password: Option<Secret>,
}

impl Proxy {
    pub(super) fn read(reader: &Reader<'_>) -> Proxy {
        let text = |text: &str| Ok(text.to_owned());
        Proxy {
            url: reader.optional("Proxy", "URL", |text| address::url(text, UrlPurpose::Proxy)).map(Secret),
            user: reader.optional("Proxy", "User", text),
            password: reader.optional("Proxy", "Password", text).map(Secret),
        }
    }
}
