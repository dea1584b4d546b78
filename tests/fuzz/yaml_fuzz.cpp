// The configuration: YAML text, then overrides ("section.key=value"), each begun by a zero byte.
#include "fuzz/input.hpp"
#include "train/config.hpp"
#include "train/config_fields.hpp"

namespace rondo::fuzz {
namespace {

void run(Input input) {
  const std::string text(input.until('\0'));
  std::vector<std::string> overrides;
  while (!input.empty()) overrides.emplace_back(input.until('\0'));
  accepts([&] {
    base::Problems problems;
    base::YamlNode root = base::parse_yaml(text, "text.yaml", problems);
    for (const std::string& one : overrides) base::apply_override(root, one, problems);
    RONDO_CHECK(!root.place.empty() && !root.described().empty());
    problems.throw_if_any();
  });

  const std::string path = write_file("config.yaml", text);
  train::Config config;
  if (!accepts([&] { config = train::read_config(path, overrides); })) return;
  // What is accepted is written resolved, and that is accepted as the same.
  const std::string resolved = train::resolved_yaml(config);
  const train::Config again = train::read_config(write_file("resolved.yaml", resolved), {});
  RONDO_CHECK(train::resolved_yaml(again) == resolved);
}

}  // namespace
}  // namespace rondo::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rondo::fuzz::run({data, size});
  return 0;
}
