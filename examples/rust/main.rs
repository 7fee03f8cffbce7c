// SPDX-License-Identifier: MIT
//! Loads a model's weights and sums each tensor's bytes in scratch memory of an arena; then takes a layer's
//! working buffers from a pool, on the host or on a GPU.
//!
//!     rustc -L build/capi examples/rust/main.rs -o weights
//!     LD_LIBRARY_PATH=build/capi ./weights model.gguf        # or: model.gguf hip:0

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

/// What a layer takes while it runs, for many layers: the first has the pool make its buffers.
fn run_layers(device: &str) -> allot::Result<()> {
    let stream = allot::Stream::new(device)?;
    let pool = allot::Pool::new(device, 64 << 20)?;
    for _ in 0..100 {
        let mut hidden = pool.acquire(16 << 10, &stream)?;
        let scores = pool.acquire(1 << 20, &stream)?;
        assert_ne!(hidden.address(), scores.address());
        if let Some(bytes) = hidden.bytes() {
            bytes.fill(0);
        }
    }
    stream.synchronize()?;
    let stats = pool.stats()?;
    println!("pool on {device}: {} buffers made, {} reused, {} B in use", stats.misses, stats.hits, stats.in_use);
    Ok(())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: weights MODEL.gguf [DEVICE]");
        std::process::exit(2);
    };
    let device = arguments.next().unwrap_or("host".to_string());
    if let Err(error) = run(&path).and_then(|()| run_layers(&device)) {
        eprintln!("weights: {error}");
        std::process::exit(1);
    }
}
