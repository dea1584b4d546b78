// Laws: what is published is what was there when begin() was called, whatever happens to the
// caller's memory; a save that is not finished, or fails, leaves nothing.
#include "checkpoint/writer.hpp"

#include <cmath>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/error.hpp"
#include "checkpoint/toy.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;
using checkpoint::SaveRequest;
using checkpoint::SaveResult;
using checkpoint::Verify;
using checkpoint::Writer;
using comm::Control;
using comm::Group;
using comm::LocalWorld;

// An even part of one long tensor, on the heap.
class Part {
 public:
  static constexpr int64_t kCount = 3'000'000;  // several checksum blocks per rank
  Part(int rank, int size) : mine_(base::even_part(kCount, size, rank)) {
    values_.resize(static_cast<size_t>(mine_.size()));
  }
  void fill(float value) { std::fill(values_.begin(), values_.end(), value); }
  std::vector<float>& values() { return values_; }
  int64_t size() const { return mine_.size(); }
  SaveRequest request(const std::string& folder, int64_t step) const {
    SaveRequest request;
    request.folder = folder;
    request.name = fmt::format("step-{:08d}", step);
    request.step = step;
    request.tensors = {{"t", {kCount}}};
    request.pieces = {{0, mine_, values_.data(), 0}};
    request.state = {{"step", step}};
    return request;
  }

 private:
  base::Slice mine_;
  std::vector<float> values_;
};

bool holds(const SaveResult& saved, float value, Control& control) {
  const auto values = Checkpoint::open(saved.path, control, Verify::kFull).read_all("t");
  return std::all_of(values.begin(), values.end(), [&](float found) { return found == value; });
}

int64_t entries(const std::string& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(Writer, PublishesTheSnapshotWhateverTheMemoryHoldsLater) {
  const TempFolder folder;
  LocalWorld::run(3, [&](Group&, Control& control) {
    Part part(control.rank(), 3);
    Writer writer(control, part.size());
    std::string digest;
    for (int64_t step = 1; step <= 3; ++step) {
      part.fill(static_cast<float>(step));
      writer.begin(part.request(folder.path(), step));
      EXPECT_TRUE(writer.in_flight());
      part.fill(-1);
      while (!writer.written()) std::this_thread::yield();
      const SaveResult saved = writer.finish();
      EXPECT_FALSE(writer.in_flight());
      EXPECT_TRUE(holds(saved, static_cast<float>(step), control));
      EXPECT_NE(saved.digest, digest);
      digest = saved.digest;
    }
  });
}

TEST(Writer, NoticesThatThePiecesAreOthers) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    Writer writer(control);
    for (int64_t step = 1; step <= 2; ++step) {
      // Each rank writes the other's half the second time.
      const int rank = step == 1 ? control.rank() : 1 - control.rank();
      Part part(rank, 2);
      part.fill(static_cast<float>(step));
      writer.begin(part.request(folder.path(), step));
      EXPECT_TRUE(holds(writer.finish(), static_cast<float>(step), control));
    }
  });
}

TEST(Writer, GivenUpLeavesNothing) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    {
      Part part(control.rank(), 2);
      Writer writer(control, part.size());
      writer.begin(part.request(folder.path(), 1));
    }
    control.barrier();
  });
  EXPECT_EQ(entries(folder.path()), 0);
}

TEST(Writer, AFailureInTheBackgroundIsAgreedAndTheNextSaveWorks) {
  const TempFolder folder;
  LocalWorld::run(3, [&](Group&, Control& control) {
    Part part(control.rank(), 3);
    part.fill(1);
    Writer writer(control, part.size());
    SaveRequest request = part.request(folder.path(), 1);
    request.fault = [&](std::string_view point) {
      if (point == "half_written" && control.rank() == 1) throw base::SystemError("injected");
    };
    writer.begin(request);
    EXPECT_THAT(message_of<base::SystemError>([&] { writer.finish(); }),
                testing::HasSubstr("rank 1: injected"));
    control.barrier();
    EXPECT_EQ(entries(folder.path()), 0);
    control.barrier();
    writer.begin(part.request(folder.path(), 1));
    EXPECT_TRUE(holds(writer.finish(), 1, control));
  });
}

TEST(Writer, NumbersThatAreNotFiniteAreNotPublishedWhenAsked) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    Part part(control.rank(), 2);
    part.fill(1);
    if (control.rank() == 1) part.values()[1234567] = std::nanf("");
    for (const bool finite : {true, false}) {
      Writer writer(control, part.size());
      SaveRequest request = part.request(folder.path(), 1);
      request.finite = finite;
      writer.begin(request);
      EXPECT_EQ(writer.finish().not_finite, "t");
      control.barrier();
      EXPECT_EQ(fs::exists(folder / "step-00000001"), !finite);
      control.barrier();
    }
  });
}

TEST(Writer, AnOwnerWhoLostTheFolderPublishesNothing) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    Part part(control.rank(), 2);
    Writer writer(control, part.size());
    bool lost = false;
    SaveRequest request = part.request(folder.path(), 1);
    request.check_owner = [&] {
      if (lost) base::fail_user("another job has it");
    };
    writer.begin(request);
    lost = true;
    EXPECT_THAT(message_of<base::UserError>([&] { writer.finish(); }),
                testing::HasSubstr("another job has it"));
    EXPECT_THROW(writer.begin(request), base::UserError);
    control.barrier();
  });
  EXPECT_EQ(entries(folder.path()), 0);
}

TEST(Writer, RefusesMoreThanItHasRoomFor) {
  const TempFolder folder;
  LocalWorld::run(1, [&](Group&, Control& control) {
    const Part part(0, 1);
    Writer writer(control, part.size() - 1);
    EXPECT_THROW(writer.begin(part.request(folder.path(), 1)), base::Bug);
  });
}

}  // namespace
}  // namespace rondo::test
