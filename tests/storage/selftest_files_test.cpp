// Laws: what works is found to work and leaves nothing behind; what does not is said, with the
// host that it is about.
#include "storage/selftest_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::storage {
namespace {

namespace fs = std::filesystem;
using base::Status;
using test::TempFolder;
using ::testing::HasSubstr;

const FilesBudget kShort = {.sight_s = 5, .write_s = 0.5, .most_bytes = 4 << 20};

comm::Hosts hosts_of_pairs(int ranks) {
  std::vector<std::string> names;
  for (int rank = 0; rank < ranks; ++rank) names.push_back(fmt::format("n{}", rank / 2 + 1));
  return comm::hosts_of(names);
}

TEST(MeasureFiles, AFolderOfThisMachineIsFineAndLeftAsItWas) {
  for (const int ranks : {1, 2, 5}) {
    const TempFolder folder;
    comm::LocalWorld::run(ranks, [&](comm::Group&, comm::Control& control) {
      const comm::Hosts hosts = hosts_of_pairs(ranks);
      const FilesMeasured measured = measure_files(folder.path(), hosts, control, kShort);
      EXPECT_NE(base::worst(judge_files(measured, hosts)), Status::kFailed)
          << to_json(measured, hosts).dump();
      EXPECT_EQ(measured.sights.size(), hosts.size());
      EXPECT_GT(measured.free_bytes, 0);
      EXPECT_GT(measured.written_bytes, 0);
      EXPECT_LE(measured.written_bytes, kShort.most_bytes);
      control.same_on_all_ranks(to_json(measured, hosts).dump(), "what was measured");
    });
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
}

TEST(MeasureFiles, AFolderWhereNothingCanBeMadeFails) {
  comm::LocalWorld::run(2, [&](comm::Group&, comm::Control& control) {
    const comm::Hosts hosts = hosts_of_pairs(2);
    const FilesMeasured measured = measure_files("/proc", hosts, control, kShort);
    const auto findings = judge_files(measured, hosts);
    ASSERT_EQ(findings.size(), 1);
    EXPECT_EQ(findings[0].status, Status::kFailed);
    EXPECT_THAT(findings[0].text, HasSubstr("/proc"));
    EXPECT_THAT(findings[0].text, HasSubstr("mkdir does not work"));
  });
}

TEST(MeasureFiles, NearestFolder) {
  const TempFolder folder;
  EXPECT_EQ(nearest_folder(folder.path()), folder.path());
  EXPECT_EQ(nearest_folder(folder / "runs/first"), folder.path());
  EXPECT_EQ(nearest_folder("/no-such-folder/a"), "/");
}

// Three hosts that see everything and write at the same speed.
FilesMeasured made_figures() {
  FilesMeasured measured;
  measured.folder = "/shared";
  measured.kind = "nfs";
  measured.looked_s = 10;
  measured.sights.assign(3, {.made_s = 0.01, .renamed_s = 0.5, .locked = true});
  measured.write_bytes_per_s.assign(3, 1e9);
  return measured;
}

base::Finding only_bad(const FilesMeasured& measured) {
  const auto findings = judge_files(measured, comm::hosts_of({"n1", "n2", "n3"}));
  base::Finding bad;
  int count = 0;
  for (const base::Finding& finding : findings) {
    if (finding.status == Status::kOk) continue;
    bad = finding;
    ++count;
  }
  EXPECT_LE(count, 1);
  return bad;
}

TEST(JudgeFiles, NamesTheHostsThatAreConcerned) {
  EXPECT_EQ(only_bad(made_figures()).check, "");
  FilesMeasured blind = made_figures();
  blind.sights[1].made_s = -1;
  blind.sights[2].made_s = -1;
  blind.write_bytes_per_s.clear();
  for (Sight& sight : blind.sights) sight.locked = true;
  EXPECT_EQ(only_bad(blind).status, Status::kFailed);
  EXPECT_THAT(only_bad(blind).text, HasSubstr("n2, n3 did not see within 10 s what n1 wrote"));

  FilesMeasured late = made_figures();
  late.sights[2].renamed_s = -1;
  EXPECT_EQ(only_bad(late).status, Status::kWarning);
  EXPECT_THAT(only_bad(late).text, HasSubstr("n3 did not see within 10 s what n1 renamed"));

  FilesMeasured open = made_figures();
  open.sights[1].locked = false;
  EXPECT_EQ(only_bad(open).status, Status::kWarning);
  EXPECT_THAT(only_bad(open).text, HasSubstr("does not keep out n2"));
  open.has_flock = false;
  EXPECT_THAT(only_bad(open).text, HasSubstr("flock() does not work in /shared"));

  FilesMeasured slow = made_figures();
  slow.write_bytes_per_s[1] = 1e8;
  EXPECT_EQ(only_bad(slow).status, Status::kWarning);
  EXPECT_THAT(only_bad(slow).text, HasSubstr("n2 writes 100.0 MB/s with each rank, 10 %"));

  FilesMeasured full = made_figures();
  full.write_failure = "rank 1 (n2): No space left on device";
  EXPECT_EQ(only_bad(full).status, Status::kFailed);
  EXPECT_THAT(only_bad(full).text, HasSubstr("rank 1 (n2): No space left on device"));
}

}  // namespace
}  // namespace rondo::storage
