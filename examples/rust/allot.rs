// SPDX-License-Identifier: MIT
//! allot for Rust, over its C interface: what owns memory frees it, and what borrows cannot outlive it.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

mod c {
    use super::*;

    #[repr(C)]
    pub struct Options {
        pub strategy: c_int,
        pub memory: c_int,
        pub alignment: u64,
        pub device: u64,
        pub reserved: [u64; 3],
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Block {
        pub offset: u64,
        pub size: u64,
        pub index: u32,
        pub generation: u32,
    }
    #[repr(C)]
    #[derive(Default)]
    pub struct Usage {
        pub capacity: u64,
        pub used: u64,
        pub requested: u64,
        pub padding: u64,
        pub free: u64,
        pub largest_free: u64,
        pub free_blocks: u64,
        pub live_blocks: u64,
        pub peak_used: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    pub struct PoolStats {
        pub hits: u64,
        pub misses: u64,
        pub waits: u64,
        pub frees: u64,
        pub requested: u64,
        pub in_use: u64,
        pub cached: u64,
        pub capacity: u64,
        pub in_use_buffers: u64,
        pub cached_buffers: u64,
        pub chunks: u64,
        pub peak_in_use: u64,
        pub peak_held: u64,
    }
    #[repr(C)]
    pub struct Tensor {
        pub name: *const c_char,
        pub kind: *const c_char,
        pub shard: u32,
        pub dimensions: u32,
        pub shape: [u64; 4],
        pub bytes: u64,
        pub offset: u64,
    }
    pub type Progress = Option<extern "C" fn(u64, u64, *mut c_void) -> c_int>;

    #[link(name = "allot")]
    extern "C" {
        pub fn allot_last_error() -> *const c_char;
        pub fn allot_arena_create(capacity: u64, options: *const Options, arena: *mut *mut c_void) -> c_int;
        pub fn allot_arena_destroy(arena: *mut c_void);
        pub fn allot_arena_allocate(arena: *mut c_void, bytes: u64, alignment: u64, block: *mut Block) -> c_int;
        pub fn allot_arena_free(arena: *mut c_void, block: *const Block) -> c_int;
        pub fn allot_arena_address(arena: *mut c_void, block: *const Block, address: *mut *mut c_void) -> c_int;
        pub fn allot_arena_usage(arena: *mut c_void, usage: *mut Usage) -> c_int;
        pub fn allot_stream_create(device: *const c_char, stream: *mut *mut c_void) -> c_int;
        pub fn allot_stream_synchronize(stream: *mut c_void) -> c_int;
        pub fn allot_stream_destroy(stream: *mut c_void);
        pub fn allot_pool_create(device: *const c_char, capacity: u64, options: *const c_void,
                                 pool: *mut *mut c_void) -> c_int;
        pub fn allot_pool_destroy(pool: *mut c_void);
        pub fn allot_pool_acquire(pool: *mut c_void, bytes: u64, stream: *mut c_void, address: *mut *mut c_void,
                                  size: *mut u64) -> c_int;
        pub fn allot_pool_release(pool: *mut c_void, address: *mut c_void, stream: *mut c_void) -> c_int;
        pub fn allot_pool_usage(pool: *mut c_void, stats: *mut PoolStats) -> c_int;
        pub fn allot_gguf_open(path: *const c_char, file: *mut *mut c_void) -> c_int;
        pub fn allot_gguf_close(file: *mut c_void);
        pub fn allot_gguf_tensor_count(file: *mut c_void, count: *mut u64) -> c_int;
        pub fn allot_gguf_tensor(file: *mut c_void, index: u64, tensor: *mut Tensor) -> c_int;
        pub fn allot_model_load(file: *mut c_void, device: *const c_char, progress: Progress, user: *mut c_void,
                                model: *mut *mut c_void) -> c_int;
        pub fn allot_model_free(model: *mut c_void);
        pub fn allot_model_tensor(model: *mut c_void, name: *const c_char, address: *mut *mut c_void,
                                  bytes: *mut u64) -> c_int;
    }
}

/// What failed, with which numbers, and what to do.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

pub type Result<T> = std::result::Result<T, Error>;

fn check(status: c_int) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    // Valid until this thread's next failure: copied at once.
    let text = unsafe { CStr::from_ptr(c::allot_last_error()) };
    Err(Error(text.to_string_lossy().into_owned()))
}

fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error(format!("{text:?} has a null character")))
}

/// One range of host memory, handed out in blocks. Threads may share it.
pub struct Arena(*mut c_void);

unsafe impl Send for Arena {}
unsafe impl Sync for Arena {}

impl Arena {
    pub fn new(capacity: u64) -> Result<Arena> {
        let options = c::Options { strategy: 0, memory: 1, alignment: 0, device: 0, reserved: [0; 3] };
        let mut arena = ptr::null_mut();
        check(unsafe { c::allot_arena_create(capacity, &options, &mut arena) })?;
        Ok(Arena(arena))
    }

    /// Bytes, all of them zero; given back when they are dropped, which is before the arena is.
    pub fn bytes(&self, count: usize) -> Result<Bytes<'_>> {
        let mut block = c::Block::default();
        check(unsafe { c::allot_arena_allocate(self.0, count as u64, 0, &mut block) })?;
        let mut address = ptr::null_mut();
        check(unsafe { c::allot_arena_address(self.0, &block, &mut address) })?;
        unsafe { ptr::write_bytes(address as *mut u8, 0, count) };
        Ok(Bytes { arena: self, block, address: address as *mut u8, count })
    }

    pub fn used(&self) -> Result<u64> {
        let mut usage = c::Usage::default();
        check(unsafe { c::allot_arena_usage(self.0, &mut usage) })?;
        Ok(usage.used)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        unsafe { c::allot_arena_destroy(self.0) }
    }
}

/// A block of an arena, as a slice.
pub struct Bytes<'arena> {
    arena: &'arena Arena,
    block: c::Block,
    address: *mut u8,
    count: usize,
}

impl std::ops::Deref for Bytes<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.address, self.count) }
    }
}

impl std::ops::DerefMut for Bytes<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.address, self.count) }
    }
}

impl Drop for Bytes<'_> {
    fn drop(&mut self) {
        unsafe { c::allot_arena_free(self.arena.0, &self.block) };
    }
}

/// Work in order on one device: "host", "hip:0".
pub struct Stream(*mut c_void);

unsafe impl Send for Stream {}
unsafe impl Sync for Stream {}

impl Stream {
    pub fn new(device: &str) -> Result<Stream> {
        let mut stream = ptr::null_mut();
        check(unsafe { c::allot_stream_create(c_text(device)?.as_ptr(), &mut stream) })?;
        Ok(Stream(stream))
    }

    /// Waits for all its work.
    pub fn synchronize(&self) -> Result<()> {
        check(unsafe { c::allot_stream_synchronize(self.0) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        unsafe { c::allot_stream_destroy(self.0) }
    }
}

/// Working buffers of one device, used again and again. Threads may share it.
pub struct Pool {
    pool: *mut c_void,
    is_host: bool,
}

unsafe impl Send for Pool {}
unsafe impl Sync for Pool {}

pub struct PoolStats {
    pub hits: u64,
    pub misses: u64,
    pub in_use: u64,
}

impl Pool {
    pub fn new(device: &str, capacity: u64) -> Result<Pool> {
        let mut pool = ptr::null_mut();
        check(unsafe { c::allot_pool_create(c_text(device)?.as_ptr(), capacity, ptr::null(), &mut pool) })?;
        Ok(Pool { pool, is_host: device == "host" })
    }

    /// A buffer for work on that stream; released, in its order, when it is dropped.
    pub fn acquire(&self, bytes: usize, stream: &Stream) -> Result<Buffer<'_>> {
        let mut address = ptr::null_mut();
        check(unsafe { c::allot_pool_acquire(self.pool, bytes as u64, stream.0, &mut address, ptr::null_mut()) })?;
        Ok(Buffer { pool: self, address: address as *mut u8, count: bytes })
    }

    pub fn stats(&self) -> Result<PoolStats> {
        let mut stats = c::PoolStats::default();
        check(unsafe { c::allot_pool_usage(self.pool, &mut stats) })?;
        Ok(PoolStats { hits: stats.hits, misses: stats.misses, in_use: stats.in_use })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        unsafe { c::allot_pool_destroy(self.pool) }
    }
}

/// A buffer of a pool, which it cannot outlive.
pub struct Buffer<'pool> {
    pool: &'pool Pool,
    address: *mut u8,
    count: usize,
}

impl Buffer<'_> {
    /// The address, for kernels and copies.
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// The bytes, as the buffer's last user left them; none if they are a GPU's.
    pub fn bytes(&mut self) -> Option<&mut [u8]> {
        let is_host = self.pool.is_host;
        is_host.then(|| unsafe { std::slice::from_raw_parts_mut(self.address, self.count) })
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        unsafe { c::allot_pool_release(self.pool.pool, self.address as *mut c_void, ptr::null_mut()) };
    }
}

/// A GGUF file, open and checked.
pub struct File(*mut c_void);

pub struct TensorInfo {
    pub name: String,
    pub kind: String,
    pub shape: Vec<u64>,
    pub bytes: u64,
}

impl File {
    pub fn open(path: &str) -> Result<File> {
        let mut file = ptr::null_mut();
        check(unsafe { c::allot_gguf_open(c_text(path)?.as_ptr(), &mut file) })?;
        Ok(File(file))
    }

    pub fn tensors(&self) -> Result<Vec<TensorInfo>> {
        let mut count = 0;
        check(unsafe { c::allot_gguf_tensor_count(self.0, &mut count) })?;
        (0..count).map(|index| self.tensor(index)).collect()
    }

    fn tensor(&self, index: u64) -> Result<TensorInfo> {
        let mut tensor = std::mem::MaybeUninit::<c::Tensor>::uninit();
        check(unsafe { c::allot_gguf_tensor(self.0, index, tensor.as_mut_ptr()) })?;
        let tensor = unsafe { tensor.assume_init() };
        let text = |text| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        Ok(TensorInfo {
            name: text(tensor.name),
            kind: text(tensor.kind),
            shape: tensor.shape[..tensor.dimensions as usize].to_vec(),
            bytes: tensor.bytes,
        })
    }

    /// Loads all tensors into one allocation of host memory.
    pub fn load(&self) -> Result<Model> {
        let mut model = ptr::null_mut();
        let host = c_text("host")?;
        check(unsafe { c::allot_model_load(self.0, host.as_ptr(), None, ptr::null_mut(), &mut model) })?;
        Ok(Model(model))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        unsafe { c::allot_gguf_close(self.0) }
    }
}

/// A model's weights by name.
pub struct Model(*mut c_void);

impl Model {
    /// The bytes of a tensor, which the model keeps.
    pub fn tensor<'model>(&'model self, name: &str) -> Result<&'model [u8]> {
        let (mut address, mut bytes) = (ptr::null_mut(), 0);
        check(unsafe { c::allot_model_tensor(self.0, c_text(name)?.as_ptr(), &mut address, &mut bytes) })?;
        let _borrowed: PhantomData<&'model Model> = PhantomData;
        if bytes == 0 {
            return Ok(&[]);
        }
        Ok(unsafe { std::slice::from_raw_parts(address as *const u8, bytes as usize) })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { c::allot_model_free(self.0) }
    }
}
