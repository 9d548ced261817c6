# Tables of packages written by R: tables.R FOLDER TABLE...
# Indexes and `Meta/*.rds` of the mirrors, and tables in rare forms. The times are those of the files.

args <- commandArgs(TRUE)
setwd(args[[1]])
RNGversion("3.6.0")
set.seed(2018)

# Rows as CRAN writes them, with file.info(). Only the modification time depends on the file.
rows <- function(files, names = files) {
    info <- file.info(files)
    info$ctime <- info$atime <- info$mtime
    info$uid <- info$gid <- 1000L
    info$uname <- info$grname <- "cran"
    info$mode <- as.octmode("644")
    rownames(info) <- names
    info
}

index <- function(contrib, ...) {
    dir.create(contrib, recursive = TRUE, showWarnings = FALSE)
    if (!tools::write_PACKAGES(contrib, ...)) {
        writeLines(character(), file.path(contrib, "PACKAGES"))
        close(gzfile(file.path(contrib, "PACKAGES.gz"), "wb"))
    }
}

cran <- function() {
    contrib <- "cran-mirror/src/contrib"
    index(contrib, type = "source")
    dir.create(file.path(contrib, "Meta"), showWarnings = FALSE)
    listed <- list.files(contrib, "[.]tar[.]gz$")
    saveRDS(rows(file.path(contrib, listed), listed), file.path(contrib, "Meta/current.rds"), version = 2)
    folders <- list.files(file.path(contrib, "Archive"))
    archive <- lapply(setNames(nm = folders), function(folder) {
        found <- rows(list.files(file.path(contrib, "Archive", folder), full.names = TRUE))
        rownames(found) <- file.path(folder, basename(rownames(found)))
        found[order(found$mtime), ]
    })
    saveRDS(archive, file.path(contrib, "Meta/archive.rds"), version = 2)
    index("cran-mirror/bin/windows/contrib/4.5", type = "win.binary", fields = "License")
}

bioconductor <- function() {
    for (version in c("3.16", "3.20")) {
        for (part in c("bioc", "data/annotation", "data/experiment", "workflows", "books"))
            index(file.path("bioc-mirror/packages", version, part, "src/contrib"), type = "source",
                  fields = if (part == "bioc") "biocViews")
    }
}

# The DESCRIPTION of each source package.
descriptions <- function() {
    files <- list.files("cran-mirror/src/contrib", "[.]tar[.]gz$", recursive = TRUE, full.names = TRUE)
    lapply(files, function(file) {
        text <- tempfile()
        untar(file, file.path(sub("_.*", "", basename(file)), "DESCRIPTION"), exdir = text)
        read.dcf(list.files(text, "DESCRIPTION", recursive = TRUE, full.names = TRUE))[1, ]
    })
}

# The complete index, with all fields.
full <- function() {
    con <- gzfile("cran-index-full/PACKAGES.gz")
    on.exit(close(con))
    read.dcf(con)
}

# A package database in the form of CRAN's of 2018-01-15: a data frame of all fields, two of which are named MD5sum. The
# packages are those of the full index, and those that the mirror had on that day.
database <- function() {
    full <- full()
    full <- full[sort(sample(nrow(full), 12084)), ]
    n <- nrow(full)
    some <- function(share, values) { values[sample(n, n * (1 - share))] <- NA; values }
    pick <- function(from) sample(from, n, TRUE)
    words <- pick(c("Methods", "Tools", "Functions", "Data", "Models", "Estimation"))
    about <- pick(c("of Mixtures", "for Time Series", "for Spatial Data", "of \u2018Large\u2019 Tables", "in Genetics"))
    who <- pick(c("J\u00f6rg M\u00fcller", "Ana Garc\u00eda", "Jane Doe", "Li Wei \u4e2d", "Zo\u00eb Smith"))
    mail <- sprintf("<%s@example.org>", pick(letters))
    text <- sprintf("%s %s. Described in <doi:10.1000/%d>,\n    and used as follows:\n\t- first %s\n\n  - then %s.", words, about,
                    seq_len(n), pick(full[, "Package"]), pick(full[, "Package"]))
    latin1 <- function(x, share) { at <- sample(n, n * share); x[at] <- iconv(x[at], "UTF-8", "latin1"); x }
    md5 <- vapply(seq_len(n), function(i) paste(sample(c(0:9, letters[1:6]), 32, TRUE), collapse = ""), "")
    field <- function(name) if (name %in% colnames(full)) unname(full[, name]) else rep(NA_character_, n)
    reverse <- function(share) some(share, paste(pick(full[, "Package"]), pick(full[, "Package"]), sep = ", "))
    table <- list(
        Package = field("Package"), Version = field("Version"), Priority = field("Priority"), Depends = field("Depends"),
        Imports = field("Imports"), LinkingTo = field("LinkingTo"), Suggests = field("Suggests"),
        Enhances = field("Enhances"), License = field("License"), License_is_FOSS = some(.001, rep("no", n)),
        OS_type = some(.004, rep("unix", n)), Archs = field("Archs"), MD5sum = some(.001, md5),
        NeedsCompilation = pick(c("yes", "no", "no")), Author = latin1(paste(who, "[aut, cre],\n  Jane Doe [ctb]"), .01),
        "Authors@R" = some(.36, sprintf("c(person(\"%s\", role = c(\"aut\", \"cre\"),\n    email = \"x@example.org\"))", who)),
        BugReports = some(.25, sprintf("https://example.org/%s/issues", field("Package"))),
        ByteCompile = some(.04, pick(c("true", "TRUE", "yes"))), Collate = some(.07, rep("'a.R'\n'b.R' 'zzz.R'", n)),
        Date = some(.74, format(as.Date("2018-01-15") - sample(2000, n, TRUE))), Description = text,
        Encoding = some(.19, pick(c("UTF-8", "latin1"))), LazyData = some(.39, pick(c("true", "yes", "TRUE"))),
        Maintainer = paste(who, mail), Note = some(.003, rep("", n)), Packaged = some(.99, rep("2018-01-10 10:00:00 UTC; root", n)),
        SystemRequirements = some(.06, pick(c("GNU make", "C++11", "libxml2 (>= 2.6.3), GNU make", "Java (>= 1.6), JAGS"))),
        Title = paste(words, about), Type = some(.66, rep("Package", n)), URL = some(.44, sprintf("http://example.org/%s", field("Package"))),
        VignetteBuilder = some(.21, rep("knitr", n)), Built = rep(NA_character_, n),
        Published = format(as.Date("2018-01-15") - sample(3000, n, TRUE)),
        "X-CRAN-Comment" = some(.002, rep("Archived on 2017-12-01 as problems\n  were not corrected.", n)),
        "Reverse depends" = reverse(.13), "Reverse imports" = reverse(.2), MD5sum = md5)
    released <- descriptions()
    at <- vapply(released, function(d) substr(d[["Date/Publication"]], 1, 10), "")
    released <- released[at <= "2018-01-15"][order(at[at <= "2018-01-15"], decreasing = TRUE)]
    released <- released[!duplicated(vapply(released, `[[`, "", "Package"))]
    for (i in seq_along(released)) for (name in setdiff(names(table), c("MD5sum", "Published")))
        table[[name]][[i]] <- released[[i]][name]
    table <- structure(table, class = "data.frame", row.names = seq_len(n))
    dir.create("cran-db-2018", showWarnings = FALSE)
    saveRDS(table, "cran-db-2018/packages.rds", version = 2)
}

# An index of Linux binaries with the fields of other build systems.
linux <- function() {
    folder <- "linux-index/ubuntu-24.04-aarch64-4.5"
    dir.create(folder, recursive = TRUE, showWarnings = FALSE)
    n <- 298
    source <- full()[seq_len(n), c("Package", "Version", "Depends", "Imports", "Suggests", "License")]
    platform <- "aarch64-unknown-linux-gnu-ubuntu-24.04"
    file <- sprintf("%s_%s_b1_R4.5_%s.tar.gz", source[, "Package"], source[, "Version"], platform)
    sum <- vapply(seq_len(n), function(i) paste(sample(c(0:9, letters[1:6]), 64, TRUE), collapse = ""), "")
    compiled <- rep(c("aarch64-unknown-linux-gnu", ""), length.out = n)
    table <- cbind(source, File = file,
        DownloadURL = sprintf("https://builds.example.org/%s/releases/download/%s/%s", source[, "Package"], source[, "Version"], file),
        OS = ifelse(nzchar(compiled), "linux", NA), Arch = ifelse(nzchar(compiled), "arm64", NA),
        Built = sprintf("R 4.5.0; %s; 2025-03-16 08:56:32 UTC; unix", compiled), Filesize = sample(10000:900000, n),
        SHA256 = sum, RVersion = "4.5", Platform = platform, GraphicsAPIVersion = "16",
        InternalsId = "6a52a5a1-0f1c-4d2e-9f58-2d6d6a9d9a55")
    rownames(table) <- table[, "Package"]
    write.dcf(table, file.path(folder, "PACKAGES"), width = 1000)
    con <- gzfile(file.path(folder, "PACKAGES.gz"), "wb")
    write.dcf(table, con, width = 1000)
    close(con)
    saveRDS(table, file.path(folder, "PACKAGES.rds"), version = 2)
}

# Tables in rare forms: rows that are all NA, which an older R wrote for missing files; row names that have names.
odd <- function() {
    dir.create("odd-rds", showWarnings = FALSE)
    gone <- suppressWarnings(file.info(sprintf("gone/gone_0.%d.tar.gz", 1:3)))
    saveRDS(list(gone = gone), "odd-rds/archive-all-na-r3.4.rds", version = 2)
    table <- full()[1:5, c("Package", "Version", "Depends", "Imports", "License")]
    rownames(table) <- setNames(table[, "Package"], 1:5)
    saveRDS(table, "odd-rds/PACKAGES-drat.rds", version = 2)
}

for (what in args[-1]) do.call(what, list())
