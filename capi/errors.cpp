// SPDX-License-Identifier: MIT
#include <allot.h>

#include <allot/core/errors.hpp>
#include <allot/core/version.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/plan/insufficient_memory.hpp>

#if defined(ALLOT_C_HIP)
#include <allot/hip/error.hpp>
#endif

#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <ios>
#include <new>
#include <stdexcept>
#include <system_error>

#include "guarded.hpp"

namespace allot::capi {
namespace {

// No constructor and no memory of its own: it is there for every failure, also while a thread ends.
thread_local char last_text[1024] = "";

allot_status keep(allot_status status, const char* text) noexcept {
  std::strncpy(last_text, text, sizeof last_text - 1);
  return status;
}

}  // namespace

allot_status status_of_exception() noexcept {
  try {
    throw;
  } catch (const Failure& failure) {
    return keep(failure.status, failure.text.c_str());
  } catch (const OutOfMemory& error) {
    return keep(ALLOT_OUT_OF_MEMORY, error.what());
  } catch (const std::bad_alloc&) {
    return keep(ALLOT_OUT_OF_HOST_MEMORY, "the host has no memory for bookkeeping; free some");
  } catch (const InvalidBlock& error) {
    return keep(ALLOT_INVALID_BLOCK, error.what());
  } catch (const InsufficientMemory& error) {
    return keep(ALLOT_INSUFFICIENT_MEMORY, error.what());
  } catch (const gguf::ParseError& error) {
    return keep(ALLOT_PARSE_ERROR, error.what());
  } catch (const Cancelled& error) {
    return keep(ALLOT_CANCELLED, error.what());
  } catch (const std::system_error& error) {
    return keep(ALLOT_SYSTEM_ERROR, error.what());
#if defined(ALLOT_C_HIP)
  } catch (const hip::Error& error) {
    return keep(ALLOT_SYSTEM_ERROR, error.what());
#endif
  } catch (const std::invalid_argument& error) {
    return keep(ALLOT_INVALID_ARGUMENT, error.what());
  } catch (const std::length_error& error) {
    return keep(ALLOT_INVALID_ARGUMENT, error.what());
  } catch (const std::exception& error) {
    return keep(ALLOT_OTHER_ERROR, error.what());
  } catch (...) {
    return keep(ALLOT_OTHER_ERROR, "an unknown exception was thrown");
  }
}

}  // namespace allot::capi

extern "C" {

const char* allot_status_name(allot_status status) {
  switch (status) {
    case ALLOT_OK:
      return "ok";
    case ALLOT_INVALID_HANDLE:
      return "invalid handle";
    case ALLOT_INVALID_ARGUMENT:
      return "invalid argument";
    case ALLOT_INVALID_BLOCK:
      return "invalid block";
    case ALLOT_OUT_OF_MEMORY:
      return "out of memory";
    case ALLOT_OUT_OF_HOST_MEMORY:
      return "out of host memory";
    case ALLOT_INSUFFICIENT_MEMORY:
      return "insufficient memory";
    case ALLOT_PARSE_ERROR:
      return "parse error";
    case ALLOT_NOT_FOUND:
      return "not found";
    case ALLOT_WRONG_TYPE:
      return "wrong type";
    case ALLOT_UNSUPPORTED:
      return "unsupported";
    case ALLOT_CANCELLED:
      return "cancelled";
    case ALLOT_SYSTEM_ERROR:
      return "system error";
    case ALLOT_OTHER_ERROR:
      return "other error";
  }
  return "unknown";
}

const char* allot_last_error(void) { return allot::capi::last_text; }

uint32_t allot_version(void) { return static_cast<uint32_t>(allot::version()); }

void allot_string_free(char* text) { std::free(text); }

}  // extern "C"
