//! The grammar of `rspm-offline-downloader`: commands and flags as administrators of the original know them.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::advisory::Ecosystem;
use crate::model::time::Day;

/// Fill a directory that a package server without internet serves from, and check it.
#[derive(Debug, Parser)]
#[command(
    name = "rspm-offline-downloader",
    version,
    after_help = "Exit codes: 0 all is there, 1 failed or not complete, 2 wrong usage, 3 damaged files were found."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print only what needs attention
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Print more about requests
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download what is new
    #[command(subcommand)]
    Get(Get),
    /// Check that everything is there and is what was downloaded
    #[command(subcommand)]
    Validate(Validate),
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
    /// Download packages of CRAN: metadata, READMEs, current and archived files, and binaries where asked for
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
    /// Download advisories: which versions of packages are known to be vulnerable
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
    Cran(Check),
    /// Check the versions of Bioconductor that are there
    #[command(
        after_help = "Example:\n  rspm-offline-downloader validate bioconductor --destination /var/lib/rspm-offline-data --packages"
    )]
    Bioconductor(Check),
    /// Check the advisories
    #[command(
        after_help = "Example:\n  rspm-offline-downloader validate vulns --destination /var/lib/rspm-offline-data"
    )]
    Vulns(CheckVulns),
}

/// Flags of every `get`.
#[derive(Debug, Args)]
pub struct Common {
    /// The directory to fill; made where it is not there
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// Files on their way at one time; public mirrors ask for few
    #[arg(long, value_name = "N", default_value = "8")]
    pub concurrency: NonZeroUsize,

    /// Say what would be downloaded, and download nothing
    #[arg(long)]
    pub dryrun: bool,

    /// A proxy: host:port, or a URL that begins with http://, https:// or socks5://
    #[arg(long, value_name = "URL")]
    pub outbound_proxy: Option<String>,

    /// The release of the server that will read it; there is one schema for all, so it changes nothing
    #[arg(long, value_name = "VERSION", hide = true)]
    pub rspm_version: Option<String>,
}

/// Flags of `get cran` and `get bioconductor`.
#[derive(Debug, Args)]
pub struct Packages {
    /// Only what was published on this day or later: a difference, to be copied over the bundle with that snapshot
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub starting_snapshot: Option<Day>,

    /// Only the packages in this file, one on a line, and what they need
    #[arg(long, value_name = "FILE")]
    pub file_in: Option<PathBuf>,

    /// Where the rules of system requirements are: an archive or a document as SystemRequirements.URL, or `none`;
    /// unset, those of a bundle in --base-url, else the public ones
    #[arg(long, value_name = "URL")]
    pub requirements_url: Option<String>,

    /// Believe an index that lost a fifth of its packages
    #[arg(long)]
    pub accept_loss: bool,
}

/// `get cran`
#[derive(Debug, Args)]
pub struct GetCran {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,

    /// Where to download from: a CRAN mirror, another rstudio-pm (http://host:4242/cran/latest), or a bundle
    #[arg(long, value_name = "URL", default_value = "https://cloud.r-project.org")]
    pub base_url: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub packages: Packages,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub binaries: Binaries,
}

/// Which builds.
#[derive(Debug, Args)]
pub struct Binaries {
    /// Builds too, for the versions of R and the systems that are named
    #[arg(long)]
    pub include_binaries: bool,

    /// For these minor versions of R: 4.5,4.4
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub r_versions: Vec<String>,

    /// For these systems: noble,rhel9,windows,macos; `rspm list distributions` knows more
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub distributions: Vec<String>,

    /// For these processors, x86_64,arm64; all that a distribution has when not given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub architectures: Vec<String>,
}

/// `get bioconductor`
#[derive(Debug, Args)]
pub struct GetBioconductor {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,

    /// Where to download from: a Bioconductor mirror, or a bundle
    #[arg(long, value_name = "URL", default_value = "https://bioconductor.org")]
    pub base_url: String,

    /// Only these versions: 3.20,3.16, or by name: release,devel; all that the mirror has when not given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub versions: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub packages: Packages,
}

/// `get vulns`
#[derive(Debug, Args)]
pub struct GetVulns {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,

    /// Where to download from: whatever Vulnerabilities.URL of a server takes, or a bundle; unset, the public data
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,

    /// For packages of these: cran,bioconductor,pypi; all of them when not given
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = ecosystem)]
    pub types: Vec<Ecosystem>,
}

fn ecosystem(text: &str) -> Result<Ecosystem, String> {
    let named = |ecosystem: &Ecosystem| ecosystem.as_str().eq_ignore_ascii_case(text);
    Ecosystem::ALL.into_iter().find(named).ok_or_else(|| "there are cran, bioconductor and pypi".to_owned())
}

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct Check {
    /// The directory to check
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// Read every package file too, and report files that belong to nothing
    #[arg(long)]
    pub packages: bool,

    /// The release of the server that will read it; there is one schema for all, so it changes nothing
    #[arg(long, value_name = "VERSION", hide = true)]
    pub rspm_version: Option<String>,
}

/// Flags of `validate vulns`.
#[derive(Debug, Args)]
pub struct CheckVulns {
    /// The directory to check
    #[arg(long, value_name = "DIR")]
    pub destination: PathBuf,

    /// The release of the server that will read it; there is one schema for all, so it changes nothing
    #[arg(long, value_name = "VERSION", hide = true)]
    pub rspm_version: Option<String>,
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|e: crate::model::time::BadDay| e.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound_and_every_command_has_an_example() {
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
}
