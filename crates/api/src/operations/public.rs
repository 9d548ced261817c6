//! The operations of the public API, `/__api__/…`: one row for each.

use crate::public::{filter, package, repo, status, sysreqs, vulnerability};
use crate::{binary, token};

/// Passes the operations of the public API to the macro `$callback`, after the other tokens of the call. Repositories and
/// sources are named by their number or name. A POST has the query in its body and changes nothing, except for signed
/// requests.
#[macro_export]
macro_rules! public_operations {
    ($callback:ident $($argument:tt)*) => {
        $callback! {
            $($argument)*
            // An operation with `ReadPublic` lists only objects that the client may read, or the same ones for all
            // clients.
            /// Features of the server, and the platforms it has binaries for
            Status: GET ["status"] ReadPublic => status::show { response(status::Status) }
            /// Repositories that are not hidden
            Repos: GET ["repos"] ReadPublic => repos::list { query(repo::ListRepos), response([repo::PublicRepo]) }
            /// One repository; {repo} is its number or its name, also in the addresses below
            Repo(repo): GET ["repos", repo] Read(repository repo) => repos::show { response(repo::PublicRepo) }
            /// The sources of a repository, in order of precedence
            RepoSources(repo): GET ["repos", repo, "sources"] Read(repository repo) => sources::of_repo {
                response([repo::PublicSource])
            }
            /// The listed packages of a repository
            Packages(repo): GET ["repos", repo, "packages"] Read(repository repo) => packages::of_repo {
                query(package::ListPackages), response([package::Package])
            }
            /// One package with links and archived versions
            Package(repo, name): GET ["repos", repo, "packages", name] Read(repository repo) => packages::show {
                query(package::ShowPackage), response(package::Package)
            }
            /// The binaries of a package: newest version first, then by platform, newest first
            PackageBinaries(repo, name): GET ["repos", repo, "packages", name, "builds"] Read(repository repo)
                => packages::binaries { query(package::ListBinaries), response([binary::Binary]) }
            /// The last build of a package from git and the end of its log; for others 404 with the origin of the binary
            BuildLog(repo, name): GET ["repos", repo, "packages", name, "binaries", "logs"] Read(repository repo)
                => build_log::show { query(package::ShowBuildLog), sends("application/json") }
            /// System requirements of one package and its dependencies
            PackageSysreqs(repo, name): GET ["repos", repo, "packages", name, "sysreqs"] Read(repository repo)
                => sysreqs::of_package { query(sysreqs::OfPackage), response(sysreqs::PackageRequirements) }
            /// System requirements of packages and their dependencies
            Sysreqs(repo): GET ["repos", repo, "sysreqs"] Read(repository repo) => sysreqs::of_packages {
                query(sysreqs::OfPackages), response(sysreqs::Requirements)
            }
            /// System requirements of the package that a DESCRIPTION describes, and of its dependencies
            DescriptionSysreqs(repo): POST ["repos", repo, "sysreqs"] Read(repository repo) => sysreqs::of_description {
                query(sysreqs::OfDescription), accepts("text/plain"), response(sysreqs::DescriptionRequirements)
            }
            /// Details of many packages; one JSON object per line
            FilterRepo(repo): POST ["repos", repo, "filter", "packages"] Read(repository repo) => filter::of_repo {
                body(filter::Filter), response(filter::FilterResult), sends("application/x-ndjson")
            }
            // The body names the repository, which the handler checks.
            /// As /repos/{repo}/filter/packages; the body names the repository
            Filter: POST ["filter", "packages"] ReadPublic => filter::of_named_repo {
                body(filter::Filter), response(filter::FilterResult), sends("application/x-ndjson")
            }
            /// Known vulnerabilities of the packages of a repository, by package
            RepoVulnerabilities(repo): GET ["repos", repo, "vulns"] Read(repository repo) => vulnerabilities::of_repo {
                query(vulnerability::ListVulnerabilities), response([vulnerability::AffectedPackage])
            }
            /// The packages that differ between two snapshots, by name; as CSV with format=csv
            RepoDifference(repo): GET ["repos", repo, "diff"] Read(repository repo) => repos::difference {
                query(repo::Compare), response([repo::PackageDifference])
            }
            /// The days on which a repository changed, newest first
            TransactionDates(repo): GET ["repos", repo, "transaction-dates"] Read(repository repo) => repos::dates {
                query(repo::ListDates), response([repo::TransactionDate])
            }
            /// The first day on which a repository changed
            FirstTransaction(repo): GET ["repos", repo, "first-transaction"] Read(repository repo)
                => repos::first_date { response(repo::TransactionDate) }
            /// Sources
            Sources: GET ["sources"] ReadPublic => sources::list { response([repo::PublicSource]) }
            /// One source; {source} is its number or its name, also in the addresses below
            Source(source): GET ["sources", source] Read(source source) => sources::show { response(repo::PublicSource) }
            /// The transactions of a source, newest first
            SourceTransactions(source): GET ["sources", source, "transactions"] Read(source source)
                => sources::transactions { query(repo::ListTransactions), response([repo::Transaction]) }
            /// The listed packages of a source
            SourcePackages(source): GET ["sources", source, "packages"] Read(source source) => packages::of_source {
                query(package::ListPackages), response([package::Package])
            }
            /// The listed and the archived versions of a package; all versions of a Python package
            SourceReleases(source, name): GET ["sources", source, "packages", name, "releases"] Read(source source)
                => packages::releases_of_source { query(package::ListReleases), response([package::Release]) }
            /// Packages by number of downloads, highest first; 404 if downloads are not counted
            MetricsPackages: GET ["metrics", "packages"] ReadPublic => usage::packages {
                query(package::ListDownloads), response([package::PackageDownloads])
            }
            // The body names the repository, which the handler checks.
            /// The snapshot at a given time
            Url: POST ["url"] ReadPublic => repos::snapshot_at { body(repo::SnapshotQuery), response(repo::SnapshotUrl) }
            // The handler verifies the signature.
            /// A token with the scope global:admin for the owner of the key in Bootstrap.PublicKey
            Bootstrap: POST ["bootstrap"] Notify => bootstrap::create {
                body(token::BootstrapRequest), response(token::BootstrapToken)
            }
            // The signature is verified while the body is read.
            /// Poll the repository of a builder: a webhook of a git server, signed with the builder's secret
            GitWebhook(id): POST ["git-builders", id, "poll"] Notify => webhook::receive { accepts("application/json") }
            /// Current problems that need an administrator
            Alerts: GET ["alerts"] ReadPublic => alerts::list { response([status::Alert]) }
            /// Whether the token of the request is valid; 200 without one
            VerifyAuth: GET ["verify-auth"] ReadPublic => status::verify_auth { sends("application/json") }
            /// The command-line program rspm; requires a token
            Download: GET ["download"] Inspect => download::program {
                query(status::Download), sends("application/octet-stream")
            }
            Swagger: GET ["swagger"] ReadPublic => openapi::page {}
            SwaggerIndex: GET ["swagger", "index.html"] ReadPublic => openapi::page {}
            OpenApi: GET ["swagger", "doc.json"] ReadPublic => openapi::show {}
        }
    };
}

public_operations!(declare public);
