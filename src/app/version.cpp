#include "app/version.hpp"

#include <fmt/format.h>

#include <build_info.hpp>

#include "comm/nccl_group.hpp"
#include "comm/runtime.hpp"
#include "storage/hdf5.hpp"

namespace rondo::app {

std::string version_line() { return fmt::format("{} ({})", RONDO_VERSION, RONDO_COMMIT); }

std::string version_text() {
  return fmt::format(
      "rondo {}\ncommit    {}\nbuild     {}\ncompiler  {}\nlibtorch  {}\nMPI       {}\n"
      "HDF5      {}\nCUDA      {}",
      RONDO_VERSION, RONDO_COMMIT, RONDO_BUILD, RONDO_COMPILER, RONDO_TORCH_VERSION,
      comm::mpi_version(), storage::hdf5_version(),
      comm::has_nccl() ? "NCCL backend" : "none (CPU build)");
}

}  // namespace rondo::app
