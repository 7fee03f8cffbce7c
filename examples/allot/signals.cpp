// SPDX-License-Identifier: MIT
#include "signals.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};
volatile std::sig_atomic_t caught = 0;
// What the tool ignores, as it was when it was started.
struct Ignored {
  int signal;
  void (*before)(int);
};
Ignored ignored[] = {{SIGPIPE, SIG_DFL}, {SIGXFSZ, SIG_DFL}};

}  // namespace

void prepare_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest number that is free, which is this one. Only reading is possible: what would be
    // written to a stream that is closed is an error still.
    if (::open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) std::abort();
  }
  // SIGXFSZ: a file larger than `ulimit -f` allows.
  for (Ignored& one : ignored) one.before = std::signal(one.signal, SIG_IGN);
}

void restore_signals() {
  for (const Ignored& one : ignored) std::signal(one.signal, one.before);
}

void Interrupted::end() const {
  std::signal(signal_, SIG_DFL);
  static_cast<void>(std::raise(signal_));
  std::abort();  // not reached: each of these signals ends a program
}

Interruptible::Interruptible() {
  caught = 0;
  struct sigaction action = {};
  action.sa_handler = [](int signal) { caught = signal; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : signals) {
    struct sigaction old = {};
    // One that is ignored, as under nohup, stays ignored.
    if (::sigaction(signal, nullptr, &old) == 0 && old.sa_handler != SIG_IGN)
      ::sigaction(signal, &action, nullptr);
  }
}

Interruptible::~Interruptible() {
  for (const int signal : signals) {
    struct sigaction old = {};
    if (::sigaction(signal, nullptr, &old) == 0 && old.sa_handler != SIG_IGN)
      std::signal(signal, SIG_DFL);
  }
}

bool Interruptible::was_interrupted() { return caught != 0; }

void Interruptible::check() const {
  if (caught != 0) throw Interrupted{caught};
}
