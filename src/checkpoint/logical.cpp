#include "checkpoint/logical.hpp"

#include "storage/hdf5.hpp"

namespace rondo::checkpoint {

void write_logical(const std::string& path, const std::vector<LogicalTensor>& tensors,
                   const std::vector<Shard>& shards) {
  std::vector<std::vector<storage::Hdf5File::VirtualPiece>> pieces(tensors.size());
  for (const Shard& shard : shards) {
    for (const Segment& segment : shard.segments) {
      pieces[segment.tensor].push_back(
          {shard.file, std::string(kElements), segment.offset, shard.elements, segment.elements});
    }
  }
  storage::Hdf5File file = storage::Hdf5File::create(path);
  file.set_attribute("format", fmt::format("{}.logical", kFormat));
  file.set_attribute("version", kVersion);
  for (size_t t = 0; t < tensors.size(); ++t) {
    file.create_virtual(tensors[t].name, tensors[t].shape, pieces[t]);
  }
  file.close();
}

}  // namespace rondo::checkpoint
