// SPDX-License-Identifier: MIT
#include "engine.hpp"

#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/load.hpp>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace llama {
namespace {

template <class Model>
std::vector<Placed> placed(const Model& model) {
  std::vector<Placed> all;
  for (std::size_t i = 0; i < model.planned().size(); ++i)
    all.push_back({&model.plan().items[i], model.planned()[i].address()});
  return all;
}

std::vector<float> frequencies_of(const Shape& shape, const float* factors) {
  std::vector<float> frequencies;
  for (std::uint64_t i = 0; i < shape.rope_dimensions / 2; ++i) {
    const double exponent =
        -2.0 * static_cast<double>(i) / static_cast<double>(shape.rope_dimensions);
    const double factor = factors == nullptr ? 1 : static_cast<double>(factors[i]);
    frequencies.push_back(
        static_cast<float>(std::pow(shape.rope_base, exponent) / factor / shape.rope_factor));
  }
  return frequencies;
}

}  // namespace

template <allot::Device DeviceType>
Engine<DeviceType>::Engine(const allot::gguf::File& file, RunPlan plan, DeviceType device)
    : plan_{std::move(plan)},
      device_{std::move(device)},
      model_{allot::load::load(file, plan_.weights, device_)},
      cache_{device_, plan_.cache},
      activations_{plan_.activation_bytes(), device_.memory()},
      activations_begin_{static_cast<std::byte*>(
          activations_.address(activations_.allocate(plan_.activation_bytes())))},
      workspace_{device_,
                 {.initial_bytes = plan_.scratch_bytes(), .minimum_bytes = plan_.scratch_bytes()},
                 cache_.shared_stream()},
      weights_{weights_of(plan_.shape, placed(model_))},
      view_{static_cast<std::byte*>(cache_.storage().address()),
            cache_.layout(),
            plan_.settings.cache_type,
            plan_.shape.kv_heads,
            plan_.shape.key_length,
            plan_.shape.value_length},
      threads_{static_cast<std::size_t>(plan_.settings.threads)},
      frequencies_{frequencies_of(plan_.shape, weights_.rope_factors)},
      sequences_(static_cast<std::size_t>(plan_.settings.sequences)),
      logit_rows_(sequences_.size()),
      tables_(sequences_.size() *
              static_cast<std::size_t>(cache_.layout().blocks_for(plan_.settings.context))) {
  batch_.reserve(static_cast<std::size_t>(plan_.rows()));
}

template <allot::Device DeviceType>
std::uint64_t Engine<DeviceType>::open(std::size_t sequence, std::span<const Token> tokens) {
  auto started = cache_.start_shared(tokens);
  started.sequence.reserve(plan_.settings.context);
  sequences_.at(sequence).emplace(std::move(started.sequence));
  return started.cached;
}

template <allot::Device DeviceType>
void Engine<DeviceType>::fork(std::size_t from, std::size_t to) {
  auto forked = sequences_.at(from).value().fork();
  forked.reserve(plan_.settings.context);
  sequences_.at(to).emplace(std::move(forked));
  logit_rows_[to] = logit_rows_[from];
}

template <allot::Device DeviceType>
void Engine<DeviceType>::check(std::span<const Input> inputs) const {
  if (inputs.size() > plan_.rows())
    throw std::invalid_argument{"a batch of " + std::to_string(inputs.size()) +
                                " tokens is more than the planned " + std::to_string(plan_.rows())};
  for (const Input& input : inputs) {
    if (input.token >= plan_.shape.vocabulary)
      throw std::invalid_argument{"there is no token " + std::to_string(input.token) +
                                  "; the model has " + std::to_string(plan_.shape.vocabulary) +
                                  ", numbered from 0"};
  }
}

/// Makes room for the tokens, all or none.
template <allot::Device DeviceType>
void Engine<DeviceType>::append(std::span<const Input> inputs) {
  batch_.clear();
  try {
    for (const Input& input : inputs) {
      auto& sequence = sequences_.at(input.sequence).value();
      const std::uint64_t position = sequence.tokens();
      if (position == plan_.settings.context)
        throw std::invalid_argument{"a sequence has as many tokens as the context, " +
                                    std::to_string(position) + "; plan a longer one"};
      sequence.append(input.token);
      batch_.push_back({{nullptr, position}, input.sequence, true});
    }
  } catch (...) {
    for (auto row = batch_.rbegin(); row != batch_.rend(); ++row)
      sequences_[row->sequence]->truncate(row->at.position);
    throw;
  }
  const std::size_t table_blocks = tables_.size() / sequences_.size();
  for (std::size_t i = batch_.size(); i-- != 0;) {
    const std::span table =
        std::span{tables_}.subspan(batch_[i].sequence * table_blocks, table_blocks);
    export_table(*sequences_[batch_[i].sequence], table);
    batch_[i].at.table = table.data();
    for (std::size_t later = i + 1; later < batch_.size() && batch_[i].is_last; ++later)
      batch_[i].is_last = batch_[later].sequence != batch_[i].sequence;
  }
}

template <allot::Device DeviceType>
void Engine<DeviceType>::step(std::span<const Input> inputs) {
  check(inputs);
  append(inputs);
  device_.synchronize(cache_.stream());  // blocks are copied on it
  auto scope = workspace_.scope();
  const auto memory = scope.allocate(plan_.scratch_bytes());
  const Scratch scratch{static_cast<float*>(memory.address()), plan_.scratch_floats};

  const Rows residual = rows_of(Buffer::residual);
  for (std::size_t row = 0; row < inputs.size(); ++row) {
    const float* const embedding = floats_of(weights_.embedding, inputs[row].token, scratch.of(0));
    std::memcpy(residual[row], embedding, static_cast<std::size_t>(4 * plan_.shape.width));
  }
  for (std::size_t i = 0; i < weights_.layers.size(); ++i)
    run_layer(allot::KvLayer{i}, weights_.layers[i], scratch);
  find_logits(scratch);
  for (const Row& row : batch_) {
    if (row.is_last) sequences_[row.sequence]->publish();
  }
}

template <allot::Device DeviceType>
void Engine<DeviceType>::run_layer(allot::KvLayer number, const Layer& layer, Scratch scratch) {
  const Shape& shape = plan_.shape;
  const std::size_t count = batch_.size();
  const Rows residual = rows_of(Buffer::residual);
  const auto norm = [&](Rows to, const float* weight) {
    for (std::size_t row = 0; row < count; ++row)
      rms_norm(to[row], residual[row], weight, shape.epsilon, shape.width);
  };
  const auto add_to_residual = [&](Rows from) {
    for (std::size_t row = 0; row < count; ++row) add(residual[row], from[row], shape.width);
  };

  const Rows normed = rows_of(Buffer::normed);
  const Rows qkv = rows_of(Buffer::qkv);
  norm(normed, layer.attention_norm);
  multiply(threads_, layer.qkv, normed, qkv, count, scratch);
  turn_and_store(number, layer);

  const Rows attended = rows_of(Buffer::attended);
  threads_.run(count * shape.heads, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = i / shape.heads;
      const std::size_t head = i % shape.heads;
      attend(view_, number, batch_[row].at, head / (shape.heads / shape.kv_heads),
             qkv[row] + head * shape.key_length, shape.attention_scale,
             attended[row] + head * shape.value_length, scratch.of(thread));
    }
  });
  const Rows projected = rows_of(Buffer::projected);
  multiply(threads_, layer.attention_output, attended, projected, count, scratch);
  add_to_residual(projected);

  const Rows normed_again = rows_of(Buffer::normed_again);
  const Rows gate_up = rows_of(Buffer::gate_up);
  const Rows down = rows_of(Buffer::down);
  norm(normed_again, layer.feed_forward_norm);
  multiply(threads_, layer.gate_up, normed_again, gate_up, count, scratch);
  for (std::size_t row = 0; row < count; ++row)
    gate(gate_up[row], gate_up[row] + shape.hidden, shape.hidden);
  multiply(threads_, layer.down, gate_up, down, count, scratch);
  add_to_residual(down);
}

/// Turns queries and keys by their positions, and stores keys and values.
template <allot::Device DeviceType>
void Engine<DeviceType>::turn_and_store(allot::KvLayer number, const Layer& layer) {
  const Shape& shape = plan_.shape;
  const Rows qkv = rows_of(Buffer::qkv);
  for (std::size_t row = 0; row < batch_.size(); ++row) {
    for (std::uint64_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
      float* const values = qkv[row] + head * shape.key_length;
      const float* const weight = head < shape.heads ? layer.query_norm : layer.key_norm;
      if (weight != nullptr) rms_norm(values, values, weight, shape.epsilon, shape.key_length);
      rope(values, batch_[row].at.position, frequencies_.data(), frequencies_.size(),
           shape.rope_halves);
    }
    const float* const keys = qkv[row] + shape.queries();
    store(view_, number, batch_[row].at, keys, keys + shape.keys());
  }
}

template <allot::Device DeviceType>
void Engine<DeviceType>::find_logits(Scratch scratch) {
  const Rows normed = rows_of(Buffer::output_normed);
  std::size_t count = 0;
  for (std::size_t row = 0; row < batch_.size(); ++row) {
    if (!batch_[row].is_last) continue;
    rms_norm(normed[count], rows_of(Buffer::residual)[row], weights_.output_norm,
             plan_.shape.epsilon, plan_.shape.width);
    logit_rows_[batch_[row].sequence] = count++;
  }
  multiply(threads_, weights_.output, normed, rows_of(Buffer::logits), count, scratch);
}

template <allot::Device DeviceType>
Rows Engine<DeviceType>::rows_of(Buffer buffer) const noexcept {
  const std::uint64_t offset = plan_.activations.offsets[static_cast<std::size_t>(buffer)];
  return {reinterpret_cast<float*>(activations_begin_ + offset), plan_.width_of(buffer)};
}

template <allot::Device DeviceType>
std::span<const float> Engine<DeviceType>::logits(std::size_t sequence) const {
  return {rows_of(Buffer::logits)[logit_rows_.at(sequence)],
          static_cast<std::size_t>(plan_.shape.vocabulary)};
}

template <allot::Device DeviceType>
MemoryReport Engine<DeviceType>::memory() const {
  MemoryReport memory = plan_.memory();
  for (const auto& arena : model_.arenas()) {
    memory.weights.reserved += arena.capacity();
    memory.weights.used += arena.usage().used;
  }
  memory.cache.reserved = cache_.storage().bytes();
  memory.cache.used = cache_.stats().peak_used * cache_.layout().block_bytes();
  memory.activations.reserved = activations_.capacity();
  memory.activations.used = activations_.usage().used;
  memory.scratch.reserved = workspace_.capacity();
  memory.scratch.used = workspace_.high_water();
  return memory;
}

template class Engine<allot::HostDevice>;
template class Engine<allot::StagedHostDevice>;

}  // namespace llama
