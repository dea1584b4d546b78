#include "checkpoint/verify.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/crc32c.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "checkpoint/digest.hpp"
#include "checkpoint/shard_file.hpp"

namespace rondo::checkpoint {

namespace {

void check_size(const std::string& path, int64_t expected) {
  const int64_t found = base::File::open_read(path).size();
  if (found != expected) {
    base::fail_user("{}: has {} bytes, the manifest says {}.", path, found, expected);
  }
}

void check_hash(const std::string& path, const std::string& what, const std::string& found,
                const std::string& expected) {
  if (found != expected) {
    base::fail_user("{}: {} has the hash {}, the manifest says {}.", path, what, found, expected);
  }
}

// One CRC block of a shard.
struct Block {
  size_t shard = 0;
  base::Slice elements;
  uint32_t crc32c = 0;
};

std::vector<Block> blocks_of(const Manifest& manifest) {
  std::vector<Block> blocks;
  for (size_t s = 0; s < manifest.shards.size(); ++s) {
    for (const Part& part : manifest.shards[s].parts) {
      int64_t begin = part.range.begin;
      for (const uint32_t crc : part.crc32c) {
        const int64_t end = std::min(begin + kBlock, part.range.end);
        blocks.push_back({s, {begin, end}, crc});
        begin = end;
      }
    }
  }
  return blocks;
}

uint64_t digest_of_block(const Manifest& manifest, const Block& block,
                         const std::vector<float>& values) {
  const std::vector<Segment>& segments = manifest.shards[block.shard].segments;
  auto segment = std::upper_bound(
      segments.begin(), segments.end(), block.elements.begin,
      [](int64_t element, const Segment& other) { return element < other.offset; });
  uint64_t digest = 0;
  for (--segment; segment != segments.end() && segment->offset < block.elements.end; ++segment) {
    const base::Slice stored = base::intersect({segment->offset, segment->end()}, block.elements);
    const int64_t length = segment->elements.length;
    for (int64_t at = stored.begin; at < stored.end;) {
      const int64_t run = (at - segment->offset) / length;
      const int64_t inside = (at - segment->offset) % length;
      const int64_t count = std::min(length - inside, stored.end - at);
      digest += digest_part(manifest.tensors[segment->tensor].name,
                            segment->elements.run(run).begin + inside,
                            values.data() + (at - block.elements.begin), count);
      at += count;
    }
  }
  return digest;
}

// Checks blocks [share) and returns their part of the digest.
uint64_t check_blocks(const std::string& folder, const Manifest& manifest, base::Slice share) {
  const std::vector<Block> blocks = blocks_of(manifest);
  uint64_t digest = 0;
  std::optional<base::File> file;
  std::vector<float> values;
  for (int64_t b = share.begin; b < share.end; ++b) {
    const Block& block = blocks[static_cast<size_t>(b)];
    const Shard& shard = manifest.shards[block.shard];
    const std::string path = folder + "/" + shard.file;
    if (!file || file->path() != path) file.emplace(base::File::open_read(path));
    values.resize(static_cast<size_t>(block.elements.size()));
    const int64_t at = shard.data_at + 4 * block.elements.begin;
    file->read_at(at, std::as_writable_bytes(std::span(values)));
    const uint32_t found = base::crc32c(std::as_bytes(std::span(values)));
    if (found != block.crc32c) {
      base::fail_user("{}: bytes [{}, {}) have the CRC32C {:08x}, the manifest says {:08x}.", path,
                      at, at + 4 * block.elements.size(), found, block.crc32c);
    }
    digest += digest_of_block(manifest, block, values);
  }
  return digest;
}

}  // namespace

std::string damage_of(const std::string& path, const Manifest& manifest, comm::Control& control,
                      Verify verify) {
  const auto check = [&](const std::function<void()>& action) {
    std::string mine;
    try {
      action();
    } catch (const std::exception& error) {
      mine = error.what();
    }
    for (const std::string& text : control.gather_text(mine)) {
      if (!text.empty()) return text;
    }
    return std::string();
  };
  const std::string logical = fmt::format("{}/{}", path, kLogicalFile);
  const std::string by_size = check([&] {
    if (!control.is_first()) return;
    for (const Shard& shard : manifest.shards) check_size(path + "/" + shard.file, shard.bytes);
    check_size(logical, manifest.logical_bytes);
  });
  if (!by_size.empty() || verify == Verify::kManifest) return by_size;

  uint64_t digest = 0;
  const std::string by_content = check([&] {
    if (control.is_first()) {
      check_hash(logical, "the file", base::hash_file(logical), manifest.logical_hash);
    }
    int64_t blocks = 0;
    for (size_t s = 0; s < manifest.shards.size(); ++s) {
      const Shard& shard = manifest.shards[s];
      for (const Part& part : shard.parts) blocks += static_cast<int64_t>(part.crc32c.size());
      if (static_cast<int>(s) % control.size() != control.rank()) continue;
      const base::File file = base::File::open_read(path + "/" + shard.file);
      check_hash(file.path(), "what surrounds the elements",
                 frame_hash(file, shard.bytes, shard.data_at, shard.elements), shard.frame);
    }
    digest = check_blocks(path, manifest, base::even_part(blocks, control.size(), control.rank()));
  });
  if (!by_content.empty()) return by_content;

  uint64_t sum = 0;
  for (const std::string& text : control.gather_text(digest_text(digest))) {
    sum += parse_digest(text);
  }
  if (digest_text(sum) == manifest.digest) return {};
  return fmt::format("{}: the tensors have the digest {}, the manifest says {}.", path,
                     digest_text(sum), manifest.digest);
}

}  // namespace rondo::checkpoint
