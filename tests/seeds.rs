//! The fuzzers' bodies over the committed seeds, on stable.

#[path = "fuzz/bodies.rs"]
mod bodies;

use std::path::Path;
use std::{fs, io};

fn each(target: &str, body: impl Fn(&[u8])) -> io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut count = 0;
    for seed in fs::read_dir(seeds)? {
        let bytes = fs::read(seed?.path())?;
        body(&bytes);
        // Every beginning of a seed is one, too.
        (0..bytes.len()).for_each(|len| body(&bytes[..len]));
        count += 1;
    }
    assert!(count > 0, "no seeds for {target}");
    Ok(())
}

#[test]
fn the_seeds_of_the_frame_fuzzer_pass() -> io::Result<()> {
    each("frame", bodies::frame)
}

#[test]
fn the_seeds_of_the_deflate_fuzzer_pass() -> io::Result<()> {
    each("deflate", bodies::deflate)
}

#[test]
fn the_seeds_of_the_json_fuzzer_pass() -> io::Result<()> {
    each("json", bodies::json)
}
