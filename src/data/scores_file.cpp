#include "data/scores_file.hpp"

#include <filesystem>
#include <limits>
#include <unordered_map>

#include "base/error.hpp"
#include "base/json.hpp"
#include "storage/replace.hpp"

namespace rondo::data {

using nlohmann::json;
using storage::Hdf5File;
using storage::Type;

namespace {

constexpr const char* kGroup = "scores";

std::string dataset_of(const std::string& name) { return std::string(kGroup) + "/" + name; }

}  // namespace

std::string scores_beside(const std::string& tokenised) {
  return tokenised.substr(0, tokenised.rfind(".h5")) + ".scores.h5";
}

Hdf5File open_scores(const std::string& path) {
  Hdf5File file = Hdf5File::open_read(path);
  const std::string format =
      file.has_attribute("format") ? file.text_attribute("format") : std::string();
  if (format != kScoresFormat || file.int_attribute("version") != kScoresVersion) {
    base::fail_user("{}: has the format \"{}\", {} of version {} was expected.", path, format,
                    kScoresFormat, kScoresVersion);
  }
  file.expect("example_id", Type::kUint64, 1);
  return file;
}

std::vector<float> read_score(const Hdf5File& file, const std::string& name) {
  const std::string column = dataset_of(name);
  if (!file.has(column)) {
    base::fail_user("{}: has no score \"{}\" (dataset /{}).", file.path(), name, column);
  }
  const std::vector<int64_t> ids = file.expect("example_id", Type::kUint64, 1);
  const std::vector<int64_t> values = file.expect(column, Type::kFloat32, 1);
  if (ids != values) {
    base::fail_user("{}: /{} has {} numbers for {} examples.", file.path(), column, values[0],
                    ids[0]);
  }
  return file.read_all<float>(column);
}

ScoreColumns read_scores(const std::string& path) {
  const Hdf5File file = open_scores(path);
  ScoreColumns columns;
  columns.example_id = file.read_all<uint64_t>("example_id");
  for (const std::string& name : file.names(kGroup)) {
    columns.values.emplace(name, read_score(file, name));
  }
  if (file.has_attribute("made")) {
    columns.made =
        base::parse_json(file.text_attribute("made"),
                         path + ": attribute made:", "Take the attribute out, or the file away.");
  }
  if (!columns.made.is_object()) {
    base::fail_user("{}: attribute made is no JSON object. Take it out, or the file away.", path);
  }
  return columns;
}

void merge_scores(const std::string& path, const ScoreColumns& columns) {
  ScoreColumns all;
  if (std::filesystem::exists(path)) all = read_scores(path);
  std::unordered_map<uint64_t, size_t> row_of;
  for (size_t i = 0; i < all.example_id.size(); ++i) row_of[all.example_id[i]] = i;
  std::vector<size_t> rows;  // by new row: where it goes
  for (const uint64_t id : columns.example_id) {
    const auto [at, fresh] = row_of.try_emplace(id, all.example_id.size());
    if (fresh) all.example_id.push_back(id);
    rows.push_back(at->second);
  }
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  for (auto& [name, values] : all.values) values.resize(all.example_id.size(), kNone);
  for (const auto& [name, values] : columns.values) {
    RONDO_CHECK(values.size() == rows.size());
    std::vector<float>& to = all.values[name];
    to.assign(all.example_id.size(), kNone);
    for (size_t i = 0; i < rows.size(); ++i) to[rows[i]] = values[i];
    all.made.erase(name);
  }
  all.made.update(columns.made);
  storage::replace_hdf5(path, [&](Hdf5File& file) {
    file.set_attribute("format", kScoresFormat);
    file.set_attribute("version", kScoresVersion);
    file.set_attribute("made", all.made.dump());
    file.write_all("example_id", all.example_id);
    for (const auto& [name, values] : all.values) file.write_all(dataset_of(name), values);
  });
}

}  // namespace rondo::data
