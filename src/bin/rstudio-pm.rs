//! The program `rstudio-pm`: the daemon.

/// glibc's allocator keeps the memory of short-lived large requests; jemalloc returns unused pages after a second.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::main()
}
