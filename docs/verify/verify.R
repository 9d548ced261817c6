#!/usr/bin/env Rscript
# Verifies a proof of one package, or of one index, on one day. Needs no network and no server; needs the package openssl.
#
#   Rscript verify.R PROOF --policy FILE --repo NAME --snapshot DAY [--document PATH] [--file PACKAGEFILE | --packages PACKAGES]
#
# Arguments, exit status, and what is proved and not proved: as verify.py, whose text is the description of both.

INDEX <- "src/contrib/PACKAGES"
MAX_PROOF <- 1048576
MAX_NOTE <- 262144
MAX_ENTRY <- 60000
MAX_SIGNATURES <- 64
YEAR_10000 <- 253402300800 # seconds since 1970
LOG <- 1
WITNESS <- 4
ORDER <- "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed"
# y of the points of order 1, 2, 4, 8 and 8, little-endian, and the prime of the field.
SMALL_ORDER <- c(
  paste0("01", strrep("00", 31)), paste0("ec", strrep("ff", 30), "7f"), strrep("00", 32),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
)
PRIME <- paste0("7f", strrep("ff", 30), "ed")

# Texts are bytes: nothing is converted to the encoding of the session.
matches <- function(pattern, text) grepl(pattern, text, perl = TRUE, useBytes = TRUE)
size_of <- function(text) nchar(text, type = "bytes")
bytes_of <- function(...) unlist(lapply(list(...), function(part) if (is.raw(part)) part else charToRaw(part)))
hex_of <- function(bytes) paste(as.character(bytes), collapse = "")

# Bytes as ASCII, at most 100 of them.
printable <- function(text) {
  bytes <- head(bytes_of(text), 100)
  visible <- bytes >= as.raw(32) & bytes < as.raw(127) & !(bytes %in% charToRaw("\"\\"))
  shown <- sprintf("\\x%s", as.character(bytes))
  shown[visible] <- vapply(bytes[visible], rawToChar, "")
  paste0(paste(shown, collapse = ""), if (size_of(text) > 100) "..." else "")
}

refuse <- function(where, reason, value = NULL) {
  text <- paste0(where, ": ", reason, if (!is.null(value)) paste0(": \"", printable(value), "\""))
  stop(structure(class = c("refused", "error", "condition"), list(message = text, call = NULL)))
}

check <- function(condition, where, reason, value = NULL) {
  if (!isTRUE(condition)) refuse(where, reason, value)
}

at <- function(part, line = NULL) paste0("part ", part, if (!is.null(line)) paste0(", line ", line))

# As strsplit, which leaves out an empty text at the end.
split_at <- function(text, separator) {
  parts <- strsplit(paste0(text, separator), separator, fixed = TRUE, useBytes = TRUE)[[1]]
  if (length(parts) == 0) "" else parts
}

starts_with <- function(text, start) {
  size_of(text) >= size_of(start) && identical(head(charToRaw(text), size_of(start)), charToRaw(start))
}

after <- function(text, count) rawToChar(charToRaw(text)[-seq_len(count)])

# 15 digits, which a double has exactly.
number <- function(text, where) {
  check(matches("\\A(0|[1-9][0-9]{0,14})\\z", text), where, "not a number of 1 to 15 digits without leading zeros", text)
  as.numeric(text)
}

numbers <- function(line, word, count, where) {
  words <- split_at(line, " ")
  check(words[1] == word && length(words) == count + 1, where, sprintf("not %s and %d numbers", word, count), line)
  vapply(words[-1], number, 0, where = where, USE.NAMES = FALSE)
}

sha256 <- function(...) as.raw(openssl::sha256(bytes_of(...)))

decode64 <- function(text, where, size = NULL) {
  is_base64 <- matches("\\A([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\\z", text) && size_of(text) > 0
  check(is_base64, where, "not canonical base64", text)
  data <- openssl::base64_decode(text)
  check(identical(openssl::base64_encode(data, linebreaks = FALSE), text), where, "not canonical base64", text)
  check(is.null(size) || length(data) == size, where, sprintf("%d bytes where another number is expected", length(data)), text)
  data
}

# Merkle trees (RFC 6962, section 2.1).

root_of_all <- function(leaves) {
  if (length(leaves) == 0) return(sha256(raw(0)))
  level <- lapply(leaves, function(leaf) sha256(as.raw(0), leaf))
  while (length(level) > 1) {
    pairs <- length(level) %/% 2
    above <- lapply(seq_len(pairs), function(i) sha256(as.raw(1), level[[2 * i - 1]], level[[2 * i]]))
    level <- c(above, level[seq_along(level) > 2 * pairs])
  }
  level[[1]]
}

# The path is lines 3 and following of the part, from the leaf upwards.
root_of_path <- function(leaf, index, size, part, lines) {
  check(index < size, at(part, 2), sprintf("index %.0f in a tree of size %.0f", index, size))
  path <- lapply(seq_along(lines)[-(1:2)], function(n) decode64(lines[n], at(part, n), 32))
  node <- sha256(as.raw(0), leaf)
  used <- 0
  while (size > 1) {
    if (index %% 2 == 1 || index < size - 1) {
      used <- used + 1
      check(used <= length(path), at(part, length(lines)), "the path is too short, it ends with", lines[length(lines)])
      node <- if (index %% 2 == 1) sha256(as.raw(1), path[[used]], node) else sha256(as.raw(1), node, path[[used]])
    }
    index <- index %/% 2
    size <- (size + 1) %/% 2
  }
  check(used == length(path), at(part, length(lines)), "the path is too long, it ends with", lines[length(lines)])
  node
}

# Policies (C2SP tlog-policy), their keys and the signatures of checkpoints (C2SP signed-note, tlog-cosignature).

CONTROL <- "[\\x00-\\x1f\\x7f]|\\xc2[\\x80-\\x9f]"
SPACE <- "[\\x00- \\x7f]|\\xc2[\\x80-\\xa0]|\\xe1\\x9a\\x80|\\xe2\\x80[\\x80-\\x8a\\xa8\\xa9\\xaf]|\\xe2\\x81\\x9f|\\xe3\\x80\\x80"

# UTF-8 without spaces, '+' and control characters.
is_name <- function(name) size_of(name) > 0 && validUTF8(name) && !matches(paste0(SPACE, "|\\+"), name)

# Returns the key as name, id, type and public key.
read_key <- function(text, type, where) {
  parts <- regmatches(text, regexec("^([^+]+)\\+([0-9a-f]{8})\\+(.+)$", text, useBytes = TRUE))[[1]]
  check(length(parts) == 4 && !matches("\n", text), where, "not a key NAME+ID+BASE64", text)
  data <- decode64(parts[4], where)
  check(length(data) == 33 && data[1] == as.raw(type), where, "not an Ed25519 key of the required type", text)
  id <- sha256(parts[2], "\n", data)[1:4]
  check(hex_of(id) == parts[3], where, "the key id is not that of the key", text)
  check(is_name(parts[2]), where, "not a name of a key", text)
  y <- data[-1]
  y[32] <- y[32] & as.raw(127)
  is_canonical <- !(hex_of(y) %in% SMALL_ORDER) && hex_of(rev(y)) < PRIME
  check(is_canonical, where, "a key of small order or not in canonical form", text)
  list(name = parts[2], id = id, type = type, public = data[-1], label = paste(parts[2], hex_of(id)))
}

# Returns keys, cosigners (name, threshold, members) in the order of the policy, and the name of the quorum.
read_policy <- function(data) {
  check(length(data) <= MAX_NOTE, "policy", "too large")
  check(!any(data == as.raw(0)), "policy", "a control character")
  text <- rawToChar(data)
  check(validUTF8(text), "policy", "not UTF-8")
  keys <- list()
  cosigners <- list()
  quorum <- NULL
  listed <- character()
  lines <- split_at(text, "\n")
  for (n in seq_along(lines)) {
    where <- paste("policy, line", n)
    check(!matches("[\\x01-\\x08\\x0b-\\x1f\\x7f]", lines[n]), where, "a control character", lines[n])
    words <- strsplit(lines[n], "[ \t]+", useBytes = TRUE)[[1]]
    words <- words[words != ""]
    if (length(words) == 0 || starts_with(words[1], "#")) next
    names <- vapply(cosigners, function(cosigner) cosigner$name, "")
    add_key <- function(text, type) {
      key <- read_key(text, type, where)
      is_new <- !any(vapply(keys, function(other) other$type == type && identical(other$public, key$public), NA))
      check(is_new, where, "a key twice", text)
      keys[[length(keys) + 1]] <<- key
      key$label
    }
    if (words[1] == "log" && length(words) %in% 2:3) {
      add_key(words[2], LOG)
    } else if (words[1] == "quorum" && length(words) == 2) {
      check(is.null(quorum) && words[2] %in% c("none", names), where, "a second quorum, or an unknown name", lines[n])
      quorum <- words[2]
    } else {
      is_group <- words[1] == "group" && length(words) > 3
      is_witness <- words[1] == "witness" && length(words) %in% 3:4
      check(is_group || is_witness, where, "not a line of a policy", lines[n])
      check(!(words[2] %in% c("none", names)), where, "a name twice, or the name none", words[2])
      threshold <- 1
      if (is_witness) {
        members <- add_key(words[3], WITNESS)
      } else {
        members <- words[-(1:3)]
        if (words[3] == "all") threshold <- length(members)
        else if (words[3] != "any") threshold <- number(words[3], where)
        check(threshold >= 1 && threshold <= length(members), where, "not a threshold of the members", words[3])
        check(all(members %in% names), where, "an unknown member", lines[n])
        check(!any(members %in% listed) && !anyDuplicated(members), where, "a member twice", lines[n])
        listed <- c(listed, members)
      }
      cosigners[[length(cosigners) + 1]] <- list(name = words[2], threshold = threshold, members = members)
    }
  }
  has_log <- any(vapply(keys, function(key) key$type == LOG, NA))
  check(!is.null(quorum) && has_log, "policy", "it needs a line log and a line quorum")
  list(keys = keys, cosigners = cosigners, quorum = quorum)
}

# Checks all signatures of known keys and the quorum. Returns lines about the cosignatures.
check_signatures <- function(text, lines, policy) {
  origin <- split_at(text, "\n")[1]
  check(size_of(text) + sum(size_of(lines) + 1) < MAX_NOTE, at(6), "too large")
  check(length(lines) <= MAX_SIGNATURES, at(6, MAX_SIGNATURES + 1), "too many signature lines")
  verified <- character()
  is_logged <- FALSE
  witnesses <- character()
  for (n in seq_along(lines)) {
    dash <- rawToChar(as.raw(c(0xe2, 0x80, 0x94, 0x20)))
    words <- if (starts_with(lines[n], dash)) split_at(after(lines[n], 4), " ") else character()
    check(length(words) == 2 && is_name(words[1]), at(6, n), "not a signature line", lines[n])
    data <- decode64(words[2], at(6, n))
    check(length(data) > 4, at(6, n), "a key id without a signature", lines[n])
    is_of <- vapply(policy$keys, function(key) key$name == words[1] && identical(key$id, data[1:4]), NA)
    if (!any(is_of)) next # signed-note: signatures of unknown keys are ignored
    key <- policy$keys[[which(is_of)[1]]]
    size <- if (key$type == LOG) 68 else 76
    check(length(data) == size, at(6, n), "wrong size of a signature", lines[n])
    check(!(key$label %in% verified), at(6, n), "a second signature of the same key", lines[n])
    message <- text
    if (key$type == WITNESS) {
      time <- sum(as.integer(data[5:12]) * 256^(7:0))
      check(time < YEAR_10000, at(6, n), "a time after the year 9999", lines[n])
      message <- paste0("cosignature/v1\ntime ", sprintf("%.0f", time), "\n", text)
      utc <- format(as.POSIXct(time, origin = "1970-01-01", tz = "UTC"), "%Y-%m-%d %H:%M:%S")
      witnesses <- c(witnesses, paste0(printable(words[1]), ", ", utc, " UTC"))
    }
    check(hex_of(rev(tail(data, 32))) < ORDER, at(6, n), "S is not below the order of the group", lines[n])
    public <- openssl::read_ed25519_pubkey(key$public)
    is_signed <- tryCatch(openssl::ed25519_verify(charToRaw(message), tail(data, 64), public), error = function(e) FALSE)
    check(is_signed, at(6, n), "wrong signature", lines[n])
    verified <- c(verified, key$label)
    is_logged <- is_logged || (key$type == LOG && key$name == origin)
  }
  check(is_logged, at(6), "no signature of a known log with the name", origin)
  met <- c("none", verified)
  agree <- "none"
  for (cosigner in policy$cosigners) {
    # The members of a witness are its key, those of a group are cosigners above it.
    found <- sum(cosigner$members %in% verified) + sum(cosigner$members %in% agree)
    if (found >= cosigner$threshold) agree <- c(agree, cosigner$name)
  }
  check(policy$quorum %in% agree, at(6), "the cosignatures do not meet the quorum", policy$quorum)
  witnesses
}

# The proof.

# Returns the six parts without their last line feed. The proof of an index has no first two.
split_parts <- function(data) {
  check(length(data) <= MAX_PROOF, "proof", "too large")
  check(!any(data == as.raw(0)), "proof", "a NUL byte")
  text <- rawToChar(data)
  check(length(data) > 0 && data[length(data)] == as.raw(10), "proof", "no line feed at the end")
  check(!matches("\n\n\n", text), "proof", "two empty lines in sequence")
  is_record <- starts_with(text, "rspm-proof/")
  parts <- split_at(rawToChar(data[-length(data)]), "\n\n")
  check(length(parts) == (if (is_record) 6 else 4), "proof", "a wrong number of parts separated by an empty line")
  if (!is_record) parts <- c("", "", parts)
  for (part in c(1, 3:6)) {
    check(validUTF8(parts[part]), at(part), "not UTF-8")
    check(!matches(CONTROL, gsub("\n", "", parts[part], useBytes = TRUE)), at(part), "a control character")
  }
  parts
}

# Returns values with the names that they have. None is there twice, except those of `repeated`.
fields_of <- function(lines, pattern, repeated, part, continues = FALSE) {
  values <- list()
  for (n in seq_along(lines)) {
    if (continues && length(values) > 0 && matches("\\A[ \t]", lines[n])) {
      values[[length(values)]] <- paste0(values[[length(values)]], "\n", lines[n])
      next
    }
    found <- regmatches(lines[n], regexec(pattern, lines[n], useBytes = TRUE, perl = TRUE))[[1]]
    check(length(found) == 3, at(part, n), "not a name with a value", lines[n])
    check(is.null(values[[found[2]]]) || found[2] %in% repeated, at(part, n), "a name twice", lines[n])
    values[[found[2]]] <- found[3]
  }
  values
}

read_record <- function(text, is_of_project) {
  if (!is_of_project) return(fields_of(split_at(text, "\n"), "^([!-9;-~]+):[ \t]*([^\n]*)$", character(), 2, TRUE))
  words <- split_at(text, " ")
  check(length(words) == 3, at(2), "not PROJECT FILE SHA256", text)
  list(Package = words[1], Version = words[2], SHA256 = words[3])
}

value_of <- function(values, key, part) {
  check(!is.null(values[[key]]) && size_of(values[[key]]) > 0, at(part), "it does not have", key)
  values[[key]]
}

# Returns the name of the digest of the file that a record has; NULL if it has none.
digest_of <- function(record) {
  name <- intersect(c("SHA256", "MD5sum"), names(record))[1]
  if (is.na(name)) return(NULL)
  pattern <- if (name == "SHA256") "\\A[0-9a-f]{64}\\z" else "\\A[0-9a-f]{32}\\z"
  check(matches(pattern, record[[name]]), at(2), paste(name, "is not in digits 0-9 a-f"), record[[name]])
  name
}

check_file <- function(content, record, name) {
  check(!is.null(name), at(2), "it has neither SHA256 nor MD5sum, to compare the file with")
  found <- hex_of(as.raw(if (name == "SHA256") openssl::sha256(content) else openssl::md5(content)))
  check(found == record[[name]], "file", paste("its", name, "is", found, "and in the record"), record[[name]])
  paste(name, found)
}

check_index <- function(content, records, root) {
  check(!any(content == as.raw(0)), "index", "a NUL byte (is it plain text?)")
  leaves <- strsplit(rawToChar(content), "\n\n+", useBytes = TRUE)[[1]]
  leaves <- gsub("^\n+|\n+$", "", leaves, useBytes = TRUE)
  leaves <- leaves[leaves != ""]
  check(length(leaves) == records, "index", sprintf("%d records and not %.0f", length(leaves), records))
  found <- hex_of(root_of_all(leaves))
  check(found == root, "index", paste("its root is", found, "and in the entry"), root)
  sprintf("%.0f records, root %s", records, found)
}

# Takes contents as raw vectors, and the name of the file. Returns the lines to print, or signals a condition of class refused.
verify <- function(proof, policy, repository, snapshot, document = INDEX, file = NULL, packages = NULL, name = NULL) {
  policy <- read_policy(policy)
  parts <- split_parts(proof)
  is_record <- parts[1] != ""
  lines <- lapply(parts, split_at, "\n")
  for (part in if (is_record) c(1, 4) else 4) {
    first <- if (part == 1) "rspm-proof/1" else "c2sp.org/tlog-proof@v1"
    check(lines[[part]][1] == first && length(lines[[part]]) > 1, at(part, 1), paste("not", first), lines[[part]][1])
  }
  witnesses <- check_signatures(paste0(parts[5], "\n"), lines[[6]], policy)
  check(length(lines[[5]]) == 3, at(5), "the checkpoint must have 3 lines")
  size <- number(lines[[5]][2], at(5, 2))
  log_root <- decode64(lines[[5]][3], at(5, 3), 32)

  check(size_of(parts[3]) < MAX_ENTRY, at(3), "too large")
  index <- numbers(lines[[4]][2], "index", 1, at(4, 2))
  found <- root_of_path(paste0(parts[3], "\n"), index, size, 4, lines[[4]])
  check(identical(found, log_root), at(3), "not in the log at this index, or the path is wrong", lines[[3]][1])

  check(lines[[3]][1] == "rspm-log/1 view", at(3, 1), "not rspm-log/1 view", lines[[3]][1])
  entry <- fields_of(lines[[3]][-1], "^([a-z0-9-]+) ([^\n]+)$", c("tree", "list", "file"), 3)
  expected <- c(repository = repository, snapshot = snapshot, document = document)
  for (key in names(expected)) {
    found <- value_of(entry, key, 3)
    check(identical(charToRaw(found), charToRaw(expected[[key]])), at(3), paste(key, "is not", printable(expected[[key]]), "but"), found)
  }
  root <- value_of(entry, "root", 3)
  check(matches("\\A[0-9a-f]{64}\\z", root), at(3), "root is not 64 digits 0-9 a-f", root)
  records <- number(value_of(entry, "records", 3), at(3))

  result <- c(repository = paste0(printable(repository), ", snapshot ", printable(snapshot), ", ", printable(document)))
  if (is_record) {
    member <- numbers(lines[[1]][2], "member", 2, at(1, 2))
    check(member[2] == records, at(1, 2), "not the number of records of the entry", lines[[1]][2])
    found <- hex_of(root_of_path(parts[2], member[1], member[2], 1, lines[[1]]))
    check(found == root, at(2), "not in the index at this position, or the path is wrong", lines[[2]][1])
    record <- read_record(parts[2], document == "simple/")
    digest <- digest_of(record)
    package <- paste(printable(c(record$Package, "")[1]), printable(c(record$Version, "")[1]))
    result <- c(package = package, result)
    if (!is.null(file)) {
      of_version <- paste0(record[["Package"]], "_", record[["Version"]], ".tar.gz")
      expected <- if (document == "simple/") record[["Version"]] else c(Filter(nzchar, record["File"]), of_version)[[1]]
      check(is.null(name) || name == expected, "file", "the record is of", expected)
      result <- c(result, file = check_file(file, record, digest))
    }
  } else {
    check(is.null(file), "file", "the proof is of an index, and proves no file: --packages, or a proof of the package")
  }
  if (!is.null(packages)) result <- c(result, index = check_index(packages, records, root))
  result <- c(result, log = sprintf("%s, entry %.0f, tree size %.0f", printable(lines[[5]][1]), index, size))
  result <- c(result, stats::setNames(witnesses, rep("witness", length(witnesses))))
  if (policy$quorum == "none") {
    result <- c(result, warning = "the policy requires no witness: the log can show a different history to others")
  }
  sprintf("%-10s  %s", names(result), result)
}

main <- function(arguments) {
  names <- c("--policy", "--repo", "--snapshot", "--document", "--file", "--packages")
  options <- list()
  positional <- character()
  while (length(arguments) > 0) {
    word <- arguments[1]
    if (word %in% names && is.null(options[[word]])) {
      options[[word]] <- c(arguments, "")[2]
      arguments <- arguments[-(1:2)]
    } else {
      positional <- c(positional, word)
      arguments <- arguments[-1]
    }
  }
  is_complete <- all(names[1:3] %in% names(options)) && !any(options == "")
  if (!is_complete || all(names[5:6] %in% names(options)) || length(positional) != 1 || starts_with(positional, "-")) {
    message("usage: Rscript verify.R PROOF --policy FILE --repo NAME --snapshot DAY [--document PATH] [--file F | --packages F]")
    return(2)
  }
  read <- function(path) if (!is.null(path)) readBin(path, "raw", file.size(path))
  tryCatch({
    document <- if (is.null(options[["--document"]])) INDEX else options[["--document"]]
    result <- verify(
      read(positional), read(options[["--policy"]]), options[["--repo"]], options[["--snapshot"]], document,
      read(options[["--file"]]), read(options[["--packages"]]), basename(c(options[["--file"]], "")[1])
    )
    writeLines(result)
    0
  }, refused = function(reason) {
    message("refused: ", conditionMessage(reason))
    1
  }, error = function(error) {
    message("cannot read: ", conditionMessage(error))
    1
  })
}

if (sys.nframe() == 0) {
  # To compile functions that run once takes longer than to run them.
  compiler::enableJIT(0)
  quit(status = main(commandArgs(trailingOnly = TRUE)))
}
