#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""use_allot.py LIBRARY MODEL DEVICE: an arena, a pool and a model's tensors through ctypes. Status 0 if all holds."""

import ctypes
import json
import sys
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_uint32, c_uint64, c_void_p


class Block(ctypes.Structure):
    _fields_ = [("offset", c_uint64), ("size", c_uint64), ("index", c_uint32), ("generation", c_uint32)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p), ("type", c_char_p), ("shard", c_uint32), ("dimensions", c_uint32),
        ("shape", c_uint64 * 4), ("bytes", c_uint64), ("offset", c_uint64),
    ]  # fmt: skip


class AllotError(Exception):
    pass


def main():
    allot = ctypes.CDLL(sys.argv[1])
    allot.allot_last_error.restype = c_char_p
    allot.allot_string_free.argtypes = [c_void_p]

    def call(name, *arguments):
        if getattr(allot, name)(*arguments) != 0:
            raise AllotError(allot.allot_last_error().decode())

    arena = c_void_p()
    call("allot_arena_create", c_uint64(1 << 20), None, byref(arena))
    block = Block()
    call("allot_arena_allocate", arena, c_uint64(1000), c_uint64(0), byref(block))
    assert (block.offset, block.size) == (0, 1024)
    call("allot_arena_free", arena, byref(block))
    try:
        call("allot_arena_free", arena, byref(block))
        raise AssertionError("a block was freed twice")
    except AllotError as error:
        assert "free each block once" in str(error)
    allot.allot_arena_destroy(arena)

    device = sys.argv[3].encode()
    stream, pool, buffer, before = c_void_p(), c_void_p(), c_void_p(), c_void_p()
    call("allot_stream_create", device, byref(stream))
    call("allot_pool_create", device, c_uint64(1 << 20), None, byref(pool))
    for _ in range(2):
        before.value = buffer.value
        call("allot_pool_acquire", pool, c_uint64(1000), stream, byref(buffer), None)
        call("allot_pool_release", pool, buffer, None)
    assert buffer.value == before.value
    try:
        call("allot_pool_release", pool, buffer, None)
        raise AssertionError("a buffer was released twice")
    except AllotError as error:
        assert "no live block starts at" in str(error)
    allot.allot_pool_destroy(pool)
    allot.allot_stream_destroy(stream)

    file, model = c_void_p(), c_void_p()
    call("allot_gguf_open", sys.argv[2].encode(), byref(file))
    text = c_void_p()
    call("allot_gguf_plan", file, byref(text))
    plan = json.loads(ctypes.string_at(text))
    allot.allot_string_free(text)
    calls = []
    progress = ctypes.CFUNCTYPE(c_int, c_uint64, c_uint64, c_void_p)(lambda done, total, _: calls.append(done) or 0)
    call("allot_gguf_check", file, device)
    call("allot_model_load", file, device, progress, None, byref(model))
    count = c_uint64()
    call("allot_gguf_tensor_count", file, byref(count))
    assert plan["tensors"] == count.value and calls
    for index in range(count.value):
        tensor, address, size = Tensor(), c_void_p(), c_uint64()
        call("allot_gguf_tensor", file, c_uint64(index), byref(tensor))
        call("allot_model_tensor", model, tensor.name, byref(address), byref(size))
        assert size.value == tensor.bytes
        if device == b"host":
            ctypes.cast(address, POINTER(c_char))[0]
    allot.allot_model_free(model)
    allot.allot_gguf_close(file)


main()
