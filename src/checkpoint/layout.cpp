#include "checkpoint/layout.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include "base/error.hpp"

namespace rondo::checkpoint {

std::vector<Piece> in_stored_order(const std::vector<LogicalTensor>& tensors,
                                   std::vector<Piece> pieces) {
  std::erase_if(pieces, [](const Piece& piece) { return piece.elements.empty(); });
  for (const Piece& piece : pieces) {
    RONDO_CHECK(piece.tensor < tensors.size(), "piece of tensor {} of {}", piece.tensor,
                tensors.size());
    const LogicalTensor& tensor = tensors[piece.tensor];
    const std::string fault = range_fault(tensor, piece.elements);
    RONDO_CHECK(fault.empty(), "piece [{}, {}) of {}, which has {} elements: {}",
                piece.elements.begin, piece.elements.end(), tensor.name, tensor.count(), fault);
    RONDO_CHECK(piece.data != nullptr, "piece [{}, {}) of {} has no data", piece.elements.begin,
                piece.elements.end(), tensor.name);
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return a.tensor != b.tensor ? a.tensor < b.tensor : a.elements.begin < b.elements.begin;
  });
  return pieces;
}

std::string pieces_text(const std::vector<Piece>& stored) {
  std::string text;
  for (size_t i = 0; i < stored.size();) {
    const size_t tensor = stored[i].tensor;
    base::Strided all = stored[i].elements;
    for (++i; i < stored.size() && stored[i].tensor == tensor; ++i) {
      const base::Strided& next = stored[i].elements;
      if (all.count > 1 || next.count > 1 || next.begin != all.end()) break;
      all = base::Slice{all.begin, next.end()};
    }
    text += fmt::format("{} {} {} {} {}\n", tensor, all.begin, all.length, all.stride, all.count);
  }
  return text;
}

Layout lay_out(const std::vector<std::string>& texts, const std::vector<int>& groups) {
  RONDO_CHECK(texts.size() == groups.size());
  Layout layout;
  layout.places.resize(texts.size());
  std::map<int, size_t> shard_of_group;
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    if (texts[rank].empty()) continue;
    size_t number = layout.shards.size();
    if (groups[rank] >= 0) number = shard_of_group.emplace(groups[rank], number).first->second;
    const bool makes_file = number == layout.shards.size();
    if (makes_file) {
      layout.shards.emplace_back().file = fmt::format("shard-{:04d}.h5", number);
    }
    Shard& shard = layout.shards[number];
    const int64_t begin = shard.elements;
    std::istringstream lines(texts[rank]);
    Segment segment;
    base::Strided& elements = segment.elements;
    while (lines >> segment.tensor >> elements.begin >> elements.length >> elements.stride >>
           elements.count) {
      segment.offset = shard.elements;
      shard.segments.push_back(segment);
      shard.elements += elements.size();
    }
    const base::Slice range{begin, shard.elements};
    layout.places[rank] = {number, range, makes_file};
    shard.parts.push_back({range, {}});
  }
  return layout;
}

}  // namespace rondo::checkpoint
