#include "data/generated.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "storage/hdf5.hpp"
#include "storage/replace.hpp"

namespace rondo::data {
namespace {

void check_tables(const std::string& path, const Generated& generated) {
  const auto& offsets = generated.offsets;
  if (offsets.empty() || offsets.front() != 0 || !std::ranges::is_sorted(offsets) ||
      offsets.back() != std::ssize(generated.tokens)) {
    base::fail_user(
        "{}: dataset offsets must rise from 0 to the {} tokens of the file. It is damaged: "
        "generate again.",
        path, generated.tokens.size());
  }
  if (offsets.size() != generated.example_id.size() + 1 ||
      generated.finished.size() != generated.example_id.size()) {
    base::fail_user(
        "{}: {} offsets, {} example ids and {} finished flags do not belong together (N + 1, N, "
        "N). It is damaged: generate again.",
        path, offsets.size(), generated.example_id.size(), generated.finished.size());
  }
}

}  // namespace

void Generated::append(std::span<const int32_t> completion, uint64_t id, bool ended_by_stop_id) {
  tokens.insert(tokens.end(), completion.begin(), completion.end());
  offsets.push_back(std::ssize(tokens));
  example_id.push_back(id);
  finished.push_back(ended_by_stop_id ? 1 : 0);
}

void write_generated(const std::string& path, const Generated& generated) {
  storage::replace_hdf5(path, [&](storage::Hdf5File& file) {
    file.set_attribute("format", kGeneratedFormat);
    file.set_attribute("version", kGeneratedVersion);
    file.set_attribute("model", generated.model);
    file.set_attribute("prompts", generated.prompts);
    file.set_attribute("settings", generated.settings);
    file.write_all("tokens", generated.tokens);
    file.write_all("offsets", generated.offsets);
    file.write_all("example_id", generated.example_id);
    file.write_all("finished", generated.finished);
  });
}

Generated read_generated(const std::string& path) {
  const storage::Hdf5File file = storage::Hdf5File::open_read(path);
  const std::string format = file.has_attribute("format") ? file.text_attribute("format") : "none";
  if (format != kGeneratedFormat) {
    base::fail_user(
        "{}: has the format \"{}\", \"{}\" was expected, as `rondo generate` writes it.", path,
        format, kGeneratedFormat);
  }
  const int64_t version = file.int_attribute("version");
  if (version != kGeneratedVersion) {
    base::fail_user("{}: has version {} of {}, this program reads version {}. Generate again.",
                    path, version, kGeneratedFormat, kGeneratedVersion);
  }
  Generated generated;
  generated.model = file.text_attribute("model");
  generated.prompts = file.text_attribute("prompts");
  generated.settings = file.text_attribute("settings");
  generated.tokens = file.read_all<int32_t>("tokens");
  generated.offsets = file.read_all<int64_t>("offsets");
  generated.example_id = file.read_all<uint64_t>("example_id");
  generated.finished = file.read_all<uint8_t>("finished");
  check_tables(path, generated);
  return generated;
}

}  // namespace rondo::data
