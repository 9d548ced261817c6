//! The rows of the table: every section and property that an existing `rstudio-pm.gcfg` may contain.
//!
//! A row has two lines: name, type and default of a property; then its description and flags.

mod git;
mod python;
mod sign_in;

use super::address::UrlPurpose;
use super::debug_region::DebugRegion;
use super::table::Kind::*;
use super::table::Subsection::{Class, ClassOrNone, Free, Never};
use super::table::{Effect, Kind, Property, Section, Subsection};

const FIRST_VERSION: Effect = Effect::Since("1.0.0");
const BACKEND: Kind = Choice(&["file", "s3"]);
const COUNT: Kind = Integer(0, i64::MAX);
/// Maximum of `Server.PackageRewriteBufferSize`, in bytes.
pub(super) const MAX_BUFFER: u64 = 1 << 30;
/// Maximum of `LocalPython.MaxUploadSize`, in bytes.
pub(super) const MAX_UPLOAD: u64 = 1 << 40;

type Str = &'static str;

/// Returns the row of a property that has an effect since the first version.
const fn property(name: Str, kind: Kind, default: Str, sentence: Str) -> Property {
    Property { name, kind, default, is_multi: false, is_reloadable: false, effect: FIRST_VERSION, sentence }
}

impl Property {
    const fn reloadable(self) -> Property {
        Property { is_reloadable: true, ..self }
    }
    const fn multi(self) -> Property {
        Property { is_multi: true, ..self }
    }
    const fn not_yet(self) -> Property {
        Property { effect: Effect::NotYet, ..self }
    }
    const fn obsolete(self) -> Property {
        Property { effect: Effect::Obsolete, ..self }
    }
}

const fn section(name: Str, sub: Subsection, sentence: Str, properties: &'static [Property]) -> Section {
    Section { name, sub, sentence, properties }
}

/// All sections, in the order of the reference page.
#[rustfmt::skip]
pub static SECTIONS: &[Section] = &[
section("Server", Never, "Directories, logs and public address of the server.", &[
    property("Address", Url(UrlPurpose::Server), "",
      "Public base URL, including a path prefix if there is one; if unset, it is derived from each request.").reloadable(),
    property("Contact", Text, "",
      "Email address or URL of the administrators, which requests to mirrors and indexes name in the header `User-Agent`, after the name and the version of this server; the operators of public ones ask for it.").reloadable(),
    property("TrustedProxy", Network, "127.0.0.0/8, ::1",
      "Address or network of a reverse proxy whose headers `X-RSPM-Request`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Port` determine the public URL while `Address` is unset, and whose `X-Forwarded-For` names the client in the audit trail and in the limit of requests with tokens that are not valid; empty trusts no proxy.").multi().reloadable(),
    property("ConnectionsPerAddress", COUNT, "1024",
      "Maximum number of simultaneous connections per client address (IPv6: per /64 network); further ones are closed. 0 means no limit. Loopback addresses and those of `TrustedProxy` are exempt.").reloadable(),
    property("DataDir", Path, "/var/lib/rstudio-pm",
      "Root of variable data."),
    property("TempDir", Path, "{TMPDIR}",
      "Directory for temporary files (default: the environment's `TMPDIR`, otherwise `/tmp`); it must not be inside `DataDir`."),
    property("AccessLog", Path, "/var/log/rstudio/rstudio-pm/rstudio-pm.access.log",
      "File of the HTTP access log.").reloadable(),
    property("AccessLogFormat", Choice(&["common", "combined"]), "combined",
      "Apache's format of the access log.").reloadable(),
    property("ServiceLog", Path, "",
      "File of the package service log (JSON lines); unset turns it off.").reloadable(),
    property("SockFileDir", Path, "/var/run/rstudio-pm",
      "Directory of the administration socket `rstudio-pm.sock`."),
    property("DrainDelay", Duration, "0s",
      "Time at the beginning of a stop, and of `rspm offline`, during which `/__ping__` answers 503 and all other requests are served, so that a load balancer can react; twice the interval of its checks is recommended, 0 turns it off.").reloadable(),
    property("PackageRewriteCompressionLevel", Integer(1, 9), "6",
      "gzip level for storing packages of local sources; lower is faster and larger.").reloadable(),
    property("PackageRewriteBufferSize", Size(1, MAX_BUFFER), "32KB",
      "Write buffer for packages of local sources; values below 32KB have no effect because the compressor's own buffer has 32KB.").reloadable(),
    property("AutomaticNameGuard", Boolean, "true",
      "Whether the first upload of a package to a local or git source reserves its name for such sources, unless a mirror listed it before; see name-guard.md.").reloadable(),
    property("ContentTypeSniffing", Boolean, "false",
      "If false, responses have the header `X-Content-Type-Options: nosniff`.").reloadable(),
    property("EncryptionKeyPath", Path, "{Server.DataDir}/rstudio-pm.key",
      "File of the key for encrypted values, unless `PACKAGEMANAGER_ENCRYPTION_KEY` or a credential of systemd named `rstudio-pm.key` contains it."),
    property("BackupPaths", BackupPlace, "",
      "Directory, or prefix in a bucket, that backups may be written to; `rspm backup create` without `--to` uses the first. The sandbox of systemd allows writing to the directories. If unset, commands on the server's machine may write backups to any directory that the server's user may write, clients on the network cannot write backups, and backups in a bucket are not possible. Buckets are reached with the connection properties of `[S3Storage]`.").multi(),
    property("UsageDataEnabled", Boolean, "true",
      "Whether package downloads are counted; if false, no usage database is opened."),
    property("UsageDataSchedule", Schedule, "15 0 * * *",
      "Schedule for aggregating the counts of past days into storage and removing those older than `UsageDataRetention`."),
    property("UsageDataRetention", Duration, "365d",
      "Retention of daily counts; 0 keeps them permanently. The total of each package is permanent."),
    property("RVersion", Path, "",
      "Directory of the R installation that builds packages from git, such as `/opt/R/4.5.2`; if unset, it is detected. If the property is repeated, the first directory is used.").multi(),
    property("PythonVersion", Path, "",
      "Directory of the Python installation that builds packages from git, such as `/opt/python/3.12.1`; if unset, it is detected. It needs the module `build`."),
    property("LauncherDir", Path, "",
      "Formerly the work directory of the job launcher.").obsolete(),
]),
section("HTTP", Never, "The plain HTTP listener.", &[
    property("Listen", Listen, ":4242",
      "Address to listen on; empty turns the listener off. If only `HTTPS.Listen` is set, there is no plain listener."),
]),
section("HTTPS", Never, "The TLS listener.", &[
    property("Listen", Listen, "",
      "Address to listen on; its port must differ from that of `HTTP.Listen`."),
    property("Certificate", Path, "",
      "PEM file with the server's certificate, followed by its chain.").reloadable(),
    property("Key", Path, "",
      "PEM file of the private key.").reloadable(),
    property("Permanent", Boolean, "false",
      "Sends `Strict-Transport-Security` with a maximum age of 30 days.").reloadable(),
    property("MinimumTLS", Choice(&["1.0", "1.1", "1.2", "1.3"]), "1.2",
      "Oldest protocol version accepted; 1.0 and 1.1 mean 1.2.").reloadable(),
]),
section("HTTPRedirect", Never, "Redirects from HTTP to HTTPS.", &[
    property("Listen", Listen, "",
      "Address of a plain listener that answers every request with a redirect to HTTPS; needs `HTTPS.Listen`."),
]),
section("Database", Never, "The database of the metadata.", &[
    property("Provider", Choice(&["sqlite", "postgres"]), "sqlite",
      "A local SQLite file (`sqlite`) or a PostgreSQL server (`postgres`)."),
    property("ConnectionTimeout", Duration, "30s",
      "Maximum wait for a database connection."),
]),
section("SQLite", Never, "Used with `Database.Provider = sqlite`.", &[
    property("Dir", Path, "{Server.DataDir}/db",
      "Directory of the database file; it must be on a local disk."),
]),
section("Postgres", Never, "Used with `Database.Provider = postgres`.", &[
    property("URL", Url(UrlPurpose::Postgres), "",
      "`postgres://user[:password]@host[:port]/database[?sslmode=…&search_path=…]`; special characters are URL-encoded. The URL may name several hosts (`host1:port1,host2:port2`), of which the one that accepts writes is used."),
    property("Password", Secret, "",
      "The password, if the URL has none. It may be encrypted with `rspm encrypt`, as may the URL."),
    property("UsageDataURL", Url(UrlPurpose::Postgres), "",
      "A second database or schema for usage data; if unset, usage data is in the main database."),
    property("UsageDataPassword", Secret, "",
      "The password for `UsageDataURL`, if that URL has none; if unset, `Password` is used. It may be encrypted."),
    property("ListenURL", Url(UrlPurpose::Postgres), "",
      "Direct URL of the same database for notifications and heartbeats; required if `URL` names a connection pooler in transaction mode. If unset, `URL`. It may be encrypted."),
]),
section("Storage", Never, "The backend of each class of variable data: disk (`file`) or S3 (`s3`).", &[
    property("Default", BACKEND, "file",
      "Backend of all classes that are not set below."),
    property("Cache", BACKEND, "{Storage.Default}",
      "Nothing is stored in this class; it exists for compatibility."),
    property("Launcher", BACKEND, "{Storage.Default}",
      "Output of package builds."),
    property("Metrics", BACKEND, "{Storage.Default}",
      "Aggregated usage data."),
    property("Packages", BACKEND, "{Storage.Default}",
      "Packages of local and git sources, and READMEs."),
    property("Binaries", BACKEND, "{Storage.Default}",
      "Binaries of R packages."),
    property("CRAN", BACKEND, "{Storage.Packages}",
      "Packages fetched from the CRAN mirror."),
    property("Bioconductor", BACKEND, "{Storage.Packages}",
      "Packages fetched from the Bioconductor mirror."),
    property("PyPI", BACKEND, "{Storage.Packages}",
      "Files fetched from the Python index."),
    property("Persistent", BACKEND, "{Storage.Default}",
      "Indexes of closed snapshots, rules for system requirements, advisories."),
]),
section("FileStorage", Class, "Location of a class on disk. If a location is set for `packages` and not for `cran`, `bioconductor` or `pypi`, these use that of `packages`.", &[
    property("Location", Path, "{Server.DataDir}/{class}",
      "Directory of the class."),
]),
section("S3Storage", ClassOrNone, "Location of classes on S3. A section with a class overrides the one without, property by property; what the section of `cran`, `bioconductor` or `pypi` does not set is taken from the section of `packages`.", &[
    property("Bucket", Text, "",
      "The bucket; required for every class on S3."),
    property("Prefix", Text, "",
      "Prepended to every key."),
    property("Profile", Text, "",
      "Profile of the shared AWS files."),
    property("Region", Text, "",
      "Region of the bucket."),
    property("EnableSharedConfig", Boolean, "false",
      "Whether the shared AWS configuration file is read in addition to the credentials file."),
    property("Endpoint", Url(UrlPurpose::S3), "",
      "Another S3 server: `http(s)://host[:port]`; without a scheme, `DisableSSL` selects it."),
    property("PathStyle", Boolean, "false",
      "Whether objects are addressed as `https://host/bucket/key` instead of `https://bucket.host/key`."),
    property("S3ForcePathStyle", Boolean, "false",
      "Another name of `PathStyle`, which takes precedence if both are set."),
    property("KeyID", Text, "",
      "Key of the key management service with which S3 encrypts new objects (SSE-KMS); if unset, the bucket's setting applies."),
    property("DisableSSL", Boolean, "false",
      "Whether S3 is accessed over plain HTTP; a scheme in `Endpoint` takes precedence."),
    property("SkipValidation", Boolean, "false",
      "Whether the check of the bucket at start and in `check-config` is skipped."),
]),
section("CRAN", Never, "The source `cran`.", &[
    property("URL", Url(UrlPurpose::Mirror), "https://cloud.r-project.org",
      "A CRAN mirror: `https://`, `http://` or `file:///` of a directory.").reloadable(),
    property("BinaryURL", Url(UrlPurpose::Binaries), "",
      "Server of binaries: the root of a mirror (Windows and macOS), `…/bin/linux/{distribution}-{arch}/{r}`, or `…/__linux__/{distribution}/latest`; if unset, no binaries are fetched.").multi().reloadable(),
    property("SyncSchedule", Schedule, "0 0 * * *",
      "Schedule of the sync with the mirror.").reloadable(),
    property("DelaySyncDuration", Duration, "0",
      "Minimum age of a release before it is synced from the mirror."),
    property("RSF", Boolean, "false",
      "Formerly a storage format.").obsolete(),
]),
section("SystemRequirements", Never, "System requirements of R packages: the rules that map the text of a DESCRIPTION to packages of a distribution.", &[
    property("URL", Url(UrlPurpose::Mirror), "",
      "The rules: an archive (`….tar.gz`), one document (`….json`), or `file:///` of a directory with `rules/` and `systems.json`; if unset, the directory `sysreqs` below `CRAN.URL` if that is a directory, otherwise the public rules.").reloadable(),
    property("SyncSchedule", Schedule, "0 1 * * *",
      "Schedule for updating the rules and the package database of the CRAN mirror.").reloadable(),
]),
section("Vulnerabilities", Never, "Advisories about vulnerable versions of packages.", &[
    property("URL", Url(UrlPurpose::Mirror), "",
      "Advisories: the root of public data (one directory per ecosystem), an archive (`….tar.gz`, `….zip`), JSON lines (`….ndjson`, `….ndjson.zst`), or `file:///` of a directory of them; if unset, the directory `vulns` below `CRAN.URL` if that is a directory, otherwise the public data; empty turns advisories off.").multi().reloadable(),
    property("SyncSchedule", Schedule, "*/10 * * * *",
      "Schedule for updating the advisories.").reloadable(),
]),
section("Platforms", Never, "Platforms that binaries are served for, as listed by the API. `rspm list distributions` shows them.", &[
    property("RVersion", Text, "",
      "R versions that the API lists, such as `4.5`, newest first; if unset, those of the built-in table.").multi().reloadable(),
]),
section("Distribution", Free, "An additional distribution, or changes to a built-in one. The name is the segment after `__linux__/` in URLs: letters, digits and `_`.", &[
    property("Alias", Text, "",
      "Makes the name an alias of this distribution, such as `rhel9`.").reloadable(),
    property("Display", Text, "",
      "Display name.").reloadable(),
    property("OS", Choice(&["linux", "windows", "macOS"]), "",
      "Operating system; if unset, `linux`.").reloadable(),
    property("System", Text, "",
      "Name in the rules for system requirements, such as `ubuntu`; an alias with this property is listed as a distribution.").reloadable(),
    property("Release", Text, "",
      "Release, such as `24.04`; if unset, `all`.").reloadable(),
    property("Architecture", Choice(&["x86_64", "arm64"]), "",
      "Architectures of its binaries; if unset, `x86_64`.").multi().reloadable(),
    property("SystemRequirements", Boolean, "",
      "Whether system requirements are known for it.").reloadable(),
    property("Hidden", Boolean, "",
      "Whether the distribution is hidden from listings; it is served nevertheless.").reloadable(),
    property("RVersion", Text, "",
      "The R version of its binaries, such as `4.4` or `4.4.2`.").reloadable(),
    property("ForceRVersion", Boolean, "",
      "Whether binaries are served only to clients with the minor version of `RVersion`.").reloadable(),
]),
section("MacOS", Free, "Folders of macOS binaries below `bin/macosx` for an R version (`[MacOS \"4.5\"]`), or for all others (`[MacOS \"default\"]`); `contrib` is `bin/macosx/contrib` itself.", &[
    property("Arm64", Text, "",
      "Folder for Apple processors, such as `big-sur-arm64`.").reloadable(),
    property("Intel", Text, "",
      "Folder for Intel processors, such as `big-sur-x86_64`.").reloadable(),
]),
section("Bioconductor", Never, "The source `bioconductor`.", &[
    property("URL", Url(UrlPurpose::Mirror), "https://bioconductor.org",
      "A Bioconductor mirror: `https://`, `http://` or `file:///` of a directory that contains `config.yaml` and `packages/`.").reloadable(),
    property("SyncSchedule", Schedule, "0 2 * * *",
      "Schedule of the sync with the mirror, which runs only while a repository serves Bioconductor.").reloadable(),
]),
section("PyPI", Never, "The source `pypi`.", python::PYPI),
section("LocalPython", Never, "Sources of type `local-python`.", python::LOCAL_PYTHON),
section("Manifest", Never, "One location for all upstream data.", &[
    property("URL", Url(UrlPurpose::Mirror), "",
      "A mirror or a directory with a bundle.").not_yet(),
    property("Password", Secret, "",
      "Password for the mirror.").not_yet(),
]),
section("Repos", Never, "Names of the default repositories.", &[
    property("CRAN", Text, "",
      "The default repository for CRAN.").not_yet(),
    property("PyPI", Text, "",
      "The default repository for PyPI.").not_yet(),
    property("Bioconductor", Text, "",
      "The default repository for Bioconductor.").not_yet(),
]),
section("Git", Never, "Building packages from git.", git::PROPERTIES),
section("Metrics", Never, "The Prometheus endpoint, `/metrics`.", &[
    property("Enabled", Boolean, "true",
      "Whether the endpoint is served."),
    property("Listen", Listen, ":2112",
      "Address to listen on with plain HTTP; empty turns the listener off. If the port is not available, a warning is logged and everything else is served."),
]),
section("StorageAudit", Never, "Monitoring of the disk space of storage.", &[
    property("Enabled", Boolean, "true",
      "If false, disk space is not measured: no warning in the log and no alert when a file system is over 90 % full, and no series `ppm_storage_…`."),
]),
section("StorageAlerts", Never, "Alerts about disk space.", &[
    property("UIMessageType", Text, "",
      "`none` omits alerts about full file systems from `/__api__/alerts`, which web pages show; any other text includes them. The log has a warning in both cases."),
]),
section("Logging", Never, "The server log.", &[
    property("SystemLog", LogDestination, "STDOUT, /var/log/rstudio/rstudio-pm/rstudio-pm.log",
      "`STDOUT`, `STDERR` or a file; if repeated, the log is written to each.").multi().reloadable(),
    property("SystemLogLevel", Choice(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]), "INFO",
      "Lowest severity that is logged.").reloadable(),
    property("SystemLogFormat", Choice(&["TEXT", "JSON"]), "TEXT",
      "Format for people (`TEXT`) or for programs (`JSON`).").reloadable(),
    property("AuditLog", Path, "",
      "File to which the rows of the audit trail are copied (JSON lines), in addition to the database; unset turns it off.").reloadable(),
]),
section("Debug", Never, "Debug events of single regions in the server log.", &[
    property("Log", Choice(&DebugRegion::NAMES), "",
      "Region whose debug events are written at every level; `rspm config debug logger show --show-disabled` describes the regions.").multi().reloadable(),
]),
section("Authentication", Never, "Sessions and tokens.", &[
    property("APITokenAuth", Boolean, "true",
      "Whether administration and uploads from other machines with a token are allowed.").reloadable(),
    property("NewReposAuthByDefault", Boolean, "false",
      "Whether new repositories require a token, unless they are created with `--authenticated=false`.").reloadable(),
    property("MaxTokenLifetime", Duration, "",
      "Maximum lifetime of new tokens; unset for no limit. Existing tokens keep their lifetime.").reloadable(),
    property("RequireAuthForUI", Boolean, "false",
      "Whether the web pages, and the lists of all repositories and sources, require a sign-in or a token; packages of repositories without `--authenticated` do not.").reloadable(),
    property("DeviceAuthType", Choice(&["oidc", "local"]), "",
      "Who issues the codes with which devices sign in: the identity provider (`oidc`) or this server (`local`); if unset, the provider if it supports devices, otherwise this server.").reloadable(),
    property("Lifetime", Duration, "72h",
      "Maximum duration of a web session. Its scopes are those of the sign-in, so a user who leaves a group keeps them for this long at most.").reloadable(),
    property("Inactivity", Duration, "24h",
      "Time without a request after which a web session ends.").reloadable(),
    property("CookieSweepDuration", Duration, "1h",
      "Interval between removals of ended sessions from the database.").reloadable(),
]),
section("OpenIDConnect", Never, "Sign-in with the company's identity provider, for browsers and for devices without one. It needs `Server.Address`; the redirect URI to register at the provider is `Address` followed by `/__login__/callback`. At least one of `Scope`, `RoleClaim` and `[GroupToScopeMapping]` decides what users may do.", sign_in::OPEN_ID_CONNECT),
section("GroupToScopeMapping", Free, "What the members of a group of the identity provider may do; the name of the section is that of the group, byte for byte.", sign_in::MAPPING),
section("IdentityFederation", Free, "Tokens of other issuers, such as those of CI jobs and of a cluster's service accounts, that clients exchange for tokens of this server. A token that matches several sections gets the scopes of all of them.", sign_in::IDENTITY_FEDERATION),
section("Bootstrap", Never, "The first token.", &[
    property("PublicKey", Text, "",
      "RSA public key, or the path of its PEM file: a request that is signed with the private key creates a token with the scope `global:admin`, without access to the server's machine. `rspm bootstrap keys` creates a pair.").reloadable(),
]),
section("Licensing", Never, "This server needs no license.", &[
    property("LicenseType", Choice(&["local", "remote"]), "local",
      "Formerly the type of license.").obsolete(),
]),
section("Proxy", Never, "The outbound proxy.", &[
    property("URL", Url(UrlPurpose::Proxy), "",
      "`host:port` or a URL, which may contain user and password.").reloadable(),
    property("User", Text, "",
      "The user, if the URL has none.").reloadable(),
    property("Password", Secret, "",
      "The password, if the URL has none. It may be encrypted with `rspm encrypt`.").reloadable(),
]),
section("Launcher", Never, "Formerly the job launcher.", &[
    property("ServerUser", Text, "",
      "Formerly the user of the launcher.").obsolete(),
    property("AdminGroup", Text, "",
      "Formerly the group of its administrators.").obsolete(),
]),
];
