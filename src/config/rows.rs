//! The rows of the table: every section and property that an existing `rstudio-pm.gcfg` may hold.
//!
//! One row is two lines: name, type, default, marks; then its sentence.

use super::address::UrlFor;
use super::table::Kind::{
    Boolean, Choice, Duration, Integer, Listen, LogDestination, Path, Schedule, Secret, Size, Text, Url,
};
use super::table::SubName::{Class, ClassOrNone, Free, Never};
use super::table::{Effect, Kind, Property, Section};

const FIRST: Effect = Effect::Since("0.1.0");
const BACKEND: Kind = Choice(&["file", "s3"]);
const COUNT: Kind = Integer(0, i64::MAX);
/// Nobody writes packages with more than this in hand.
pub(super) const LARGEST_BUFFER: u64 = 1 << 30;

const fn p(name: &'static str, kind: Kind, default: &'static str, sentence: &'static str) -> Property {
    Property { name, kind, default, multi: false, reloadable: false, effect: FIRST, sentence }
}

impl Property {
    const fn reloadable(self) -> Property {
        Property { reloadable: true, ..self }
    }
    const fn multi(self) -> Property {
        Property { multi: true, ..self }
    }
    const fn later(self) -> Property {
        Property { effect: Effect::NotYet, ..self }
    }
    const fn obsolete(self) -> Property {
        Property { effect: Effect::Obsolete, ..self }
    }
    /// It restricts who may do what, which this version cannot.
    const fn refused(self) -> Property {
        Property { effect: Effect::Refused, ..self }
    }
}

const fn s(
    name: &'static str,
    sub: super::table::SubName,
    sentence: &'static str,
    properties: &'static [Property],
) -> Section {
    Section { name, sub, sentence, properties }
}

/// All sections, in the order of the reference page.
#[rustfmt::skip]
pub static SECTIONS: &[Section] = &[
s("Server", Never, "Where the server keeps its data and logs, and how it names itself.", &[
    p("Address", Url(UrlFor::Server), "",
      "Public base URL, with the path prefix when the server stands below one; unset, it is taken from each request.").reloadable(),
    p("DataDir", Path, "/var/lib/rstudio-pm",
      "Root of variable data."),
    p("TempDir", Path, "{TMPDIR}",
      "Scratch space (by default the environment's `TMPDIR`, else `/tmp`); it must not lie inside `DataDir`."),
    p("AccessLog", Path, "/var/log/rstudio/rstudio-pm/rstudio-pm.access.log",
      "File of the HTTP access log.").reloadable(),
    p("AccessLogFormat", Choice(&["common", "combined"]), "combined",
      "Apache's format of the access log.").reloadable(),
    p("ServiceLog", Path, "",
      "File of the package service log (JSON lines); unset is off.").reloadable(),
    p("SockFileDir", Path, "/var/run/rstudio-pm",
      "Directory of the administration socket `rstudio-pm.sock`."),
    p("PackageRewriteCompressionLevel", Integer(1, 9), "6",
      "gzip level with which packages of local sources are stored; lower is faster and larger.").reloadable(),
    p("PackageRewriteBufferSize", Size(1, LARGEST_BUFFER), "32KB",
      "Write buffer for packages of local sources; below 32KB the compressor's own, of 32KB, is what counts.").reloadable(),
    p("ContentTypeSniffing", Boolean, "false",
      "When false, answers carry `X-Content-Type-Options: nosniff`.").reloadable(),
    p("EncryptionKeyPath", Path, "{Server.DataDir}/rstudio-pm.key",
      "File of the key for encrypted settings.").later(),
    p("UsageDataEnabled", Boolean, "true",
      "Whether downloads of packages are counted; false opens no database for it."),
    p("UsageDataSchedule", Schedule, "15 0 * * *",
      "When the counts of finished days are added up into storage, and those older than `UsageDataRetention` removed."),
    p("UsageDataRetention", Duration, "365d",
      "How long the counts of a day are kept; 0 is for ever. What a package has in all is never forgotten."),
    p("RVersion", Path, "",
      "R installations for building packages; unset, they are looked for.").multi().later(),
    p("PythonVersion", Path, "",
      "Python installation for building packages; unset, it is looked for.").later(),
    p("LauncherDir", Path, "",
      "Was the work directory of the job launcher.").obsolete(),
]),
s("HTTP", Never, "The plain HTTP listener.", &[
    p("Listen", Listen, ":4242",
      "Address to listen on; empty is none. When only `HTTPS.Listen` is set, there is no plain listener."),
]),
s("HTTPS", Never, "The TLS listener.", &[
    p("Listen", Listen, "",
      "Address to listen on; its port differs from that of `HTTP.Listen`."),
    p("Certificate", Path, "",
      "PEM file: the server's certificate, then the chain of its authorities.").reloadable(),
    p("Key", Path, "",
      "PEM file of the private key.").reloadable(),
    p("Permanent", Boolean, "false",
      "Sends `Strict-Transport-Security` with 30 days.").reloadable(),
    p("MinimumTLS", Choice(&["1.0", "1.1", "1.2", "1.3"]), "1.2",
      "Oldest protocol version accepted; 1.0 and 1.1 are read and act as 1.2.").reloadable(),
]),
s("HTTPRedirect", Never, "Sends browsers from HTTP to HTTPS.", &[
    p("Listen", Listen, "",
      "Address of a plain listener that answers every request with a redirect to HTTPS; needs `HTTPS.Listen`."),
]),
s("Database", Never, "Which database holds the metadata.", &[
    p("Provider", Choice(&["sqlite", "postgres"]), "sqlite",
      "A file of its own (`sqlite`) or a PostgreSQL server (`postgres`)."),
    p("ConnectionTimeout", Duration, "30s",
      "Longest wait for a database connection."),
]),
s("SQLite", Never, "Used with `Database.Provider = sqlite`.", &[
    p("Dir", Path, "{Server.DataDir}/db",
      "Directory of the database file; it must be on a local disk."),
]),
s("Postgres", Never, "Used with `Database.Provider = postgres`.", &[
    p("URL", Url(UrlFor::Postgres), "",
      "`postgres://user[:password]@host[:port]/database[?sslmode=…&search_path=…]`; special characters are URL-encoded."),
    p("Password", Secret, "",
      "The password, when the URL holds none."),
    p("UsageDataURL", Url(UrlFor::Postgres), "",
      "A second database or schema for usage data; unset, its tables stand beside the others."),
    p("UsageDataPassword", Secret, "",
      "The password for it, when that URL holds none; unset, that of `Password`."),
]),
s("Storage", Never, "Whether a class of variable data lives on disk or on S3.", &[
    p("Default", BACKEND, "file",
      "All classes that are not set below."),
    p("Cache", BACKEND, "{Storage.Default}",
      "Computed artefacts that can be made again."),
    p("Launcher", BACKEND, "{Storage.Default}",
      "Output of package builds."),
    p("Metrics", BACKEND, "{Storage.Default}",
      "Aggregated usage data."),
    p("Packages", BACKEND, "{Storage.Default}",
      "Packages of local and git sources, and READMEs."),
    p("Binaries", BACKEND, "{Storage.Default}",
      "Ready-built packages."),
    p("CRAN", BACKEND, "{Storage.Packages}",
      "Packages fetched from the CRAN mirror."),
    p("Bioconductor", BACKEND, "{Storage.Packages}",
      "Packages fetched from the Bioconductor mirror."),
    p("PyPI", BACKEND, "{Storage.Packages}",
      "Files fetched from the Python index."),
    p("Persistent", BACKEND, "{Storage.Default}",
      "Indexes of closed snapshots; never evicted."),
]),
s("FileStorage", Class, "Where a class lives on disk. `cran`, `bioconductor` and `pypi` follow `packages` when that is set and they are not.", &[
    p("Location", Path, "{Server.DataDir}/{class}",
      "Directory of the class."),
]),
s("S3Storage", ClassOrNone, "Where classes live on S3. A section with a class overrides the one without, property by property; `cran`, `bioconductor` and `pypi` follow `packages`.", &[
    p("Bucket", Text, "",
      "The bucket; every class on S3 needs one."),
    p("Prefix", Text, "",
      "Prepended to every key."),
    p("Profile", Text, "",
      "Profile of the shared AWS files."),
    p("Region", Text, "",
      "Region of the bucket."),
    p("EnableSharedConfig", Boolean, "false",
      "Reads the shared AWS configuration file too, not only the credentials file."),
    p("Endpoint", Url(UrlFor::S3), "",
      "Another S3 server: `http(s)://host[:port]`; without a scheme, `DisableSSL` chooses it."),
    p("PathStyle", Boolean, "false",
      "Addresses objects as `https://host/bucket/key` instead of `https://bucket.host/key`."),
    p("S3ForcePathStyle", Boolean, "false",
      "Another name of `PathStyle`, which wins when both are set."),
    p("KeyID", Text, "",
      "Key of the key management service that S3 encrypts new objects with (SSE-KMS); unset, the bucket's own setting holds."),
    p("DisableSSL", Boolean, "false",
      "Plain HTTP to S3; the scheme of an `Endpoint` that has one wins."),
    p("SkipValidation", Boolean, "false",
      "Skips the check of the bucket at start and in `check-config`."),
]),
s("CRAN", Never, "The source `cran`.", &[
    p("URL", Url(UrlFor::Mirror), "https://cloud.r-project.org",
      "A CRAN mirror: `https://`, `http://` or `file:///` of a directory.").reloadable(),
    p("BinaryURL", Url(UrlFor::Binaries), "",
      "Where builds come from: the root of a mirror (Windows and macOS), `…/bin/linux/{distribution}-{arch}/{r}`, or `…/__linux__/{distribution}/latest`; unset, there are none.").multi().reloadable(),
    p("SyncSchedule", Schedule, "0 0 * * *",
      "When the mirror is looked at.").reloadable(),
    p("DelaySyncDuration", Duration, "0",
      "Releases younger than this are not taken from the mirror yet."),
    p("RSF", Boolean, "false",
      "Was a storage format.").obsolete(),
]),
s("SystemRequirements", Never, "What R packages need of the operating system: the rules that turn the text of a DESCRIPTION into packages of a distribution.", &[
    p("URL", Url(UrlFor::Mirror), "",
      "The rules: an archive (`….tar.gz`), one document (`….json`), or `file:///` of a directory with `rules/` and `systems.json`; unset, the directory `sysreqs` below a `CRAN.URL` that is a directory, else the public rule base.").reloadable(),
    p("SyncSchedule", Schedule, "0 1 * * *",
      "When the rules are looked at, and the package database of the CRAN mirror for new packages.").reloadable(),
]),
s("Vulnerabilities", Never, "Advisories about packages: which versions are known to be vulnerable.", &[
    p("URL", Url(UrlFor::Mirror), "",
      "Advisories: the root of public data (a folder for each ecosystem), an archive (`….tar.gz`, `….zip`), JSON lines (`….ndjson`, `….ndjson.zst`), or `file:///` of a directory of them; unset, the directory `vulns` below a `CRAN.URL` that is a directory, else the public data; empty, none.").multi().reloadable(),
    p("SyncSchedule", Schedule, "*/10 * * * *",
      "When they are looked at.").reloadable(),
]),
s("Platforms", Never, "What clients are told of the platforms binaries are served for. `rspm list distributions` shows them.", &[
    p("RVersion", Text, "",
      "R versions clients are told of, `4.5`, newest first; unset, those of the table that comes with the server.").multi().reloadable(),
]),
s("Distribution", Free, "A distribution of its own, or changes to one that the server knows. The name is what follows `__linux__/` in URLs: letters, digits and `_`.", &[
    p("Alias", Text, "",
      "Makes the name another name of this distribution, such as `rhel9`.").reloadable(),
    p("Display", Text, "",
      "Its name for people.").reloadable(),
    p("OS", Choice(&["linux", "windows", "macOS"]), "",
      "Its operating system; unset is `linux`.").reloadable(),
    p("System", Text, "",
      "What system requirements call it, such as `ubuntu`; an alias that has one is listed as a distribution.").reloadable(),
    p("Release", Text, "",
      "Its release, such as `24.04`; unset is `all`.").reloadable(),
    p("Architecture", Choice(&["x86_64", "arm64"]), "",
      "Architectures it has binaries for; unset is `x86_64`.").multi().reloadable(),
    p("SystemRequirements", Boolean, "",
      "Whether system requirements are known for it.").reloadable(),
    p("Hidden", Boolean, "",
      "Does not offer it to people; it is served all the same.").reloadable(),
    p("RVersion", Text, "",
      "The R version it is meant for, such as `4.4` or `4.4.2`.").reloadable(),
    p("ForceRVersion", Boolean, "",
      "Serves binaries to clients with that minor version of R only.").reloadable(),
]),
s("MacOS", Free, "Folders of macOS binaries below `bin/macosx` for an R version (`[MacOS \"4.5\"]`), or for those not named (`[MacOS \"default\"]`); `contrib` is `bin/macosx/contrib` itself.", &[
    p("Arm64", Text, "",
      "Folder for Apple's processors, such as `big-sur-arm64`.").reloadable(),
    p("Intel", Text, "",
      "Folder for Intel's processors, such as `big-sur-x86_64`.").reloadable(),
]),
s("Bioconductor", Never, "The source `bioconductor`.", &[
    p("URL", Url(UrlFor::Mirror), "https://bioconductor.org",
      "A Bioconductor mirror: `https://`, `http://` or `file:///` of a directory. Below it lie `config.yaml` and `packages/`.").reloadable(),
    p("SyncSchedule", Schedule, "0 2 * * *",
      "When the mirror is looked at, as long as a repository offers Bioconductor.").reloadable(),
]),
s("PyPI", Never, "The source `pypi`.", &[
    p("SyncSchedule", Schedule, "0 1 * * *",
      "When the index is looked at.").reloadable().later(),
    p("DelaySyncDuration", Duration, "0",
      "How long new content is held back.").later(),
]),
s("Manifest", Never, "One place for all upstream data.", &[
    p("URL", Url(UrlFor::Mirror), "",
      "A mirror or a directory with a bundle.").later(),
    p("Password", Secret, "",
      "Its password.").later(),
]),
s("Repos", Never, "Names of the default repositories.", &[
    p("CRAN", Text, "",
      "The repository that stands for CRAN.").later(),
    p("PyPI", Text, "",
      "The repository that stands for PyPI.").later(),
    p("Bioconductor", Text, "",
      "The repository that stands for Bioconductor.").later(),
]),
s("Git", Never, "Building packages from git.", &[
    p("PollInterval", Duration, "5m",
      "Pause between looks at each remote.").later(),
    p("BuildRetries", COUNT, "3",
      "Most attempts for a build that fails.").later(),
    p("BuilderDir", Path, "",
      "Directory of the workspaces.").later(),
    p("AllowUnsandboxedGitBuilds", Boolean, "false",
      "Permits builds without a sandbox.").later(),
]),
s("Metrics", Never, "The Prometheus endpoint, `/metrics`.", &[
    p("Enabled", Boolean, "true",
      "Whether it is served."),
    p("Listen", Listen, ":2112",
      "Its address; plain HTTP. A port that cannot be had is said in the log and keeps nothing else from serving."),
]),
s("StorageAudit", Never, "Watching the space of storage on disk.", &[
    p("Enabled", Boolean, "true",
      "False leaves the space unmeasured: no warning in the log and no alert when a file system is over 90 % full, and no series `ppm_storage_…`."),
]),
s("StorageAlerts", Never, "Alerts about the space that is used.", &[
    p("UIMessageType", Text, "",
      "`none` leaves alerts about full file systems out of `/__api__/alerts`, which web pages show; any other text does not. The log warns of them in both cases."),
]),
s("Logging", Never, "The server log.", &[
    p("SystemLog", LogDestination, "STDOUT, /var/log/rstudio/rstudio-pm/rstudio-pm.log",
      "`STDOUT`, `STDERR` or a file; repeated, the log goes to each.").multi().reloadable(),
    p("SystemLogLevel", Choice(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]), "INFO",
      "The least severe lines that are written.").reloadable(),
    p("SystemLogFormat", Choice(&["TEXT", "JSON"]), "TEXT",
      "Lines for people or for machines.").reloadable(),
]),
s("Debug", Never, "Details of single areas in the server log.", &[
    p("Log", Text, "",
      "Areas such as `git`, `router`, `sync`.").multi().reloadable().later(),
]),
s("Authentication", Never, "Sessions and tokens.", &[
    p("APITokenAuth", Boolean, "false",
      "Permits administration and uploads from other machines with a token.").later(),
    p("NewReposAuthByDefault", Boolean, "false",
      "New repositories need authentication.").refused(),
    p("RequireAuthForUI", Boolean, "false",
      "The web pages need authentication.").refused(),
    p("DeviceAuthType", Text, "",
      "Variant of the device login.").later(),
    p("Lifetime", Duration, "72h",
      "Longest web session.").later(),
    p("Inactivity", Duration, "24h",
      "Web sessions end after so long without a request.").later(),
    p("CookieSweepDuration", Duration, "1h",
      "Pause between removals of ended sessions.").later(),
]),
s("OpenIDConnect", Never, "Login through an identity provider.", &[
    p("Issuer", Url(UrlFor::Web), "",
      "The provider.").refused(),
    p("ClientId", Text, "",
      "This server's name at the provider.").refused(),
    p("ClientSecret", Secret, "",
      "Its secret.").refused(),
    p("ClientSecretFile", Path, "",
      "File that holds the secret.").refused(),
    p("Logging", Boolean, "false",
      "Logs details of logins.").later(),
    p("Scope", Text, "",
      "Scopes asked of the provider.").later(),
    p("CustomScope", Text, "",
      "More scopes.").multi().later(),
    p("NoAutoGroupsScope", Boolean, "false",
      "Does not ask for the groups scope.").later(),
    p("GroupsClaim", Text, "",
      "Claim that holds the groups.").later(),
    p("GroupsSeparator", Text, "",
      "What separates groups in it.").later(),
    p("RoleClaim", Text, "",
      "Claim that holds the roles.").later(),
    p("RolesSeparator", Text, "",
      "What separates roles in it.").later(),
    p("UniqueIdClaim", Text, "",
      "Claim that tells users apart.").later(),
    p("UsernameClaim", Text, "",
      "Claim that holds the user's name.").later(),
    p("TokenLifetime", Duration, "",
      "Longest life of a token made from a login.").later(),
    p("RequireLogin", Boolean, "false",
      "Asks the provider for a fresh login.").refused(),
    p("MaxAuthenticationAge", Duration, "",
      "Oldest login at the provider that is accepted.").later(),
    p("DisablePKCE", Boolean, "false",
      "Turns the proof key of logins off.").later(),
    p("EnableDevicePKCE", Boolean, "false",
      "Turns the proof key of device logins on.").later(),
]),
s("IdentityFederation", Free, "Tokens of other issuers, such as a cluster's service accounts.", &[
    p("Issuer", Url(UrlFor::Web), "",
      "The issuer.").refused(),
    p("Audience", Text, "",
      "Audience its tokens must name.").refused(),
    p("Subject", Text, "",
      "Subject its tokens must name; a regular expression.").refused(),
    p("AuthorizedParty", Text, "",
      "Party its tokens must name.").refused(),
    p("Logging", Boolean, "false",
      "Logs details of exchanges.").later(),
    p("Scope", Text, "",
      "Permission granted, such as `repos:read:*`.").later(),
    p("CustomScope", Text, "",
      "More permissions.").multi().later(),
    p("NoAutoGroupsScope", Boolean, "false",
      "Does not ask for the groups scope.").later(),
    p("GroupsClaim", Text, "",
      "Claim that holds the groups.").later(),
    p("GroupsSeparator", Text, "",
      "What separates groups in it.").later(),
    p("RoleClaim", Text, "",
      "Claim that holds the roles.").later(),
    p("RolesSeparator", Text, "",
      "What separates roles in it.").later(),
    p("UniqueIdClaim", Text, "",
      "Claim that tells users apart.").later(),
    p("UsernameClaim", Text, "",
      "Claim that holds the user's name.").later(),
    p("TokenLifetime", Duration, "",
      "Longest life of a token made from an exchange.").later(),
]),
s("Bootstrap", Never, "The first token.", &[
    p("PublicKey", Text, "",
      "RSA public key that permits to create a token without one.").later(),
]),
s("Licensing", Never, "This server needs no licence.", &[
    p("LicenseType", Choice(&["local", "remote"]), "local",
      "Was the kind of licence.").obsolete(),
]),
s("Proxy", Never, "The outbound proxy.", &[
    p("URL", Url(UrlFor::Proxy), "",
      "`host:port`, or a URL, which may hold user and password.").reloadable(),
    p("User", Text, "",
      "The user, when the URL holds none.").reloadable(),
    p("Password", Secret, "",
      "The password, when the URL holds none.").reloadable(),
]),
s("Launcher", Never, "Was the job launcher.", &[
    p("ServerUser", Text, "",
      "Was the user of the launcher.").obsolete(),
    p("AdminGroup", Text, "",
      "Was the group of its administrators.").obsolete(),
]),
];
