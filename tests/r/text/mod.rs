//! DCF, versions, dependency lists, index text and archives.

mod checks;
mod closures;
mod dcf;
mod dependencies;
mod description;
mod hostile;
mod index;
mod rewrite;
mod tar;
mod versions;
