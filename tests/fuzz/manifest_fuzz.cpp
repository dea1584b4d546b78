// MANIFEST.json of a checkpoint: the input is its text. It is read as it is, then with the hash
// that belongs to it, so that what lies behind the hash is reached too.
#include "base/hash.hpp"
#include "checkpoint/manifest.hpp"
#include "fuzz/input.hpp"

namespace rondo::fuzz {
namespace {

using checkpoint::Manifest;

// What is accepted is written again, and that is read as the same.
void read(const std::string& text) {
  Manifest manifest;
  if (!accepts([&] { manifest = checkpoint::parse_manifest(text, "MANIFEST.json"); })) return;
  RONDO_CHECK(manifest.file_bytes() >= 0 && checkpoint::count_of(manifest.tensors) >= 0);
  const std::string again = checkpoint::manifest_text(manifest);
  RONDO_CHECK(checkpoint::manifest_text(checkpoint::parse_manifest(again, "again")) == again);
}

void run(std::string text) {
  constexpr std::string_view kHead = "{\n\"hash\": \"";
  constexpr size_t kDigits = 32;
  read(text);
  if (!text.starts_with(kHead) || text.size() <= kHead.size() + kDigits) return;
  text.replace(kHead.size(), kDigits, kDigits, '0');
  text.replace(kHead.size(), kDigits, base::hash_hex(text));
  read(text);
}

}  // namespace
}  // namespace rondo::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rondo::fuzz::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
