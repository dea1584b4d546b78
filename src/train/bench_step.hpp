// The benchmark step: a fixed shape, fixed documents, everything a training step does. Its figure
// is a share of the calibration measured in the same process, so that machines and days compare.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "model/model.hpp"
#include "parallel/mesh.hpp"

namespace rondo::train {

struct BenchStepSettings {
  int64_t layers = 12;
  int64_t steps = 9;        // timed, after 2 that are not
  int64_t packs = 16;       // per step over all ranks
  int64_t micro_packs = 4;  // per data-parallel rank and micro-batch
  // Sizes of 0: all ranks on the shard axis.
  parallel::MeshSize mesh{0, 0, 0};
  model::ModelSettings model{.state = {.training = true}, .recompute = {}};
};

// "replicate x shard x tensor", such as 1x2x2. UserError when it is not of this form.
parallel::MeshSize parse_mesh(const std::string& text);

// Collective over the group and the control's ranks. Shape: hidden 512, 8 heads, 4 key/value heads,
// ffn 1408, vocabulary 8192, untied; packs of 512 tokens, documents of 170 tokens, every second
// position trainable; clipping and AdamW included. Median over the timed steps, each as a share of
// a calibration made just before it.
nlohmann::json bench_step(const BenchStepSettings& settings, comm::Group& group,
                          comm::Control& control);

}  // namespace rondo::train
