//! One suite for objects on disk and on S3, and tests of the faults that only one of them has.

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
                    super::suite::$name(super::suite::Fixture::disk().await).await;
                }
            )*
        }
        mod s3 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if !crate::support::s3::rerun_with_credentials() {
                        super::suite::$name(super::suite::Fixture::s3().await).await;
                    }
                }
            )*
        }
    };
}

on_both_backends! {
    a_put_object_can_be_read
    a_spooled_object_can_be_read
    objects_in_memory_are_limited
    a_range_of_an_object_can_be_read
    a_range_outside_is_refused
    a_missing_object_is_not_found
    an_empty_object_exists
    a_large_object_is_stored_in_parts
    an_existing_object_is_not_replaced
    an_object_of_another_size_is_replaced
    a_damaged_object_of_the_same_size_is_replaced_on_request
    a_deleted_object_may_be_deleted_again
    concurrent_writers_of_one_key_succeed
    a_dropped_spool_leaves_no_file
    an_unfinished_spool_can_be_read
    a_spool_of_another_class_is_refused
    abandoned_spools_are_removed_and_open_ones_stay
    a_listing_is_complete_in_pages
    classes_are_listed_separately
    a_probe_leaves_no_objects
    a_deletion_removes_the_object_from_the_memory_cache
}
