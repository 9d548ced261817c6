//! The systemd generator: a separate program, because it runs at boot and must be small and need one file only.

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::generator::main()
}
