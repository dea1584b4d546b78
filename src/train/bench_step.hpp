// The benchmark step: a known shape, fixed documents, everything a training step does. Its figure
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
  std::string shape = "small";
  int64_t layers = 0;       // 0: the shape's
  int64_t seq_len = 512;    // of a pack
  int64_t document = 170;   // tokens of each document
  int64_t train_every = 2;  // positions: every one of so many is trained on
  int64_t steps = 9;        // timed, after 2 that are not, 10 on a GPU
  int64_t packs = 16;       // per step over all ranks
  int64_t micro_packs = 4;  // per data-parallel rank and micro-batch
  // Sizes of 0: all ranks on the shard axis.
  parallel::MeshSize mesh{0, 0, 0};
  model::ModelSettings model{.state = {.training = true}, .recompute = {}};
  std::string gpu = {};  // of each rank, as CUDA names it; "": CPUs
};

// "replicate x shard x tensor", such as 1x2x2. UserError when it is not of this form.
parallel::MeshSize parse_mesh(const std::string& text);

// The model that the settings name. UserError for an unknown one.
model::Shape bench_shape(const BenchStepSettings& settings);
// The mesh of `ranks` ranks that the settings ask for. UserError when it is for others.
parallel::MeshSize bench_mesh(const BenchStepSettings& settings, int ranks);

// Collective over the group and the control's ranks. Shape "small": hidden 512, 12 layers, 8 heads,
// 4 key/value heads, ffn 1408, vocabulary 8192, untied; else the sizes of a known model. Clipping
// and AdamW included. Median over the timed steps, each as a share of a calibration made just
// before it, on GPUs of the peak.
nlohmann::json bench_step(const BenchStepSettings& settings, comm::Group& group,
                          comm::Control& control);

}  // namespace rondo::train
