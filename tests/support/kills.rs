//! The number of points at which tests kill a program.

/// `RSPM_TEST_KILLS`, or a small number.
pub(crate) fn points(default: u32) -> u32 {
    std::env::var("RSPM_TEST_KILLS")
        .map_or(default, |text| text.parse().expect("RSPM_TEST_KILLS is a number"))
}
