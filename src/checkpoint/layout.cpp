#include "checkpoint/layout.hpp"

#include <algorithm>
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
    RONDO_CHECK(piece.elements.begin >= 0 && piece.elements.end <= tensor.count(),
                "piece [{}, {}) of {}, which has {} elements", piece.elements.begin,
                piece.elements.end, tensor.name, tensor.count());
    RONDO_CHECK(piece.data != nullptr, "piece [{}, {}) of {} has no data", piece.elements.begin,
                piece.elements.end, tensor.name);
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
    base::Slice run = stored[i].elements;
    for (++i;
         i < stored.size() && stored[i].tensor == tensor && stored[i].elements.begin == run.end;
         ++i) {
      run.end = stored[i].elements.end;
    }
    text += fmt::format("{} {} {}\n", tensor, run.begin, run.end);
  }
  return text;
}

Layout lay_out(const std::vector<std::string>& texts, int ranks_per_shard) {
  RONDO_CHECK(ranks_per_shard >= 1);
  const auto group = static_cast<size_t>(ranks_per_shard);
  Layout layout;
  layout.places.resize(texts.size());
  for (size_t first = 0; first < texts.size(); first += group) {
    Shard shard;
    for (size_t rank = first; rank < std::min(first + group, texts.size()); ++rank) {
      const int64_t begin = shard.elements;
      std::istringstream lines(texts[rank]);
      Segment segment;
      while (lines >> segment.tensor >> segment.elements.begin >> segment.elements.end) {
        segment.offset = shard.elements;
        shard.segments.push_back(segment);
        shard.elements += segment.elements.size();
      }
      const base::Slice range{begin, shard.elements};
      if (range.empty()) continue;
      layout.places[rank] = {layout.shards.size(), range, shard.parts.empty()};
      shard.parts.push_back({range, {}});
    }
    if (shard.elements == 0) continue;
    shard.file = fmt::format("shard-{:04d}.h5", layout.shards.size());
    layout.shards.push_back(std::move(shard));
  }
  return layout;
}

}  // namespace rondo::checkpoint
