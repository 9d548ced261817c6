# Creates binaries for Windows, because Debian has none: windows.R FOLDER LIBRARY
# R builds each source on this machine; the fields and the layout are then those of a binary for Windows and R 4.5. The
# library of a compiled package is only a header.

lib <- normalizePath(commandArgs(TRUE)[[2]])
setwd(commandArgs(TRUE)[[1]])
contrib <- "cran-mirror/src/contrib"
listed <- c("R6", "clipr", "generics", "glue", "pkgconfig", "praise", "prettyunits", "rprojroot", "whisker")
of <- function(package) list.files(contrib, sprintf("^%s_", package), full.names = TRUE)
sources <- c(vapply(listed, of, ""), list.files("without-source", "[.]tar[.]gz$", full.names = TRUE))
r <- file.path(R.home("bin"), "R")

# The header of a library for Windows on x86-64.
library_header <- as.raw(c(0x4d, 0x5a, rep(0, 58), 0x40, 0, 0, 0, 0x50, 0x45, 0, 0, 0x64, 0x86, rep(0, 250)))

for (source in sources) {
    package <- sub("_.*", "", basename(source))
    output <- system2(r, c("CMD", "INSTALL", "--no-test-load", "--no-staged-install", "-l", lib, source), stdout = TRUE, stderr = TRUE)
    if (!dir.exists(file.path(lib, package))) stop(source, " cannot be installed:\n", paste(output, collapse = "\n"))
    folder <- file.path(lib, package)
    compiled <- dir.exists(file.path(folder, "libs"))
    if (compiled) {
        unlink(file.path(folder, "libs"), recursive = TRUE)
        dir.create(file.path(folder, "libs/x64"), recursive = TRUE)
        writeBin(library_header, file.path(folder, "libs/x64", paste0(package, ".dll")))
    }
    platform <- if (compiled) "x86_64-w64-mingw32" else ""
    built <- sprintf("R 4.5.0; %s; 2025-05-31 00:22:12 UTC; windows", platform)
    description <- file.path(folder, "DESCRIPTION")
    text <- sub("^Built: .*", paste("Built:", built), readLines(description))
    writeLines(c(text, if (compiled) "Archs: x64"), description)
    meta <- readRDS(file.path(folder, "Meta/package.rds"))
    meta$DESCRIPTION[["Built"]] <- built
    meta$Built <- list(R = numeric_version("4.5.0"), Platform = platform, Date = "2025-05-31 00:22:12 UTC", OStype = "windows")
    saveRDS(meta, file.path(folder, "Meta/package.rds"), version = 2)
    files <- setdiff(list.files(folder, recursive = TRUE), "MD5")
    sums <- tools::md5sum(file.path(folder, files))
    writeLines(paste0(sums, " *", files), file.path(folder, "MD5"))
}
