// SPDX-License-Identifier: MIT
/// \file
/// Reads logs of requests to a language model. The contents say which format it is.
///
/// | format                           | begins with                                                 |
/// |----------------------------------|-------------------------------------------------------------|
/// | Mooncake's traces (JSON lines)   | an object with `hash_ids`                                   |
/// | Azure's LLM inference traces     | `TIMESTAMP,ContextTokens,GeneratedTokens`                   |
#pragma once

#include <allot/report/kv_traffic.hpp>
#include <allot/report/prefix_hits.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "byte_stream.hpp"

/// What a log has; both in the order of arrival.
struct RequestLog {
  const char* format = "";
  allot::report::PromptTrace prompts;              // empty: it has no keys of blocks
  std::vector<allot::report::KvRequest> requests;  // empty: it was not asked for token counts
};

/// Returns whether a file that begins so is such a log.
[[nodiscard]] bool is_request_log(std::string_view begin);

/// \param with_tokens  false: only the keys of blocks are asked for, if the format has them
/// Throws: `std::runtime_error` naming the file, the line, and what is wrong there.
[[nodiscard]] RequestLog read_request_log(ByteStream input, const std::string& file,
                                          bool with_tokens);
