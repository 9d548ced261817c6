# Everything that base R and remotes do with a repository. Prints lines `what<TAB>value`; any warning is a failure.
# Arguments: repository, packages to install (with what they need), archived releases as name@version, the same
# repository without PACKAGES.rds, and without PACKAGES.gz too.
repo <- args[[1]]
wanted <- strsplit(args[[2]], ",", fixed = TRUE)[[1]]
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

# And by available.packages: from the matrix, and where it is answered 404, from the other forms.
over <- available.packages(repos = repo, type = "source")
plain <- function(m) m[, colnames(m) != "Repository", drop = FALSE]
others <- lapply(fewer, function(url) available.packages(repos = url, type = "source"))
say("listings agree", all(vapply(others, function(m) identical(plain(m), plain(over)), NA)))
say("packages", nrow(over))

got <- download.packages(wanted, tempdir(), available = over, repos = repo, type = "source", quiet = TRUE)
say("downloaded", basename(got[, 2]))
say("checksums agree", identical(unname(tools::md5sum(got[, 2])), unname(over[got[, 1], "MD5sum"])))

install.packages(wanted, lib = lib, repos = repo, type = "source", quiet = TRUE, INSTALL_opts = fast)
have <- installed.packages(lib, fields = "Repository")
have <- have[order(have[, "Package"]), , drop = FALSE]
say("installed", paste0(have[, "Package"], "_", have[, "Version"]))
for (name in rownames(have)) loadNamespace(name, lib.loc = lib)
say("from", unique(have[, "Repository"]))
if ("ledger" %in% wanted) say("ledger", ledger::summarise("world", c(1, 1, 2)))

for (release in strsplit(archived, "@", fixed = TRUE)) {
    remotes::install_version(release[[1]], release[[2]], repos = repo, type = "source", upgrade = "never",
                             quiet = TRUE, INSTALL_opts = fast)
    say(paste("archived", release[[1]]), as.character(packageVersion(release[[1]], lib)))
}
