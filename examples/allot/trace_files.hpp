// SPDX-License-Identifier: MIT
/// \file
/// Reads allocation traces of every supported format, which it recognizes by the contents.
///
/// | format                   | begins with                                                      |
/// |--------------------------|------------------------------------------------------------------|
/// | `allot-trace 1`          | `# allot-trace 1`                                                |
/// | `allot-trace` 2          | a `start` record; its text form: `# allot-trace 2`               |
/// | PyTorch memory snapshot  | a pickle (`torch.cuda.memory._dump_snapshot`), protocols 0 to 5  |
/// | PyTorch events as CSV    | `action,addr,size,stream`                                        |
/// | RMM's log                | `Thread,Time,Action,Pointer,Size,Stream`                         |
/// | Umpire's replay log      | JSON lines, of 2019 (`"kind":"replay"`) and 2022 (`"category"`)  |
#pragma once

#include <allot/report/allocation_trace.hpp>
#include <allot/report/trace_records.hpp>

#include <functional>
#include <string>

#include "byte_stream.hpp"

/// Memory: what the trace takes, and 64 MiB; of a snapshot a byte besides for each value that it
/// numbers. Throws: `std::runtime_error` naming the file, the line or byte, and what is wrong there.
[[nodiscard]] allot::report::AllocationTrace parse_trace(ByteStream input, const std::string& file);

/// Calls `visit` for each record of an `allot-trace` 2, in either form. Returns whether the last one
/// is cut off. Throws: as `parse_trace`; what `visit` throws.
bool read_trace_records(ByteStream input, const std::string& file,
                        const std::function<void(const allot::report::TraceRecord&)>& visit);
