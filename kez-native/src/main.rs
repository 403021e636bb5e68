//! The `kez` command.

use kez_native::{host::Machine, transport::Native};
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let arguments = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
            ExitCode::from(runtime.block_on(kez_cli::run(arguments, &Machine, Native::new)))
        }
        Err(error) => {
            eprintln!("kez: error: the async runtime: {error}");
            ExitCode::from(2)
        }
    }
}
