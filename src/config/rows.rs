//! The rows of the table: every section and property that an existing `rstudio-pm.gcfg` may contain.
//!
//! A row has two lines: name, type and default of a property; then its description and flags.

mod federation;
mod git;
mod local_python;
mod open_id_connect;
mod pypi;

use super::address::UrlPurpose;
use super::debug_region::DebugRegion;
use super::table::Kind::*;
use super::table::Subsection::{Class, ClassOrNone, Free, Never};
use super::table::{Effect, Kind, Property, Section, Subsection};

const FIRST_VERSION: Effect = Effect::Since("0.1.0");
const BACKEND: Kind = Choice(&["file", "s3"]);
const COUNT: Kind = Integer(0, i64::MAX);
/// Maximum of `Server.PackageRewriteBufferSize`, in bytes.
pub(super) const MAX_BUFFER: u64 = 1 << 30;
/// Maximum of `LocalPython.MaxUploadSize`, in bytes.
pub(super) const MAX_UPLOAD: u64 = 1 << 40;

type Str = &'static str;

/// Returns the row of a property that has an effect since the first version.
const fn p(name: Str, kind: Kind, default: Str, sentence: Str) -> Property {
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

/// Returns a section.
const fn s(name: Str, sub: Subsection, sentence: Str, properties: &'static [Property]) -> Section {
    Section { name, sub, sentence, properties }
}

/// All sections, in the order of the reference page.
#[rustfmt::skip]
pub static SECTIONS: &[Section] = &[
s("Server", Never, "Directories, logs and public address of the server.", &[
    p("Address", Url(UrlPurpose::Server), "",
      "Public base URL, including a path prefix if there is one; if unset, it is derived from each request.").reloadable(),
    p("TrustedProxy", Network, "127.0.0.0/8, ::1",
      "Address or network of a reverse proxy whose headers `X-RSPM-Request`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Port` determine the public URL while `Address` is unset, and whose `X-Forwarded-For` names the client in the audit trail and in the limits of refused tokens; empty trusts no proxy.").multi().reloadable(),
    p("ConnectionsPerAddress", COUNT, "1024",
      "Maximum number of simultaneous connections per client address (IPv6: per /64 network); further ones are closed. 0 means no limit. Loopback addresses and those of `TrustedProxy` are exempt.").reloadable(),
    p("DataDir", Path, "/var/lib/rstudio-pm",
      "Root of variable data."),
    p("TempDir", Path, "{TMPDIR}",
      "Directory for temporary files (default: the environment's `TMPDIR`, otherwise `/tmp`); it must not be inside `DataDir`."),
    p("AccessLog", Path, "/var/log/rstudio/rstudio-pm/rstudio-pm.access.log",
      "File of the HTTP access log.").reloadable(),
    p("AccessLogFormat", Choice(&["common", "combined"]), "combined",
      "Apache's format of the access log.").reloadable(),
    p("ServiceLog", Path, "",
      "File of the package service log (JSON lines); unset turns it off.").reloadable(),
    p("SockFileDir", Path, "/var/run/rstudio-pm",
      "Directory of the administration socket `rstudio-pm.sock`."),
    p("DrainDelay", Duration, "0s",
      "Time at the beginning of a stop, and of `rspm offline`, during which `/__ping__` answers 503 and all other requests are served, so that a load balancer can react; twice the interval of its checks is recommended, 0 turns it off.").reloadable(),
    p("PackageRewriteCompressionLevel", Integer(1, 9), "6",
      "gzip level for storing packages of local sources; lower is faster and larger.").reloadable(),
    p("PackageRewriteBufferSize", Size(1, MAX_BUFFER), "32KB",
      "Write buffer for packages of local sources; values below 32KB have no effect because the compressor's own buffer has 32KB.").reloadable(),
    p("AutomaticNameGuard", Boolean, "true",
      "Whether the first upload of a package to a local or git source reserves its name for such sources, unless a mirror listed it before; see name-guard.md.").reloadable(),
    p("ContentTypeSniffing", Boolean, "false",
      "If false, responses have the header `X-Content-Type-Options: nosniff`.").reloadable(),
    p("EncryptionKeyPath", Path, "{Server.DataDir}/rstudio-pm.key",
      "File of the key for encrypted values, unless `PACKAGEMANAGER_ENCRYPTION_KEY` or a credential of systemd named `rstudio-pm.key` holds it."),
    p("BackupPaths", BackupPlace, "",
      "Directory, or prefix in a bucket, that backups may be written to; `rspm backup create` without `--to` uses the first. The sandbox of systemd allows writing to the directories. If unset, commands on the server's machine may write backups to any directory that the server's user may write, clients on the network to none, and nobody to a bucket. Buckets are reached with the connection properties of `[S3Storage]`.").multi(),
    p("UsageDataEnabled", Boolean, "true",
      "Whether package downloads are counted; if false, no usage database is opened."),
    p("UsageDataSchedule", Schedule, "15 0 * * *",
      "Schedule for aggregating the counts of finished days into storage and removing those older than `UsageDataRetention`."),
    p("UsageDataRetention", Duration, "365d",
      "Retention of daily counts; 0 keeps them permanently. The total of each package is permanent."),
    p("RVersion", Path, "",
      "Directory of the R installation that builds packages from git, such as `/opt/R/4.5.2`; if unset, it is detected. If the property is repeated, the first directory is used.").multi(),
    p("PythonVersion", Path, "",
      "Directory of the Python installation that builds packages from git, such as `/opt/python/3.12.1`; if unset, it is detected. It needs the module `build`."),
    p("LauncherDir", Path, "",
      "Formerly the work directory of the job launcher.").obsolete(),
]),
s("HTTP", Never, "The plain HTTP listener.", &[
    p("Listen", Listen, ":4242",
      "Address to listen on; empty turns the listener off. If only `HTTPS.Listen` is set, there is no plain listener."),
]),
s("HTTPS", Never, "The TLS listener.", &[
    p("Listen", Listen, "",
      "Address to listen on; its port must differ from that of `HTTP.Listen`."),
    p("Certificate", Path, "",
      "PEM file with the server's certificate, followed by its chain.").reloadable(),
    p("Key", Path, "",
      "PEM file of the private key.").reloadable(),
    p("Permanent", Boolean, "false",
      "Sends `Strict-Transport-Security` with a maximum age of 30 days.").reloadable(),
    p("MinimumTLS", Choice(&["1.0", "1.1", "1.2", "1.3"]), "1.2",
      "Oldest protocol version accepted; 1.0 and 1.1 mean 1.2.").reloadable(),
]),
s("HTTPRedirect", Never, "Redirects from HTTP to HTTPS.", &[
    p("Listen", Listen, "",
      "Address of a plain listener that answers every request with a redirect to HTTPS; needs `HTTPS.Listen`."),
]),
s("Database", Never, "The database of the metadata.", &[
    p("Provider", Choice(&["sqlite", "postgres"]), "sqlite",
      "A local SQLite file (`sqlite`) or a PostgreSQL server (`postgres`)."),
    p("ConnectionTimeout", Duration, "30s",
      "Maximum wait for a database connection."),
]),
s("SQLite", Never, "Used with `Database.Provider = sqlite`.", &[
    p("Dir", Path, "{Server.DataDir}/db",
      "Directory of the database file; it must be on a local disk."),
]),
s("Postgres", Never, "Used with `Database.Provider = postgres`.", &[
    p("URL", Url(UrlPurpose::Postgres), "",
      "`postgres://user[:password]@host[:port]/database[?sslmode=…&search_path=…]`; special characters are URL-encoded. The URL may name several hosts (`host1:port1,host2:port2`), of which the one that accepts writes is used."),
    p("Password", Secret, "",
      "The password, if the URL has none. It may be encrypted with `rspm encrypt`, as may the URL."),
    p("UsageDataURL", Url(UrlPurpose::Postgres), "",
      "A second database or schema for usage data; if unset, usage data is in the main database."),
    p("UsageDataPassword", Secret, "",
      "The password for `UsageDataURL`, if that URL has none; if unset, `Password` is used. It may be encrypted."),
    p("ListenURL", Url(UrlPurpose::Postgres), "",
      "Direct URL of the same database for notifications and heartbeats; required if `URL` names a connection pooler in transaction mode. If unset, `URL`. It may be encrypted."),
]),
s("Storage", Never, "The backend of each class of variable data: disk (`file`) or S3 (`s3`).", &[
    p("Default", BACKEND, "file",
      "Backend of all classes that are not set below."),
    p("Cache", BACKEND, "{Storage.Default}",
      "Nothing is stored in this class; it exists for compatibility."),
    p("Launcher", BACKEND, "{Storage.Default}",
      "Output of package builds."),
    p("Metrics", BACKEND, "{Storage.Default}",
      "Aggregated usage data."),
    p("Packages", BACKEND, "{Storage.Default}",
      "Packages of local and git sources, and READMEs."),
    p("Binaries", BACKEND, "{Storage.Default}",
      "Binaries of R packages."),
    p("CRAN", BACKEND, "{Storage.Packages}",
      "Packages fetched from the CRAN mirror."),
    p("Bioconductor", BACKEND, "{Storage.Packages}",
      "Packages fetched from the Bioconductor mirror."),
    p("PyPI", BACKEND, "{Storage.Packages}",
      "Files fetched from the Python index."),
    p("Persistent", BACKEND, "{Storage.Default}",
      "Indexes of closed snapshots, rules for system requirements, advisories."),
]),
s("FileStorage", Class, "Location of a class on disk. `cran`, `bioconductor` and `pypi` follow `packages` if that is set and they are not.", &[
    p("Location", Path, "{Server.DataDir}/{class}",
      "Directory of the class."),
]),
s("S3Storage", ClassOrNone, "Location of classes on S3. A section with a class overrides the one without, property by property; `cran`, `bioconductor` and `pypi` follow `packages`.", &[
    p("Bucket", Text, "",
      "The bucket; required for every class on S3."),
    p("Prefix", Text, "",
      "Prepended to every key."),
    p("Profile", Text, "",
      "Profile of the shared AWS files."),
    p("Region", Text, "",
      "Region of the bucket."),
    p("EnableSharedConfig", Boolean, "false",
      "Whether the shared AWS configuration file is read in addition to the credentials file."),
    p("Endpoint", Url(UrlPurpose::S3), "",
      "Another S3 server: `http(s)://host[:port]`; without a scheme, `DisableSSL` selects it."),
    p("PathStyle", Boolean, "false",
      "Whether objects are addressed as `https://host/bucket/key` instead of `https://bucket.host/key`."),
    p("S3ForcePathStyle", Boolean, "false",
      "Another name of `PathStyle`, which takes precedence if both are set."),
    p("KeyID", Text, "",
      "Key of the key management service with which S3 encrypts new objects (SSE-KMS); if unset, the bucket's setting applies."),
    p("DisableSSL", Boolean, "false",
      "Whether S3 is accessed over plain HTTP; a scheme in `Endpoint` takes precedence."),
    p("SkipValidation", Boolean, "false",
      "Whether the check of the bucket at start and in `check-config` is skipped."),
]),
s("CRAN", Never, "The source `cran`.", &[
    p("URL", Url(UrlPurpose::Mirror), "https://cloud.r-project.org",
      "A CRAN mirror: `https://`, `http://` or `file:///` of a directory.").reloadable(),
    p("BinaryURL", Url(UrlPurpose::Binaries), "",
      "Server of binaries: the root of a mirror (Windows and macOS), `…/bin/linux/{distribution}-{arch}/{r}`, or `…/__linux__/{distribution}/latest`; if unset, no binaries are fetched.").multi().reloadable(),
    p("SyncSchedule", Schedule, "0 0 * * *",
      "Schedule of the sync with the mirror.").reloadable(),
    p("DelaySyncDuration", Duration, "0",
      "Minimum age of a release before it is synced from the mirror."),
    p("RSF", Boolean, "false",
      "Formerly a storage format.").obsolete(),
]),
s("SystemRequirements", Never, "System requirements of R packages: the rules that map the text of a DESCRIPTION to packages of a distribution.", &[
    p("URL", Url(UrlPurpose::Mirror), "",
      "The rules: an archive (`….tar.gz`), one document (`….json`), or `file:///` of a directory with `rules/` and `systems.json`; if unset, the directory `sysreqs` below a `CRAN.URL` that is a directory, otherwise the public rules.").reloadable(),
    p("SyncSchedule", Schedule, "0 1 * * *",
      "Schedule for updating the rules and the package database of the CRAN mirror.").reloadable(),
]),
s("Vulnerabilities", Never, "Advisories about vulnerable versions of packages.", &[
    p("URL", Url(UrlPurpose::Mirror), "",
      "Advisories: the root of public data (one directory per ecosystem), an archive (`….tar.gz`, `….zip`), JSON lines (`….ndjson`, `….ndjson.zst`), or `file:///` of a directory of them; if unset, the directory `vulns` below a `CRAN.URL` that is a directory, otherwise the public data; empty turns advisories off.").multi().reloadable(),
    p("SyncSchedule", Schedule, "*/10 * * * *",
      "Schedule for updating the advisories.").reloadable(),
]),
s("Platforms", Never, "Platforms that binaries are served for, as listed by the API. `rspm list distributions` shows them.", &[
    p("RVersion", Text, "",
      "R versions that the API lists, such as `4.5`, newest first; if unset, those of the built-in table.").multi().reloadable(),
]),
s("Distribution", Free, "An additional distribution, or changes to a built-in one. The name is the segment after `__linux__/` in URLs: letters, digits and `_`.", &[
    p("Alias", Text, "",
      "Makes the name an alias of this distribution, such as `rhel9`.").reloadable(),
    p("Display", Text, "",
      "Display name.").reloadable(),
    p("OS", Choice(&["linux", "windows", "macOS"]), "",
      "Operating system; if unset, `linux`.").reloadable(),
    p("System", Text, "",
      "Name in the rules for system requirements, such as `ubuntu`; an alias with this property is listed as a distribution.").reloadable(),
    p("Release", Text, "",
      "Release, such as `24.04`; if unset, `all`.").reloadable(),
    p("Architecture", Choice(&["x86_64", "arm64"]), "",
      "Architectures of its binaries; if unset, `x86_64`.").multi().reloadable(),
    p("SystemRequirements", Boolean, "",
      "Whether system requirements are known for it.").reloadable(),
    p("Hidden", Boolean, "",
      "Whether the distribution is hidden from listings; it is served nevertheless.").reloadable(),
    p("RVersion", Text, "",
      "The R version of its binaries, such as `4.4` or `4.4.2`.").reloadable(),
    p("ForceRVersion", Boolean, "",
      "Whether binaries are served only to clients with the minor version of `RVersion`.").reloadable(),
]),
s("MacOS", Free, "Folders of macOS binaries below `bin/macosx` for an R version (`[MacOS \"4.5\"]`), or for all others (`[MacOS \"default\"]`); `contrib` is `bin/macosx/contrib` itself.", &[
    p("Arm64", Text, "",
      "Folder for Apple processors, such as `big-sur-arm64`.").reloadable(),
    p("Intel", Text, "",
      "Folder for Intel processors, such as `big-sur-x86_64`.").reloadable(),
]),
s("Bioconductor", Never, "The source `bioconductor`.", &[
    p("URL", Url(UrlPurpose::Mirror), "https://bioconductor.org",
      "A Bioconductor mirror: `https://`, `http://` or `file:///` of a directory that contains `config.yaml` and `packages/`.").reloadable(),
    p("SyncSchedule", Schedule, "0 2 * * *",
      "Schedule of the sync with the mirror, which runs only while a repository serves Bioconductor.").reloadable(),
]),
s("PyPI", Never, "The source `pypi`.", pypi::PROPERTIES),
s("LocalPython", Never, "Sources of type `local-python`.", local_python::PROPERTIES),
s("Manifest", Never, "One location for all upstream data.", &[
    p("URL", Url(UrlPurpose::Mirror), "",
      "A mirror or a directory with a bundle.").not_yet(),
    p("Password", Secret, "",
      "Password for the mirror.").not_yet(),
]),
s("Repos", Never, "Names of the default repositories.", &[
    p("CRAN", Text, "",
      "The default repository for CRAN.").not_yet(),
    p("PyPI", Text, "",
      "The default repository for PyPI.").not_yet(),
    p("Bioconductor", Text, "",
      "The default repository for Bioconductor.").not_yet(),
]),
s("Git", Never, "Building packages from git.", git::PROPERTIES),
s("Metrics", Never, "The Prometheus endpoint, `/metrics`.", &[
    p("Enabled", Boolean, "true",
      "Whether the endpoint is served."),
    p("Listen", Listen, ":2112",
      "Address to listen on with plain HTTP. If the port is not available, an error is logged and everything else is served."),
]),
s("StorageAudit", Never, "Monitoring of the disk space of storage.", &[
    p("Enabled", Boolean, "true",
      "If false, disk space is not measured: no warning in the log and no alert when a file system is over 90 % full, and no series `ppm_storage_…`."),
]),
s("StorageAlerts", Never, "Alerts about disk space.", &[
    p("UIMessageType", Text, "",
      "`none` omits alerts about full file systems from `/__api__/alerts`, which web pages show; any other text includes them. The log has a warning in both cases."),
]),
s("Logging", Never, "The server log.", &[
    p("SystemLog", LogDestination, "STDOUT, /var/log/rstudio/rstudio-pm/rstudio-pm.log",
      "`STDOUT`, `STDERR` or a file; if repeated, the log is written to each.").multi().reloadable(),
    p("SystemLogLevel", Choice(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]), "INFO",
      "Lowest severity that is logged.").reloadable(),
    p("SystemLogFormat", Choice(&["TEXT", "JSON"]), "TEXT",
      "Format for people (`TEXT`) or for programs (`JSON`).").reloadable(),
    p("AuditLog", Path, "",
      "File to which the rows of the audit trail are copied (JSON lines), in addition to the database; unset turns it off.").reloadable(),
]),
s("Debug", Never, "Debug events of single regions in the server log.", &[
    p("Log", Choice(&DebugRegion::NAMES), "",
      "Region whose debug events are written at every level; `rspm config debug logger show --show-disabled` describes the regions.").multi().reloadable(),
]),
s("Authentication", Never, "Sessions and tokens.", &[
    p("APITokenAuth", Boolean, "true",
      "Whether administration and uploads from other machines with a token are allowed.").reloadable(),
    p("NewReposAuthByDefault", Boolean, "false",
      "Whether new repositories require a token, unless they are created with `--authenticated=false`.").reloadable(),
    p("MaxTokenLifetime", Duration, "",
      "Maximum lifetime of new tokens; unset for no limit. Existing tokens keep their lifetime.").reloadable(),
    p("RequireAuthForUI", Boolean, "false",
      "Whether the web pages, and the lists of all repositories and sources, require a sign-in or a token; packages of repositories without `--authenticated` do not.").reloadable(),
    p("DeviceAuthType", Choice(&["oidc", "local"]), "",
      "Who issues the codes with which devices sign in: the identity provider (`oidc`) or this server (`local`); if unset, the provider if it supports devices, otherwise this server.").reloadable(),
    p("Lifetime", Duration, "72h",
      "Maximum duration of a web session. Its scopes are those of the sign-in, so a user who leaves a group keeps them for this long at most.").reloadable(),
    p("Inactivity", Duration, "24h",
      "Time without a request after which a web session ends.").reloadable(),
    p("CookieSweepDuration", Duration, "1h",
      "Interval between removals of ended sessions from the database.").reloadable(),
]),
s("OpenIDConnect", Never, "Sign-in with the company's identity provider, for browsers and for devices without one. It needs `Server.Address`; the redirect URI to register at the provider is `Address` followed by `/__login__/callback`. At least one of `Scope`, `RoleClaim` and `[GroupToScopeMapping]` decides what users may do.", open_id_connect::PROPERTIES),
s("GroupToScopeMapping", Free, "What the members of a group of the identity provider may do; the name of the section is that of the group, byte for byte.", open_id_connect::MAPPING),
s("IdentityFederation", Free, "Tokens of other issuers, such as those of CI jobs and of a cluster's service accounts, that clients exchange for tokens of this server. A token that matches several sections gets the scopes of all of them.", federation::PROPERTIES),
s("Bootstrap", Never, "The first token.", &[
    p("PublicKey", Text, "",
      "RSA public key, or the path of its PEM file: a request that is signed with the private key creates a token with the scope `global:admin`, without access to the server's machine. `rspm bootstrap keys` creates a pair.").reloadable(),
]),
s("Licensing", Never, "This server needs no license.", &[
    p("LicenseType", Choice(&["local", "remote"]), "local",
      "Formerly the type of license.").obsolete(),
]),
s("Proxy", Never, "The outbound proxy.", &[
    p("URL", Url(UrlPurpose::Proxy), "",
      "`host:port` or a URL, which may contain user and password.").reloadable(),
    p("User", Text, "",
      "The user, if the URL has none.").reloadable(),
    p("Password", Secret, "",
      "The password, if the URL has none. It may be encrypted with `rspm encrypt`.").reloadable(),
]),
s("Launcher", Never, "Formerly the job launcher.", &[
    p("ServerUser", Text, "",
      "Formerly the user of the launcher.").obsolete(),
    p("AdminGroup", Text, "",
      "Formerly the group of its administrators.").obsolete(),
]),
];
