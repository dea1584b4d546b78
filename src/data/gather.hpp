// Lists of ranks put together.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "comm/group.hpp"

namespace rondo::data {

// Collective over all ranks of `group`. The ranks' lists end to end, in the order of the ranks, on
// every rank.
template <class T>
std::vector<T> gather_all(const std::vector<T>& mine, comm::Group& group) {
  constexpr int64_t kWords = static_cast<int64_t>(sizeof(T)) / 8;  // of an element, as int64
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
  const int64_t ranks = group.size();
  const at::Tensor size = at::full({1}, static_cast<int64_t>(mine.size()), at::kLong);
  const at::Tensor sizes = at::empty({ranks}, at::kLong);
  group.all_gather(sizes, size, comm::Purpose::kOther).wait();
  const auto* counts = sizes.const_data_ptr<int64_t>();
  const int64_t most = *std::max_element(counts, counts + ranks);
  std::vector<T> all;
  if (most == 0) return all;
  const at::Tensor in = at::zeros({most * kWords}, at::kLong);
  std::memcpy(in.mutable_data_ptr<int64_t>(), mine.data(), mine.size() * sizeof(T));
  const at::Tensor out = at::empty({ranks * most * kWords}, at::kLong);
  group.all_gather(out, in, comm::Purpose::kOther).wait();
  for (int64_t r = 0; r < ranks; ++r) {
    const size_t before = all.size();
    all.resize(before + static_cast<size_t>(counts[r]));
    std::memcpy(static_cast<void*>(all.data() + before),
                out.const_data_ptr<int64_t>() + r * most * kWords,
                static_cast<size_t>(counts[r]) * sizeof(T));
  }
  return all;
}

}  // namespace rondo::data
