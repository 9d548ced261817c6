# Operations of BiocManager on a Bioconductor repository. Arguments: its address, the address of the CRAN repository,
# the version, packages to install.
options(
    warn = 1, BioC_mirror = args[[1]], BIOCONDUCTOR_CONFIG_FILE = paste0(args[[1]], "/config.yaml"),
    repos = c(CRAN = args[[2]]), BiocManager.check_repositories = FALSE
)
packages <- strsplit(args[[4]], ",", fixed = TRUE)[[1]]
lib <- .libPaths()[[1]]
suppressMessages({
    if (as.character(BiocManager::version()) != args[[3]])
        BiocManager::install(version = args[[3]], ask = FALSE, update = FALSE, quiet = TRUE, INSTALL_opts = fast)
    say("version", as.character(BiocManager::version()))
    repos <- BiocManager::repositories()
    say("repositories", sub(args[[1]], "", repos[names(repos) != "CRAN"], fixed = TRUE))
    say("available", BiocManager::available("^(Bio|IR|lab)"))
    BiocManager::install(packages, ask = FALSE, update = FALSE, quiet = TRUE, INSTALL_opts = fast)
})
for (name in packages) loadNamespace(name, lib.loc = lib)
installed <- installed.packages(lib)
say("installed", sort(paste0(installed[, "Package"], "_", installed[, "Version"])))
if ("Biobase" %in% packages) {
    set <- Biobase::ExpressionSet(matrix(1:6, 2))
    say("works", dim(Biobase::exprs(set)))
}
