// An HDF5 file under its name only when it is whole.
#pragma once

#include <functional>
#include <string>

#include "storage/hdf5.hpp"

namespace rondo::storage {

// Replaces `path` durably by what `write` puts into a new file: under its name is either what was
// there before or the whole new file. The folder must exist. Called on one rank.
void replace_hdf5(const std::string& path, const std::function<void(Hdf5File&)>& write);

}  // namespace rondo::storage
