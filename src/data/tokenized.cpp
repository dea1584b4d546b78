#include "data/tokenized.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/json.hpp"

namespace rondo::data {

using storage::Hdf5File;
using storage::Type;

namespace {

std::string hash_attribute(const Hdf5File& file, const std::string& name) {
  const std::string text = file.text_attribute(name);
  if (text.size() != 32 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    base::fail_user("{}: attribute {} is \"{}\", 32 hexadecimal digits were expected.", file.path(),
                    name, text);
  }
  return text;
}

TokenizedInfo read_info(const Hdf5File& file) {
  if (!file.has_attribute("format")) {
    base::fail_user(
        "{}: is HDF5 but not a tokenised file: attribute format is missing. tools/tokenize makes "
        "such files.",
        file.path());
  }
  const std::string format = file.text_attribute("format");
  if (format != kTokenizedFormat) {
    base::fail_user(
        "{}: has the format \"{}\", \"{}\" was expected. tools/tokenize makes such "
        "files.",
        file.path(), format, kTokenizedFormat);
  }
  const int64_t version = file.int_attribute("version");
  if (version != kTokenizedVersion) {
    base::fail_user("{}: has version {} of {}, this program reads version {}. Tokenise again.",
                    file.path(), version, kTokenizedFormat, kTokenizedVersion);
  }
  TokenizedInfo info;
  info.tokenizer_hash = hash_attribute(file, "tokenizer_hash");
  info.template_hash = hash_attribute(file, "template_hash");
  info.settings_hash = hash_attribute(file, "settings_hash");
  if (file.has_attribute("chat_template")) {
    info.chat_template = file.text_attribute("chat_template");
  }
  info.vocab_size = file.int_attribute("vocab_size");
  info.end_of_turn_id = file.int_attribute("end_of_turn_id");
  info.source_files = file.text_attribute("source_files");
  info.counts = file.text_attribute("counts");
  return info;
}

void check_offsets(const Hdf5File& file, const char* name, const std::vector<int64_t>& offsets) {
  if (offsets.empty() || offsets.front() != 0) {
    base::fail_user("{}: dataset {} must begin with 0.", file.path(), name);
  }
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1]) {
      base::fail_user("{}: {}[{}] = {} is less than the one before it ({}).", file.path(), name, i,
                      offsets[i], offsets[i - 1]);
    }
  }
}

void expect_rows(const Hdf5File& file, const char* name, Type type, int64_t rows) {
  const int64_t found = file.expect(name, type, 1)[0];
  if (found != rows) {
    base::fail_user("{}: dataset {} has {} rows, {} were expected.", file.path(), name, found,
                    rows);
  }
}

}  // namespace

std::vector<std::string> paths_of(const std::string& source_files) {
  const auto files = base::try_parse_json(source_files);
  std::vector<std::string> paths;
  if (!files || !files->is_array()) return paths;
  for (const auto& file : *files) {
    const bool has_path = file.is_object() && file.contains("path") && file["path"].is_string();
    paths.push_back(has_path ? file["path"].get<std::string>() : "");
  }
  return paths;
}

TokenizedInfo read_tokenized_info(const std::string& path) {
  TokenizedInfo info = read_info(Hdf5File::open_read(path));
  info.file_bytes = base::File::open_read(path).size();
  return info;
}

TokenizedFile TokenizedFile::open(const std::string& path, int64_t vocab) {
  Hdf5File hdf5 = Hdf5File::open_read(path);
  TokenizedFile file(std::move(hdf5), base::File::open_read(path));
  file.info_ = read_info(file.hdf5_);
  file.info_.file_bytes = file.raw_.size();
  file.vocab_ = vocab;
  const int64_t ids = file.info_.vocab_size;
  if (ids < 1 || ids > vocab) {
    base::fail_user(
        "{}: the tokenizer it was made with has {} ids, the model has rows for {}. Tokenise with "
        "the model's own tokenizer.",
        path, ids, vocab);
  }
  if (file.info_.end_of_turn_id < -1 || file.info_.end_of_turn_id >= vocab) {
    base::fail_user("{}: attribute end_of_turn_id is {}, -1 to {} was expected.", path,
                    file.info_.end_of_turn_id, vocab - 1);
  }
  file.hdf5_.expect("offsets", Type::kInt64, 1);
  file.offsets_ = file.hdf5_.read_all<int64_t>("offsets");
  file.hdf5_.expect("word_offsets", Type::kInt64, 1);
  file.word_offsets_ = file.hdf5_.read_all<int64_t>("word_offsets");
  file.weight_table_ = file.hdf5_.read_all<float>("weight_table");
  file.prompt_lengths_ = file.hdf5_.read_all<int64_t>("prompt_length");
  file.check_tables();
  file.read_tags();
  file.tokens_at_ = file.hdf5_.data_offset("tokens", Type::kInt32);
  file.codes_at_ = file.hdf5_.data_offset("weights", Type::kUint8);
  file.words_at_ = file.hdf5_.data_offset("words", Type::kUint8);
  return file;
}

void TokenizedFile::check_tables() const {
  check_offsets(hdf5_, "offsets", offsets_);
  check_offsets(hdf5_, "word_offsets", word_offsets_);
  expect_rows(hdf5_, "word_offsets", Type::kInt64, examples() + 1);
  expect_rows(hdf5_, "words", Type::kUint8, word_offsets_.back());
  expect_rows(hdf5_, "file", Type::kUint16, examples());
  expect_rows(hdf5_, "row", Type::kInt64, examples());
  expect_rows(hdf5_, "tokens", Type::kInt32, tokens());
  expect_rows(hdf5_, "weights", Type::kUint8, tokens());
  expect_rows(hdf5_, "example_id", Type::kUint64, examples());
  expect_rows(hdf5_, "prompt_length", Type::kInt64, examples());
  for (int64_t i = 0; i < examples(); ++i) {
    if (prompt_length(i) < 0 || prompt_length(i) > length(i)) {
      base::fail_user("{}: prompt_length[{}] = {}, but the example has {} tokens.", path(), i,
                      prompt_length(i), length(i));
    }
  }
  hdf5_.expect("weight_table", Type::kFloat32, 1);
  if (weight_table_.empty() || weight_table_.size() > 256 || weight_table_[0] != 0.0F) {
    base::fail_user(
        "{}: dataset weight_table has {} entries, 1 to 256 with 0 as the first were "
        "expected.",
        path(), weight_table_.size());
  }
  for (size_t i = 0; i < weight_table_.size(); ++i) {
    if (!std::isfinite(weight_table_[i]) || weight_table_[i] < 0) {
      base::fail_user("{}: weight_table[{}] = {}, a finite weight of at least 0 was expected.",
                      path(), i, weight_table_[i]);
    }
  }
}

int64_t TokenizedFile::prompt_length(int64_t example) const {
  return prompt_lengths_[static_cast<size_t>(example)];
}

void TokenizedFile::read_tags() {
  hdf5_.expect("tag_offsets", Type::kInt64, 1);
  tag_offsets_ = hdf5_.read_all<int64_t>("tag_offsets");
  check_offsets(hdf5_, "tag_offsets", tag_offsets_);
  expect_rows(hdf5_, "tag_offsets", Type::kInt64, examples() + 1);
  expect_rows(hdf5_, "tags", Type::kUint16, tag_offsets_.back());
  tags_ = hdf5_.read_all<uint16_t>("tags");
  const auto names = base::try_parse_json(hdf5_.text_attribute("tag_names"));
  const auto is_text = [](const nlohmann::json& name) { return name.is_string(); };
  if (!names || !names->is_array() || !std::ranges::all_of(*names, is_text)) {
    base::fail_user("{}: attribute tag_names is not a JSON list of texts.", path());
  }
  tag_names_ = names->get<std::vector<std::string>>();
  const auto wrong =
      std::ranges::find_if(tags_, [&](auto tag) { return tag >= tag_names_.size(); });
  if (wrong != tags_.end()) {
    base::fail_user("{}: tags[{}] = {}, but tag_names has {} entries.", path(),
                    wrong - tags_.begin(), *wrong, tag_names_.size());
  }
}

std::span<const uint16_t> TokenizedFile::tags(int64_t example) const {
  const auto i = static_cast<size_t>(example);
  const auto begin = static_cast<size_t>(tag_offsets_[i]);
  return std::span(tags_).subspan(begin, static_cast<size_t>(tag_offsets_[i + 1]) - begin);
}

std::vector<Origin> TokenizedFile::origins() const {
  const auto files = hdf5_.read_all<uint16_t>("file");
  const auto rows = hdf5_.read_all<int64_t>("row");
  std::vector<Origin> origins(files.size());
  for (size_t i = 0; i < files.size(); ++i) origins[i] = {files[i], rows[i]};
  return origins;
}

int64_t TokenizedFile::word_bytes(int64_t example) const {
  const auto i = static_cast<size_t>(example);
  return word_offsets_[i + 1] - word_offsets_[i];
}

std::string TokenizedFile::read_words(int64_t example) const {
  RONDO_CHECK(example >= 0 && example < examples());
  std::string words(static_cast<size_t>(word_bytes(example)), ' ');
  read("words", words_at_, word_offsets_[static_cast<size_t>(example)],
       std::span(reinterpret_cast<uint8_t*>(words.data()), words.size()));
  return words;
}

template <class T>
void TokenizedFile::read(const char* dataset, int64_t data_offset, int64_t begin,
                         std::span<T> out) const {
  if (out.empty()) return;
  if (data_offset < 0) {
    hdf5_.read_rows<T>(dataset, begin, static_cast<int64_t>(out.size()), out.data());
  } else {
    raw_.read_at(data_offset + begin * static_cast<int64_t>(sizeof(T)),
                 std::as_writable_bytes(out));
  }
}

void TokenizedFile::read_tokens(int64_t example, std::span<int32_t> out) const {
  RONDO_CHECK(example >= 0 && example < examples() &&
              static_cast<int64_t>(out.size()) <= length(example));
  read("tokens", tokens_at_, offset(example), out);
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] < 0 || out[i] >= vocab_) {
      base::fail_user(
          "{}: token {} of example {} is {}, ids of the model are 0 to {}. Tokenise with the "
          "model's own tokenizer.",
          path(), i, example, out[i], vocab_ - 1);
    }
  }
}

void TokenizedFile::read_codes(int64_t first, std::span<uint8_t> out) const {
  RONDO_CHECK(first >= 0 && first <= examples() &&
              static_cast<int64_t>(out.size()) <= tokens() - offset(first));
  read("weights", codes_at_, offset(first), out);
  const auto wrong = std::find_if(out.begin(), out.end(),
                                  [&](uint8_t code) { return code >= weight_table_.size(); });
  if (wrong != out.end()) {
    base::fail_user("{}: weights[{}] = {}, but weight_table has {} entries.", path(),
                    offset(first) + (wrong - out.begin()), *wrong, weight_table_.size());
  }
}

}  // namespace rondo::data
