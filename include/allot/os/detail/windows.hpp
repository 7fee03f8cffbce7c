// SPDX-License-Identifier: MIT
/// \file
/// Windows' functions, as <windows.h> declares them, which defines thousands of macros besides; names
/// between UTF-8 and Windows' own form; and why a call failed, as `errno`.
#pragma once

#if defined(_WIN32)
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" {
struct _BY_HANDLE_FILE_INFORMATION;
struct _CONSOLE_SCREEN_BUFFER_INFO;
struct _MEMORYSTATUSEX;
struct _OVERLAPPED;
struct _PROCESS_MEMORY_COUNTERS;
struct _SECURITY_ATTRIBUTES;

__declspec(dllimport) unsigned long __stdcall GetLastError(void);
__declspec(dllimport) int __stdcall CloseHandle(void*);
__declspec(dllimport) int __stdcall MultiByteToWideChar(unsigned, unsigned long, const char*, int,
                                                        wchar_t*, int);
__declspec(dllimport) int __stdcall WideCharToMultiByte(unsigned, unsigned long, const wchar_t*,
                                                        int, char*, int, const char*, int*);

__declspec(dllimport) void* __stdcall CreateFileW(const wchar_t*, unsigned long, unsigned long,
                                                  _SECURITY_ATTRIBUTES*, unsigned long,
                                                  unsigned long, void*);
__declspec(dllimport) void* __stdcall ReOpenFile(void*, unsigned long, unsigned long,
                                                 unsigned long);
__declspec(dllimport) unsigned long __stdcall GetFileType(void*);
__declspec(dllimport) unsigned long __stdcall GetFileAttributesW(const wchar_t*);
__declspec(dllimport) int __stdcall GetFileInformationByHandle(void*, _BY_HANDLE_FILE_INFORMATION*);
__declspec(dllimport) unsigned long __stdcall GetFinalPathNameByHandleW(void*, wchar_t*,
                                                                        unsigned long,
                                                                        unsigned long);
__declspec(dllimport) int __stdcall ReadFile(void*, void*, unsigned long, unsigned long*,
                                             _OVERLAPPED*);
__declspec(dllimport) int __stdcall MoveFileExW(const wchar_t*, const wchar_t*, unsigned long);
__declspec(dllimport) int __stdcall DeleteFileW(const wchar_t*);
__declspec(dllimport) void* __stdcall CreateFileMappingW(void*, _SECURITY_ATTRIBUTES*,
                                                         unsigned long, unsigned long,
                                                         unsigned long, const wchar_t*);
__declspec(dllimport) void* __stdcall MapViewOfFile(void*, unsigned long, unsigned long,
                                                    unsigned long, std::size_t);
__declspec(dllimport) int __stdcall UnmapViewOfFile(const void*);

__declspec(dllimport) void* __stdcall VirtualAlloc(void*, std::size_t, unsigned long,
                                                   unsigned long);
__declspec(dllimport) int __stdcall VirtualFree(void*, std::size_t, unsigned long);
__declspec(dllimport) int __stdcall GlobalMemoryStatusEx(_MEMORYSTATUSEX*);
__declspec(dllimport) void* __stdcall GetCurrentProcess(void);
__declspec(dllimport) int __stdcall K32GetProcessMemoryInfo(void*, _PROCESS_MEMORY_COUNTERS*,
                                                            unsigned long);

__declspec(dllimport) void* __stdcall GetStdHandle(unsigned long);
__declspec(dllimport) int __stdcall GetConsoleMode(void*, unsigned long*);
__declspec(dllimport) int __stdcall GetConsoleScreenBufferInfo(void*, _CONSOLE_SCREEN_BUFFER_INFO*);
}

namespace allot::os::detail {

inline constexpr unsigned utf8 = 65001;

/// Returns a name as Windows takes it; empty, which names nothing, if it is not UTF-8.
[[nodiscard]] inline std::wstring widened(std::string_view text) {
  constexpr unsigned long fail_at_bad_text = 0x8;
  const int size = static_cast<int>(text.size());
  const int length = MultiByteToWideChar(utf8, fail_at_bad_text, text.data(), size, nullptr, 0);
  std::wstring wide(static_cast<std::size_t>(length), L'\0');
  MultiByteToWideChar(utf8, fail_at_bad_text, text.data(), size, wide.data(), length);
  return wide;
}

[[nodiscard]] inline std::string narrowed(std::wstring_view wide) {
  const int size = static_cast<int>(wide.size());
  const int length = WideCharToMultiByte(utf8, 0, wide.data(), size, nullptr, 0, nullptr, nullptr);
  std::string text(static_cast<std::size_t>(length), '\0');
  WideCharToMultiByte(utf8, 0, wide.data(), size, text.data(), length, nullptr, nullptr);
  return text;
}

/// Sets `errno` to what comes closest to Windows' last error.
inline void set_errno() noexcept {
  const auto closest = [](unsigned long error) {
    switch (error) {
      case 2:    // a file not found
      case 3:    // a folder not found
      case 15:   // no such drive
      case 53:   // no such computer
      case 67:   // no such share
      case 123:  // not a name
        return ENOENT;
      case 5:   // access denied
      case 19:  // write-protected
      case 32:  // open elsewhere
      case 33:  // locked
        return EACCES;
      case 6:
        return EBADF;
      case 8:
      case 14:
        return ENOMEM;
      case 39:
      case 112:
        return ENOSPC;
      case 80:
      case 183:
        return EEXIST;
      case 87:
        return EINVAL;
      case 206:
        return ENAMETOOLONG;
      default:
        return EIO;
    }
  };
  errno = closest(GetLastError());
}

}  // namespace allot::os::detail

#endif
