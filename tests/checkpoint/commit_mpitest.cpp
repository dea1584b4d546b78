// The commit protocol between processes. tests/checkpoint/kill_test.py runs this program again and
// again in one folder, with RONDO_TEST_FOLDER and RONDO_TEST_KILL ("point:rank"), and lets that
// rank kill itself there; every run first checks what the one before it left.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "checkpoint/toy.hpp"
#include "support/temp_folder.hpp"
#include "support/world.hpp"

namespace rondo::test {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Verify;

TEST(Commit, FindsTheNewestWholeOneAndSavesTheNext) {
  comm::Control control = runtime().make_control();
  std::optional<TempFolder> own;
  std::string folder = base::environment("RONDO_TEST_FOLDER");
  if (folder.empty()) {
    if (control.is_first()) own.emplace();
    folder = control.broadcast_text(own ? own->path() : "");
  }
  base::Console console(false);
  control.on_first([&] { checkpoint::clean(folder, console); });
  const auto found = Checkpoint::open_newest(folder, control, console, Verify::kFull);
  const int64_t before = found ? found->step() : 0;
  if (found) {
    EXPECT_EQ(wrong_elements(*found, static_cast<uint64_t>(before)), 0);
  }
  if (control.is_first()) std::cout << "found " << before << std::endl;

  const Toy toy(control.rank(), control.size(), 3, static_cast<uint64_t>(before + 1));
  checkpoint::SaveRequest request = toy.request(folder, before + 1);
  request.writer_group = control.rank() / 2;
  const std::string kill = base::environment("RONDO_TEST_KILL");
  request.fault = [&](std::string_view point) {
    if (kill == fmt::format("{}:{}", point, control.rank())) ::raise(SIGKILL);
  };
  save(request, control);

  const auto after = Checkpoint::open_newest(folder, control, console, Verify::kFull);
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(after->step(), before + 1);
  EXPECT_EQ(wrong_elements(*after, static_cast<uint64_t>(before + 1)), 0);
  control.barrier();
}

}  // namespace
}  // namespace rondo::test
