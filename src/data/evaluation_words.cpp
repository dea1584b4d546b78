#include "data/evaluation_words.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "data/tokenized.hpp"
#include "storage/hdf5.hpp"

namespace rondo::data {

using nlohmann::json;
using storage::Hdf5File;
using storage::Type;

namespace {

std::string format_of(const Hdf5File& file) {
  return file.has_attribute("format") ? file.text_attribute("format") : std::string();
}

void check_version(const Hdf5File& file) {
  const std::string format = format_of(file);
  if (format != kEvaluationFormat) {
    base::fail_user(
        "{}: has the format \"{}\", {} or {} was expected. tools/prepare makes such files.",
        file.path(), format, kEvaluationFormat, kTokenizedFormat);
  }
  const int64_t version = file.int_attribute("version");
  if (version != kEvaluationVersion) {
    base::fail_user("{}: has version {} of {}, this program reads version {}. Run tools/prepare.",
                    file.path(), version, kEvaluationFormat, kEvaluationVersion);
  }
}

std::string origin(const std::vector<std::string>& paths, const Origin& at) {
  return fmt::format("{}:{}", at.file < paths.size() ? paths[at.file] : "", at.row);
}

std::vector<EvaluationInstance> of_tokenized(const std::string& path) {
  const auto file = TokenizedFile::open(path, read_tokenized_info(path).vocab_size);
  const std::vector<std::string> paths = paths_of(file.info().source_files);
  const std::vector<Origin> origins = file.origins();
  std::vector<EvaluationInstance> instances;
  for (int64_t i = 0; i < file.examples(); ++i) {
    instances.push_back({file.read_words(i), origin(paths, origins[static_cast<size_t>(i)])});
  }
  return instances;
}

}  // namespace

std::vector<EvaluationInstance> read_instances(const std::string& path) {
  const Hdf5File file = Hdf5File::open_read(path);
  if (format_of(file) == kTokenizedFormat) return of_tokenized(path);
  check_version(file);
  const std::vector<std::string> paths = paths_of(file.text_attribute("source_files"));
  file.expect("words", Type::kUint8, 1);
  file.expect("word_offsets", Type::kInt64, 1);
  const auto bytes = file.read_all<uint8_t>("words");
  const auto offsets = file.read_all<int64_t>("word_offsets");
  const auto numbers = file.read_all<uint16_t>("file");
  const auto rows = file.read_all<int64_t>("row");
  const bool fits = !offsets.empty() && offsets.front() == 0 &&
                    offsets.back() == static_cast<int64_t>(bytes.size()) &&
                    numbers.size() + 1 == offsets.size() && rows.size() == numbers.size();
  if (!fits) {
    base::fail_user("{}: its datasets do not fit each other. Run tools/prepare again.", path);
  }
  std::vector<EvaluationInstance> instances;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    if (offsets[i + 1] < offsets[i]) {
      base::fail_user("{}: word_offsets[{}] = {} is less than the one before it ({}).", path, i + 1,
                      offsets[i + 1], offsets[i]);
    }
    instances.push_back({std::string(bytes.begin() + offsets[i], bytes.begin() + offsets[i + 1]),
                         origin(paths, {numbers[i], rows[i]})});
  }
  return instances;
}

std::string identity_of_instances(const std::string& path) {
  const Hdf5File file = Hdf5File::open_read(path);
  if (format_of(file) == kTokenizedFormat) {
    const TokenizedInfo info = read_tokenized_info(path);
    return json{info.source_files, info.settings_hash, info.counts}.dump();
  }
  check_version(file);
  return json{file.text_attribute("source_files"), file.text_attribute("settings_hash")}.dump();
}

std::string source_files_of_instances(const std::string& path) {
  const Hdf5File file = Hdf5File::open_read(path);
  check_version(file);
  return file.text_attribute("source_files");
}

}  // namespace rondo::data
