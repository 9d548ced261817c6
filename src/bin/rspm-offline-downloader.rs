//! The program `rspm-offline-downloader`: downloads bundles for servers without internet access.

fn main() -> std::process::ExitCode {
    downloader::main()
}
