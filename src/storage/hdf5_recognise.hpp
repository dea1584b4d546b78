// Tells a file that is plainly no whole HDF5 file before the library sees it.
#pragma once

#include <string>

namespace rondo::storage {

// UserError naming path and reason: missing, a folder, empty, a Git LFS pointer, no HDF5 signature,
// shorter than its superblock says.
void recognise_hdf5(const std::string& path);

}  // namespace rondo::storage
