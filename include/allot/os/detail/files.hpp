// SPDX-License-Identifier: MIT
/// \file
/// What the classes of files ask of the system, by the same functions on each. They take and return the
/// numbers of open files. One that fails returns what its line says, and sets `errno`.
///
/// | function                      | what it does                                                          |
/// |-------------------------------|-----------------------------------------------------------------------|
/// | `open_to_read`                | opens what there is; -1                                               |
/// | `open_to_write`               | opens what there is, a device or pipe; -1                             |
/// | `open_new`                    | makes a file that is not there yet; -1                                |
/// | `open_unnamed`                | makes a file without a name in a folder; -1, also if there is none    |
/// | `give_name`                   | gives such a file its name; false                                     |
/// | `open_direct`                 | opens an open file again, past the page cache; -1                     |
/// | `duplicate`                   | another number for what is open; -1                                   |
/// | `read_status`                 | of an open file or a path, links followed; false                      |
/// | `final_path`                  | where a symbolic link leads; any other path as it is                  |
/// | `read_at`                     | reads from an offset, by any thread; the bytes, 0 at the end; -1      |
/// | `write_some`                  | writes, at least a byte; the bytes; -1                                |
/// | `set_permissions`             | as `chmod` takes them, if the system has them; false                  |
/// | `flush_to_disk`               | waits until what was written is there; false                          |
/// | `replace_file`, `remove_file` | by name; false                                                        |
/// | `process_number`              | of this process                                                       |
/// | `map_file`, `unmap_file`      | a whole file as memory, for reading; null                             |
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/files_windows.hpp>
#else
#include <allot/os/detail/files_posix.hpp>
#endif
