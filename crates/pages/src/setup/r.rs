//! Clients of R and Bioconductor repositories.

use super::{Client, Instructions, Setup, System, VersionToInstall};
use crate::text::segment;

pub(super) static R: Instructions = Instructions { url, clients, install_command, first_install };
pub(super) static BIOCONDUCTOR: Instructions = Instructions {
    url,
    clients: bioconductor_clients,
    install_command: bioconductor_install_command,
    first_install: |_| None,
};

/// R code that sets the `User-Agent`, from which the server reads the R version and the processor of a client on Linux.
const USER_AGENT: &str = "options(HTTPUserAgent = sprintf(\"R/%s R (%s)\", getRversion(), paste(getRversion(), \
                          R.version[\"platform\"], R.version[\"arch\"], R.version[\"os\"])))";

fn url(setup: &Setup) -> String {
    let Setup { repository, snapshot, system, .. } = setup;
    match system {
        System::Linux(name) => format!("{repository}/__linux__/{name}/{snapshot}"),
        System::AnyLinux | System::Source | System::Windows | System::MacOs => {
            format!("{repository}/{snapshot}")
        }
    }
}

fn install_command(version: &VersionToInstall<'_>) -> Option<String> {
    let VersionToInstall { package, version, is_archived, snapshot } = version;
    Some(if *is_archived {
        format!(
            "install.packages(\"{snapshot}/src/contrib/Archive/{0}/{0}_{1}.tar.gz\", repos = NULL)",
            segment(package),
            segment(version),
        )
    } else {
        format!("install.packages(\"{package}\")")
    })
}

fn first_install(setup: &Setup) -> Option<String> {
    Some(format!("R -q -e 'install.packages(\"praise\", repos = \"{}\")'", setup.url()))
}

fn bioconductor_install_command(version: &VersionToInstall<'_>) -> Option<String> {
    // BiocManager installs only listed versions.
    (!version.is_archived).then(|| format!("BiocManager::install(\"{}\")", version.package))
}

fn clients(setup: &Setup) -> Vec<Client> {
    let url = setup.url();
    let options = options(setup);
    let mut clients = vec![
        Client::new("r", "R")
            .remark(
                "For one session, in R; for all sessions of a user, in ~/.Rprofile; for all users of a machine, in \
                 Rprofile.site in the directory etc of R.",
            )
            .snippet("R", options.clone())
            .snippet("Test it", check_command(setup, &url)),
        Client::new("rstudio", "RStudio")
            .remark(
                "RStudio Desktop: Tools, Global Options, Packages, Primary CRAN repository. RStudio Server and \
                 Workbench, for all users:",
            )
            .snippet("/etc/rstudio/rsession.conf", format!("r-cran-repos={url}"))
            .snippet("/etc/rstudio/repos.conf, with further repositories below", format!("CRAN={url}")),
        Client::new("positron", "Positron, VS Code")
            .remark("Both start R, which reads ~/.Rprofile.")
            .snippet("~/.Rprofile", options.clone()),
        Client::new("renv", "renv")
            .remark("For a new project, in R; renv.lock then names this address.")
            .snippet("R", format!("renv::init(repos = c(CRAN = \"{url}\"))"))
            .remark("For an existing project:")
            .snippet("R", format!("options(repos = c(CRAN = \"{url}\"))\nrenv::snapshot()"))
            .remark("To restore any lockfile from this repository, regardless of the repositories that it names:")
            .snippet(".Rprofile", format!("options(renv.config.repos.override = c(CRAN = \"{url}\"))")),
        Client::new("pak", "pak")
            .remark("pak uses the option repos:")
            .snippet("R", format!("options(repos = c(CRAN = \"{url}\"))\npak::repo_status()")),
        Client::new("rv", "rv")
            .snippet("rproject.toml, in the section [project]", rv(&url))
            .snippet("Test it", "rv plan"),
        Client::new("docker", "Dockerfile")
            .remark("In an image with R; for all users of the image:")
            .snippet("Dockerfile", dockerfile(&url)),
        Client::new("github", "GitHub Actions").snippet(
            "A step after the one that installs R",
            format!(
                "- run: echo 'options(repos = c(CRAN = \"{url}\"))' >> ~/.Rprofile\n  shell: bash"
            ),
        ),
    ];
    clients.push(
        Client::new("connect", "Connect, Workbench")
            .snippet(
                "/etc/rstudio-connect/rstudio-connect.gcfg",
                format!("[RPackageRepository \"CRAN\"]\nURL = {url}"),
            )
            .snippet("/etc/rstudio/repos.conf", format!("CRAN={url}")),
    );
    clients
}

fn options(setup: &Setup) -> String {
    let url = setup.url();
    match &setup.system {
        System::AnyLinux => any_linux(setup),
        System::Linux(_) => format!("options(repos = c(CRAN = \"{url}\"))\n{USER_AGENT}"),
        System::Source | System::Windows | System::MacOs => format!("options(repos = c(CRAN = \"{url}\"))"),
    }
}

/// Returns R code that detects the distribution by `/etc/os-release`; one not in its table gets source packages.
fn any_linux(setup: &Setup) -> String {
    let rows: Vec<String> = setup
        .distributions
        .iter()
        .map(|d| format!("    \"{} {}\" = \"{}\"", d.id, d.release, d.name))
        .collect();
    let Setup { repository, snapshot, .. } = setup;
    format!(
        r#"local({{
  binaries <- c(
{}
  )
  url <- "{repository}/{snapshot}"
  file <- "/etc/os-release"
  lines <- if (file.exists(file)) readLines(file, warn = FALSE) else character()
  value <- function(key) {{
    line <- grep(paste0("^", key, "="), lines, value = TRUE)
    if (length(line)) gsub("^[^=]*=|[\"']", "", line[[1]]) else ""
  }}
  release <- value("VERSION_ID")
  systems <- c(value("ID"), strsplit(value("ID_LIKE"), " ", fixed = TRUE)[[1]])
  keys <- c(outer(systems, c(release, sub("[.].*", "", release)), paste))
  found <- binaries[keys[keys %in% names(binaries)]]
  if (length(found)) url <- paste("{repository}/__linux__", found[[1]], "{snapshot}", sep = "/")
  options(repos = c(CRAN = url))
}})
{USER_AGENT}"#,
        rows.join(",\n")
    )
}

/// Returns a command that prints the version of a package, with the expected output as a comment.
fn check_command(setup: &Setup, url: &str) -> String {
    match &setup.example {
        Some((package, version)) => format!(
            "Rscript -e 'cat(available.packages(repos = \"{url}\")[\"{package}\", \"Version\"])'\n# prints {version}"
        ),
        None => {
            format!("Rscript -e 'cat(nrow(available.packages(repos = \"{url}\")))'\n# prints 0: it is empty")
        }
    }
}

fn rv(url: &str) -> String {
    format!("repositories = [\n    {{ alias = \"CRAN\", url = \"{url}\" }},\n]")
}

fn dockerfile(url: &str) -> String {
    format!("RUN echo 'options(repos = c(CRAN = \"{url}\"))' >> \"$(R RHOME)/etc/Rprofile.site\"")
}

fn bioconductor_clients(setup: &Setup) -> Vec<Client> {
    let url = setup.url();
    let version = setup.bioconductor.as_deref().unwrap_or("release");
    let options =
        format!("options(BioC_mirror = \"{url}\", BIOCONDUCTOR_CONFIG_FILE = \"{url}/config.yaml\")");
    let software = format!("{url}/packages/{version}/bioc");
    vec![
        Client::new("biocmanager", "R, BiocManager")
            .remark(
                "In R, ~/.Rprofile or Rprofile.site. The option repos is unchanged: packages of CRAN come from there.",
            )
            .snippet("R", options.clone())
            .snippet("R", format!("BiocManager::install(version = \"{version}\")"))
            .snippet("Test it", check_command(setup, &software)),
        Client::new("rstudio", "RStudio, Positron, VS Code")
            .remark("These programs start R, which reads ~/.Rprofile. One version of Bioconductor for all sessions:")
            .snippet("~/.Rprofile", options.clone())
            .snippet("~/.Renviron", format!("R_BIOC_VERSION={version}")),
        Client::new("renv", "renv").snippet(
            "R",
            format!("{options}\nrenv::init(bioconductor = \"{version}\")"),
        ),
        Client::new("pak", "pak")
            .remark("pak uses the option BioC_mirror, and the version that belongs to the version of R.")
            .snippet("R", format!("{options}\npak::repo_status()")),
        Client::new("rv", "rv").snippet(
            "rproject.toml, in the section [project]",
            format!("repositories = [\n    {{ alias = \"BioCsoft\", url = \"{software}\" }},\n]"),
        ),
        Client::new("docker", "Dockerfile").snippet(
            "Dockerfile",
            format!("RUN echo '{options}' >> \"$(R RHOME)/etc/Rprofile.site\""),
        ),
        Client::new("github", "GitHub Actions").snippet(
            "A step after the one that installs R",
            format!("- run: echo '{options}' >> ~/.Rprofile\n  shell: bash"),
        ),
    ]
}
