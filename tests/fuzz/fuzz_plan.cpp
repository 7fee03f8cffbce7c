// SPDX-License-Identifier: MIT
// A plan of any file that is read keeps its promises, or is refused with one of the errors that
// `make_plan` names; a small one is loaded, and compared with its file. The last 16 bytes of the
// input choose the options: they are data of the last tensor, or behind it.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/detail/reference.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/shares.hpp>
#include <allot/load/verify.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>

#include <algorithm>
#include <functional>
#include <span>
#include <stdexcept>
#include <vector>

#include "walk.hpp"

namespace {

using namespace allot;
using fuzz::require;

struct Range {
  std::uint64_t first;
  std::uint64_t end;
};

void check_apart(std::vector<Range>& ranges, const char* what) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  for (std::size_t i = 1; i < ranges.size(); ++i)
    require(ranges[i - 1].end <= ranges[i].first, what);
}

void check_items(const gguf::File& file, const load::Plan& plan) {
  require(plan.tensor_count() + plan.left_out_count() == file.tensors().size(),
          "there is an item for each tensor");
  std::vector<std::vector<Range>> held(plan.arenas.size());
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const load::Item& item = plan.items[i];
    if (i < file.tensors().size()) {
      const gguf::TensorInfo& tensor = file.tensors()[i];
      require(item.name == tensor.name && load::detail::can_become(tensor, item),
              "items are the file's tensors, in its order");
    }
    if (item.bytes != 0 && item.part_of) {
      const load::Item& whole = plan.items[item.part_of->item];
      require(item.arena == whole.arena && item.offset == whole.offset + item.part_of->offset &&
                  item.part_of->offset <= whole.bytes &&
                  item.bytes <= whole.bytes - item.part_of->offset,
              "a part lies in its whole");
    }
    if (!item.has_own_memory()) continue;
    require(item.arena < plan.arenas.size(), "an item is in one of the arenas");
    const load::PlannedArena& arena = plan.arenas[item.arena];
    require(item.offset % arena.alignment == 0, "an item is aligned");
    require(item.bytes <= arena.capacity && item.offset <= arena.capacity - item.bytes,
            "an item lies in its arena");
    held[item.arena].push_back({item.offset, item.offset + item.bytes});
  }
  for (auto& ranges : held) check_apart(ranges, "no item overlaps another");
}

void check_arenas(const load::Plan& plan) {
  std::vector<std::uint64_t> needed(plan.arenas.size(), 0);
  for (const load::Item& item : plan.items) {
    if (item.has_own_memory()) needed[item.arena] += item.bytes;
  }
  for (std::size_t i = 0; i < plan.arenas.size(); ++i) {
    const load::PlannedArena& arena = plan.arenas[i];
    require(needed[i] != 0, "no arena is empty");
    require(arena.used <= arena.capacity && arena.used - arena.padding == needed[i],
            "what an arena uses is its items and padding");
  }
}

/// Groups, items and an engine's word agree, of the model and of its draft.
void check_cache(const load::Plan& plan) {
  std::uint64_t bytes = 0;
  for (const auto* cache : {&plan.cache, &plan.draft}) {
    if (!*cache) continue;
    require((*cache)->refused.empty(), "what an engine refuses is not planned");
    for (const auto* groups : {&(*cache)->groups, &(*cache)->prediction}) {
      for (const load::CacheGroup& group : *groups) {
        require(group.bytes == group.layers * group.cells * group.streams *
                                   (group.key_row_bytes + group.value_row_bytes),
                "a group's bytes are its layers, cells, streams and rows");
        bytes += group.bytes;
      }
    }
  }
  require(!plan.cache || bytes == plan.bytes_for(load::Purpose::cache),
          "groups are what items take");
}

void check_steps(const gguf::File& file, const load::Plan& plan) {
  std::vector<std::vector<Range>> written(plan.arenas.size());
  for (const load::Step& step : plan.steps) {
    load::detail::check_step(step, file, plan);
    require(step.arena_bytes != 0, "a step has bytes");
    written[step.arena].push_back({step.arena_offset, step.arena_offset + step.arena_bytes});
  }
  for (auto& ranges : written) check_apart(ranges, "no step writes where another does");

  std::size_t at = 0;  // steps come in the tensors' order
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const gguf::TensorInfo& tensor = file.tensors()[i];
    if (tensor.bytes == 0 || plan.items[i].left_out ||
        !load::detail::is_as_in_file(file, tensor, plan.items[i]))
      continue;
    const std::uint64_t first = file.shards()[tensor.shard].data_offset() + tensor.offset;
    const auto brings = [&](const load::Step& step) {
      return step.shard == tensor.shard && step.arena == plan.items[i].arena &&
             step.file_offset <= first && first + tensor.bytes <= step.file_offset + step.bytes &&
             step.arena_offset + (first - step.file_offset) == plan.items[i].offset;
    };
    while (at < plan.steps.size() && !brings(plan.steps[at])) ++at;
    require(at < plan.steps.size(), "every tensor is brought to its place");
  }
}

/// Loads what is small, straight and through a small ring: transforms meet their reference.
template <class P>
void check_load(const gguf::File& file, const load::Plan& plan) {
  if (plan.total_bytes() > 64 * KiB || plan.steps.empty() || plan.steps.size() > 256) return;
  load::LoadOptions options{.slot_bytes = 4 * KiB, .slots = 2, .streams = 1};
  options.readers = 1;
  HostDevice host;
  const auto straight = load::load<P>(file, plan, host, {}, options);
  require(!load::verify(file, straight), "what is loaded equals its reference");
  if (plan.steps.front().bytes % 16 != 1) return;  // threads take time: for some
  StagedHostDevice staged;
  const auto copied = load::load<P>(file, plan, staged, {}, options);
  require(!load::verify(file, copied, staged), "what is staged equals its reference");
}

/// A grouping chosen at run time: one `make_plan` is compiled for each policy, not one for each pair.
class AnyGrouping {
 public:
  template <load::GroupingPolicy Grouping>
  explicit AnyGrouping(Grouping grouping)
      : groups_{[grouping](auto items, auto chosen, std::uint64_t alignment) {
          return grouping.groups(items, chosen, alignment);
        }} {}

  [[nodiscard]] std::vector<load::Group> groups(std::span<const load::ItemLayout> items,
                                                std::span<const std::uint32_t> chosen,
                                                std::uint64_t alignment) const {
    return groups_(items, chosen, alignment);
  }

 private:
  std::function<std::vector<load::Group>(std::span<const load::ItemLayout>,
                                         std::span<const std::uint32_t>, std::uint64_t)>
      groups_;
};

AnyGrouping grouping_from(const gguf::File& file, fuzz::Choices& choices) {
  switch (choices.below(4)) {
    case 0:
      return AnyGrouping{load::OneArena{}};
    case 1:
      return AnyGrouping{load::ArenasOf{choices.number<std::uint8_t>() * 64ULL}};
    case 2:
      return AnyGrouping{load::ChunkedArenas<4096>{}};
    default: {
      load::MatrixRules rules = load::MatrixRules::of(file);
      rules.large_above = choices.number<std::uint8_t>() * 16ULL;
      return AnyGrouping{load::Selective{rules}};
    }
  }
}

template <class Policy>
void check_plan(const gguf::File& file, const load::PlanOptions& options, fuzz::Choices& choices) {
  const load::Plan plan = load::make_plan<Policy>(file, options, grouping_from(file, choices));
  check_items(file, plan);
  check_arenas(plan);
  check_steps(file, plan);
  check_cache(plan);
  if (options.devices.size() <= 1) {
    const std::string name = options.devices.empty() ? options.device : options.devices[0].name;
    require(plan.bytes_on(name) == plan.total_bytes(), "one device has it all");
    check_load<Policy>(file, plan);
  }
}

/// Each byte of the file is on one rank, or as often as it is repeated.
void check_covered(const gguf::File& file, const std::vector<load::Plan>& plans) {
  std::vector<std::uint64_t> bytes(file.tensors().size());
  std::vector<std::uint64_t> ranks(bytes.size());
  std::vector<std::uint64_t> listed(bytes.size());
  for (const load::Plan& plan : plans) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (plan.items[i].left_out) continue;
      ++ranks[i];
      bytes[i] += load::detail::bytes_read(plan.items[i], file.tensors()[i]);
    }
    for (const load::RepeatedItem& item : plan.repeated) ++listed[item.item];
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint64_t whole = file.tensors()[i].bytes;
    require(whole == 0 || ranks[i] != 0, "no tensor is missing");
    require(listed[i] == 0 || listed[i] == ranks[i], "what is repeated is listed wherever it is");
    require(listed[i] != 0 ? bytes[i] >= whole : bytes[i] == whole,
            "what is divided is on one rank");
  }
}

void check_shares(const gguf::File& file, load::PlanOptions options, fuzz::Choices& choices) {
  options.shares.pipeline = 1 + static_cast<std::uint32_t>(choices.below(3));
  options.shares.tensor = 1 + static_cast<std::uint32_t>(choices.below(5));
  options.shares.move_to_blocks = choices.below(2) == 1;
  const std::vector<load::Plan> plans = load::make_shares(file, options);
  require(plans.size() == options.shares.count(), "each rank has a plan");
  for (const load::Plan& plan : plans) {
    load::detail::check_plan(plan, file);
    check_items(file, plan);
    check_arenas(plan);
    check_steps(file, plan);
    check_cache(plan);
    if (options.devices.size() <= 1) check_load<load::DefaultWeights>(file, plan);
  }
  check_covered(file, plans);
}

template <class S, std::uint64_t Bytes>
struct Weights {
  using Strategy = S;
  using Alignment = AlignTo<Bytes>;
  using Synchronization = Locked<>;
};

void with_policy(const gguf::File& file, const load::PlanOptions& options, fuzz::Choices& choices) {
  switch (choices.below(5)) {
    case 0:
      return check_plan<load::DefaultWeights>(file, options, choices);
    case 1:
      return check_plan<Weights<BestFit, 4096>>(file, options, choices);
    case 2:
      return check_plan<Weights<GoodFit, 16>>(file, options, choices);
    case 3:
      return check_plan<Weights<Buddy, 256>>(file, options, choices);
    default:
      return check_plan<Weights<Linear, 1>>(file, options, choices);
  }
}

/// A number from a byte: small ones, and powers of two up to 2^63.
std::uint64_t magnitude(std::uint8_t byte) { return std::uint64_t{byte} % 8 << byte / 8 * 2; }

load::TransformOptions transforms_from(fuzz::Choices& choices) {
  load::TransformOptions made;
  const auto what = choices.number<std::uint8_t>();
  made.fuse = {.qkv = what % 2 == 1, .gate_up = what % 2 == 1};
  constexpr gguf::TensorType types[] = {gguf::TensorType::F32, gguf::TensorType::F16,
                                        gguf::TensorType::BF16};
  if (what / 2 % 4 != 0) made.dequantize = {{"*", types[what / 2 % 4 - 1], what / 8 % 2 == 0}};
  if (what / 16 % 2 == 1) made.transpose = {what / 32 % 2 == 1 ? "*" : "output*"};
  const auto padding = choices.number<std::uint8_t>();
  made.padding = {static_cast<load::Padding>(padding % 4 % 3), std::uint64_t{padding} / 4 * 64};
  return made;
}

bool transforms(const load::TransformOptions& options) {
  return !options.dequantize.empty() || !options.transpose.empty() ||
         options.padding.where != load::Padding::none;
}

load::PlanOptions options_from(fuzz::Choices& choices) {
  load::PlanOptions options;
  const std::size_t devices = choices.below(4);
  for (std::size_t i = 0; i < devices; ++i) {
    options.devices.push_back({.name = "device " + std::to_string(i),
                               .free_bytes = magnitude(choices.number<std::uint8_t>()),
                               .transfer = load::Transfer::staged});
  }
  const auto placing = choices.number<std::uint8_t>();
  if (devices != 0) {
    if (placing % 2 == 1) options.devices.back().name = "host";
    if (placing / 2 % 4 == 1) options.place = {{"*_exps.*", options.devices.back().name}};
    if (placing / 2 % 4 == 2) options.place = {{"token_embd*", options.devices.front().name}};
    options.move_experts = placing / 8 % 2 == 1;
    for (load::PlannedDevice& device : options.devices)
      if (placing / 16 % 2 == 1) device.usable_bytes = device.free_bytes / 2;
  }
  options.scratch_bytes = magnitude(choices.number<std::uint8_t>());
  const auto context = choices.number<std::uint8_t>();
  if (context % 2 == 1) {
    options.cache = load::CacheOptions{.context = magnitude(context)};
    if (context % 16 == 1) options.cache->key_type = gguf::TensorType::Q8_0;
    const auto engine = choices.number<std::uint8_t>();
    options.cache->sequences = 1U + engine / 64;
    options.cache->batch = engine % 4;
    if (engine / 4 % 2 == 1) {
      options.cache->engine = &load::llama_cpp;
      options.cache->unified = engine / 8 % 2 == 1;
      options.cache->flash_attention = engine / 16 % 2 == 0;
      options.cache->prediction = engine / 32 % 2 == 1;
    }
  }
  options.transforms = transforms_from(choices);
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static fuzz::InputFiles files;
  std::optional<gguf::File> file;
  try {
    file.emplace(files.set({bytes, size}));
  } catch (const gguf::ParseError&) {
    return 0;
  }
  const std::size_t tail = std::min<std::size_t>(size, 16);
  fuzz::Choices choices{{bytes + size - tail, tail}};
  load::PlanOptions options = options_from(choices);
  if (choices.below(4) == 1) file->add(*file, "draft:");
  if (file->added_files() != 0) options.draft = &*file;
  const bool is_shared = options.draft == nullptr && choices.below(4) == 1;
  try {
    is_shared ? check_shares(*file, options, choices) : with_policy(*file, options, choices);
  } catch (const std::length_error&) {   // sizes that overflow
  } catch (const InsufficientMemory&) {  // what no device has room for
  } catch (const gguf::ParseError&) {
    require(false, "a plan reads nothing");
  } catch (const std::invalid_argument&) {
    require(options.cache.has_value() || transforms(options.transforms) || is_shared,
            "only a cache, transforms and shares have arguments that can be wrong");
  } catch (const std::runtime_error&) {
    require(options.cache.has_value(), "only a cache needs metadata");
  }
  return 0;
}
