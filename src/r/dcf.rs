//! DCF, the format of DESCRIPTION and PACKAGES, as R reads and writes it.
