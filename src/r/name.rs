//! Package names, file names, and the packages that come with R.
