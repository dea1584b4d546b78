// Owners for HDF5 handles, with every return code checked. Serial driver: ranks write to their own
// offsets of preallocated contiguous datasets by File::write_at, so no collective HDF5 is needed.
//
// HDF5 is not thread-safe in the distributions' builds: every call here holds one process-wide
// mutex, never across communication.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/slice.hpp"

namespace rondo::storage {

enum class Type { kUint8, kUint16, kUint32, kInt32, kInt64, kUint64, kFloat32, kFloat64 };
int64_t bytes_of(Type type);
// Name as in messages: "uint8", "float32".
std::string_view name_of(Type type);
// uint8_t, uint16_t, uint32_t, int32_t, int64_t, uint64_t, float, double.
template <class T>
Type type_of();
template <>
Type type_of<uint8_t>();
template <>
Type type_of<uint16_t>();
template <>
Type type_of<uint32_t>();
template <>
Type type_of<int32_t>();
template <>
Type type_of<int64_t>();
template <>
Type type_of<uint64_t>();
template <>
Type type_of<float>();
template <>
Type type_of<double>();
// Product of the dimensions.
int64_t element_count(const std::vector<int64_t>& shape);

// Move-only owner of an HDF5 id.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*closer)(hid_t)) : id_(id), closer_(closer) {}
  ~Handle();
  Handle(Handle&& other) noexcept;
  Handle& operator=(Handle&& other) noexcept;
  hid_t get() const { return id_; }
  // Closes now; what HDF5 returned. The destructor has nothing left to do.
  herr_t close();

 private:
  hid_t id_ = H5I_INVALID_HID;
  herr_t (*closer_)(hid_t) = nullptr;
};

class Hdf5File {
 public:
  // UserError naming path and reason: missing, Git LFS pointer, truncated, not HDF5.
  static Hdf5File open_read(const std::string& path);
  // Truncates an existing file. Datasets are contiguous, aligned to 4 KiB (smaller than 512 bytes:
  // unaligned), allocated early, never filled, without filters. No times are stored: the same calls
  // make the same bytes.
  static Hdf5File create(const std::string& path);

  const std::string& path() const { return path_; }
  bool has(const std::string& name) const;
  // Names of what is in a group, in their order; none where there is no such group.
  std::vector<std::string> names(const std::string& group) const;

  // Attributes of the root group, written as variable-length UTF-8 and int64. Text is read in every
  // form h5py writes. Reading a missing one or one of another type is a UserError.
  void set_attribute(const std::string& name, std::string_view text);
  void set_attribute(const std::string& name, int64_t value);
  std::string text_attribute(const std::string& name) const;
  int64_t int_attribute(const std::string& name) const;
  bool has_attribute(const std::string& name) const;

  // UserError (file, dataset, found, expected) unless the dataset exists in this file (not behind
  // an external link), is contiguous or chunked without filters or external storage, is stored in
  // full, and has exactly this type (class, sign, width, little-endian) and number of dimensions.
  // Returns its shape.
  std::vector<int64_t> expect(const std::string& name, Type type, int dimensions) const;

  // Rows [begin, begin + count) of the first dimension into out, which holds count * (product of
  // the other dimensions) elements. Checks type and range; nothing is converted.
  template <class T>
  void read_rows(const std::string& name, int64_t begin, int64_t count, T* out) const {
    read_raw(name, type_of<T>(), begin, count, out);
  }
  template <class T>
  std::vector<T> read_all(const std::string& name) const {  // 1-D or flattened
    const std::vector<int64_t> shape = shape_of(name, type_of<T>());
    std::vector<T> values(static_cast<size_t>(element_count(shape)));
    read_raw(name, type_of<T>(), 0, shape[0], values.data());
    return values;
  }
  // Byte offset in the file of a contiguous dataset's data, for File::read_at (many small reads
  // without the mutex); -1 when it is chunked or empty. Checks the type.
  int64_t data_offset(const std::string& name, Type type) const;
  // Creates a dataset of this shape; returns its byte offset in the file, for File::write_at.
  int64_t create_dataset(const std::string& name, Type type, const std::vector<int64_t>& shape);
  template <class T>
  void write_all(const std::string& name, const std::vector<T>& values) {  // creates, 1-D
    write_raw(name, type_of<T>(), static_cast<int64_t>(values.size()), values.data());
  }

  // One virtual dataset: pieces of other files mapped onto a global shape. Unmapped elements read
  // as the fill value NaN.
  struct VirtualPiece {
    std::string file;     // relative to the folder of this file
    std::string dataset;  // 1-D float32 there
    int64_t source_begin = 0;
    int64_t source_total = 0;  // length of the source dataset
    base::Strided target;      // of the flattened target; several runs: of rows of a matrix
  };
  void create_virtual(const std::string& name, const std::vector<int64_t>& shape,
                      const std::vector<VirtualPiece>& pieces);

  // Flushes and closes; errors are reported.
  void close();

 private:
  Hdf5File(Handle file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  Handle open_dataset(const std::string& name) const;
  // Whether so many bytes can lie in the file at all.
  bool can_hold(uint64_t bytes) const;
  Handle open_attribute(const std::string& name) const;
  void write_attribute(const std::string& name, hid_t type, const void* value);
  // Shape of a checked dataset, of any number of dimensions.
  std::vector<int64_t> checked_shape(const Handle& dataset, const std::string& name,
                                     Type type) const;
  void read_raw(const std::string& name, Type type, int64_t begin, int64_t count, void* out) const;
  std::vector<int64_t> shape_of(const std::string& name, Type type) const;
  void write_raw(const std::string& name, Type type, int64_t count, const void* values);
  Handle file_;
  std::string path_;
};

std::string hdf5_version();

}  // namespace rondo::storage
