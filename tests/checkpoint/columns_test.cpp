// Laws: ranks that own columns of matrices save them by one segment each, and read them from any
// cut, whatever the memory between the rows holds.
#include <limits>

#include "base/file.hpp"
#include "checkpoint/manifest.hpp"
#include "checkpoint/toy.hpp"
#include "checkpoint/verify.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::test {
namespace {

using checkpoint::Checkpoint;
using checkpoint::LogicalTensor;
using checkpoint::Verify;
using comm::Control;
using comm::Group;
using comm::LocalWorld;

// Rows narrower and wider than what is read at once, and a block of checksums that ends in a row.
std::vector<LogicalTensor> matrices() {
  return {{"narrow", {37, 24}}, {"wide", {300, 9000}}, {"row", {1, 50}}, {"vector", {7}}};
}

// This rank's columns of each matrix, in rows of memory with a gap of three between them.
class Columns {
 public:
  Columns(int rank, int size) {
    const auto tensors = matrices();
    for (size_t t = 0; t < tensors.size(); ++t) {
      const int64_t rows = tensors[t].shape.size() == 1 ? 1 : tensors[t].shape[0];
      const int64_t width = tensors[t].shape.back();
      const base::Slice mine = base::even_part(width, size, rank);
      if (mine.empty()) continue;
      const int64_t pitch = mine.size() + 3;
      auto& values = memory_.emplace_back(static_cast<size_t>(rows * pitch),
                                          std::numeric_limits<float>::quiet_NaN());
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < mine.size(); ++i) {
          values[static_cast<size_t>(row * pitch + i)] =
              toy_value(tensors[t].name, row * width + mine.begin + i, 1);
        }
      }
      pieces_.push_back({t, {mine.begin, mine.size(), width, rows}, values.data(), pitch});
    }
  }

  checkpoint::SaveRequest request(const std::string& folder) const {
    checkpoint::SaveRequest request;
    request.folder = folder;
    request.name = "c";
    request.tensors = matrices();
    request.pieces = pieces_;
    request.state = nlohmann::json::object();
    return request;
  }

  // How many elements differ from those of `saved`, read to memory with other gaps.
  int64_t differ_from(const Checkpoint& saved) const {
    int64_t wrong = 0;
    for (const auto& piece : pieces_) {
      const int64_t pitch = piece.elements.length + 5;
      std::vector<float> values(static_cast<size_t>(piece.elements.count * pitch), 77.0F);
      saved.read(matrices()[piece.tensor].name, piece.elements, values.data(), pitch);
      for (int64_t row = 0; row < piece.elements.count; ++row) {
        for (int64_t i = 0; i < pitch; ++i) {
          const float found = values[static_cast<size_t>(row * pitch + i)];
          const float expected =
              i < piece.elements.length ? piece.data[row * piece.data_stride + i] : 77.0F;
          wrong += std::bit_cast<uint32_t>(found) != std::bit_cast<uint32_t>(expected) ? 1 : 0;
        }
      }
    }
    return wrong;
  }

 private:
  std::vector<std::vector<float>> memory_;
  std::vector<checkpoint::Piece> pieces_;
};

checkpoint::Manifest manifest_of(const TempFolder& folder) {
  const std::string path = folder / "c/MANIFEST.json";
  return checkpoint::parse_manifest(base::read_text(path), path);
}

TEST(Columns, AreSavedAndReadByAnyNumberOfRanks) {
  for (const int savers : {1, 2, 3, 4}) {
    const TempFolder folder;
    LocalWorld::run(savers, [&](Group&, Control& control) {
      save(Columns(control.rank(), savers).request(folder.path()), control);
    });
    for (const auto& shard : manifest_of(folder).shards) {
      EXPECT_LE(shard.segments.size(), matrices().size()) << "a segment for each row";
    }
    for (const int loaders : {1, 2, 3, 4}) {
      LocalWorld::run(loaders, [&](Group&, Control& control) {
        const Checkpoint saved = Checkpoint::open(folder / "c", control, Verify::kFull);
        EXPECT_EQ(Columns(control.rank(), loaders).differ_from(saved), 0);
        EXPECT_EQ(wrong_elements(saved), 0);
        // Ranges that begin and end inside of rows.
        const base::Slice mine = base::even_part(37 * 24, loaders, control.rank());
        EXPECT_EQ(wrong_elements(saved, "narrow", mine), 0);
      });
    }
  }
}

TEST(Columns, AreThoseOfRows) {
  const TempFolder folder;
  std::string digest;
  LocalWorld::run(3, [&](Group&, Control& control) {
    const Toy toy(control.rank(), 3, 4, 1, matrices());
    auto request = toy.request(folder.path(), 1);
    const auto result = save(request, control);
    if (control.is_first()) digest = result.digest;
    const Checkpoint saved = Checkpoint::open(result.path, control, Verify::kFull);
    EXPECT_EQ(Columns(control.rank(), 3).differ_from(saved), 0);
    const auto columns = save(Columns(control.rank(), 3).request(folder.path()), control);
    EXPECT_EQ(columns.digest, result.digest);
  });
}

TEST(Columns, ThatOverlapOrLeaveTheirRowsAreBugs) {
  const TempFolder folder;
  const std::vector<float> data(1000);
  const auto refused = [&](const std::vector<base::Strided>& parts) {
    return message_of<base::Bug>([&] {
      LocalWorld::run(1, [&](Group&, Control& control) {
        checkpoint::SaveRequest request;
        request.folder = folder.path();
        request.name = "c";
        request.tensors = {{"m", {10, 20}}};
        for (const auto& part : parts) request.pieces.push_back({0, part, data.data(), 20});
        request.state = nlohmann::json::object();
        save(request, control);
      });
    });
  };
  using testing::HasSubstr;
  EXPECT_THAT(refused({{0, 12, 20, 10}, {10, 10, 20, 10}}),
              HasSubstr("elements [10, 12) of tensor m are stored more than once"));
  EXPECT_THAT(refused({{0, 9, 20, 10}, {10, 10, 20, 10}}),
              HasSubstr("elements [9, 10) of tensor m are stored nowhere"));
  EXPECT_THAT(refused({{0, 20, 20, 11}}), HasSubstr("it leaves the tensor"));
  EXPECT_THAT(refused({{15, 10, 20, 10}}), HasSubstr("not parts of the rows"));
  EXPECT_THAT(refused({{0, 10, 30, 10}}), HasSubstr("not parts of the rows"));
}

}  // namespace
}  // namespace rondo::test
