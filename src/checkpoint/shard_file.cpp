#include "checkpoint/shard_file.hpp"

#include <algorithm>
#include <span>

#include "base/crc32c.hpp"
#include "base/error.hpp"
#include "base/hash.hpp"
#include "checkpoint/digest.hpp"
#include "storage/hdf5.hpp"

namespace rondo::checkpoint {

namespace {

void add_range(base::Hasher& hasher, const base::File& file, int64_t begin, int64_t end) {
  std::vector<std::byte> buffer(static_cast<size_t>(std::min<int64_t>(end - begin, 4 * kBlock)));
  while (begin < end) {
    const auto count = std::min(static_cast<size_t>(end - begin), buffer.size());
    const std::span<std::byte> piece = std::span(buffer).first(count);
    file.read_at(begin, piece);
    hasher.add(piece);
    begin += static_cast<int64_t>(count);
  }
}

}  // namespace

ShardFrame make_shard(const std::string& path, const std::string& id, int64_t index,
                      int64_t elements) {
  ShardFrame frame;
  storage::Hdf5File shard = storage::Hdf5File::create(path);
  shard.set_attribute("format", fmt::format("{}.shard", kFormat));
  shard.set_attribute("version", kVersion);
  shard.set_attribute("id", id);
  shard.set_attribute("shard", index);
  frame.data_at = shard.create_dataset(std::string(kElements), storage::Type::kFloat32, {elements});
  shard.close();
  base::File file = base::File::open_write(path);
  frame.bytes = file.size();
  RONDO_CHECK(frame.data_at > 0 && frame.data_at + 4 * elements <= frame.bytes,
              "{} has {} bytes, the elements begin at {}", path, frame.bytes, frame.data_at);
  frame.hash = frame_hash(file, frame.bytes, frame.data_at, elements);
  file.sync();
  file.close();
  return frame;
}

std::string frame_hash(const base::File& file, int64_t bytes, int64_t data_at, int64_t elements) {
  base::Hasher hasher;
  add_range(hasher, file, 0, data_at);
  add_range(hasher, file, data_at + 4 * elements, bytes);
  return hasher.hex();
}

WrittenPart write_part(const std::string& path, int64_t data_at, base::Slice range,
                       const std::vector<LogicalTensor>& tensors,
                       const std::vector<Piece>& pieces) {
  WrittenPart written;
  base::File file = base::File::open_write(path);
  std::vector<float> block;
  block.reserve(static_cast<size_t>(std::min(kBlock, range.size())));
  int64_t at = data_at + 4 * range.begin;
  const auto flush = [&] {
    const auto bytes = std::as_bytes(std::span(block));
    written.crc32c.push_back(base::crc32c(bytes));
    file.write_at(at, bytes);
    at += static_cast<int64_t>(bytes.size());
    block.clear();
  };
  for (const Piece& piece : pieces) {
    const int64_t count = piece.elements.size();
    written.digest +=
        digest_part(tensors[piece.tensor].name, piece.elements.begin, piece.data, count);
    for (int64_t done = 0; done < count;) {
      const int64_t room = kBlock - static_cast<int64_t>(block.size());
      const int64_t take = std::min(room, count - done);
      block.insert(block.end(), piece.data + done, piece.data + done + take);
      done += take;
      if (static_cast<int64_t>(block.size()) == kBlock) flush();
    }
  }
  if (!block.empty()) flush();
  RONDO_CHECK(at == data_at + 4 * range.end, "{}: wrote up to byte {}", path, at);
  file.sync();
  file.close();
  return written;
}

}  // namespace rondo::checkpoint
