//! One suite for objects on disk and on S3, and what only one of them can get wrong.

mod disk_only;
mod s3_faults;
mod suite;

/// Makes a module of tests for each backend, one test per function of the suite.
macro_rules! on_both_backends {
    ($($name:ident)*) => {
        mod disk {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::suite::$name(super::suite::Bench::disk().await).await;
                }
            )*
        }
        mod s3 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if !crate::support::s3::elsewhere() {
                        super::suite::$name(super::suite::Bench::s3().await).await;
                    }
                }
            )*
        }
    };
}

on_both_backends! {
    what_was_put_comes_back
    what_was_spooled_comes_back
    a_range_is_cut_out
    a_range_outside_is_refused
    a_missing_object_is_told_apart
    an_empty_object_is_an_object
    a_large_object_survives_in_pieces
    what_is_there_stays
    a_damaged_object_is_replaced
    what_is_damaged_and_of_the_same_size_is_replaced_when_that_is_asked_for
    delete_is_final_and_may_be_repeated
    many_writers_of_one_key_agree
    a_dropped_spool_leaves_nothing
    what_is_written_so_far_can_be_read
    a_spool_of_another_class_is_refused
    leftovers_are_swept_and_live_spools_stay
    a_listing_is_complete_in_pages
    classes_are_listed_apart
    a_good_place_is_probed_without_a_trace
    the_memory_cache_does_not_outlive_a_deletion
}
