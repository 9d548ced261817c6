//! The daemon.

/// glibc's allocator keeps what short-lived large requests needed; this one returns unused pages after a second.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::main()
}
