// `rondo bench checkpoint`: how fast checkpoints are saved and loaded here, against what the disk
// and the memory can do.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "comm/control.hpp"

namespace rondo::checkpoint {

struct BenchSettings {
  std::string folder = ".";  // on the disk that is measured; a folder inside is made and removed
  int64_t bytes = int64_t{2'000'000'000};  // of tensors, over all ranks
  int repeats = 7;
  int ranks_per_shard = 1;
};

// Collective over all ranks of `control`. Each repeat measures, one after another: a plain file of
// as many bytes written by rank 0 alone as `dd bs=1M conv=fdatasync` does; a save (checksums,
// digest, fsync, publish); a save in the background, of which the stall and the plain copy of the
// same memory; and a load with the check of every byte, from the page cache. What was written is
// removed before the next one. The result holds the seconds of all repeats, their medians as
// bytes/s, and the ratios.
nlohmann::json bench_checkpoint(const BenchSettings& settings, comm::Control& control);

}  // namespace rondo::checkpoint
