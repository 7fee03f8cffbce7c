// SPDX-License-Identifier: MIT
/// \file
/// What the tool does about its surroundings: closed streams, pipes without a reader, ctrl-C.
#pragma once

#include <stdexcept>

/// Opens what is closed of the standard streams so that no file of the tool's becomes one of them,
/// and makes writing to a pipe without a reader, or beyond a limit, an error in place of a signal.
void prepare_streams();

/// Undoes that for signals, before another program takes the tool's place.
void restore_signals();

/// Thrown when the user wants the program to end; what was written so far is removed on the way out.
class Interrupted : public std::runtime_error {
 public:
  explicit Interrupted(int signal) : std::runtime_error{"interrupted"}, signal_{signal} {}

  /// Ends the program by the signal, as its caller expects.
  [[noreturn]] void end() const;

 private:
  int signal_;
};

/// While it lives, the first ctrl-C (or SIGTERM, SIGHUP) only sets a flag, so that files that are not
/// complete can be removed; the second one ends the program at once.
class Interruptible {
 public:
  Interruptible();
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

  /// Throws: `Interrupted`, if a signal came.
  void check() const;
  /// Returns whether a signal came: for what then ends with the best so far.
  [[nodiscard]] static bool was_interrupted();
};
