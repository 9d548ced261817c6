//! The daemon.

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::main()
}
