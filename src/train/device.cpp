#include "train/device.hpp"

#include <ATen/Context.h>

#include <cstdlib>
#include <map>
#include <vector>

#include "base/error.hpp"
#include "comm/cuda_devices.hpp"
#include "comm/hosts.hpp"

namespace rondo::train {

namespace {

// Two runs give the same bits, and sums of products are float32 throughout.
void compute_deterministically() {
  at::Context& context = at::globalContext();
  // Read by cuBLAS when it starts.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);
  context.setAllowBF16ReductionCuBLAS(false);
  context.setFloat32MatmulPrecision("highest");
}

// What our kernels and flash attention are for.
constexpr int kLeastCapability = 8;

// Of the GPUs that this rank sees, its own; -1: it sees none, or one that is too old.
int own_index(int local_rank, const std::vector<comm::CudaDevice>& seen) {
  if (seen.empty()) return -1;
  const int index = seen.size() == 1 ? 0 : local_rank % static_cast<int>(seen.size());
  return seen[static_cast<size_t>(index)].major >= kLeastCapability ? index : -1;
}

// Collective. UserError where two ranks have one device.
void check_own_devices(const std::string& device, comm::Control& control) {
  const std::vector<std::string> all = control.gather_text(device);
  control.agree([&] {
    std::map<std::string, size_t> first;
    for (size_t rank = 0; rank < all.size(); ++rank) {
      const auto [other, fresh] = first.emplace(all[rank], rank);
      if (fresh) continue;
      base::fail_user(
          "Ranks {} and {} have the same GPU ({}). Start as many ranks on a host as it has GPUs, "
          "or give each its own (srun --gpus-per-task=1).",
          other->second, rank, all[rank]);
    }
  });
}

}  // namespace

ChosenDevice choose_device(Config& config, const std::string& host, comm::Control& control) {
  WantedDevice wanted = {config.place, config.device, config.precision};
  ChosenDevice chosen = choose_device(wanted, host, control);
  config.device = wanted.device;
  config.precision = wanted.precision;
  return chosen;
}

parallel::StateSettings computing(const std::string& device, const std::string& precision,
                                  const std::string& moments) {
  const auto type_of = [](const std::string& name) {
    return name == "bf16" ? at::kBFloat16 : at::kFloat;
  };
  return {.compute = type_of(precision),
          .moments = type_of(moments),
          .device = device == "cuda" ? at::kCUDA : at::kCPU};
}

ChosenDevice choose_device(WantedDevice& wanted, const std::string& host, comm::Control& control) {
  ChosenDevice chosen;
  bool gpus = false;
  if (wanted.device != "cpu") {
    const comm::Hosts hosts = comm::hosts_of(control.gather_text(host));
    std::vector<comm::CudaDevice> seen;
    control.agree([&] { seen = comm::cuda_devices(); });
    chosen.index = own_index(hosts.local_rank(control.rank()), seen);
    gpus = control.all_true(chosen.index >= 0);
    control.agree([&] {
      if (gpus || wanted.device == "auto" || chosen.index >= 0) return;
      base::fail_user(
          "{}: device is cuda, but {} Use device: cpu, or look at nvidia-smi and "
          "CUDA_VISIBLE_DEVICES there.",
          wanted.place,
          comm::has_nccl()
              ? "a rank on " + host + " sees no GPU of compute capability 8.0 or newer."
              : "this rondo was built without CUDA (docs/install.md: RONDO_CUDA).");
    });
    if (gpus) {
      const comm::CudaDevice& own = seen[static_cast<size_t>(chosen.index)];
      chosen.name = own.name;
      check_own_devices(host + " " + own.bus_id, control);
      compute_deterministically();
      control.agree([&] {
        chosen.cuda = comm::open_nccl_device(chosen.index);
        chosen.free_bytes = comm::cuda_free_bytes(chosen.index);
      });
    }
  }
  wanted.device = gpus ? "cuda" : "cpu";
  if (wanted.precision == "auto") wanted.precision = gpus ? "bf16" : "fp32";
  return chosen;
}

}  // namespace rondo::train
