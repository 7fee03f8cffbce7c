// SPDX-License-Identifier: MIT
/// \file
/// `append_all`: room for a batch, all of it or none.
#pragma once

#include <cstddef>

namespace allot {

/// Appends the tokens of each entry of a batch to its sequence, in order. If those of one do not fit,
/// the ones before are removed again, so that an engine can try a smaller batch.
///
///     append_all(batch, [&](const Entry& entry) -> auto& { return sequences[entry.number]; });
///
/// \param batch        a range with `size()` and `[]`, whose entries have `tokens`, a span
/// \param sequence_of  returns an entry's `KvCache::Sequence`, by reference
/// Throws: as `append`, `OutOfBlocks` above all; every sequence has the tokens and keys that it had, while
/// blocks may have been copied and prefixes evicted. Allocates no memory itself.
template <class Batch, class SequenceOf>
void append_all(const Batch& batch, SequenceOf&& sequence_of) {
  std::size_t done = 0;
  try {
    for (; done < batch.size(); ++done) sequence_of(batch[done]).append(batch[done].tokens);
  } catch (...) {
    while (done != 0) {
      auto& sequence = sequence_of(batch[--done]);
      sequence.truncate(sequence.tokens() - batch[done].tokens.size(), true);
    }
    throw;
  }
}

}  // namespace allot
