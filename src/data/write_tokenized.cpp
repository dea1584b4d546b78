#include "data/write_tokenized.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "storage/replace.hpp"

namespace rondo::data {

namespace {

template <class T>
std::string_view bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

uint64_t id_of(const NewExample& example, uint64_t ordinal) {
  std::string content(bytes_of(example.tokens));
  content += bytes_of(example.codes);
  content.append(reinterpret_cast<const char*>(&ordinal), sizeof(ordinal));
  return base::hash64(content);
}

// The tables of all examples, end to end.
struct Tables {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> codes;
  std::vector<int64_t> offsets = {0};
  std::vector<uint64_t> ids;
  std::vector<int64_t> prompt_lengths;
  std::vector<uint8_t> words;
  std::vector<int64_t> word_offsets = {0};
  std::vector<uint16_t> files;
  std::vector<int64_t> rows;
  std::vector<uint16_t> tags;
  std::vector<int64_t> tag_offsets = {0};

  void add(const NewExample& example, const std::vector<float>& weight_table) {
    RONDO_CHECK(example.tokens.size() == example.codes.size());
    size_t prompt = 0;
    while (prompt < example.codes.size() && weight_table.at(example.codes[prompt]) == 0) ++prompt;
    RONDO_CHECK(prompt > 0 && prompt < example.codes.size(), "nothing of an example is trained");
    ids.push_back(id_of(example, ids.size()));
    append(tokens, example.tokens);
    append(codes, example.codes);
    append(words, example.words);
    append(tags, example.tags);
    offsets.push_back(std::ssize(tokens));
    word_offsets.push_back(std::ssize(words));
    tag_offsets.push_back(std::ssize(tags));
    prompt_lengths.push_back(static_cast<int64_t>(prompt));
    files.push_back(example.origin.file);
    rows.push_back(example.origin.row);
  }
  template <class T, class From>
  static void append(std::vector<T>& to, const From& from) {
    to.insert(to.end(), from.begin(), from.end());
  }
};

}  // namespace

void write_tokenized(const std::string& path, const NewTokenized& content) {
  Tables tables;
  for (const NewExample& example : content.examples) tables.add(example, content.weight_table);
  const TokenizedInfo& info = content.info;
  storage::replace_hdf5(path, [&](storage::Hdf5File& file) {
    file.set_attribute("format", kTokenizedFormat);
    file.set_attribute("version", kTokenizedVersion);
    file.set_attribute("tokenizer_hash", info.tokenizer_hash);
    file.set_attribute("template_hash", info.template_hash);
    if (!info.chat_template.empty()) file.set_attribute("chat_template", info.chat_template);
    file.set_attribute("settings_hash", info.settings_hash);
    file.set_attribute("vocab_size", info.vocab_size);
    file.set_attribute("end_of_turn_id", info.end_of_turn_id);
    file.set_attribute("source_files", info.source_files);
    file.set_attribute("counts", info.counts);
    file.set_attribute("tag_names", nlohmann::json(content.tag_names).dump());
    file.write_all("tokens", tables.tokens);
    file.write_all("weights", tables.codes);
    file.write_all("weight_table", content.weight_table);
    file.write_all("offsets", tables.offsets);
    file.write_all("example_id", tables.ids);
    file.write_all("prompt_length", tables.prompt_lengths);
    file.write_all("words", tables.words);
    file.write_all("word_offsets", tables.word_offsets);
    file.write_all("file", tables.files);
    file.write_all("row", tables.rows);
    file.write_all("tag_offsets", tables.tag_offsets);
    file.write_all("tags", tables.tags);
  });
}

}  // namespace rondo::data
