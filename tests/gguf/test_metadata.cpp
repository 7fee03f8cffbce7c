// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <ranges>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/test_data.hpp"

static_assert(std::ranges::random_access_range<allot::gguf::Elements<float>>);
static_assert(std::ranges::sized_range<allot::gguf::Elements<bool>>);
static_assert(std::ranges::forward_range<allot::gguf::Strings>);
static_assert(std::ranges::forward_range<allot::gguf::Arrays>);

namespace {

using namespace allot;
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("arrays of arrays are read element by element") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File file{*data / "gguf" / "malformed" / "k_arr_nested.gguf"};
  const gguf::Array outer = file.metadata().begin()->array();
  CHECK(outer.element_type() == gguf::ValueType::array);
  CHECK(outer.arrays().size() == outer.size());
  std::uint64_t count = 0;
  for (const gguf::Array inner : outer.arrays()) {
    ++count;
    CHECK(inner.element_type() == gguf::ValueType::uint32);
    CHECK(inner.size() == inner.values<std::uint32_t>().size());
  }
  CHECK(count == outer.size());
  CHECK_THROWS_AS(static_cast<void>(outer.strings()), std::invalid_argument);
}

TEST_CASE("strings are found by their number, in any order and by several threads at once") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const char* name : {"ggml-vocab-llama__c50db67d.gguf", "ggml-vocab-gpt-2__5ea85cf5.gguf"}) {
    const gguf::File file{*data / "gguf" / "real" / name};
    const gguf::Strings tokens = file.metadata()["tokenizer.ggml.tokens"].array().strings();
    const std::vector<std::string_view> expected = tokens.to_vector();
    REQUIRE(expected.size() == tokens.size());
    std::vector<std::uint64_t> wrong(4);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < wrong.size(); ++t) {
      threads.emplace_back([&, t] {
        const gguf::Strings own = tokens;
        for (std::uint64_t i = expected.size(); i-- > 0;) {
          const gguf::Strings& view = i % 2 == 0 ? tokens : own;
          if (view[i] != expected[static_cast<std::size_t>(i)]) ++wrong[t];
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == std::vector<std::uint64_t>(4));
    // The index belongs to the file: another view has it, too, also where the file has moved to.
    CHECK(file.metadata()["tokenizer.ggml.tokens"].array().strings()[1] == expected[1]);
  }
}

TEST_CASE("views and indexes stay valid when a file moves") {
  const auto data = test::data_dir();
  if (!data) return;
  gguf::File file{*data / "gguf" / "real" / "stories260K.gguf"};
  const gguf::Strings tokens = file.metadata()["tokenizer.ggml.tokens"].array().strings();
  const std::string seventh{tokens[7]};
  const gguf::File moved{std::move(file)};
  CHECK(tokens[7] == seventh);
  CHECK(moved.metadata()["tokenizer.ggml.tokens"].array().strings()[7] == seventh);
  CHECK(moved.find("token_embd.weight") != nullptr);
}

TEST_CASE("the elements of an array are a range of values, which need not be aligned") {
  std::byte bytes[1 + 4 * sizeof(float)]{};
  const float numbers[] = {1.5F, -2, 8, 0.25F};
  std::memcpy(bytes + 1, numbers, sizeof numbers);
  const gguf::Elements<float> elements{bytes + 1, 4};
  CHECK(std::equal(elements.begin(), elements.end(), std::begin(numbers), std::end(numbers)));
  float largest = elements[0];
  for (const float element : elements) largest = std::max(largest, element);
  CHECK(largest == 8);
  CHECK(elements.end() - elements.begin() == 4);
  CHECK(elements.begin()[2] == 8);
  CHECK(*(elements.end() - 1) == 0.25F);
  CHECK(elements[3] == 0.25F);
  CHECK(*std::find(elements.begin(), elements.end(), -2.0F) == -2);
  CHECK(elements.begin() < elements.end());
  CHECK(gguf::Elements<float>{nullptr, 0}.empty());
}

TEST_CASE("types and shapes have names, for streams") {
  std::ostringstream out;
  out << gguf::TensorType::Q4_K << ' ' << gguf::ValueType::uint32 << ' '
      << gguf::Shape{{4096, 32000, 1, 1}, 2} << ' ' << gguf::Shape{};
  CHECK(out.str() == "Q4_K uint32 4096 x 32000 scalar");
  CHECK(gguf::type_name(gguf::TensorType::BF16) == "BF16");
}
