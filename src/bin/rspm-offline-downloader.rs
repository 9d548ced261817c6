//! The downloader of bundles for servers without internet.

fn main() -> std::process::ExitCode {
    rstudio_pm::offline::main()
}
