// SPDX-License-Identifier: MIT
#include <allot.h>

#include <allot/gguf/file.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "devices.hpp"
#include "guarded.hpp"
#include "handles.hpp"

namespace allot::capi {
namespace {

struct OpenFile {
  explicit OpenFile(const char* name) : path{name}, file{path} {
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      names.emplace_back(tensor.name);
      types.emplace_back(gguf::type_name(tensor.type));
    }
  }

  std::string path;
  gguf::File file;
  // With a null character at the end, which the file's own do not have.
  std::vector<std::string> names;
  std::vector<std::string> types;
};

Handles<allot_gguf, OpenFile, 3>& files() {
  static auto& all = *new Handles<allot_gguf, OpenFile, 3>;
  return all;
}
Handles<allot_model, AnyModel, 4>& models() {
  static auto& all = *new Handles<allot_model, AnyModel, 4>;
  return all;
}

allot_tensor_info info_of(const OpenFile& open, std::size_t index) {
  const gguf::TensorInfo& tensor = open.file.tensors()[index];
  allot_tensor_info info{};
  info.name = open.names[index].c_str();
  info.type = open.types[index].c_str();
  info.shard = tensor.shard;
  info.dimensions = tensor.shape.rank;
  for (std::size_t i = 0; i < tensor.shape.extent.size(); ++i)
    info.shape[i] = tensor.shape.extent[i];
  info.bytes = tensor.bytes;
  info.offset = tensor.offset;
  return info;
}

/// Calls `read(value)` with a value of the metadata, which returns nothing for one of a wrong type.
template <class Read>
auto value_of(const allot_gguf* file, const char* key, Read&& read) {
  require(key, "the key is null; give one");
  const auto open = object_of(files(), file);
  const gguf::Value* const value = open->file.metadata().find(key);
  if (value == nullptr)
    throw Failure{ALLOT_NOT_FOUND, "the file has no value " + std::string{key} +
                                       "; allot inspect lists what it has"};
  auto result = read(*value);
  if (!result)
    throw Failure{ALLOT_WRONG_TYPE, "the value " + std::string{key} + " is " +
                                        std::string{gguf::to_text(value->type())} +
                                        ", which the result cannot hold; ask for another type"};
  return *result;
}

/// Returns a number as another type; nothing if that cannot hold it exactly. A `bool` is only a `bool`.
template <class Result, class Type>
std::optional<Result> number_as(Type number) {
  constexpr bool is_same_kind = std::is_same_v<Result, bool> == std::is_same_v<Type, bool> &&
                                std::is_floating_point_v<Result> == std::is_floating_point_v<Type>;
  if constexpr (!is_same_kind) {
    return std::nullopt;
  } else if constexpr (std::is_same_v<Type, bool> || std::is_floating_point_v<Type>) {
    return number;
  } else {
    if (!std::in_range<Result>(number)) return std::nullopt;
    return static_cast<Result>(number);
  }
}

/// Returns a number of the metadata; throws `Failure` for what a `Result` cannot hold exactly.
template <class Result>
Result number_of(const allot_gguf* file, const char* key) {
  return value_of(file, key, [](const gguf::Value& value) {
    std::optional<Result> result;
    gguf::with_number_type(value.type(),
                           [&]<class Type>(Type) { result = number_as<Result>(value.as<Type>()); });
    return result;
  });
}

/// Returns an element of an array as a `Result`; throws `Failure` for what that cannot hold exactly.
template <class Result>
Result element_of(const allot_gguf* file, const char* key, std::uint64_t index) {
  return value_of(file, key, [&](const gguf::Value& value) -> std::optional<Result> {
    if (value.type() != gguf::ValueType::array) return std::nullopt;
    const gguf::Array array = value.array();
    if (index >= array.size())
      throw Failure{ALLOT_NOT_FOUND, "the array " + std::string{key} + " has no element " +
                                         std::to_string(index) + "; it has " +
                                         std::to_string(array.size()) + ", numbered from 0"};
    if constexpr (std::is_same_v<Result, std::string_view>) {
      if (array.element_type() != gguf::ValueType::string) return std::nullopt;
      return array.strings()[index];
    } else {
      std::optional<Result> result;
      gguf::with_number_type(array.element_type(), [&]<class Type>(Type) {
        result = number_as<Result>(Type{array.values<Type>()[index]});
      });
      return result;
    }
  });
}

std::string json_of(const OpenFile& open, const load::Plan& plan) {
  std::uint64_t tensor_bytes = 0;
  for (const gguf::TensorInfo& tensor : open.file.tensors()) tensor_bytes += tensor.bytes;
  auto arenas = nlohmann::ordered_json::array();
  for (const load::PlannedArena& arena : plan.arenas) {
    arenas.push_back({{"device", arena.device},
                      {"capacity", arena.capacity},
                      {"used", arena.used},
                      {"padding", arena.padding}});
  }
  const nlohmann::ordered_json json = {{"file", open.path},
                                       {"tensors", open.file.tensors().size()},
                                       {"tensor_bytes", tensor_bytes},
                                       {"alignment", load::DefaultWeights::Alignment::value},
                                       {"arenas", std::move(arenas)},
                                       {"total_bytes", plan.total_bytes()}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace
}  // namespace allot::capi

using namespace allot::capi;

extern "C" {

allot_status allot_gguf_open(const char* path, allot_gguf** file) {
  return guarded([&] {
    require(path, "the path is null; give one");
    require(file, "the pointer to the file is null; give one");
    *file = files().add(std::make_shared<OpenFile>(path));
  });
}

void allot_gguf_close(allot_gguf* file) { files().remove(file); }

allot_status allot_gguf_tensor_count(allot_gguf* file, uint64_t* count) {
  return guarded([&] {
    require(count, "the pointer to the count is null; give one");
    *count = object_of(files(), file)->names.size();
  });
}

allot_status allot_gguf_tensor(allot_gguf* file, uint64_t index, allot_tensor_info* tensor) {
  return guarded([&] {
    require(tensor, "the pointer to the tensor is null; give one");
    const auto open = object_of(files(), file);
    if (index >= open->names.size())
      throw Failure{ALLOT_NOT_FOUND, "no tensor has the index " + std::to_string(index) +
                                         "; the file has " + std::to_string(open->names.size()) +
                                         " tensors, numbered from 0"};
    *tensor = info_of(*open, static_cast<std::size_t>(index));
  });
}

allot_status allot_gguf_find_tensor(allot_gguf* file, const char* name, allot_tensor_info* tensor) {
  return guarded([&] {
    require(name, "the name is null; give one");
    require(tensor, "the pointer to the tensor is null; give one");
    const auto open = object_of(files(), file);
    const allot::gguf::TensorInfo* const found = open->file.find(name);
    if (found == nullptr)
      throw Failure{ALLOT_NOT_FOUND, "the file has no tensor " + std::string{name} +
                                         "; allot inspect lists what it has"};
    *tensor = info_of(*open, static_cast<std::size_t>(found - open->file.tensors().data()));
  });
}

allot_status allot_gguf_uint(allot_gguf* file, const char* key, uint64_t* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = number_of<std::uint64_t>(file, key);
  });
}

allot_status allot_gguf_int(allot_gguf* file, const char* key, int64_t* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = number_of<std::int64_t>(file, key);
  });
}

allot_status allot_gguf_float(allot_gguf* file, const char* key, double* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = number_of<double>(file, key);
  });
}

allot_status allot_gguf_bool(allot_gguf* file, const char* key, int* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = number_of<bool>(file, key) ? 1 : 0;
  });
}

allot_status allot_gguf_string(allot_gguf* file, const char* key, const char** text,
                               uint64_t* bytes) {
  return guarded([&] {
    require(text, "the pointer to the text is null; give one");
    require(bytes, "the pointer to the number of bytes is null; give one");
    const auto found =
        value_of(file, key, [](const allot::gguf::Value& v) -> std::optional<std::string_view> {
          if (v.type() != allot::gguf::ValueType::string) return std::nullopt;
          return v.as<std::string_view>();
        });
    *text = found.data();
    *bytes = found.size();
  });
}

allot_status allot_gguf_value_count(allot_gguf* file, uint64_t* count) {
  return guarded([&] {
    require(count, "the pointer to the count is null; give one");
    *count = object_of(files(), file)->file.metadata().size();
  });
}

allot_status allot_gguf_key(allot_gguf* file, uint64_t index, const char** key, uint64_t* bytes) {
  return guarded([&] {
    require(key, "the pointer to the key is null; give one");
    require(bytes, "the pointer to the number of bytes is null; give one");
    const auto open = object_of(files(), file);
    const auto& values = open->file.metadata();
    if (index >= values.size())
      throw Failure{ALLOT_NOT_FOUND, "no value has the index " + std::to_string(index) +
                                         "; the file has " + std::to_string(values.size()) +
                                         " values, numbered from 0"};
    const std::string_view name = values.begin()[static_cast<std::ptrdiff_t>(index)].key();
    *key = name.data();
    *bytes = name.size();
  });
}

allot_status allot_gguf_array_size(allot_gguf* file, const char* key, uint64_t* size) {
  return guarded([&] {
    require(size, "the pointer to the size is null; give one");
    *size = value_of(file, key, [](const allot::gguf::Value& v) -> std::optional<std::uint64_t> {
      if (v.type() != allot::gguf::ValueType::array) return std::nullopt;
      return v.array().size();
    });
  });
}

allot_status allot_gguf_array_uint(allot_gguf* file, const char* key, uint64_t index,
                                   uint64_t* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = element_of<std::uint64_t>(file, key, index);
  });
}

allot_status allot_gguf_array_int(allot_gguf* file, const char* key, uint64_t index,
                                  int64_t* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = element_of<std::int64_t>(file, key, index);
  });
}

allot_status allot_gguf_array_float(allot_gguf* file, const char* key, uint64_t index,
                                    double* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = element_of<double>(file, key, index);
  });
}

allot_status allot_gguf_array_bool(allot_gguf* file, const char* key, uint64_t index, int* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = element_of<bool>(file, key, index) ? 1 : 0;
  });
}

allot_status allot_gguf_array_string(allot_gguf* file, const char* key, uint64_t index,
                                     const char** text, uint64_t* bytes) {
  return guarded([&] {
    require(text, "the pointer to the text is null; give one");
    require(bytes, "the pointer to the number of bytes is null; give one");
    const auto found = element_of<std::string_view>(file, key, index);
    *text = found.data();
    *bytes = found.size();
  });
}

allot_status allot_gguf_check(allot_gguf* file, const char* device) {
  return guarded([&] {
    const auto open = object_of(files(), file);
    device_of(device)->check(allot::load::make_plan(open->file));
  });
}

allot_status allot_gguf_plan(allot_gguf* file, char** json) {
  return guarded([&] {
    require(json, "the pointer to the text is null; give one");
    const auto open = object_of(files(), file);
    *json = copy_of(json_of(*open, allot::load::make_plan(open->file)));
  });
}

allot_status allot_model_load(allot_gguf* file, const char* device, allot_progress progress,
                              void* user, allot_model** model) {
  return guarded([&] {
    require(model, "the pointer to the model is null; give one");
    const auto open = object_of(files(), file);
    const auto on = device_of(device);
    const allot::load::Plan plan = allot::load::make_plan(open->file);
    on->check(plan);
    *model = models().add(on->load(open->file, plan, progress, user));
  });
}

void allot_model_free(allot_model* model) { models().remove(model); }

allot_status allot_model_tensor(allot_model* model, const char* name, void** address,
                                uint64_t* bytes) {
  return guarded([&] {
    require(name, "the name is null; give one");
    require(address, "the pointer to the address is null; give one");
    require(bytes, "the pointer to the number of bytes is null; give one");
    const auto tensor = object_of(models(), model)->find(name);
    if (!tensor)
      throw Failure{ALLOT_NOT_FOUND, "the model has no tensor " + std::string{name} +
                                         "; allot_gguf_tensor lists what it has"};
    *address = tensor->address;
    *bytes = tensor->bytes;
  });
}

}  // extern "C"
