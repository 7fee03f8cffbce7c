// SPDX-License-Identifier: MIT
/// \file
/// The main program of every test program. A case that is left out, `TEST_CASE("..." *
/// doctest::skip(...) * doctest::description("the reason"))`, is named with its reason.
///
/// Beside doctest's options: `--seed=N` and `--operations=N` for random tests, as the environment
/// variables ALLOT_SEED and ALLOT_OPERATIONS (support/random.hpp).
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace {

struct ReasonsOfSkips final : doctest::IReporter {
  explicit ReasonsOfSkips(const doctest::ContextOptions&) {}

  void test_case_skipped(const doctest::TestCaseData& test) override {
    if (!test.m_skip) return;  // only filtered out on the command line
    std::cout << "skipped: " << test.m_name << ": "
              << (test.m_description ? test.m_description : "no reason given") << std::endl;
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
};

REGISTER_LISTENER("reasons_of_skips", 1, ReasonsOfSkips);

void set_variable(const char* name, const char* value) {
#if defined(_WIN32)
  ::_putenv_s(name, value);
#else
  ::setenv(name, value, 1);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument{argv[i]};
    if (argument.starts_with("--seed=")) set_variable("ALLOT_SEED", argv[i] + 7);
    if (argument.starts_with("--operations=")) set_variable("ALLOT_OPERATIONS", argv[i] + 13);
  }
  return doctest::Context{argc, argv}.run();
}
