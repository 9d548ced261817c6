//! The grammar of `rspm-offline-downloader`: commands and flags, named as in Posit Package Manager.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Error, FromArgMatches, Parser, Subcommand, ValueEnum};

use base::config::address;
use base::model::kind::{Language, Layout};
use base::model::time::Day;
use formats::language::Ecosystem;
use formats::tlog::note::VerifierKey;

/// The language of `get pypi` and `validate pypi`. The commands of other languages with projects are generated.
pub const PYPI_LANGUAGE: Language = Language::Python;

/// Fill and check a directory from which a package server without internet serves packages.
#[derive(Debug, Parser)]
#[command(
    name = "rspm-offline-downloader",
    version,
    after_help = "Exit codes: 0 complete, 1 failed or not complete, 2 wrong usage, 3 damaged files were found."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Print only warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Print details of requests
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download new files
    #[command(subcommand)]
    Get(Box<Get>),
    /// Check that the directory is complete and undamaged
    #[command(subcommand)]
    Validate(Validate),
    /// Print the list of an import: what another server has, and since when (`rspm import`)
    #[command(
        after_help = "Examples:\n  rspm-offline-downloader list from-folder /srv/packages --out /srv/packages/list.ndjson\n  \
        rspm-offline-downloader list from-git https://git.example.org/drat --branch gh-pages --out drat.ndjson\n  \
        rspm-offline-downloader list from-devpi /srv/devpi-export --index root/prod --out /srv/devpi-export/list.ndjson"
    )]
    List(ListOrigin),
    /// Write one state of a repository as files that any web server can serve (`rspm export files`)
    #[command(
        after_help = "Example:\n  rspm-offline-downloader export-files --base-url http://host:4242/prod/2024-03-01 --to /srv/site"
    )]
    ExportFiles(ExportFiles),
    /// Make a key that signs bundles, and print its public key
    #[command(
        after_help = "Example:\n  rspm-offline-downloader keygen --out /root/bundle.key --name packages.example.org/bundle"
    )]
    Keygen(Keygen),
    /// Sign what a directory has, without a download
    #[command(
        after_help = "Example:\n  rspm-offline-downloader sign --destination /mnt/usb/rspm-data --sign-key /root/bundle.key"
    )]
    Sign(SignFlags),
    /// Print shell completions
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// `get …`
#[derive(Debug, Subcommand)]
pub enum Get {
    /// Download packages of CRAN: metadata, READMEs, current and archived files, and optionally binaries
    #[command(
        after_help = "Example:\n  rspm-offline-downloader get cran --destination /mnt/usb/rspm-data\n  \
        rspm-offline-downloader get cran --destination /mnt/usb/rspm-data --file-in packages.txt"
    )]
    Cran(GetCran),
    /// Download versions of Bioconductor
    #[command(
        after_help = "Example:\n  rspm-offline-downloader get bioconductor --destination /mnt/usb/rspm-data --versions release,3.16"
    )]
    Bioconductor(GetBioconductor),
    /// Download Python packages: those of a requirements file or a lock file
    #[command(
        after_help = "Example:\n  rspm-offline-downloader get pypi --destination /mnt/usb/rspm-data --file-in requirements.txt \
        --dependencies --pythons 3.11,3.12 --platforms manylinux_2_28_x86_64"
    )]
    Pypi(GetPypi),
    #[command(flatten)]
    Projects(OfLanguage<GetProjects>),
    /// Download advisories about vulnerable versions of packages
    #[command(after_help = "Example:\n  rspm-offline-downloader get vulns --destination /mnt/usb/rspm-data")]
    Vulns(GetVulns),
}

/// `validate …`
#[derive(Debug, Subcommand)]
pub enum Validate {
    /// Check the packages of CRAN
    #[command(
        after_help = "Example:\n  rspm-offline-downloader validate cran --destination /var/lib/rspm-offline-data --packages"
    )]
    Cran(CheckFlags),
    /// Check the downloaded versions of Bioconductor
    #[command(
        after_help = "Example:\n  rspm-offline-downloader validate bioconductor --destination /var/lib/rspm-offline-data --packages"
    )]
    Bioconductor(CheckFlags),
    /// Check the Python packages
    #[command(
        after_help = "Example:\n  rspm-offline-downloader validate pypi --destination /var/lib/rspm-offline-data --packages"
    )]
    Pypi(CheckFlags),
    #[command(flatten)]
    Projects(OfLanguage<CheckFlags>),
    /// Check the advisories
    #[command(
        after_help = "Example:\n  rspm-offline-downloader validate vulns --destination /var/lib/rspm-offline-data"
    )]
    Vulns(CheckVulnsFlags),
}

/// `list …`
#[derive(Debug, Args)]
pub struct ListOrigin {
    /// Kind of the origin
    #[arg(value_enum, value_name = "KIND")]
    pub kind: OriginKind,

    /// Folder or address
    #[arg(value_name = "ORIGIN")]
    pub origin: String,

    /// File for the list (default: standard output)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// from-index: names of the projects, one per line, for an index without a list of projects
    #[arg(long, value_name = "FILE")]
    pub projects: Option<PathBuf>,

    /// from-index: further hosts that files may come from, besides that of the index
    #[arg(long, visible_alias = "host", value_name = "LIST", value_delimiter = ',')]
    pub file_hosts: Vec<String>,

    /// from-git: branch (default: that of the repository)
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,

    /// from-devpi: index in the folder of an export, as user/index
    #[arg(long, value_name = "INDEX")]
    pub index: Option<String>,

    /// Proxy: host:port, or a URL that begins with http://, https:// or socks5://
    #[arg(long, value_name = "URL")]
    pub outbound_proxy: Option<String>,
}

/// The kinds of origins that `list` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OriginKind {
    /// The package files below a folder, with the times of the files
    FromFolder,
    /// An index of Python packages with the simple API, such as pypiserver
    FromIndex,
    /// A repository of R packages with PACKAGES and Archive, over HTTP or in a folder
    FromCran,
    /// A repository of R packages on a server with snapshots: rstudio-pm or Posit Package Manager
    FromSnapshots,
    /// The history of a git repository, such as one of drat; its files are written to FILE.files
    FromGit,
    /// An index of devpi: the folder that devpi-export wrote, or the address of the index
    FromDevpi,
}

/// `export-files`
#[derive(Debug, Args)]
pub struct ExportFiles {
    /// Address of the repository in one state: http://host:4242/prod/2024-03-01; a token is read from
    /// PACKAGEMANAGER_TOKEN
    #[arg(long, value_name = "URL")]
    pub base_url: String,

    /// Folder for the files (created if missing)
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// Leave out the archived versions of R packages
    #[arg(long)]
    pub no_archive: bool,

    /// Another export: its equal files are linked instead of downloaded
    #[arg(long, value_name = "DIR")]
    pub hardlink: Option<PathBuf>,

    /// Remove other files below src, simple and packages
    #[arg(long)]
    pub prune: bool,

    /// Number of parallel downloads
    #[arg(long, value_name = "N", default_value = "8")]
    pub concurrency: NonZeroUsize,

    /// Proxy: host:port, or a URL that begins with http://, https:// or socks5://
    #[arg(long, value_name = "URL")]
    pub outbound_proxy: Option<String>,
}

/// `keygen`
#[derive(Debug, Args)]
pub struct Keygen {
    /// File for the private key; an existing one is not replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Name of the key
    #[arg(long, value_name = "NAME", default_value = "rspm-bundle")]
    pub name: String,
}

/// `sign`
#[derive(Debug, Args)]
pub struct SignFlags {
    /// The directory whose heads are signed; validate it first
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// File of the private key
    #[arg(long, value_name = "FILE")]
    pub sign_key: PathBuf,
}

/// Flags of every `get`.
#[derive(Debug, Args)]
pub struct CommonFlags {
    /// Target directory (created if missing)
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// Number of parallel downloads (keep it low for public mirrors)
    #[arg(long, value_name = "N", default_value = "8")]
    pub concurrency: NonZeroUsize,

    /// File of the private key that signs the bundle (see keygen); what the directory has must be signed by it
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,

    /// Print what would be downloaded and store nothing
    #[arg(long)]
    pub dryrun: bool,

    /// Proxy: host:port, or a URL that begins with http://, https:// or socks5://
    #[arg(long, value_name = "URL")]
    pub outbound_proxy: Option<String>,

    /// Your email address or URL, for the operators of the mirror: part of the header User-Agent
    #[arg(long, value_name = "ADDRESS", value_parser = address::contact)]
    pub contact: Option<String>,

    /// Release of the server that will read the directory (no effect: all releases use one schema)
    #[arg(long, value_name = "VERSION", hide = true)]
    pub rspm_version: Option<String>,
}

/// Flags of `get cran` and `get bioconductor`.
#[derive(Debug, Args)]
pub struct PackageFlags {
    /// Only files published on this day or later: an incremental bundle, to be copied over a bundle of that day or
    /// later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub starting_snapshot: Option<Day>,

    /// Only the packages in this file, one per line, and their dependencies
    #[arg(long, value_name = "FILE")]
    pub file_in: Option<PathBuf>,

    /// URL of the rules for system requirements, as SystemRequirements.URL, or `none` (default: those of a bundle in
    /// --base-url, otherwise the public ones)
    #[arg(long, value_name = "URL")]
    pub requirements_url: Option<String>,

    /// Accept an index that has lost a fifth or more of its packages
    #[arg(long)]
    pub accept_loss: bool,
}

/// `get cran`
#[derive(Debug, Args)]
pub struct GetCran {
    #[command(flatten)]
    pub common: CommonFlags,

    /// Source of the download: a CRAN mirror, another rstudio-pm (http://host:4242/cran/latest), or a bundle
    #[arg(long, value_name = "URL", default_value = "https://cloud.r-project.org")]
    pub base_url: String,

    /// File with the keys of the log of an rstudio-pm and of its witnesses (C2SP tlog-policy): its index of the day in
    /// --base-url (http://host:4242/prod/2026-11-20) must be in the log, which is copied if it is public
    #[arg(long, value_name = "FILE")]
    pub verify_policy: Option<PathBuf>,

    #[command(flatten)]
    pub packages: PackageFlags,

    #[command(flatten)]
    pub binaries: BinaryFlags,
}

/// Flags that select binaries.
#[derive(Debug, Args)]
pub struct BinaryFlags {
    /// Download binaries for the given versions of R and distributions, too
    #[arg(long)]
    pub include_binaries: bool,

    /// Minor versions of R of the binaries: 4.5,4.4
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub r_versions: Vec<String>,

    /// Distributions of the binaries: noble,rhel9,windows,macos; `rspm list distributions` shows all
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub distributions: Vec<String>,

    /// Architectures of the binaries: x86_64,arm64 (default: all of a distribution)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub architectures: Vec<String>,
}

/// `get bioconductor`
#[derive(Debug, Args)]
pub struct GetBioconductor {
    #[command(flatten)]
    pub common: CommonFlags,

    /// Source of the download: a Bioconductor mirror or a bundle
    #[arg(long, value_name = "URL", default_value = "https://bioconductor.org")]
    pub base_url: String,

    /// Versions: 3.20,3.16, or by name: release,devel (default: all versions of the mirror)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub versions: Vec<String>,

    #[command(flatten)]
    pub packages: PackageFlags,
}

/// `get pypi`
#[derive(Debug, Args)]
pub struct GetPypi {
    #[command(flatten)]
    pub common: CommonFlags,

    /// Source of the download: PyPI, another index with the simple API, a directory of bandersnatch (file:///…/web),
    /// another rstudio-pm (http://host:4242/pypi/latest), or a bundle
    #[arg(long, value_name = "URL", default_value = "https://pypi.org")]
    pub base_url: String,

    /// Requirements file, or pylock.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock; selects the newest version
    /// that each line allows (default: the newest versions of the packages that the directory has)
    #[arg(long, value_name = "FILE")]
    pub file_in: Option<PathBuf>,

    /// Download what the chosen versions require, too
    #[arg(long)]
    pub dependencies: bool,

    /// Platform tags of the wheels: manylinux_2_28_x86_64,win_amd64,macosx_11_0_arm64 (default: all)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub platforms: Vec<String>,

    /// Minor versions of Python of the wheels: 3.11,3.12 (default: all)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub pythons: Vec<String>,

    /// Further hosts that files may come from, besides that of the index and PyPI's
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub file_hosts: Vec<String>,

    /// Only files uploaded on this day or later: an incremental bundle, to be copied over a bundle of that day or later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub starting_snapshot: Option<Day>,
}

/// `get …` of another language with projects.
#[derive(Debug, Args)]
pub struct GetProjects {
    #[command(flatten)]
    pub common: CommonFlags,

    /// Source of the download: an index, another rstudio-pm, or a bundle
    #[arg(long, value_name = "URL")]
    pub base_url: String,

    /// List of projects, one per line: all of its versions for `name`, one for `name==version` (default: the projects
    /// that the directory has)
    #[arg(long, value_name = "FILE")]
    pub file_in: Option<PathBuf>,

    /// Further hosts that files may come from, besides that of the index
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub file_hosts: Vec<String>,

    /// Only files uploaded on this day or later: an incremental bundle, to be copied over a bundle of that day or later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub starting_snapshot: Option<Day>,
}

/// A command of a language with projects that has no flags of its own. Its word is that of the product.
#[derive(Debug)]
pub struct OfLanguage<A> {
    pub language: Language,
    pub flags: A,
}

/// The texts of such a command.
pub trait LanguageFlags: Args {
    /// Returns the help text; `label` is that of the language.
    fn about(label: &str) -> String;

    /// Returns the command with the flags of the example.
    fn example(word: &str) -> String;
}

impl LanguageFlags for GetProjects {
    fn about(label: &str) -> String {
        format!("Download {label} packages: those of a list of projects")
    }

    fn example(word: &str) -> String {
        format!(
            "get {word} --destination /mnt/usb/rspm-data --base-url https://index.example --file-in projects.txt"
        )
    }
}

impl LanguageFlags for CheckFlags {
    fn about(label: &str) -> String {
        format!("Check the {label} packages")
    }

    fn example(word: &str) -> String {
        format!("validate {word} --destination /var/lib/rspm-offline-data --packages")
    }
}

impl<A: LanguageFlags> Subcommand for OfLanguage<A> {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command.subcommands(other_languages().map(command_of::<A>))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        other_languages().any(|language| language.mirror().as_str() == name)
    }
}

impl<A: LanguageFlags> FromArgMatches for OfLanguage<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<OfLanguage<A>, Error> {
        let subcommand = matches.subcommand().and_then(|(name, matches)| {
            let language = other_languages().find(|language| language.mirror().as_str() == name)?;
            Some((language, matches))
        });
        let (language, matches) = subcommand.ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?;
        Ok(OfLanguage { language, flags: A::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = OfLanguage::from_arg_matches(matches)?;
        Ok(())
    }
}

fn command_of<A: LanguageFlags>(language: Language) -> clap::Command {
    let word = language.mirror().as_str();
    let example = format!("Example:\n  rspm-offline-downloader {}", A::example(word));
    // Replaces the texts of the flags.
    A::augment_args(clap::Command::new(word))
        .about(A::about(language.label()))
        .after_help(example)
        .hide(!language.is_listed())
}

/// Returns the languages with projects that have no command of their own.
fn other_languages() -> impl Iterator<Item = Language> {
    let is_other = |language: &Language| language.layout() == Layout::Projects && *language != PYPI_LANGUAGE;
    Language::ALL.into_iter().filter(is_other)
}

/// `get vulns`
#[derive(Debug, Args)]
pub struct GetVulns {
    #[command(flatten)]
    pub common: CommonFlags,

    /// Source of the download: a URL as for Vulnerabilities.URL, or a bundle (default: the public data)
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,

    /// Ecosystems of the packages: cran,bioconductor,pypi (default: all)
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = ecosystem)]
    pub types: Vec<Ecosystem>,
}

fn ecosystem(text: &str) -> Result<Ecosystem, String> {
    let has_name = |ecosystem: &Ecosystem| ecosystem.as_str().eq_ignore_ascii_case(text);
    Ecosystem::ALL
        .into_iter()
        .find(has_name)
        .ok_or_else(|| "must be one of cran, bioconductor, pypi".to_owned())
}

#[derive(Debug, Args)]
pub struct CheckFlags {
    /// The directory to check
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// Read every package file and report unreferenced files, too
    #[arg(long)]
    pub packages: bool,

    /// Public keys one of which must have signed the bundle (see keygen)
    #[arg(long, value_name = "KEY")]
    pub key: Vec<VerifierKey>,

    /// Release of the server that will read the directory (no effect: all releases use one schema)
    #[arg(long, value_name = "VERSION", hide = true)]
    pub rspm_version: Option<String>,
}

#[derive(Debug, Args)]
pub struct CheckVulnsFlags {
    /// The directory to check
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// Public keys one of which must have signed the advisories (see keygen)
    #[arg(long, value_name = "KEY")]
    pub key: Vec<VerifierKey>,

    /// Release of the server that will read the directory (no effect: all releases use one schema)
    #[arg(long, value_name = "VERSION", hide = true)]
    pub rspm_version: Option<String>,
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|e: base::model::time::BadDay| e.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_valid_and_every_command_has_an_example() {
        let mut root = Cli::command();
        root.build();
        root.clone().debug_assert();
        for verb in ["get", "validate"] {
            let verb = root.find_subcommand(verb).expect("a verb");
            for noun in verb.get_subcommands().filter(|noun| noun.get_name() != "help") {
                let help = noun.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example:\n  rspm-offline-downloader "), "{}", noun.get_name());
            }
        }
    }

    #[test]
    fn commands_of_languages_are_generated() {
        let command = command_of::<GetProjects>(Language::Python);
        command.clone().debug_assert();
        assert_eq!(
            command.get_about().map(ToString::to_string).as_deref(),
            Some("Download Python packages: those of a list of projects")
        );
        let flags = ["pypi", "--destination", "/srv", "--base-url", "http://h", "--file-hosts", "a,b"];
        let flags = GetProjects::from_arg_matches(&command.get_matches_from(flags)).expect("flags");
        assert_eq!((&*flags.base_url, flags.file_hosts.len(), flags.file_in), ("http://h", 2, None));
        assert!(!OfLanguage::<CheckFlags>::has_subcommand("pypi"));
    }
}
