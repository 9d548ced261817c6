//! The systemd generator: a program of its own, because it runs at boot and must be small and need one file.

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::generator::main()
}
