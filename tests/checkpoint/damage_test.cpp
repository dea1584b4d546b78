// Laws: any change of any byte or size of any file is found, named, recorded in BAD, and the next
// older checkpoint is used; when none is left, that is an error and never a fresh start.
#include <filesystem>
#include <functional>
#include <limits>
#include <mutex>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "checkpoint/manifest.hpp"
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
using ::testing::HasSubstr;

constexpr const char* kOld = "step-00000001";
constexpr const char* kNew = "step-00000002";

void flip(const std::string& path, int64_t at) {
  base::File file = base::File::open_write(path);
  std::byte byte{};
  file.read_at(at, {&byte, 1});
  byte ^= std::byte{0x10};
  file.write_at(at, {&byte, 1});
  file.close();
}

// Two checkpoints of the same tensors by three ranks: version 1 at step 1, version 2 at step 2.
void save_two(const std::string& folder) {
  LocalWorld::run(3, [&](Group&, Control& control) {
    save_toy(folder, 1, control, 1);
    save_toy(folder, 2, control, 2);
  });
}

// The newest usable one is the old one; returns what the new one's rejection said.
std::string falls_back(const std::string& folder, Verify verify = Verify::kFull) {
  for (int run = 0; run < 2; ++run) {  // the second run finds the entry in BAD
    for (const int ranks : {1, 2}) {
      LocalWorld::run(ranks, [&](Group&, Control& control) {
        base::Console console(false);
        const auto found = Checkpoint::open_newest(folder, control, console, verify);
        EXPECT_TRUE(found.has_value() && found->step() == 1);
        EXPECT_TRUE(found.has_value() && wrong_elements(*found, 1) == 0);
      });
    }
  }
  const std::string bad = base::read_text(folder + "/BAD");
  const auto line = nlohmann::json::parse(bad);  // exactly one line
  EXPECT_EQ(line.at("name"), kNew);
  return line.at("reason");
}

TEST(Damage, IsFoundNamedAndFallenBackFrom) {
  struct Case {
    std::string what;
    std::function<void(const std::string& newer, const std::string& older)> damage;
    std::string text;
  };
  const auto resize = [](const std::string& path, int64_t by) {
    fs::resize_file(path, static_cast<uintmax_t>(static_cast<int64_t>(fs::file_size(path)) + by));
  };
  const std::vector<Case> cases = {
      {"shard, last byte off", [&](auto& n, auto&) { resize(n + "/shard-0001.h5", -1); },
       "shard-0001.h5: has"},
      {"shard, a byte more", [&](auto& n, auto&) { resize(n + "/shard-0001.h5", 1); },
       "shard-0001.h5: has"},
      {"shard, empty", [&](auto& n, auto&) { fs::resize_file(n + "/shard-0000.h5", 0); },
       "shard-0000.h5: has 0 bytes"},
      {"shard, gone", [&](auto& n, auto&) { fs::remove(n + "/shard-0002.h5"); }, "shard-0002.h5"},
      {"shard, a flipped bit in the elements",
       [&](auto& n, auto&) {
         flip(n + "/shard-0001.h5", static_cast<int64_t>(fs::file_size(n + "/shard-0001.h5")) - 1);
       },
       "shard-0001.h5"},
      {"shard, a flipped bit in the header",
       [&](auto& n, auto&) { flip(n + "/shard-0002.h5", 40); }, "what surrounds the elements"},
      {"shard of another checkpoint",
       [&](auto& n, auto& o) {
         fs::copy_file(o + "/shard-0001.h5", n + "/shard-0001.h5",
                       fs::copy_options::overwrite_existing);
       },
       "shard-0001.h5"},
      {"shards swapped",
       [&](auto& n, auto&) {
         fs::rename(n + "/shard-0000.h5", n + "/x");
         fs::rename(n + "/shard-0001.h5", n + "/shard-0000.h5");
         fs::rename(n + "/x", n + "/shard-0001.h5");
       },
       "shard-0000.h5"},
      {"logical.h5 gone", [&](auto& n, auto&) { fs::remove(n + "/logical.h5"); }, "logical.h5"},
      {"logical.h5, a flipped bit", [&](auto& n, auto&) { flip(n + "/logical.h5", 1000); },
       "logical.h5: the file has the hash"},
      {"manifest gone", [&](auto& n, auto&) { fs::remove(n + "/MANIFEST.json"); }, "MANIFEST.json"},
      {"manifest empty", [&](auto& n, auto&) { fs::resize_file(n + "/MANIFEST.json", 0); },
       "not a usable manifest"},
      {"manifest, last byte off", [&](auto& n, auto&) { resize(n + "/MANIFEST.json", -2); },
       "not a usable manifest"},
      {"manifest of the older checkpoint",
       [&](auto& n, auto& o) {
         fs::copy_file(o + "/MANIFEST.json", n + "/MANIFEST.json",
                       fs::copy_options::overwrite_existing);
       },
       "is the manifest of checkpoint 'step-00000001'"},
      {"manifest of the same step of another run",
       [&](auto& n, auto&) {
         const TempFolder other;
         LocalWorld::run(3,
                         [&](Group&, Control& control) { save_toy(other.path(), 2, control, 2); });
         fs::copy_file(other / "step-00000002/MANIFEST.json", n + "/MANIFEST.json",
                       fs::copy_options::overwrite_existing);
       },
       "what surrounds the elements"},
  };
  for (const Case& item : cases) {
    SCOPED_TRACE(item.what);
    const TempFolder folder;
    save_two(folder.path());
    item.damage(folder / kNew, folder / kOld);
    EXPECT_THAT(falls_back(folder.path()), HasSubstr(item.text));
  }
}

TEST(Damage, NoByteOfAnyFileCanChangeUnseen) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) { save_toy(folder.path(), 1, control); });
  for (const std::string file : {"MANIFEST.json", "logical.h5", "shard-0000.h5", "shard-0001.h5"}) {
    const std::string path = folder / kOld + "/" + file;
    const auto size = static_cast<int64_t>(fs::file_size(path));
    for (int64_t at = 0; at < size; at += 211) {
      flip(path, at);
      LocalWorld::run(1, [&](Group&, Control& control) {
        EXPECT_THROW(Checkpoint::open(folder / kOld, control, Verify::kFull), base::UserError)
            << file << " " << at;
      });
      flip(path, at);
    }
  }
  LocalWorld::run(1, [&](Group&, Control& control) {
    EXPECT_EQ(wrong_elements(Checkpoint::open(folder / kOld, control, Verify::kFull)), 0);
  });
}

TEST(Damage, TheQuickCheckFindsSizes) {
  const TempFolder folder;
  save_two(folder.path());
  fs::resize_file(folder / "step-00000002/shard-0001.h5", 5000);
  EXPECT_THAT(falls_back(folder.path(), Verify::kManifest), HasSubstr("has 5000 bytes"));
}

TEST(Damage, WhenNoneIsLeftItIsAnErrorWithTheList) {
  const TempFolder folder;
  save_two(folder.path());
  flip(folder / "step-00000001/shard-0000.h5", 10);
  fs::remove(folder / "step-00000002/MANIFEST.json");
  for (int run = 0; run < 2; ++run) {
    LocalWorld::run(2, [&](Group&, Control& control) {
      base::Console console(false);
      const std::string text = message_of<base::SystemError>(
          [&] { Checkpoint::open_newest(folder.path(), control, console, Verify::kFull); });
      EXPECT_THAT(text, HasSubstr("step-00000001"));
      EXPECT_THAT(text, HasSubstr("step-00000002"));
    });
  }
}

TEST(Damage, ABadOneIsReplacedByTheNextSaveOfItsName) {
  const TempFolder folder;
  save_two(folder.path());
  flip(folder / "step-00000002/shard-0000.h5", 10);
  base::append_line_durably(folder / "BAD", "{\"torn");
  LocalWorld::run(2, [&](Group&, Control& control) {
    base::Console console(false);
    const auto open = [&] {
      return Checkpoint::open_newest(folder.path(), control, console, Verify::kFull)->step();
    };
    EXPECT_EQ(open(), 1);
    save_toy(folder.path(), 2, control, 3);
    EXPECT_EQ(open(), 2);
    EXPECT_EQ(wrong_elements(Checkpoint::open(folder / kNew, control, Verify::kFull), 3), 0);
  });
}

TEST(Damage, NoneAtAllIsNotAnError) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    base::Console console(false);
    for (const std::string& name : {folder.path(), folder / "missing"}) {
      EXPECT_FALSE(Checkpoint::open_newest(name, control, console, Verify::kFull).has_value());
    }
  });
}

TEST(Damage, AcceptChoosesAmongThem) {
  const TempFolder folder;
  save_two(folder.path());
  LocalWorld::run(2, [&](Group&, Control& control) {
    base::Console console(false);
    const auto open = [&](int64_t wanted) {
      return Checkpoint::open_newest(folder.path(), control, console, Verify::kFull,
                                     [&](const std::string&, const nlohmann::json& state) {
                                       return state.at("step") == wanted;
                                     });
    };
    EXPECT_EQ(open(1)->step(), 1);
    EXPECT_FALSE(open(5).has_value());
  });
}

TEST(Manifest, ARewrittenTextIsCheckedForSense) {
  const TempFolder folder;
  save_two(folder.path());
  const std::string path = folder / "step-00000002/MANIFEST.json";
  const auto good = checkpoint::parse_manifest(base::read_text(path), path);
  const auto refused = [&](const std::function<void(checkpoint::Manifest&)>& change) {
    checkpoint::Manifest manifest = good;
    change(manifest);
    return message_of<base::UserError>(
        [&] { checkpoint::parse_manifest(manifest_text(manifest), "M"); });
  };
  using checkpoint::Manifest;
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].file = "../x"; }), HasSubstr("'../x'"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[1].file = m.shards[0].file; }),
              HasSubstr("there twice"));
  EXPECT_THAT(refused([](Manifest& m) { m.tensors[1].name = m.tensors[0].name; }),
              HasSubstr("there twice"));
  EXPECT_THAT(refused([](Manifest& m) {
                m.tensors[0].shape = {int64_t{1} << 40, 1 << 30};
              }),
              HasSubstr("impossible shape"));
  EXPECT_THAT(refused([](Manifest& m) { m.tensors[0].shape[0] += 1; }),
              HasSubstr("stored nowhere"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].bytes = 10; }), HasSubstr("do not fit"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].parts[0].crc32c.push_back(1); }),
              HasSubstr("malformed"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].segments[0].offset = 1; }),
              HasSubstr("malformed"));
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  EXPECT_THAT(refused([](Manifest& m) {
                m.shards[0].parts.push_back({{m.shards[0].elements, kLeast}, {}});
              }),
              HasSubstr("malformed"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].segments[0].elements.length = kLeast; }),
              HasSubstr("no elements"));
  EXPECT_THAT(refused([](Manifest& m) { m.logical_bytes = -1; }), HasSubstr("sizes"));
  EXPECT_THAT(refused([](Manifest& m) {
                for (auto& shard : m.shards) shard.bytes = std::numeric_limits<int64_t>::max();
              }),
              HasSubstr("sizes"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].segments.pop_back(); }),
              HasSubstr("segments end"));
  EXPECT_THAT(refused([](Manifest& m) { m.shards[0].parts[0].crc32c[0] ^= 1; }),
              HasSubstr("its hash is not that of"));
  EXPECT_THAT(
      refused([](Manifest& m) { m.shards[0].segments[0].elements.count = int64_t{1} << 62; }),
      HasSubstr("malformed"));
  EXPECT_THAT(refused([](Manifest& m) { m.digest = "12"; }), HasSubstr("not a digest"));
  std::string newer = base::read_text(path);
  newer.replace(newer.find("\"version\": 2"), 12, "\"version\": 7");
  EXPECT_THAT(message_of<base::UserError>([&] { checkpoint::parse_manifest(newer, "M"); }),
              HasSubstr("its version is 7, this program reads versions 1 to 2"));
}

TEST(Manifest, NumbersListsAndNestingAreTakenLiterally) {
  const TempFolder folder;
  save_two(folder.path());
  const std::string text = base::read_text(folder / "step-00000002/MANIFEST.json");
  // With the hash that belongs to the changed text.
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    changed.replace(changed.find(": \"") + 3, 32, 32, '0');
    changed.replace(changed.find(": \"") + 3, 32, base::hash_hex(changed));
    return message_of<base::UserError>([&] { checkpoint::parse_manifest(changed, "M"); });
  };
  EXPECT_THAT(refused("\"step\": 2", "\"step\": 2.5"), HasSubstr("step is not a whole number"));
  EXPECT_THAT(refused("\"step\": 2", "\"step\": true"), HasSubstr("step is not a whole number"));
  EXPECT_THAT(refused("\"step\": 2", "\"step\": 2, \"step\": 3"), HasSubstr("\"step\" twice"));
  EXPECT_THAT(refused("\"data_at\":", "\"data_at\":1e300, \"x\":"),
              HasSubstr("data_at is not a whole number"));
  EXPECT_THAT(refused("\"crc32c\":[", "\"crc32c\":[4294967296,"), HasSubstr("32 bits"));
  EXPECT_THAT(refused("\"crc32c\":[", "\"crc32c\":1,\"x\":["), HasSubstr("crc32c is not a list"));
  EXPECT_THAT(refused("\"state\": {", "\"state\": {\"x\": " + std::string(200'000, '[') +
                                          std::string(200'000, ']') + ","),
              HasSubstr("nested deeper than 64 levels"));
}

}  // namespace
}  // namespace rondo::test
