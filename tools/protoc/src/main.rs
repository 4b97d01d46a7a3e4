//! As much of protoc's command line as prost-build uses, on the pure-Rust compiler protox.
//!
//! `danube-client`, the published client that the demo and the tests talk to the broker with, runs protoc in its build.
//! With this program a Rust toolchain and a C compiler are all that a build of this repository needs.

use protox::Compiler;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut includes, mut protos, mut output) = (Vec::new(), Vec::new(), None);
    let (mut imports, mut source_info) = (false, false);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-I" => includes.push(PathBuf::from(args.next().ok_or("-I needs a folder")?)),
            "-o" => output = Some(PathBuf::from(args.next().ok_or("-o needs a file")?)),
            "--include_imports" => imports = true,
            "--include_source_info" => source_info = true,
            "--experimental_allow_proto3_optional" => {} // Allowed anyway.
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}").into()),
            proto => protos.push(PathBuf::from(proto)),
        }
    }
    let mut compiler = Compiler::new(includes)?;
    compiler.include_imports(imports).include_source_info(source_info).open_files(protos)?;
    fs::write(output.ok_or("-o is missing")?, compiler.encode_file_descriptor_set())?;
    Ok(())
}
