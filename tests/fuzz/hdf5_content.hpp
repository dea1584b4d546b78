// An HDF5 file as lists of datasets and attributes, which an input edits before it is written:
// every result is a file that HDF5 itself made, so that what is tried is the reader and not the
// library.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.hpp"
#include "storage/hdf5.hpp"

namespace rondo::fuzz {

// The numbers of these enumerations stand in kept inputs: append only.
enum class Stored {
  kContiguous,
  kUnwritten,      // contiguous, no space in the file yet
  kChunked,        // by rows of two
  kPartlyWritten,  // chunked by rows of two, only the first chunk is there
  kWideChunks,     // one chunk that is larger than the dataset
  kCompact,
  kChecksummed,    // through a filter
  kInAnotherFile,  // external storage
  kVirtual,        // of a dataset of another file
  kSoftLink,       // to itself: a link that leads nowhere
  kExternalLink,   // to the dataset of that name of another file
  kGroup,
  kMissing,
  kCount
};
enum class Oddity {
  kNone,
  kBigEndian,
  kFewerBits,  // the same size, three bits less precision
  kText,
  kVariableText,
  kEnumeration,
  kCompound,
  kArray,
  kOpaque,
  kCount
};

struct Dataset {
  std::string name;
  storage::Type type = storage::Type::kUint8;
  std::vector<int64_t> shape;  // {}: a single value
  std::string bytes{};         // little-endian elements; zeros behind them
  Stored stored = Stored::kContiguous;
  Oddity oddity = Oddity::kNone;
};

enum class Form {
  kPlain,       // int64, or text of variable length
  kNullPadded,  // text of fixed length, as h5py writes
  kSpacePadded,
  kSmall,  // int32; text of one byte
  kFloat,
  kTwo,   // two values
  kNone,  // an empty dataspace
  kMissing,
  kCount
};

struct Attribute {
  std::string name;
  bool is_text = false;
  int64_t number = 0;
  std::string text{};
  Form form = Form::kPlain;
};

struct Content {
  std::vector<Dataset> datasets;
  std::vector<Attribute> attributes;

  Dataset& dataset(std::string_view name);
  template <class T>
  void add(const std::string& name, const std::vector<T>& values, std::vector<int64_t> shape = {}) {
    if (shape.empty()) shape = {static_cast<int64_t>(values.size())};
    datasets.push_back({.name = name, .type = storage::type_of<T>(), .shape = std::move(shape)});
    datasets.back().bytes.assign(reinterpret_cast<const char*>(values.data()),
                                 values.size() * sizeof(T));
  }
  void add_text(const std::string& name, const std::string& text) {
    attributes.push_back({.name = name, .is_text = true, .text = text});
  }
  void add_number(const std::string& name, int64_t number) {
    attributes.push_back({.name = name, .number = number});
  }
};

// One change, as the input says.
void edit(Content& content, Input& input);

// Writes folder()/name; its path. `other` is the file that links and storage elsewhere lead to.
// What HDF5 itself refuses to make is left out.
std::string write_content(const std::string& name, const Content& content,
                          const std::string& other);

}  // namespace rondo::fuzz
