// SPDX-License-Identifier: MIT
//! Loads a model's weights and sums each tensor's bytes in scratch memory of an arena.
//!
//!     rustc -L build/capi examples/rust/main.rs -o weights
//!     LD_LIBRARY_PATH=build/capi ./weights model.gguf

mod allot;

fn run(path: &str) -> allot::Result<()> {
    let file = allot::File::open(path)?;
    let model = file.load()?;
    let scratch = allot::Arena::new(64 << 20)?;
    for tensor in file.tensors()? {
        let weights = model.tensor(&tensor.name)?;
        if weights.is_empty() {
            continue;
        }
        let mut copy = scratch.bytes(weights.len())?;
        copy.copy_from_slice(weights);
        let sum: u64 = copy.iter().map(|&byte| u64::from(byte)).sum();
        println!("{:32} {:6} {:?} {} B, sum {}", tensor.name, tensor.kind, tensor.shape, tensor.bytes, sum);
    }
    println!("scratch: {} B in use, all of it given back", scratch.used()?);
    Ok(())
}

fn main() {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: weights MODEL.gguf");
        std::process::exit(2);
    };
    if let Err(error) = run(&path) {
        eprintln!("weights: {error}");
        std::process::exit(1);
    }
}
