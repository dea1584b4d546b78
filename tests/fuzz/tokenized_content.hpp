// A small valid tokenised file, and everything that can be asked of one that is accepted.
#pragma once

#include "data/tokenized.hpp"
#include "fuzz/hdf5_content.hpp"

namespace rondo::fuzz {

inline constexpr int64_t kVocab = 16;

inline Content tokenized_content() {
  Content content;
  content.add_text("format", data::kTokenizedFormat);
  content.add_number("version", data::kTokenizedVersion);
  content.add_text("tokenizer_hash", std::string(32, 'a'));
  content.add_text("template_hash", std::string(32, 'b'));
  content.add_text("settings_hash", std::string(32, 'c'));
  content.add_text("chat_template", "{{ messages }}");
  content.add_number("vocab_size", kVocab);
  content.add_number("end_of_turn_id", 2);
  content.add_text("source_files", R"([{"path": "a.jsonl", "bytes": 9, "xxh3": "0"}])");
  content.add_text("counts", "{}");
  content.add_text("tag_names", R"(["sum", "short"])");
  content.add<int32_t>("tokens", {5, 6, 7, 8, 9, 1, 2, 3, 4, 11, 12, 13});
  content.add<uint8_t>("weights", {0, 0, 1, 1, 1, 0, 1, 1, 2, 0, 2, 1});
  content.add<float>("weight_table", {0.0F, 1.0F, 0.5F});
  content.add<int64_t>("offsets", {0, 5, 9, 12});
  content.add<uint64_t>("example_id", {71, 72, 73});
  content.add<int64_t>("prompt_length", {2, 1, 1});
  const std::string words = "u a b\na cu d\na eu f\na g";
  content.add("words", std::vector<uint8_t>(words.begin(), words.end()));
  content.add<int64_t>("word_offsets", {0, 9, 16, 23});
  content.add<uint16_t>("file", {0, 0, 0});
  content.add<int64_t>("row", {1, 2, 3});
  content.add<int64_t>("tag_offsets", {0, 1, 1, 2});
  content.add<uint16_t>("tags", {0, 1});
  return content;
}

// Reads the file whole. A part that is found damaged only when it is read is refused by itself.
inline void read_tokenized(const std::string& path, Refusal refusal) {
  accepts([&] { data::read_tokenized_info(path); }, refusal);
  accepts(
      [&] {
        const auto file = data::TokenizedFile::open(path, kVocab);
        data::paths_of(file.info().source_files);
        accepts([&] { file.example_ids(); }, refusal);
        accepts([&] { file.origins(); }, refusal);
        for (int64_t i = 0; i < file.examples(); ++i) {
          RONDO_CHECK(file.length(i) >= 0 && file.prompt_length(i) <= file.length(i));
          for (const uint16_t tag : file.tags(i)) RONDO_CHECK(tag < file.tag_names().size());
          accepts([&] { file.read_words(i); }, refusal);
          std::vector<int32_t> tokens(static_cast<size_t>(file.length(i)));
          if (!accepts([&] { file.read_tokens(i, tokens); }, refusal)) continue;
          for (const int32_t token : tokens) RONDO_CHECK(token >= 0 && token < kVocab);
        }
        std::vector<uint8_t> codes(static_cast<size_t>(file.tokens()));
        if (!accepts([&] { file.read_codes(0, codes); }, refusal)) return;
        for (const uint8_t code : codes) RONDO_CHECK(code < file.weight_table().size());
      },
      refusal);
}

}  // namespace rondo::fuzz
