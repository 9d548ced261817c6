# Operations of base R and remotes on a repository. Prints lines `what<TAB>value`; any warning is a failure.
# Arguments: repository, packages to install (with dependencies), archived releases as name@version, the same
# repository without PACKAGES.rds, and without both PACKAGES.rds and PACKAGES.gz.
repo <- args[[1]]
packages <- strsplit(args[[2]], ",", fixed = TRUE)[[1]]
archived <- strsplit(args[[3]], ",", fixed = TRUE)[[1]]
fewer <- strsplit(args[[4]], ",", fixed = TRUE)[[1]]
lib <- .libPaths()[[1]]
contrib <- contrib.url(repo, "source")

# The three forms, read without R's repository code. Only the matrix has columns that no record fills.
forms <- vapply(c("PACKAGES.rds", "PACKAGES.gz", "PACKAGES"), function(form) {
    download.file(paste0(contrib, "/", form), to <- tempfile(form), quiet = TRUE, mode = "wb")
    to
}, "")
direct <- lapply(c(list(readRDS(forms[[1]])), lapply(forms[-1], read.dcf)), function(m) {
    rownames(m) <- NULL
    m <- m[, colSums(!is.na(m)) > 0, drop = FALSE]
    m[, sort(colnames(m)), drop = FALSE]
})
say("files agree", all(vapply(direct, identical, NA, direct[[1]])))

# With available.packages: from the matrix, and from the other forms where the matrix is answered with 404.
listing <- available.packages(repos = repo, type = "source")
plain <- function(m) m[, colnames(m) != "Repository", drop = FALSE]
others <- lapply(fewer, function(url) available.packages(repos = url, type = "source"))
say("listings agree", all(vapply(others, function(m) identical(plain(m), plain(listing)), NA)))
say("packages", nrow(listing))

files <- download.packages(packages, tempdir(), available = listing, repos = repo, type = "source", quiet = TRUE)
say("downloaded", basename(files[, 2]))
say("checksums agree", identical(unname(tools::md5sum(files[, 2])), unname(listing[files[, 1], "MD5sum"])))

install.packages(packages, lib = lib, repos = repo, type = "source", quiet = TRUE, INSTALL_opts = fast)
installed <- installed.packages(lib, fields = "Repository")
installed <- installed[order(installed[, "Package"]), , drop = FALSE]
say("installed", paste0(installed[, "Package"], "_", installed[, "Version"]))
for (name in rownames(installed)) loadNamespace(name, lib.loc = lib)
say("from", unique(installed[, "Repository"]))
if ("ledger" %in% packages) say("ledger", ledger::summarise("world", c(1, 1, 2)))

for (release in strsplit(archived, "@", fixed = TRUE)) {
    remotes::install_version(release[[1]], release[[2]], repos = repo, type = "source", upgrade = "never",
                             quiet = TRUE, INSTALL_opts = fast)
    say(paste("archived", release[[1]]), as.character(packageVersion(release[[1]], lib)))
}
