// What a person sees while a run goes on: the table at the start and the line per step.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/console.hpp"
#include "comm/control.hpp"
#include "model/model.hpp"
#include "train/config.hpp"
#include "train/layout.hpp"

namespace rondo::train {

// Collective over all ranks (hosts are gathered). Effective settings of a run.
// `gpu`: as CUDA names it; "": computed on the host.
void print_settings(const Config& config, const std::string& host, const std::string& gpu,
                    const model::Model& model, const Layout& layout, int64_t rows_per_micro_batch,
                    double calibration_flops, comm::Control& control, base::Console& console);

class ProgressLine {
 public:
  ProgressLine(base::Console& console, const std::string& round, int64_t first_step,
               int64_t total_steps, int64_t print_every)
      : console_(console),
        round_(round),
        first_step_(first_step),
        total_steps_(total_steps),
        print_every_(print_every),
        start_(std::chrono::steady_clock::now()) {}

  struct Figures {
    int64_t done = 0;  // steps of the round that are done
    double loss = 0;
    double tokens_per_s = 0;
    double trainable_per_s = 0;
    double calibration_share = 0;
  };
  void show(const Figures& figures);

 private:
  base::Console& console_;
  std::string round_;
  int64_t first_step_;
  int64_t total_steps_;
  int64_t print_every_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace rondo::train
