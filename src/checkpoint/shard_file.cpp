#include "checkpoint/shard_file.hpp"

#include <algorithm>
#include <span>

#include "base/crc32c.hpp"
#include "base/error.hpp"
#include "base/finite.hpp"
#include "base/hash.hpp"
#include "base/stream_copy.hpp"
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
  const base::File file = base::File::open_read(path);
  frame.bytes = file.size();
  RONDO_CHECK(frame.data_at > 0 && frame.data_at + 4 * elements <= frame.bytes,
              "{} has {} bytes, the elements begin at {}", path, frame.bytes, frame.data_at);
  frame.hash = frame_hash(file, frame.bytes, frame.data_at, elements);
  return frame;
}

std::string frame_hash(const base::File& file, int64_t bytes, int64_t data_at, int64_t elements) {
  base::Hasher hasher;
  add_range(hasher, file, 0, data_at);
  add_range(hasher, file, data_at + 4 * elements, bytes);
  return hasher.hex();
}

namespace {

// Hands out pieces in order, in chunks that lie in one run.
class Chunks {
 public:
  struct Chunk {
    size_t tensor = 0;
    int64_t first = 0;  // of the flattened tensor
    int64_t count = 0;
    const float* data = nullptr;
  };

  explicit Chunks(const std::vector<Piece>& pieces) : pieces_(pieces) {}

  // At most `most` elements; none are left over when the pieces have as many as are asked for.
  Chunk next(int64_t most) {
    const Piece& piece = pieces_[piece_];
    const int64_t count = std::min(most, piece.elements.length - done_);
    const Chunk chunk{piece.tensor, piece.elements.run(run_).begin + done_, count,
                      piece.data + run_ * piece.data_stride + done_};
    done_ += count;
    if (done_ == piece.elements.length) {
      done_ = 0;
      if (++run_ == piece.elements.count) {
        run_ = 0;
        ++piece_;
      }
    }
    return chunk;
  }

 private:
  const std::vector<Piece>& pieces_;
  size_t piece_ = 0;
  int64_t run_ = 0;
  int64_t done_ = 0;
};

}  // namespace

void copy_pieces(const std::vector<Piece>& pieces, std::span<float> staging) {
  float* to = staging.data();
  for (const Piece& piece : pieces) {
    for (int64_t k = 0; k < piece.elements.count; ++k) {
      base::stream_copy(piece.data + k * piece.data_stride, piece.elements.length, to);
      to += piece.elements.length;
    }
  }
  RONDO_CHECK(to == staging.data() + staging.size());
}

WrittenPart write_part(const PartTarget& target, const std::vector<LogicalTensor>& tensors,
                       const std::vector<Piece>& pieces, std::span<const float> staged) {
  WrittenPart written;
  base::File file = base::File::open_write(target.path);
  std::vector<float> gathered;
  Chunks chunks(pieces);
  const int64_t total = target.range.size();
  bool told = false;
  for (int64_t begin = 0; begin < total; begin += kBlock) {
    const int64_t count = std::min(kBlock, total - begin);
    std::span<const float> block;
    if (staged.empty()) {
      gathered.resize(static_cast<size_t>(count));
    } else {
      block = staged.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    }
    for (int64_t done = 0; done < count;) {
      auto chunk = chunks.next(count - done);
      if (staged.empty()) {
        std::copy_n(chunk.data, chunk.count, gathered.data() + done);
      } else {
        chunk.data = block.data() + done;
      }
      const std::string& name = tensors[chunk.tensor].name;
      written.digest += digest_part(name, chunk.first, chunk.data, chunk.count);
      if (written.not_finite.empty() &&
          !base::all_finite({chunk.data, static_cast<size_t>(chunk.count)})) {
        written.not_finite = name;
      }
      done += chunk.count;
    }
    if (staged.empty()) block = gathered;
    const auto bytes = std::as_bytes(block);
    written.crc32c.push_back(base::crc32c(bytes));
    const int64_t at = target.data_at + 4 * (target.range.begin + begin);
    file.write_at(at, bytes);
    file.start_writeback(at, std::ssize(bytes));
    if (!told && 2 * (begin + count) >= total) {
      told = true;
      target.half_written();
    }
  }
  file.sync();
  file.close();
  return written;
}

}  // namespace rondo::checkpoint
