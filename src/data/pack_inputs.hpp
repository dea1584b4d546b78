// The tokenised files of a packing, as one numbered list of examples: sources in order, the files
// of a source in order, the examples of a file in order.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/slice.hpp"
#include "data/pack_request.hpp"
#include "data/tokenized.hpp"

namespace rondo::data {

class PackInputs {
 public:
  // Opens and checks every file. UserError: no source, no file, files made with different
  // tokenizers, together more than 255 different weights, and all that TokenizedFile refuses.
  static PackInputs open(const PackRequest& request);

  const std::vector<TokenizedFile>& files() const { return files_; }
  int64_t examples() const { return first_example_.back(); }
  // The examples of each source; behind them, those of earlier rounds' sources.
  const std::vector<base::Slice>& sources() const { return sources_; }
  base::Slice earlier() const { return earlier_; }
  // "FILE, example 17", for messages.
  std::string describe(int64_t example) const;

  int64_t length(int64_t example) const;
  // As TokenizedFile::prompt_length.
  int64_t prompt_length(int64_t example) const;
  // Words of its turns, as TokenizedFile::read_words.
  std::string read_words(int64_t example) const;
  std::vector<std::string> tags(int64_t example) const;
  // Its tokens and weight codes as bytes: equal for two examples that train the same.
  std::string read_content(int64_t example) const;
  // Where each of these examples, ascending, comes from: a number for the file of texts, the same
  // for equal paths, and the row in it.
  std::vector<Origin> origins(std::span<const int64_t> examples,
                              std::vector<std::string>& paths) const;
  uint64_t example_id(int64_t example) const { return example_ids_[static_cast<size_t>(example)]; }
  const std::string& tokenizer_hash() const { return files_[0].info().tokenizer_hash; }
  // Every weight of any file once; 0 first, and at no other place.
  const std::vector<float>& weight_table() const { return weight_table_; }

  // For each of these examples, cut to its first `most_tokens`: how many tokens are trained, that
  // is carry weight and have a token before them. Reads the weight codes in pieces.
  std::vector<int32_t> count_trained(base::Slice examples, int64_t most_tokens) const;
  // The first tokens.size() tokens of an example, and for each the code (in weight_table()) of the
  // token after it; 0 for the last.
  void read(int64_t example, std::span<int32_t> tokens, std::span<uint8_t> next_codes) const;

 private:
  struct Place {
    size_t file;
    int64_t example;  // within the file
  };
  Place place(int64_t example) const;
  base::Slice open_source(const PackSource& source, int64_t vocab);
  void merge_weight_tables();

  std::vector<TokenizedFile> files_;
  std::vector<int64_t> first_example_;  // by file, and the end
  std::vector<base::Slice> sources_;
  base::Slice earlier_;
  std::vector<uint64_t> example_ids_;
  std::vector<float> weight_table_;
  std::vector<std::array<uint8_t, 256>> codes_;  // by file: its code -> code in weight_table_
};

}  // namespace rondo::data
