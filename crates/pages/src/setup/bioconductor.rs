//! Clients of Bioconductor repositories.

use super::{Client, Setup, r};

pub(super) fn clients(setup: &Setup) -> Vec<Client> {
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
            .snippet("Test it", r::check_command(setup, &software)),
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
