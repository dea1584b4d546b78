// What MANIFEST.json says: tensors, where each element lies, what every byte must be, the state.
// The bytes are described in docs/formats/checkpoint.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/slice.hpp"
#include "checkpoint/checkpoint.hpp"

namespace rondo::checkpoint {

inline constexpr std::string_view kFormat = "rondo.checkpoint";
inline constexpr int64_t kVersion = 2;
inline constexpr std::string_view kManifestFile = "MANIFEST.json";
inline constexpr std::string_view kLogicalFile = "logical.h5";
inline constexpr std::string_view kElements = "elements";  // the one dataset of a shard
inline constexpr int64_t kBlock = int64_t{1} << 20;        // elements under one CRC32C: 4 MiB

// Elements of a tensor, run by run, lie from `offset` (in elements) of the shard's dataset on.
struct Segment {
  size_t tensor = 0;
  base::Strided elements;
  int64_t offset = 0;

  int64_t end() const { return offset + elements.size(); }
};

// What one rank wrote: elements [range) of the shard's dataset, and the CRC32C of each kBlock
// elements of it, counted from range.begin.
struct Part {
  base::Slice range;
  std::vector<uint32_t> crc32c;
};

struct Shard {
  std::string file;
  int64_t bytes = 0;     // size of the file
  int64_t data_at = 0;   // byte at which the dataset begins
  int64_t elements = 0;  // of the dataset
  std::string frame;     // hash of the file's bytes before and after the dataset
  std::string hash;      // of the whole file, through the CRCs (whole_hash); version 1: empty
  std::vector<Part> parts;
  std::vector<Segment> segments;  // by offset, end to end
};

struct Manifest {
  std::string id;  // one for each save; also an attribute of every shard
  std::string name;
  int64_t step = 0;
  std::string digest;
  nlohmann::json state;
  std::vector<LogicalTensor> tensors;
  std::vector<Shard> shards;
  int64_t logical_bytes = 0;
  std::string logical_hash;

  int64_t file_bytes() const;  // of all files but the manifest
};

// One hash for all bytes of the file: of `frame` and the CRCs of all parts, as text.
std::string whole_hash(const Shard& shard);

// Why `elements` cannot be a piece or segment of the tensor; empty when they can.
std::string range_fault(const LogicalTensor& tensor, const base::Strided& elements);

// Elements of all tensors.
int64_t count_of(const std::vector<LogicalTensor>& tensors);

// The first element that is stored not exactly once, in words; empty when there is none.
std::string coverage_fault(const std::vector<LogicalTensor>& tensors,
                           const std::vector<Shard>& shards);

// Text of MANIFEST.json, with its own hash.
std::string manifest_text(const Manifest& manifest);
// Parses and checks everything that can be checked without the shards. UserError beginning with
// `path`.
Manifest parse_manifest(const std::string& text, const std::string& path);

}  // namespace rondo::checkpoint
