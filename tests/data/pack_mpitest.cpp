#include <gtest/gtest.h>

#include <filesystem>
#include <optional>

#include "base/file.hpp"
#include "data/packed_set.hpp"
#include "data/packing.hpp"
#include "support/world.hpp"

namespace rondo::data {
namespace {

// The ranks of mpirun write what one rank writes by itself.
TEST(PackByMpi, MakesTheSameBytesAsOneRank) {
  comm::Runtime& runtime = test::runtime();
  const std::unique_ptr<comm::Group> group = runtime.make_group();
  comm::Control control = runtime.make_control();
  base::Console silent(false);
  std::optional<test::TempFolder> folder;
  if (control.is_first()) folder.emplace();
  const std::string path = control.broadcast_text(folder ? folder->path() : "");

  PackRequest request = request_for(path + "/in.h5", path + "/together");
  request.seq_len = 2048;
  request.sources[0].passes = 100;
  control.on_first(
      [&] { test::write_tokenized(path + "/in.h5", test::random_tokenized(1, 300, 2, 2048)); });
  const PackReport report = pack(request, control, *group, silent);
  EXPECT_EQ(report.documents(), 30000);

  control.on_first([&] {
    request.out_folder = path + "/alone";
    const std::unique_ptr<comm::Group> self = comm::make_self_group();
    comm::Control self_control(comm::make_self_group());
    pack(request, self_control, *self, silent);
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path + "/alone")) {
      const std::string name = entry.path().filename().string();
      EXPECT_EQ(base::read_text(path + "/alone/" + name),
                base::read_text(path + "/together/" + name))
          << name;
      ++files;
    }
    EXPECT_GE(files, 3) << "several shards, so that ranks share the work";
  });
  EXPECT_EQ(PackedSet::open(path + "/together", 100).documents(), 30000);
  control.barrier();
}

}  // namespace
}  // namespace rondo::data
