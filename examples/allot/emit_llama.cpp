// SPDX-License-Identifier: MIT
#include "emit_llama.hpp"

#include <allot/core/checked.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/detail/experts.hpp>
#include <allot/load/plan/detail/layer_order.hpp>
#include <allot/load/plan/layer_name.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "cache_choice.hpp"

namespace {

using allot::load::Item;
using allot::load::Plan;
using allot::load::Purpose;

/// What llama.cpp calls a device's memory: its HIP back end names them ROCm0, ROCm1.
std::string buffer_of(const std::string& device) {
  if (device == "host") return "CPU";
  return device.starts_with("hip:") ? "ROCm" + device.substr(4) : "ROCm0";
}

/// A tensor's name as a regular expression.
std::string escaped(const std::string& name) {
  std::string text;
  for (const char c : name) {
    const bool is_plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    text += is_plain ? "" : "\\";
    text += c;
  }
  return text;
}

/// Which tensors of the model's layers are where.
class Placement {
 public:
  explicit Placement(const Plan& plan) : plan_{plan} {
    for (const Item& item : plan.items) {
      if (!is_placed(item)) continue;
      const auto layer = allot::load::detail::layer_name_of(item.name);
      if (!layer || !layer->stack.empty()) continue;
      if (allot::load::detail::is_of_experts(item.name)) continue;
      ++counts_[layer->number][device_of(item)];
    }
  }

  /// Returns the device that most of a layer is on.
  [[nodiscard]] std::string of_layer(std::uint64_t layer) const {
    const auto found = counts_.find(layer);
    if (found == counts_.end()) return {};
    const auto& devices = found->second;
    return std::max_element(devices.begin(), devices.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }

  [[nodiscard]] std::vector<std::uint64_t> layers() const {
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, devices] : counts_) numbers.push_back(number);
    return numbers;
  }

  /// Returns the device of the output's weights; empty if there are none.
  [[nodiscard]] std::string of_output() const {
    std::string device;
    for (const Item& item : plan_.items) {
      if (item.file != 0 || item.bytes == 0) continue;
      if (item.name == "output_norm.weight" && device.empty()) device = device_of(item);
      if (item.name == "output.weight") device = device_of(item);
    }
    return device;
  }

  [[nodiscard]] const std::string& device_of(const Item& item) const {
    return plan_.arenas[item.arena].device;
  }

  /// Returns true for tensors of the model that are in memory.
  [[nodiscard]] static bool is_placed(const Item& item) {
    return item.file == 0 && item.bytes != 0 && item.purpose == Purpose::weight;
  }

 private:
  const Plan& plan_;
  std::map<std::uint64_t, std::map<std::string, std::uint64_t>> counts_;
};

/// Tensors that are elsewhere than the rest of their layer: by role and device.
using Exceptions = std::map<std::pair<std::string, std::string>, std::set<std::uint64_t>>;

Exceptions exceptions_of(const Plan& plan, const Placement& placement) {
  Exceptions apart;
  for (const Item& item : plan.items) {
    if (!Placement::is_placed(item)) continue;
    const auto layer = allot::load::detail::layer_name_of(item.name);
    if (!layer || !layer->stack.empty()) continue;
    const std::string& device = placement.device_of(item);
    if (device != placement.of_layer(layer->number))
      apart[{std::string{layer->role}, device}].insert(layer->number);
  }
  return apart;
}

/// Returns how many of the first layers have all their experts on the host beside a GPU, if those
/// are all exceptions that there are; otherwise 0.
std::uint64_t count_of_expert_layers(const Plan& plan, const Exceptions& apart) {
  std::uint64_t end = 0;
  for (const auto& [what, layers] : apart) {
    if (what.second != "host" || !what.first.starts_with("ffn_")) return 0;
    end = std::max(end, *layers.rbegin() + 1);
  }
  for (const Item& item : plan.items) {
    if (!Placement::is_placed(item) || !allot::load::detail::is_of_experts(item.name)) continue;
    const auto layer = allot::load::detail::layer_name_of(item.name);
    if (!layer || layer->number >= end) continue;
    if (plan.arenas[item.arena].device != "host") return 0;
  }
  for (const auto& [what, layers] : apart) {
    if (!allot::load::detail::is_of_experts("." + what.first)) return 0;
  }
  return end;
}

std::string joined(const std::set<std::uint64_t>& numbers) {
  std::string text;
  for (const std::uint64_t number : numbers)
    text += (text.empty() ? "" : "|") + std::to_string(number);
  return numbers.size() == 1 ? text : "(" + text + ")";
}

void add_layers(const Placement& placement, LlamaOptions& out) {
  const std::vector<std::uint64_t> layers = placement.layers();
  if (layers.empty()) {
    out.notes.emplace_back(
        "the model has no layers named blk.N, so no option can say where they go");
    return;
  }
  const std::string output = placement.of_output();
  std::uint64_t offloaded = output.empty() || output != "host" ? 1 : 0;
  std::vector<std::pair<std::string, std::uint64_t>> shares;  // in the order of the layers
  const auto add_share = [&](const std::string& device) {
    for (auto& share : shares) {
      if (share.first == device) return static_cast<void>(++share.second);
    }
    shares.emplace_back(device, 1);
  };
  bool is_suffix = true;  // once one layer is on a GPU, all that follow are
  bool began = false;
  for (const std::uint64_t layer : layers) {
    const std::string device = placement.of_layer(layer);
    const bool is_on_host = device == "host";
    is_suffix = is_suffix && !(began && is_on_host);
    began = began || !is_on_host;
    if (is_on_host) continue;
    ++offloaded;
    add_share(device);
  }
  if (offloaded != 0 && output == "host") is_suffix = false;
  if (!is_suffix) {
    out.notes.emplace_back(
        "llama.cpp offloads the output and the last layers: it cannot have them in this order");
  }
  out.arguments.insert(out.arguments.end(), {"-ngl", std::to_string(offloaded)});
  if (!output.empty() && output != "host") add_share(output);
  const bool is_first_alone = shares.size() == 1 && buffer_of(shares[0].first) == "ROCm0";
  if (shares.empty() || is_first_alone) return;
  std::string split;
  std::string devices;
  for (const auto& [device, count] : shares) {
    split += (split.empty() ? "" : ",") + std::to_string(count);
    devices += (devices.empty() ? "" : ",") + buffer_of(device);
  }
  out.arguments.insert(out.arguments.end(), {"-dev", devices});
  if (shares.size() > 1) out.arguments.insert(out.arguments.end(), {"-ts", split});
}

void add_exceptions(const Plan& plan, const Placement& placement, LlamaOptions& out) {
  const Exceptions apart = exceptions_of(plan, placement);
  if (const std::uint64_t layers = count_of_expert_layers(plan, apart); layers != 0) {
    out.arguments.insert(out.arguments.end(), {"--n-cpu-moe", std::to_string(layers)});
    return;
  }
  for (const auto& [what, layers] : apart) {
    out.arguments.insert(out.arguments.end(),
                         {"-ot", "^blk\\." + joined(layers) + "\\." + escaped(what.first) +
                                     "$=" + buffer_of(what.second)});
  }
}

/// Options of tensors outside of all layers. llama.cpp keeps the embedding on the CPU by itself.
void add_others(const Plan& plan, const Placement& placement, LlamaOptions& out) {
  const std::string output = placement.of_output();
  for (const Item& item : plan.items) {
    if (!Placement::is_placed(item) || allot::load::detail::layer_name_of(item.name)) continue;
    const std::string& device = placement.device_of(item);
    if (allot::load::detail::is_after_layers(item.name)) {
      if (device == output) continue;
      out.arguments.insert(out.arguments.end(),
                           {"-ot", "^" + escaped(item.name) + "$=" + buffer_of(device)});
    } else if (device != "host") {
      out.notes.push_back("llama.cpp keeps " + item.name + " on the CPU, where it takes " +
                          allot::ReadableBytes{item.bytes}.c_str());
    }
  }
}

void add_cache(const MemoryOptions& options, const Plan& plan, LlamaOptions& out) {
  if (!plan.cache) return;
  const auto add = [&](const char* name, const std::string& value) {
    out.arguments.emplace_back(name);
    if (!value.empty()) out.arguments.push_back(value);
  };
  const auto name_of = [](allot::gguf::TensorType type) {
    std::string name{allot::gguf::type_name(type)};
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return name;
  };
  const CacheChoice& choice = options.cache;
  const allot::load::CacheOptions cache = cache_options(choice, plan.cache->context);
  // That engine's context is the total of all sequences; without it, it is each one's.
  const std::uint64_t sequences = choice.engine.empty() ? choice.sequences : choice.parallel;
  const std::uint64_t times = choice.engine.empty() ? choice.sequences : 1;
  const auto total = allot::checked_multiply(plan.cache->context, times);
  add("-c", std::to_string(total.value_or(plan.cache->context)));
  add("-ctk", name_of(cache.key_type));
  add("-ctv", name_of(cache.value_type));
  if (sequences > 1) add("-np", std::to_string(sequences));
  if (choice.unified) add("-kvu", "");
  const std::uint64_t at_once = choice.engine.empty() ? choice.batch : choice.micro_batch;
  if (at_once != 0) add("-ub", std::to_string(at_once));
  if (choice.full_windows) add("--swa-full", "");
  if (choice.flash_attention != "auto") add("-fa", choice.flash_attention);
}

void add_files(const allot::load::ModelFiles& files, LlamaOptions& out) {
  for (const auto& entry : files.files()) {
    constexpr const char* names[] = {"-m", "--mmproj", "--lora", "-md"};
    out.arguments.emplace_back(names[static_cast<std::size_t>(entry.kind)]);
    out.arguments.push_back(entry.path);
  }
}

}  // namespace

LlamaOptions llama_options(const MemoryOptions& options, const allot::load::ModelFiles& files,
                           const Plan& plan) {
  LlamaOptions out;
  add_files(files, out);
  const Placement placement{plan};
  add_layers(placement, out);
  add_exceptions(plan, placement, out);
  add_others(plan, placement, out);
  add_cache(options, plan, out);
  return out;
}

std::string shell_line(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    const bool is_plain =
        !argument.empty() && std::all_of(argument.begin(), argument.end(), [](char c) {
          return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 std::string_view{"_-./,:+@%"}.find(c) != std::string_view::npos;
        });
    std::string text = argument;
    if (!is_plain) {
      text = "'";
      for (const char c : argument) text += c == '\'' ? std::string{"'\\''"} : std::string{c};
      text += "'";
    }
    line += (line.empty() ? "" : " ") + text;
  }
  return line;
}
