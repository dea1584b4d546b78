// Reader of tokenised files (`rondo.tokenized`, docs/formats/tokenized.md), which tools/tokenize
// writes: examples as token ids with a loss weight per token, and the words they are compared by.
//
// Tables (offsets, prompt lengths) are held in memory and checked when the file is opened; tokens,
// weight codes and words stay on disk, are read by example and checked as they are read. Every
// failed check is a UserError with file, place, found and expected.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "storage/hdf5.hpp"

namespace rondo::data {

inline constexpr const char* kTokenizedFormat = "rondo.tokenized";
inline constexpr int64_t kTokenizedVersion = 2;

struct TokenizedInfo {
  std::string tokenizer_hash;  // 32 hexadecimal digits each
  std::string template_hash;
  std::string chat_template;  // Jinja text; "": the file does not hold it
  std::string settings_hash;
  int64_t vocab_size = 0;       // ids the tokenizer can produce
  int64_t end_of_turn_id = -1;  // -1: none
  std::string source_files;     // JSON text: [{"path", "bytes", "xxh3"}, ...]
  std::string counts;           // JSON text
  int64_t file_bytes = 0;
};

// Paths in an attribute source_files, which Origin::file counts; none where it is no list, and ""
// for an entry without one.
std::vector<std::string> paths_of(const std::string& source_files);

// The attributes of a file alone; cheap. UserError as for TokenizedFile::open.
TokenizedInfo read_tokenized_info(const std::string& path);

// Where an example comes from.
struct Origin {
  uint16_t file = 0;  // index in source_files
  int64_t row = 0;    // line of a JSONL file, element of a JSON array, from 1
};

class TokenizedFile {
 public:
  // `vocab`: number of ids the model has; the tokenizer may not have more.
  static TokenizedFile open(const std::string& path, int64_t vocab);

  const std::string& path() const { return hdf5_.path(); }
  const TokenizedInfo& info() const { return info_; }
  int64_t examples() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t tokens() const { return offsets_.back(); }
  int64_t length(int64_t example) const { return offset(example + 1) - offset(example); }
  // Tokens before the first trained one; what generation takes as the prompt.
  int64_t prompt_length(int64_t example) const;
  // Weight of each code; entry 0 is 0.
  const std::vector<float>& weight_table() const { return weight_table_; }
  // Unique within the file.
  std::vector<uint64_t> example_ids() const { return hdf5_.read_all<uint64_t>("example_id"); }

  std::vector<Origin> origins() const;
  // Numbers in tag_names() of an example's tags.
  std::span<const uint16_t> tags(int64_t example) const;
  const std::vector<std::string>& tag_names() const { return tag_names_; }
  int64_t word_bytes(int64_t example) const;

  // Words of the turns of an example, as the page of the format says. Safe from several threads.
  std::string read_words(int64_t example) const;
  // The first out.size() tokens of an example, checked to be ids of the model.
  void read_tokens(int64_t example, std::span<int32_t> out) const;
  // Weight codes of the examples from `first` on, end to end: out.size() of them. The code of a
  // token is its weight as a prediction target. Checked to be in the table.
  void read_codes(int64_t first, std::span<uint8_t> out) const;

 private:
  TokenizedFile(storage::Hdf5File hdf5, base::File raw)
      : hdf5_(std::move(hdf5)), raw_(std::move(raw)) {}
  int64_t offset(int64_t example) const { return offsets_[static_cast<size_t>(example)]; }
  void check_tables() const;
  void read_tags();
  template <class T>
  void read(const char* dataset, int64_t data_offset, int64_t begin, std::span<T> out) const;

  storage::Hdf5File hdf5_;
  base::File raw_;  // the same file, read by offset where the datasets are contiguous
  TokenizedInfo info_;
  int64_t vocab_ = 0;
  int64_t tokens_at_ = -1;  // byte offsets in the file; -1: read through HDF5
  int64_t codes_at_ = -1;
  int64_t words_at_ = -1;
  std::vector<int64_t> offsets_;
  std::vector<int64_t> word_offsets_;
  std::vector<int64_t> tag_offsets_;
  std::vector<uint16_t> tags_;
  std::vector<std::string> tag_names_;
  std::vector<int64_t> prompt_lengths_;
  std::vector<float> weight_table_;
};

}  // namespace rondo::data
