// Safetensors files (format of the huggingface/safetensors project), one or several with an index.
//
// A file is: 8 bytes little-endian length n, n bytes of JSON, data. The JSON maps each tensor's
// name to {"dtype", "shape", "data_offsets": [begin, end)} relative to the data, and "__metadata__"
// to texts. Readers here take nothing on trust: everything that can be wrong in headers and index
// is found before the first byte of data is read, and data is read by pread alone, never mapped.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.hpp"

namespace rondo::storage {

// Whole-byte element types of the format. Only the first three can be read as numbers.
enum class Dtype {
  kF32,
  kBf16,
  kF16,
  kF64,
  kF8,
  kI64,
  kU64,
  kI32,
  kU32,
  kI16,
  kU16,
  kI8,
  kU8,
  kBool,
  kC64
};
int64_t bytes_of(Dtype dtype);
std::string_view name_of(Dtype dtype);  // "BF16"

struct TensorInfo {
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  int64_t numel = 0;
  size_t file = 0;     // which of the reader's files
  int64_t offset = 0;  // of the first byte in that file
};

class SafetensorsReader {
 public:
  // Both throw UserError naming file, place, found, expected and way out, for any malformed file.
  static SafetensorsReader open_file(const std::string& path);
  // model.safetensors, or the files that model.safetensors.index.json names.
  static SafetensorsReader open_folder(const std::string& folder);

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  // Path of the file that holds the tensor.
  const std::string& path_of(const std::string& name) const;

  // Elements [begin, begin + out.size()) of the flattened tensor as float32. UserError for a dtype
  // other than F32, BF16 and F16.
  void read(const std::string& name, int64_t begin, std::span<float> out) const;

 private:
  // Checks one file's header and adds its tensors.
  void add_file(const std::string& path);

  std::vector<base::File> files_;
  std::map<std::string, TensorInfo> tensors_;
};

// Writes one set of tensors as F32, BF16 or F16 (rounded to nearest, ties to even): as
// model.safetensors, or where that would exceed max_file_bytes as model-00001-of-0000n.safetensors
// and model.safetensors.index.json. Files are synced; making the folder appear as a whole is the
// caller's (storage/publish.hpp).
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
  };
  static constexpr int64_t kMaxFileBytes = 5'000'000'000;

  // Creates the files in `folder` with their headers. Tensors keep their order.
  SafetensorsWriter(std::string folder, const std::vector<Tensor>& tensors, Dtype dtype,
                    int64_t max_file_bytes = kMaxFileBytes);
  // The whole tensor, once each, in any order. UserError when a finite value does not fit F16.
  void write(const std::string& name, std::span<const float> values);
  // Bug unless every tensor was written. Syncs and closes the files, then writes the index.
  void finish();

 private:
  void create_files(const std::vector<Tensor>& tensors, int64_t max_file_bytes);

  std::string folder_;
  Dtype dtype_;
  std::vector<base::File> files_;
  std::vector<std::string> file_names_;
  std::map<std::string, TensorInfo> tensors_;
  std::set<std::string> written_;
};

}  // namespace rondo::storage
