// SPDX-License-Identifier: MIT
#include <allot.h>

#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

using HostModel =
    decltype(load::load(std::declval<const gguf::File&>(), std::declval<const load::Plan&>(),
                        std::declval<HostDevice&>()));

Handles<allot_gguf, OpenFile>& files() {
  static auto& all = *new Handles<allot_gguf, OpenFile>;
  return all;
}
Handles<allot_model, HostModel>& models() {
  static auto& all = *new Handles<allot_model, HostModel>;
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

std::optional<double> float_of(const gguf::Value& value) {
  switch (value.type()) {
    case gguf::ValueType::float32:
      return value.as<float>();
    case gguf::ValueType::float64:
      return value.as<double>();
    default:
      return std::nullopt;
  }
}

/// Throws: `std::bad_alloc`.
char* copy_of(const std::string& text) {
  char* const copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc{};
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
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
    *value = value_of(file, key, [](const allot::gguf::Value& v) { return v.as_count(); });
  });
}

allot_status allot_gguf_float(allot_gguf* file, const char* key, double* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = value_of(file, key, float_of);
  });
}

allot_status allot_gguf_bool(allot_gguf* file, const char* key, int* value) {
  return guarded([&] {
    require(value, "the pointer to the value is null; give one");
    *value = value_of(file, key, [](const allot::gguf::Value& v) -> std::optional<int> {
      if (v.type() != allot::gguf::ValueType::boolean) return std::nullopt;
      return v.as<bool>() ? 1 : 0;
    });
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
    require(device, "the device's name is null; give \"host\"");
    require(model, "the pointer to the model is null; give one");
    const auto open = object_of(files(), file);
    if (std::string_view{device} != "host")
      throw Failure{ALLOT_UNSUPPORTED, "the C interface loads onto \"host\", not onto \"" +
                                           std::string{device} + "\""};
    allot::HostDevice host;
    const allot::load::Plan plan = allot::load::make_plan(open->file);
    allot::load::check(plan, host);
    *model = models().add(std::make_shared<HostModel>(
        allot::load::load(open->file, plan, host, [&](const allot::Progress& at) {
          return progress == nullptr || progress(at.done, at.total, user) == 0;
        })));
  });
}

void allot_model_free(allot_model* model) { models().remove(model); }

allot_status allot_model_tensor(allot_model* model, const char* name, void** address,
                                uint64_t* bytes) {
  return guarded([&] {
    require(name, "the name is null; give one");
    require(address, "the pointer to the address is null; give one");
    require(bytes, "the pointer to the number of bytes is null; give one");
    const auto* const tensor = object_of(models(), model)->find(name);
    if (tensor == nullptr)
      throw Failure{ALLOT_NOT_FOUND, "the model has no tensor " + std::string{name} +
                                         "; allot_gguf_tensor lists what it has"};
    *address = tensor->address();
    *bytes = tensor->bytes();
  });
}

}  // extern "C"
