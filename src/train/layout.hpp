// How the ranks of a run divide its work: the `parallel` section worked out for the ranks, the
// model and the batches at hand, or refused in words before anything is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model.hpp"
#include "parallel/mesh.hpp"
#include "parallel/unit.hpp"
#include "plan/memory.hpp"
#include "train/config.hpp"

namespace rondo::train {

struct Layout {
  parallel::MeshSize mesh;
  int zero = 1;
  int64_t lanes = 0;  // of reproducible mode, else 0
  bool bf16_exchange = false;
  at::ScalarType compute = at::kFloat;  // of weights and activations
  at::ScalarType moments = at::kFloat;  // Adam's
  at::Device device = at::kCPU;         // without an index: of each rank its own
  model::Recompute recompute;
  std::vector<std::string> remarks;  // what was chosen, and why; what may be slow
  plan::Memory
      memory;  // of a rank, for the largest micro-batch of any round; one pack where that is auto

  model::ModelSettings training() const {
    return {.state = {.training = true,
                      .zero = zero,
                      .lanes = lanes,
                      .bf16_exchange = bf16_exchange,
                      .compute = compute,
                      .moments = moments,
                      .device = device},
            .recompute = recompute};
  }
};

model::Recompute recompute_of(const RecomputeSection& section);

// The mesh of so many ranks with a given tensor size; UserError, with the arithmetic, when they do
// not factor as the configuration asks. `zero`: 0 makes all data-parallel ranks replicas.
parallel::MeshSize mesh_size(const Config& config, int ranks, int64_t tensor, int64_t zero);

// UserError, with the arithmetic, unless every round's batch divides over the data-parallel ranks,
// and over the lanes of a reproducible run.
void check_batches(const Config& config, const parallel::MeshSize& mesh);

// What can be said of a configuration and a number of ranks without its model: both of the above,
// with `auto` as 1.
void check_ranks(const Config& config, int ranks);

// What the ranks run on.
struct Machine {
  std::vector<std::string> hosts;  // of the ranks, in their order
  int64_t memory = 0;       // bytes of what it computes on that each rank may use; 0: not known
  int64_t host_memory = 0;  // the same of its host, where that is another memory; else 0
};

// What `auto` leaves open is chosen by the memory: the smallest tensor size inside a host, then the
// lowest ZeRO stage, that fits. UserError when the model does not divide as asked, or when what was
// asked, or all there is to choose from, does not fit.
Layout choose_layout(const Config& config, const model::Shape& shape, const Machine& machine);

}  // namespace rondo::train
