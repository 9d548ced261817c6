//! The program `rstudio-pm`: the daemon.

/// jemalloc returns unused pages after a second; glibc's allocator keeps those of large short-lived requests.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::main()
}
