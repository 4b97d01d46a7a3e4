//! Compiles the protocol's `.proto` files with a compiler written in Rust, so that nothing has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors =
        protox::compile(["danube.proto", "danube_schema.proto", "danube_admin.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Payloads share the buffer they were received in; maps come out in one order on every run.
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
