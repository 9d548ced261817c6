//! DCF, versions, dependency lists, index text and archives.
