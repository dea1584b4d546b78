// A toy set of tensors, cut unevenly over ranks, whose every bit is known.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "checkpoint/checkpoint.hpp"

namespace rondo::test {

inline std::vector<checkpoint::LogicalTensor> toy_tensors() {
  return {{"model.embed_tokens.weight", {37, 8}},
          {"model.layers.0.self_attn.q_proj.weight", {8, 8}},
          {"model.norm.weight", {8}},
          {"model.cube", {3, 4, 5}},
          {"one", {1}},
          {"optimizer/exp_avg/model.embed_tokens.weight", {37, 8}},
          {"optimizer/exp_avg_sq/model.embed_tokens.weight", {37, 8}}};
}

// Element `index` of a tensor in version `version` of the toy. A few are infinities, negative zeros
// and numbers below the normal range, so that values are compared as bits.
inline float toy_value(const std::string& tensor, int64_t index, uint64_t version) {
  const base::Random random(version, tensor);
  const uint64_t bits = random.bits(static_cast<uint64_t>(index));
  switch (bits % 16) {
    case 0:
      return -0.0F;
    case 1:
      return std::bit_cast<float>(uint32_t{0x7f800000});
    case 2:
      return std::bit_cast<float>(uint32_t{1});
    default:
      return static_cast<float>(random.uniform(static_cast<uint64_t>(index)) - 0.5);
  }
}

// One rank's pieces of the toy. Cuts and owners come from `seed`: uneven, some ranks may get
// little.
class Toy {
 public:
  Toy(int rank, int size, uint64_t seed, uint64_t version = 1,
      std::vector<checkpoint::LogicalTensor> tensors = toy_tensors())
      : tensors_(std::move(tensors)) {
    for (size_t t = 0; t < tensors_.size(); ++t) {
      const int64_t count = tensors_[t].count();
      const base::Random random(seed, tensors_[t].name);
      std::vector<int64_t> cuts = {0, count};
      for (uint64_t c = 0; c < 5; ++c) {
        cuts.push_back(static_cast<int64_t>(random.below(static_cast<uint64_t>(count + 1), c)));
      }
      std::sort(cuts.begin(), cuts.end());
      for (size_t c = 0; c + 1 < cuts.size(); ++c) {
        if (random.below(static_cast<uint64_t>(size), 100 + c) != static_cast<uint64_t>(rank)) {
          continue;
        }
        std::vector<float> values;
        for (int64_t i = cuts[c]; i < cuts[c + 1]; ++i) {
          values.push_back(toy_value(tensors_[t].name, i, version));
        }
        data_.push_back(std::move(values));
        pieces_.push_back({t, base::Slice{cuts[c], cuts[c + 1]}, data_.back().data(), 0});
      }
    }
  }

  checkpoint::SaveRequest request(const std::string& folder, int64_t step) const {
    checkpoint::SaveRequest request;
    request.folder = folder;
    request.name = fmt::format("step-{:08d}", step);
    request.step = step;
    request.tensors = tensors_;
    request.pieces = pieces_;
    request.state = {{"step", step}, {"lr", 0.1}, {"config", "abc"}};
    return request;
  }

 private:
  std::vector<checkpoint::LogicalTensor> tensors_;
  std::vector<std::vector<float>> data_;
  std::vector<checkpoint::Piece> pieces_;
};

inline void save_toy(const std::string& folder, int64_t step, comm::Control& control,
                     uint64_t version = 1, int ranks_per_shard = 1) {
  const Toy toy(control.rank(), control.size(), 7, version);
  checkpoint::SaveRequest request = toy.request(folder, step);
  request.writer_group = control.rank() / ranks_per_shard;
  checkpoint::save(request, control);
}

// How many elements of [slice) differ in a bit from what the toy of this version holds.
inline int64_t wrong_elements(const checkpoint::Checkpoint& saved, const std::string& tensor,
                              base::Slice slice, uint64_t version = 1) {
  std::vector<float> values(static_cast<size_t>(slice.size()), 77.0F);
  saved.read(tensor, slice, values.data());
  int64_t wrong = 0;
  for (int64_t i = slice.begin; i < slice.end; ++i) {
    const float found = values[static_cast<size_t>(i - slice.begin)];
    const float expected = toy_value(tensor, i, version);
    if (std::bit_cast<uint32_t>(found) != std::bit_cast<uint32_t>(expected)) ++wrong;
  }
  return wrong;
}

inline int64_t wrong_elements(const checkpoint::Checkpoint& saved, uint64_t version = 1) {
  int64_t wrong = 0;
  for (const checkpoint::LogicalTensor& tensor : saved.tensors()) {
    wrong += wrong_elements(saved, tensor.name, {0, tensor.count()}, version);
  }
  return wrong;
}

// What `action` throws, as text; fails the test when it throws nothing or another kind.
template <class Error, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "threw another kind: " << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace rondo::test
