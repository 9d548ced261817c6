//! Dependency lists, compared with the splitter of R's tools on every dependency field of the real indexes.

use crate::support::{data, rscript};
use rstudio_pm::r::{dependency, version};

#[test]
fn every_real_dependency_item_is_split_as_r_splits_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fields, items) = (folder.path().join("fields"), folder.path().join("items"));
    // R's splitter requires a blank between operator and version; missing blanks are added.
    let script = r#"
        args <- commandArgs(TRUE)
        kinds <- c("Depends", "Imports", "LinkingTo", "Suggests", "Enhances")
        full <- read.dcf(gzfile(args[2]), fields = kinds)
        x <- unique(c(unlist(readRDS(args[1])[kinds]), full))
        x <- gsub("[ \t\n]+", " ", x[!is.na(x)])
        writeLines(x, args[3])
        item <- unique(trimws(unlist(strsplit(x, ","))))
        item <- item[nzchar(item)]
        spaced <- gsub("\\( *([<>=!]+) *", "(\\1 ", item)
        one <- function(s) {
            d <- tools:::.split_dependencies(s)[[1L]]
            paste(d$name, if (is.null(d$op)) "|" else paste(d$op, as.character(d$version), sep = "|"), sep = "|")
        }
        out <- vapply(spaced, function(s) tryCatch(one(s), error = function(e) "error"), "")
        writeLines(paste(item, out, sep = "|"), args[4])
    "#;
    let mut args = vec![data::path("cran-db-2018/packages.rds"), data::path("cran-index-full/PACKAGES.gz")];
    args.extend([fields.clone(), items.clone()]);
    rscript::run(script, &args);

    let items = std::fs::read_to_string(items).expect("R's items");
    let mut refused_items = Vec::new();
    for line in items.lines() {
        let (item, r_parts) = line.split_once('|').expect("an item and its parts in R");
        let r_parts: Vec<&str> = r_parts.split('|').collect();
        let [name, operator, r_version] = r_parts[..] else {
            refused_items.push(item);
            continue;
        };
        let mut dependencies = dependency::parse_list(item);
        let dependency = dependencies.next().unwrap_or_else(|| panic!("{item}: nothing"));
        assert_eq!(dependencies.next(), None, "{item}");
        assert_eq!(dependency.name, name, "{item}");
        assert_eq!(dependency.requirement.map_or("", |r| r.operator.as_str()), operator, "{item}");
        let own_version = dependency.requirement.map_or("", |r| r.version);
        assert!(version::compare(own_version, r_version).is_eq(), "{item}: {own_version} is not {r_version}");
    }
    assert!(items.lines().count() > 10_000, "{}", items.lines().count());
    assert!(refused_items.len() < 10, "R refuses {refused_items:?}");

    // The fields consist of these items: no item is lost or added.
    let fields = std::fs::read_to_string(fields).expect("the fields");
    for field in fields.lines() {
        let commas = field.split(',').filter(|item| !item.trim().is_empty()).count();
        assert_eq!(dependency::parse_list(field).count(), commas, "{field}");
    }
}
