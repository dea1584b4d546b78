// Random numbers, hashes, checksums, slices, files, units.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>

#include "base/crc32c.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/random.hpp"
#include "base/slice.hpp"
#include "base/units.hpp"
#include "support/temp_folder.hpp"

namespace rondo::base {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Random, NumbersDependOnSeedStreamAndIndexAlone) {
  const Random a(1, "w"), same(1, "w"), other_seed(2, "w"), other_stream(1, "v");
  EXPECT_EQ(a.bits(7), same.bits(7));
  EXPECT_NE(a.bits(7), a.bits(8));
  EXPECT_NE(a.bits(7), other_seed.bits(7));
  EXPECT_NE(a.bits(7), other_stream.bits(7));
}

TEST(Random, NormalNumbersCutAnywhereAreTheSame) {
  const Random random(3, "x");
  std::vector<float> whole(1001), parts(1001);
  random.normal(0, whole.data(), 1001);
  random.normal(0, parts.data(), 333);
  random.normal(333, parts.data() + 333, 668);
  EXPECT_EQ(whole, parts);
  double sum = 0, squares = 0;
  for (const float v : whole) {
    sum += v;
    squares += double{v} * v;
  }
  EXPECT_NEAR(sum / 1001, 0, 0.1);
  EXPECT_NEAR(squares / 1001, 1, 0.15);
}

TEST(Random, PermutationHoldsEveryIndexOnce) {
  const auto order = Random(5, "p").permutation(1000);
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 1000u);
  EXPECT_FALSE(std::ranges::is_sorted(order));
  EXPECT_TRUE(Random(5, "p").permutation(0).empty());
}

// Check value of CRC-32C from RFC 3720, appendix B.4: 32 bytes of zeros.
TEST(Crc32c, KnownValuesAndBothVersionsAgree) {
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8A9136AAU);
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
  std::string text(1003, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  EXPECT_EQ(crc32c(bytes_of(text)), crc32c_portable(bytes_of(text)));
  const uint32_t first = crc32c(bytes_of(text.substr(0, 501)));
  EXPECT_EQ(crc32c(bytes_of(text.substr(501)), first), crc32c(bytes_of(text)));
}

TEST(Hash, StreamedAndWholeAgree) {
  Hasher hasher;
  hasher.add("ab");
  hasher.add("c");
  EXPECT_EQ(hasher.hex(), hash_hex("abc"));
  const test::TempFolder folder;
  write_text_durably(folder / "f", "abc");
  EXPECT_EQ(hash_file(folder / "f"), hash_hex("abc"));
}

TEST(Slice, EvenPartsCoverTheWhole) {
  for (const int64_t total : {0, 1, 5, 16, 17}) {
    for (const int64_t parts : {1, 2, 3, 4, 7}) {
      int64_t at = 0;
      for (int64_t i = 0; i < parts; ++i) {
        const Slice part = even_part(total, parts, i);
        EXPECT_EQ(part.begin, at);
        EXPECT_LE(std::abs(part.size() * parts - total), parts);
        at = part.end;
      }
      EXPECT_EQ(at, total);
    }
  }
  EXPECT_TRUE(intersect({0, 3}, {5, 9}).empty());
  EXPECT_EQ(intersect({0, 7}, {5, 9}), (Slice{5, 7}));
  EXPECT_THROW(narrow<int>(int64_t{1} << 40), Bug);
  EXPECT_THROW(narrow<uint32_t>(-1), Bug);
}

TEST(File, TruncatedReadsNameThePlace) {
  const test::TempFolder folder;
  write_text_durably(folder / "f", "abc");
  const File file = File::open_read(folder / "f");
  std::vector<std::byte> buffer(5);
  try {
    file.read_at(1, buffer);
    FAIL() << "no error";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("ends at byte 3"));
  }
  EXPECT_THROW(File::open_read(folder / "none"), UserError);
  EXPECT_THROW(File::create(folder / "f"), SystemError);
  EXPECT_THROW(read_text(folder.path()), UserError);
}

TEST(File, LinesAreAppendedAndTextReplaced) {
  const test::TempFolder folder;
  append_line_durably(folder / "l", "a");
  append_line_durably(folder / "l", "b");
  EXPECT_EQ(read_text(folder / "l"), "a\nb\n");
  write_text_durably(folder / "l", "a\ncut sho");
  append_line_durably(folder / "l", "b");
  EXPECT_EQ(read_text(folder / "l"), "a\ncut sho\nb\n");
  write_text_durably(folder / "l", "c");
  EXPECT_EQ(read_text(folder / "l"), "c");
  EXPECT_FALSE(std::filesystem::exists(folder / "l.tmp"));
}

TEST(Units, ParseAndFormat) {
  EXPECT_EQ(parse_duration("30min"), 1800.0);
  EXPECT_EQ(parse_duration("1.5h"), 5400.0);
  EXPECT_EQ(parse_duration("30"), std::nullopt);
  EXPECT_EQ(parse_duration("-3s"), std::nullopt);
  EXPECT_EQ(parse_count("1.5M"), 1500000);
  EXPECT_EQ(parse_count("x"), std::nullopt);
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_duration(3725), "1h 02m");
  EXPECT_EQ(format_short(1.25e-6), "1.2 us");
  EXPECT_EQ(format_short(-0.00456), "-4.56 ms");
  EXPECT_EQ(format_short(61.5), "61.50 s");
  EXPECT_EQ(format_rate(999), "1.0 kB/s");
  EXPECT_EQ(format_rate(48e6), "48.0 MB/s");
  EXPECT_EQ(format_rate(1.25e9), "1.25 GB/s");
}

TEST(Errors, CodesFollowTheKind) {
  EXPECT_EQ(exit_code_of(UserError("x")), Exit::kUser);
  EXPECT_EQ(exit_code_of(SystemError("call", 5, "text")), Exit::kSystem);
  EXPECT_EQ(exit_code_of(Bug("x")), Exit::kBug);
  EXPECT_THROW(RONDO_CHECK(1 == 2, "numbers {}", 3), Bug);
}

}  // namespace
}  // namespace rondo::base
