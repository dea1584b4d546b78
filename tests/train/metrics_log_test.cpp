#include "train/metrics_log.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/file.hpp"
#include "base/random.hpp"
#include "support/temp_folder.hpp"

namespace rondo::train {
namespace {

std::string line_of(int step, const std::string& loss) {
  return R"({"step": )" + std::to_string(step) + R"(, "loss": )" + loss + "}";
}

void write(const std::string& path, const std::string& text) {
  base::write_text_durably(path, text);
}

TEST(ExactNumber, ReadsBackAsTheSameDouble) {
  const base::Random random(1, "doubles");
  std::vector<double> values = {0.1,
                                1.0,
                                -2.5e-7,
                                3.9300453861308102,
                                std::numeric_limits<double>::denorm_min(),
                                std::numeric_limits<double>::max(),
                                std::nextafter(1.0, 2.0)};
  for (uint64_t i = 0; values.size() < 1000; ++i) {
    const auto value = std::bit_cast<double>(random.bits(i));
    if (std::isfinite(value)) values.push_back(value);
  }
  for (const double value : values) {
    const auto json = nlohmann::json::parse(exact_number(value));
    EXPECT_EQ(std::bit_cast<uint64_t>(json.get<double>()), std::bit_cast<uint64_t>(value)) << value;
  }
}

TEST(ExactNumber, WritesWhatIsNotFiniteAsText) {
  EXPECT_EQ(exact_number(std::nan("")), "\"nan\"");
  EXPECT_EQ(exact_number(HUGE_VAL), "\"inf\"");
  EXPECT_EQ(exact_number(-HUGE_VAL), "\"-inf\"");
}

TEST(MetricsLog, ANewFileHoldsWhatWasAppended) {
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    log.append(line_of(1, "3.5"));
    log.append(line_of(2, "3.25"));
  }
  EXPECT_EQ(base::read_text(path), line_of(1, "3.5") + "\n" + line_of(2, "3.25") + "\n");
}

TEST(MetricsLog, AResumeDropsTheStepsThatWillBeDoneAgain) {
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    MetricsLog log(path, 0);
    for (int step = 1; step <= 5; ++step) log.append(line_of(step, "1"));
  }
  {
    MetricsLog log(path, 3);
    log.append(line_of(4, "2"));
  }
  std::string expected;
  for (int step = 1; step <= 3; ++step) expected += line_of(step, "1") + "\n";
  EXPECT_EQ(base::read_text(path), expected + line_of(4, "2") + "\n");
}

TEST(MetricsLog, HalfALastLineIsDropped) {
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  const std::string whole = line_of(1, "1") + "\n";
  const std::string next = line_of(2, "2");
  for (size_t length = 1; length <= next.size(); ++length) {
    write(path, whole + next.substr(0, length));
    MetricsLog log(path, 9);
    log.append(line_of(2, "4"));
    EXPECT_EQ(base::read_text(path), whole + line_of(2, "4") + "\n") << length;
  }
}

TEST(MetricsLog, LinesThatAreNoneOfItsOwnAreDropped) {
  const test::TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  const std::string whole = line_of(1, "1") + "\n";
  for (const std::string damaged :
       {"\n", "[1]\n", "{\"step\": \"one\"}\n", "{\"loss\": 1}\n", "{\"st\n", "7\n"}) {
    write(path, damaged + whole + damaged);
    const MetricsLog log(path, 9);
    EXPECT_EQ(base::read_text(path), whole) << damaged;
  }
}

}  // namespace
}  // namespace rondo::train
