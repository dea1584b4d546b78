// Durable replacement of one HDF5 file.
#pragma once

#include <functional>
#include <string>

#include "storage/hdf5.hpp"

namespace rondo::storage {

// Replaces `path` with the file that `fill` writes: under its name is either what was there before
// or the whole new file, on disk. `fill` need not close it. What it throws leaves nothing behind.
// One process at a time.
void replace_hdf5(const std::string& path, const std::function<void(Hdf5File&)>& fill);

}  // namespace rondo::storage
