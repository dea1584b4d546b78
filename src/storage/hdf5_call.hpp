// What the parts of Hdf5File share: the mutex, calls with their return code checked, and the small
// objects most calls need. Included by storage/hdf5*.cpp alone.
#pragma once

#include <hdf5.h>

#include <mutex>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "storage/hdf5.hpp"

namespace rondo::storage {

// Holds the process-wide HDF5 mutex; keeps the library from printing. Recursive, since handles
// close themselves inside calls that hold it already.
class Hdf5Lock {
 public:
  Hdf5Lock();

 private:
  std::lock_guard<std::recursive_mutex> hold_;
};

// The library's error stack as one line, innermost reason first; clears it.
std::string hdf5_error();

template <class Result>
Result check_hdf5(Result result, const char* call, const std::string& path) {
  if (result < 0) {
    throw base::SystemError(fmt::format("{}({})", call, path), static_cast<long>(result),
                            hdf5_error());
  }
  return result;
}

// Calls an HDF5 function; a failure is a SystemError with its name, the file and the reason.
#define TRY_HDF5(function, path, ...) check_hdf5(function(__VA_ARGS__), #function, path)

// The type as it lies in files.
hid_t file_type(Type type);
// What a type of a file is, for messages.
std::string describe_type(hid_t type);

Handle make_properties(hid_t kind, const std::string& path);
// Of datasets, so that groups in their names are made.
Handle make_link_properties(const std::string& path);
std::vector<hsize_t> extents(const std::vector<int64_t>& shape);
Handle make_space(const std::vector<int64_t>& shape, const std::string& path);

}  // namespace rondo::storage
