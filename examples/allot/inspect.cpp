// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>

#include <fmt/format.h>

#include <allot/gguf/format.hpp>  // after {fmt}: tensor types are formatted by their names

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "commands.hpp"
#include "engine_limits.hpp"
#include "output.hpp"

namespace {

namespace gguf = allot::gguf;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t shown_elements = 8;

/// An array's type, length and first elements.
Json array_json(const gguf::Array& array) {
  Json first = Json::array();
  const std::uint64_t shown = std::min(array.size(), shown_elements);
  if (array.element_type() == gguf::ValueType::string) {
    for (const std::string_view text : array.strings()) {
      if (first.size() == shown) break;
      first.push_back(printable(text));
    }
  } else if (array.element_type() == gguf::ValueType::array) {
    for (const gguf::Array inner : array.arrays()) {
      if (first.size() == shown) break;
      first.push_back(array_json(inner));
    }
  } else {
    gguf::with_number_type(array.element_type(), [&]<class T>(T) {
      for (std::uint64_t i = 0; i < shown; ++i) first.push_back(array.values<T>()[i]);
    });
  }
  return {{"array_of", gguf::to_text(array.element_type())},
          {"length", array.size()},
          {"first", std::move(first)}};
}

Json value_json(const gguf::Value& value) {
  if (value.type() == gguf::ValueType::string) return printable(value.as<std::string_view>());
  if (value.type() == gguf::ValueType::array) return array_json(value.array());
  Json json;
  gguf::with_number_type(value.type(), [&]<class T>(T) { json = value.as<T>(); });
  return json;
}

/// A value as text: as JSON, which has no word for nan, inf and -inf.
std::string value_text(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
  }
  if (!value.is_structured()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string text;
  for (const auto& [key, element] : value.items()) {
    if (!text.empty()) text += ",";
    if (value.is_object()) text += Json(key).dump() + ":";
    text += value_text(element);
  }
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

struct Total {
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  bool is_known = true;  // whether the bytes are
};

/// The elements of all dimensions; fits 64 bits, as for every tensor of a file.
std::uint64_t elements_of(const gguf::PartialTensor& tensor) {
  std::uint64_t elements = 1;
  for (const std::uint64_t extent : tensor.dimensions) elements *= extent;
  return elements;
}

/// The name of a type, or its number where it has none.
std::string type_text(std::uint32_t type) {
  const auto known = gguf::find_type(type);
  return known ? std::string{known->name} : std::to_string(type);
}

std::map<std::string, Total> totals_by_type(const gguf::File& file) {
  std::map<std::string, Total> totals;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    Total& total = totals[std::string{gguf::type_name(tensor.type)}];
    ++total.tensors;
    total.elements += tensor.shape.elements();
    total.bytes += tensor.bytes;
  }
  for (const gguf::PartialTensor& tensor : file.partial_tensors()) {
    Total& total = totals[type_text(tensor.type)];
    ++total.tensors;
    total.elements += elements_of(tensor);
    total.bytes += tensor.bytes.value_or(0);
    total.is_known = tensor.bytes.has_value();
  }
  return totals;
}

/// Of all tensors; wraps at 2^64, which no file with data reaches.
Total total_of(const gguf::File& file) {
  Total all;
  for (const auto& [name, total] : totals_by_type(file)) {
    all.tensors += total.tensors;
    all.elements += total.elements;
    all.bytes += total.bytes;
    all.is_known = all.is_known && total.is_known;
  }
  return all;
}

const char* byte_order_text(const gguf::File& file) {
  return file.byte_order() == std::endian::little ? "little" : "big";
}

std::string shape_text(std::span<const std::uint64_t> extents) {
  std::string text = "[";
  for (std::size_t i = 0; i < extents.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(extents[i]);
  return text + "]";
}

std::span<const std::uint64_t> extents_of(const gguf::Shape& shape) {
  return std::span{shape.extent}.first(shape.rank);
}

/// A count of bytes that may be unknown.
Json bytes_json(const std::optional<std::uint64_t>& bytes) {
  return bytes ? Json(*bytes) : Json(nullptr);
}

std::string architecture(const gguf::File& file) {
  const gguf::Value* value = file.metadata().find("general.architecture");
  if (value == nullptr || value->type() != gguf::ValueType::string) return "";
  return std::string{value->as<std::string_view>()};
}

/// The facts that identify a model, if the file has them.
std::vector<std::pair<std::string, Json>> facts(const gguf::File& file) {
  std::vector<std::pair<std::string, Json>> found;
  const std::string prefix = architecture(file) + ".";
  for (const char* key : {"general.name", "general.architecture", "general.file_type"}) {
    if (const gguf::Value* value = file.metadata().find(key))
      found.emplace_back(key, value_json(*value));
  }
  for (const char* key : {"block_count", "context_length", "embedding_length",
                          "feed_forward_length", "attention.head_count", "attention.head_count_kv",
                          "attention.key_length", "attention.value_length", "expert_count",
                          "expert_used_count", "rope.freq_base", "vocab_size"}) {
    if (const gguf::Value* value = file.metadata().find(prefix + key)) {
      found.emplace_back(prefix + key, value_json(*value));
    }
  }
  if (const gguf::Value* tokens = file.metadata().find("tokenizer.ggml.tokens");
      tokens != nullptr && tokens->type() == gguf::ValueType::array) {
    found.emplace_back("tokens", tokens->array().size());
  }
  return found;
}

/// What the engine that was asked for cannot read.
std::vector<std::string> notes_of(const InspectOptions& options, const gguf::File& file) {
  return options.engine.empty() ? std::vector<std::string>{} : beyond_llama_cpp(file);
}

void print_json(const InspectOptions& options, const gguf::File& file) {
  const Total all = total_of(file);
  Json types = Json::object();
  for (const auto& [name, total] : totals_by_type(file)) {
    types[name] = {{"tensors", total.tensors},
                   {"elements", total.elements},
                   {"bytes", total.is_known ? Json(total.bytes) : Json(nullptr)}};
  }
  Json shards = Json::array();
  for (const gguf::Shard& shard : file.shards()) shards.push_back(printable(shard.path()));
  Json known = Json::object();
  for (const auto& [key, value] : facts(file)) known[printable(key)] = value;
  Json out = {{"file", printable(options.file)},
              {"version", file.version()},
              {"byte_order", byte_order_text(file)},
              {"alignment", file.alignment()},
              {"shards", std::move(shards)},
              {"metadata_pairs", file.metadata().size()},
              {"tensors", all.tensors},
              {"partial_tensors", file.partial_tensors().size()},
              {"elements", all.elements},
              {"tensor_bytes", all.is_known ? Json(all.bytes) : Json(nullptr)},
              {"types", std::move(types)},
              {"facts", std::move(known)}};
  if (options.metadata) {
    Json pairs = Json::object();
    for (const gguf::Value& value : file.metadata())
      pairs[printable(value.key())] = value_json(value);
    out["metadata"] = std::move(pairs);
  }
  if (options.tensors) {
    Json list = Json::array();
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      list.push_back(
          {{"name", printable(tensor.name)},
           {"type", gguf::type_name(tensor.type)},
           {"shape", std::vector<std::uint64_t>(tensor.shape.extent.begin(),
                                                tensor.shape.extent.begin() + tensor.shape.rank)},
           {"shard", tensor.shard},
           {"offset", tensor.offset},
           {"bytes", tensor.bytes}});
    }
    for (const gguf::PartialTensor& tensor : file.partial_tensors()) {
      const auto type = gguf::find_type(tensor.type);
      list.push_back({{"name", printable(tensor.name)},
                      {"type", type ? Json(type->name) : Json(tensor.type)},
                      {"shape", tensor.dimensions},
                      {"shard", tensor.shard},
                      {"offset", tensor.offset},
                      {"bytes", bytes_json(tensor.bytes)}});
    }
    out["tensor_list"] = std::move(list);
  }
  if (!options.engine.empty()) {
    Json notes = Json::array();
    for (const std::string& note : notes_of(options, file)) notes.push_back(note);
    out["for"] = {{"engine", options.engine}, {"refuses", std::move(notes)}};
  }
  print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_notes(const InspectOptions& options, const gguf::File& file) {
  for (const gguf::PartialTensor& tensor : file.partial_tensors())
    print("\n  note: {}", printable(tensor.why_partial()));
  if (!file.partial_tensors().empty()) print("\n");
  if (options.engine.empty()) return;
  const std::vector<std::string> notes = notes_of(options, file);
  if (notes.empty()) print("\n  {} can read it\n", options.engine);
  for (const std::string& note : notes) print("\n  {} takes only {}", options.engine, note);
  if (!notes.empty()) print("\n");
}

void print_text(const InspectOptions& options, const gguf::File& file) {
  const Total all = total_of(file);
  print("{}\n", printable(options.file));
  print("  GGUF version {}, {}-endian, alignment {}, {} file{}\n", file.version(),
        byte_order_text(file), file.alignment(), file.shards().size(),
        file.shards().size() == 1 ? "" : "s");
  print("  {} metadata pairs, {} tensors, {} elements, {}{}\n\n", file.metadata().size(),
        all.tensors, count_text(all.elements), size_text(all.bytes),
        all.is_known ? "" : " and those of unknown types");
  for (const auto& [key, value] : facts(file)) {
    print("  {:<36} {}\n", printable(key),
          value.is_string() ? value.get<std::string>() : value_text(value));
  }
  if (all.tensors != 0) {
    print("\n  {:<10} {:>8} {:>18} {:>18}\n", "type", "tensors", "elements", "bytes");
    for (const auto& [name, total] : totals_by_type(file)) {
      print("  {:<10} {:>8} {:>18} {:>18}\n", name, total.tensors, count_text(total.elements),
            total.is_known ? count_text(total.bytes) : "unknown");
    }
  }
  if (options.metadata) {
    print("\nMetadata\n");
    for (const gguf::Value& value : file.metadata()) {
      print("  {:<44} {:<8} {}\n", printable(value.key()), gguf::to_text(value.type()),
            value_text(value_json(value)));
    }
  }
  if (options.tensors) {
    print("\n{:<44} {:<8} {:<26} {:>14} {:>14}\n", "Tensor", "type", "shape", "offset", "bytes");
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      print("{:<44} {:<8} {:<26} {:>14} {:>14}\n", printable(tensor.name), tensor.type,
            shape_text(extents_of(tensor.shape)), tensor.offset, tensor.bytes);
    }
    for (const gguf::PartialTensor& tensor : file.partial_tensors()) {
      print("{:<44} {:<8} {:<26} {:>14} {:>14}\n", printable(tensor.name), type_text(tensor.type),
            shape_text(tensor.dimensions), tensor.offset,
            tensor.bytes ? std::to_string(*tensor.bytes) : "unknown");
    }
  }
  print_notes(options, file);
}

}  // namespace

void inspect(const InspectOptions& options) {
  const gguf::File file{options.file, gguf::Reading::lenient};
  options.json ? print_json(options, file) : print_text(options, file);
}
