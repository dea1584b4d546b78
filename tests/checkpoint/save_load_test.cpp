// Laws: what was saved is what is read, to the bit, for every number of ranks on either side; the
// digest does not depend on the cut; gaps and overlaps are refused before anything is written.
#include <hdf5.h>

#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/toy.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;
using checkpoint::Verify;
using comm::Control;
using comm::Group;
using comm::LocalWorld;

constexpr const char* kFirst = "step-00000001";

void alone(const std::function<void(Control&)>& body) {
  LocalWorld::run(1, [&](Group&, Control& control) { body(control); });
}

TEST(SaveLoad, AnyRanksToAnyRanksWithOneDigest) {
  std::set<std::string> digests;
  std::mutex mutex;
  for (const int savers : {1, 2, 3, 4}) {
    for (const int ranks_per_shard : {1, 3}) {
      const TempFolder folder;
      LocalWorld::run(savers, [&](Group&, Control& control) {
        const Toy toy(control.rank(), savers, static_cast<uint64_t>(savers));
        auto request = toy.request(folder.path(), 1);
        request.writer_group = control.rank() / ranks_per_shard;
        const auto result = save(request, control);
        EXPECT_EQ(result.path, folder / kFirst);
        const std::lock_guard hold(mutex);
        digests.insert(result.digest);
      });
      for (const int loaders : {1, 2, 3, 4}) {
        LocalWorld::run(loaders, [&](Group&, Control& control) {
          const Checkpoint saved = Checkpoint::open(folder / kFirst, control, Verify::kFull);
          EXPECT_EQ(saved.name(), kFirst);
          EXPECT_EQ(saved.step(), 1);
          EXPECT_EQ(saved.state().at("lr"), 0.1);
          for (const auto& tensor : saved.tensors()) {
            const auto mine = base::even_part(tensor.count(), loaders, control.rank());
            EXPECT_EQ(wrong_elements(saved, tensor.name, mine), 0);
          }
        });
      }
    }
  }
  EXPECT_EQ(digests.size(), 1U);
}

TEST(SaveLoad, EverySliceOfATensor) {
  const TempFolder folder;
  LocalWorld::run(3, [&](Group&, Control& control) { save_toy(folder.path(), 1, control); });
  alone([&](Control& control) {
    const Checkpoint saved = Checkpoint::open(folder / kFirst, control, Verify::kManifest);
    for (int64_t begin = 0; begin <= 60; ++begin) {
      for (int64_t end = begin; end <= 60; ++end) {
        EXPECT_EQ(wrong_elements(saved, "model.cube", {begin, end}), 0) << begin << " " << end;
      }
    }
    EXPECT_THROW(wrong_elements(saved, "model.cube", {0, 61}), base::Bug);
    const std::string text = message_of<base::UserError>([&] { saved.read_all("model.missing"); });
    EXPECT_THAT(text, ::testing::HasSubstr("has no tensor model.missing"));
  });
}

TEST(SaveLoad, SeveralChecksumBlocksPerRank) {
  const TempFolder folder;
  const std::vector<checkpoint::LogicalTensor> tensors = {{"small", {5}}, {"big", {1300, 1000}}};
  LocalWorld::run(2, [&](Group&, Control& control) {
    const Toy toy(control.rank(), 2, 5, 1, tensors);
    save(toy.request(folder.path(), 1), control);
    const Checkpoint saved = Checkpoint::open(folder / kFirst, control, Verify::kFull);
    EXPECT_EQ(wrong_elements(saved, "small", {0, 5}), 0);
    const auto mine = base::even_part(1300000, 2, control.rank());
    EXPECT_EQ(wrong_elements(saved, "big", mine), 0);
  });
}

TEST(SaveLoad, RanksThatOwnNothing) {
  const TempFolder folder;
  LocalWorld::run(4, [&](Group&, Control& control) {
    const Toy all(0, 1, 1);
    auto request = all.request(folder.path(), 1);
    if (control.rank() != 2) request.pieces.clear();
    save(request, control);
    EXPECT_EQ(wrong_elements(Checkpoint::open(folder / kFirst, control, Verify::kFull)), 0);
  });
  EXPECT_TRUE(fs::exists(folder / "step-00000001/shard-0000.h5"));
  EXPECT_FALSE(fs::exists(folder / "step-00000001/shard-0001.h5"));
}

TEST(SaveLoad, LogicalFileShowsWholeTensors) {
  const TempFolder folder;
  LocalWorld::run(3, [&](Group&, Control& control) { save_toy(folder.path(), 1, control); });
  fs::rename(folder / kFirst, folder / "moved");
  const hid_t file = H5Fopen((folder / "moved/logical.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const auto read = [&](const checkpoint::LogicalTensor& tensor) {
    const hid_t dataset = H5Dopen2(file, tensor.name.c_str(), H5P_DEFAULT);
    const hid_t space = H5Dget_space(dataset);
    std::vector<hsize_t> shape(tensor.shape.size());
    EXPECT_EQ(H5Sget_simple_extent_ndims(space), static_cast<int>(shape.size()));
    H5Sget_simple_extent_dims(space, shape.data(), nullptr);
    EXPECT_TRUE(std::equal(shape.begin(), shape.end(), tensor.shape.begin()));
    std::vector<float> values(static_cast<size_t>(tensor.count()), 77.0F);
    EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Sclose(space);
    H5Dclose(dataset);
    return values;
  };
  int64_t wrong = 0;
  for (const auto& tensor : toy_tensors()) {
    const std::vector<float> values = read(tensor);
    for (size_t i = 0; i < values.size(); ++i) {
      const float expected = toy_value(tensor.name, static_cast<int64_t>(i), 1);
      if (std::bit_cast<uint32_t>(values[i]) != std::bit_cast<uint32_t>(expected)) ++wrong;
    }
  }
  EXPECT_EQ(wrong, 0);
  H5Fclose(file);
}

TEST(SaveLoad, GapsAndOverlapsAreBugsAndNothingIsWritten) {
  const TempFolder folder;
  const auto save_changed = [&](const std::function<void(checkpoint::SaveRequest&)>& change) {
    return message_of<base::Bug>([&] {
      LocalWorld::run(2, [&](Group&, Control& control) {
        const Toy half(control.rank(), 2, 3, 1, {{"t", {100}}});
        auto request = half.request(folder.path(), 1);
        const Toy all(0, 1, 3, 1, {{"t", {100}}});
        request.pieces =
            control.is_first() ? all.request("", 1).pieces : std::vector<checkpoint::Piece>();
        if (control.is_first()) change(request);
        save(request, control);
      });
    });
  };
  const std::vector<float> data(100);
  using Request = checkpoint::SaveRequest;
  using ::testing::HasSubstr;
  EXPECT_THAT(save_changed([&](Request& r) {
                r.pieces = {{0, base::Slice{0, 40}, data.data()}};
              }),
              HasSubstr("elements [40, 100) of tensor t are stored nowhere"));
  EXPECT_THAT(save_changed([&](Request& r) {
                r.pieces = {{0, base::Slice{1, 100}, data.data()}};
              }),
              HasSubstr("elements [0, 1) of tensor t are stored nowhere"));
  EXPECT_THAT(
      save_changed([&](Request& r) {
        r.pieces = {{0, base::Slice{0, 60}, data.data()}, {0, base::Slice{50, 100}, data.data()}};
      }),
      HasSubstr("elements [50, 60) of tensor t are stored more than once"));
  EXPECT_THAT(save_changed([&](Request& r) {
                r.pieces = {{0, base::Slice{0, 101}, data.data()}};
              }),
              HasSubstr("piece [0, 101) of t, which has 100 elements"));
  EXPECT_THAT(save_changed([&](Request& r) {
                r.pieces = {{0, base::Slice{0, 100}, nullptr}};
              }),
              HasSubstr("has no data"));
  EXPECT_THAT(save_changed([&](Request& r) { r.state = 3; }), HasSubstr("object"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SaveLoad, RefusesAnExistingNameAndWrongNames) {
  const TempFolder folder;
  alone([&](Control& control) {
    save_toy(folder.path(), 1, control);
    EXPECT_THAT(message_of<base::UserError>([&] { save_toy(folder.path(), 1, control, 2); }),
                ::testing::HasSubstr("exists already"));
    EXPECT_EQ(wrong_elements(Checkpoint::open(folder / kFirst, control, Verify::kFull)), 0);
    for (const std::string name : {"", ".x", "a/b", "x.tmp", "LATEST", "BAD", "a b"}) {
      auto request = Toy(0, 1, 1).request(folder.path(), 2);
      request.name = name;
      EXPECT_THROW(save(request, control), base::UserError) << name;
    }
  });
}

TEST(SaveLoad, TellsWhenTheDiskIsTooSmall) {
  const TempFolder folder;
  alone([&](Control& control) {
    checkpoint::SaveRequest request = Toy(0, 1, 1).request(folder.path(), 1);
    const float value = 0;  // never read: the check comes first
    request.tensors = {{"huge", {int64_t{1} << 50}}};
    request.pieces = {{0, base::Slice{0, int64_t{1} << 50}, &value}};
    EXPECT_THAT(message_of<base::SystemError>([&] { save(request, control); }),
                ::testing::HasSubstr("not enough space"));
  });
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SaveLoad, OpenNamesWhatIsNotACheckpoint) {
  const TempFolder folder;
  alone([&](Control& control) {
    EXPECT_THAT(message_of<base::UserError>(
                    [&] { Checkpoint::open(folder / "none", control, Verify::kFull); }),
                ::testing::HasSubstr("none/MANIFEST.json"));
  });
}

}  // namespace
}  // namespace rondo::test
