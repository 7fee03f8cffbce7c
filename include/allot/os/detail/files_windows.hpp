// SPDX-License-Identifier: MIT
/// \file
/// `files.hpp` for Windows. Names are UTF-8. Files are opened so that others may rename or delete them
/// meanwhile, as on POSIX systems.
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/windows.hpp>
#include <allot/os/file_status.hpp>

#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace allot::os::detail {

inline constexpr unsigned long share_all = 0x7;
inline constexpr unsigned long generic_read = 0x80000000;
inline constexpr unsigned long open_existing = 3;
inline constexpr unsigned long flag_folders_too = 0x02000000;
inline constexpr unsigned long flag_no_buffering = 0x20000000;

[[nodiscard]] inline bool is_handle(void* handle) noexcept {
  return reinterpret_cast<std::intptr_t>(handle) != -1;
}
[[nodiscard]] inline void* handle_of(int number) noexcept {
  return reinterpret_cast<void*>(::_get_osfhandle(number));
}

/// Closes a handle at the end of its scope.
class HandleCloser {
 public:
  explicit HandleCloser(void* handle) noexcept : handle_{handle} {}
  HandleCloser(const HandleCloser&) = delete;
  HandleCloser& operator=(const HandleCloser&) = delete;
  ~HandleCloser() { CloseHandle(handle_); }

 private:
  void* handle_;
};

/// Returns a handle, which `is_handle`, or says why not in `errno`.
[[nodiscard]] inline void* open_handle(const std::string& path, unsigned long access) {
  void* const handle = CreateFileW(widened(path).c_str(), access, share_all, nullptr, open_existing,
                                   flag_folders_too, nullptr);
  if (!is_handle(handle)) set_errno();
  return handle;
}

/// Returns a number for a handle, which is then closed with it.
[[nodiscard]] inline int number_for(void* handle) noexcept {
  if (!is_handle(handle)) return -1;
  const int number = ::_open_osfhandle(reinterpret_cast<std::intptr_t>(handle),
                                       _O_RDONLY | _O_BINARY | _O_NOINHERIT);
  if (number < 0) CloseHandle(handle);
  return number;
}

[[nodiscard]] inline int open_to_read(const std::string& path) {
  return number_for(open_handle(path, generic_read));
}
[[nodiscard]] inline int open_to_write(const std::string& path) {
  return ::_wopen(widened(path).c_str(), _O_WRONLY | _O_BINARY | _O_NOINHERIT);
}
[[nodiscard]] inline int open_new(const std::string& path) {
  return ::_wopen(widened(path).c_str(), _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT,
                  _S_IREAD | _S_IWRITE);
}
[[nodiscard]] inline int open_unnamed(const std::string&) noexcept { return -1; }
[[nodiscard]] inline bool give_name(int, const std::string&) noexcept { return false; }

[[nodiscard]] inline int open_direct(int number) noexcept {
  return number_for(ReOpenFile(handle_of(number), generic_read, share_all, flag_no_buffering));
}
[[nodiscard]] inline int duplicate(int number) noexcept {
  const int other = ::_dup(number);
  if (other >= 0) ::_setmode(other, _O_BINARY);
  return other;
}

[[nodiscard]] inline bool read_status_of_handle(void* handle, FileStatus& into) noexcept {
  constexpr unsigned long on_disk = 1;
  if (GetFileType(handle) != on_disk) {
    into = {};
    return true;
  }
  struct {
    std::uint32_t attributes, times[6], volume, size_high, size_low, links, index_high, index_low;
  } info{};
  if (GetFileInformationByHandle(handle, reinterpret_cast<_BY_HANDLE_FILE_INFORMATION*>(&info)) ==
      0) {
    set_errno();
    return false;
  }
  constexpr std::uint32_t folder = 0x10;
  into = {
      .kind = (info.attributes & folder) != 0 ? FileKind::folder : FileKind::regular,
      .bytes = std::uint64_t{info.size_high} << 32 | info.size_low,
      .id = {info.volume, std::uint64_t{info.index_high} << 32 | info.index_low},
  };
  return true;
}
[[nodiscard]] inline bool read_status(int number, FileStatus& into) noexcept {
  return read_status_of_handle(handle_of(number), into);
}
[[nodiscard]] inline bool read_status(const std::string& path, FileStatus& into) {
  void* const handle = open_handle(path, 0);
  if (!is_handle(handle)) return false;
  const HandleCloser closer{handle};
  return read_status_of_handle(handle, into);
}

[[nodiscard]] inline std::string final_path(const std::string& path) {
  constexpr unsigned long none = 0xffffffff;
  constexpr unsigned long link = 0x400;
  const unsigned long attributes = GetFileAttributesW(widened(path).c_str());
  if (attributes == none || (attributes & link) == 0) return path;
  void* const handle = open_handle(path, 0);
  if (!is_handle(handle)) return path;
  const HandleCloser closer{handle};
  std::wstring target(32'768, L'\0');  // the longest name that there is
  const unsigned long length = GetFinalPathNameByHandleW(
      handle, target.data(), static_cast<unsigned long>(target.size()), 0);
  if (length == 0 || length >= target.size()) return path;
  return narrowed(std::wstring_view{target}.substr(0, length));
}

[[nodiscard]] inline std::int64_t read_at(int number, std::byte* into, std::size_t bytes,
                                          std::uint64_t offset) noexcept {
  struct {
    std::uintptr_t internal[2];
    std::uint32_t low, high;
    void* event;
  } from{{}, static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(offset >> 32), nullptr};
  constexpr unsigned long at_the_end = 38;
  unsigned long got = 0;
  if (ReadFile(handle_of(number), into, static_cast<unsigned long>(bytes), &got,
               reinterpret_cast<_OVERLAPPED*>(&from)) != 0)
    return got;
  if (GetLastError() == at_the_end) return 0;
  set_errno();
  return -1;
}
[[nodiscard]] inline std::int64_t write_some(int number, const std::byte* from,
                                             std::size_t bytes) noexcept {
  return ::_write(number, from, static_cast<unsigned>(bytes));
}

[[nodiscard]] inline bool set_permissions(int, unsigned) noexcept { return true; }
[[nodiscard]] inline bool flush_to_disk(int number) noexcept { return ::_commit(number) == 0; }
[[nodiscard]] inline bool replace_file(const std::string& from, const std::string& to) {
  constexpr unsigned long replace_existing = 1;
  if (MoveFileExW(widened(from).c_str(), widened(to).c_str(), replace_existing) != 0) return true;
  set_errno();
  return false;
}
inline bool remove_file(const std::string& path) {
  if (DeleteFileW(widened(path).c_str()) != 0) return true;
  set_errno();
  return false;
}
[[nodiscard]] inline long process_number() noexcept { return ::_getpid(); }

/// Requires: there are bytes.
[[nodiscard]] inline const std::byte* map_file(int number, std::size_t bytes) noexcept {
  constexpr unsigned long page_read_only = 2;
  constexpr unsigned long for_reading = 4;
  void* const mapping =
      CreateFileMappingW(handle_of(number), nullptr, page_read_only, 0, 0, nullptr);
  const void* start = nullptr;
  if (mapping != nullptr) start = MapViewOfFile(mapping, for_reading, 0, 0, bytes);
  if (start == nullptr) set_errno();
  if (mapping != nullptr) CloseHandle(mapping);  // the view stays
  return static_cast<const std::byte*>(start);
}
inline void unmap_file(const std::byte* start, std::size_t) noexcept { UnmapViewOfFile(start); }

}  // namespace allot::os::detail

#endif
