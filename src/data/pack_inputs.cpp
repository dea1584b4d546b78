#include "data/pack_inputs.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.hpp"

namespace rondo::data {

namespace {

// Place of `path` in `paths`, at whose end it is put when it is new.
size_t number_of(const std::string& path, std::vector<std::string>& paths) {
  const auto known = std::ranges::find(paths, path);
  const auto number = static_cast<size_t>(known - paths.begin());
  if (known == paths.end()) paths.push_back(path);
  return number;
}

}  // namespace

base::Slice PackInputs::open_source(const PackSource& source, int64_t vocab) {
  const int64_t begin = examples();
  for (const std::string& path : source.files) {
    files_.push_back(TokenizedFile::open(path, vocab));
    const TokenizedFile& file = files_.back();
    const TokenizedFile& first = files_.front();
    if (file.info().tokenizer_hash != first.info().tokenizer_hash) {
      base::fail_user(
          "{}: was made with another tokenizer (hash {}) than {} (hash {}). Tokenise all sources "
          "with the model's tokenizer.",
          path, file.info().tokenizer_hash, first.path(), first.info().tokenizer_hash);
    }
    first_example_.push_back(examples() + file.examples());
    const std::vector<uint64_t> ids = file.example_ids();
    example_ids_.insert(example_ids_.end(), ids.begin(), ids.end());
  }
  return {begin, examples()};
}

PackInputs PackInputs::open(const PackRequest& request) {
  PackInputs inputs;
  inputs.first_example_.push_back(0);
  for (const PackSource& source : request.sources) {
    inputs.sources_.push_back(inputs.open_source(source, request.vocab));
  }
  inputs.earlier_ = {inputs.examples(), inputs.examples()};
  if (request.clean.across_rounds != CleanAction::kOff) {
    for (const PackSource& source : request.earlier) inputs.open_source(source, request.vocab);
    inputs.earlier_.end = inputs.examples();
  }
  inputs.merge_weight_tables();
  return inputs;
}

void PackInputs::merge_weight_tables() {
  weight_table_ = {0.0F};
  std::map<float, uint8_t> code_of = {{0.0F, uint8_t{0}}};
  for (const TokenizedFile& file : files_) {
    std::array<uint8_t, 256>& codes = codes_.emplace_back();
    codes.fill(0);
    for (size_t i = 0; i < file.weight_table().size(); ++i) {
      const float weight = file.weight_table()[i];
      const auto known = code_of.find(weight);
      if (known == code_of.end() && weight_table_.size() == 256) {
        base::fail_user("{}: brings the 257th different token weight, 256 are possible.",
                        file.path());
      }
      if (known == code_of.end()) {
        codes[i] = static_cast<uint8_t>(weight_table_.size());
        code_of.emplace(weight, codes[i]);
        weight_table_.push_back(weight);
      } else {
        codes[i] = known->second;
      }
    }
  }
}

PackInputs::Place PackInputs::place(int64_t example) const {
  const auto after = std::upper_bound(first_example_.begin(), first_example_.end(), example);
  const auto file = static_cast<size_t>(after - first_example_.begin()) - 1;
  return {file, example - first_example_[file]};
}

std::string PackInputs::describe(int64_t example) const {
  const Place at = place(example);
  return fmt::format("{}, example {}", files_[at.file].path(), at.example);
}

int64_t PackInputs::length(int64_t example) const {
  const Place at = place(example);
  return files_[at.file].length(at.example);
}

int64_t PackInputs::prompt_length(int64_t example) const {
  const Place at = place(example);
  return files_[at.file].prompt_length(at.example);
}

std::string PackInputs::read_words(int64_t example) const {
  const Place at = place(example);
  return files_[at.file].read_words(at.example);
}

std::vector<std::string> PackInputs::tags(int64_t example) const {
  const Place at = place(example);
  const TokenizedFile& file = files_[at.file];
  std::vector<std::string> names;
  for (const uint16_t tag : file.tags(at.example)) names.push_back(file.tag_names()[tag]);
  return names;
}

std::string PackInputs::read_content(int64_t example) const {
  const auto size = static_cast<size_t>(length(example));
  std::vector<int32_t> tokens(size);
  std::vector<uint8_t> codes(size);
  read(example, tokens, codes);
  std::string content(size * (sizeof(int32_t) + 1), '\0');
  std::memcpy(content.data(), tokens.data(), size * sizeof(int32_t));
  std::memcpy(content.data() + size * sizeof(int32_t), codes.data(), size);
  return content;
}

std::vector<Origin> PackInputs::origins(std::span<const int64_t> examples,
                                        std::vector<std::string>& paths) const {
  std::vector<Origin> origins;
  origins.reserve(examples.size());
  std::vector<Origin> of_file;
  std::vector<size_t> number;  // by file in source_files: in `paths`
  size_t held = files_.size();
  for (const int64_t example : examples) {
    const Place at = place(example);
    if (at.file != held) {
      held = at.file;
      of_file = files_[held].origins();
      number.clear();
      for (const std::string& path : paths_of(files_[held].info().source_files)) {
        number.push_back(number_of(path, paths));
      }
    }
    Origin origin = of_file[static_cast<size_t>(at.example)];
    // A file that does not say what it was made from stands for itself.
    if (origin.file >= number.size()) {
      number.resize(origin.file + size_t{1}, number_of(files_[held].path(), paths));
    }
    origin.file = static_cast<uint16_t>(number[origin.file]);
    origins.push_back(origin);
  }
  return origins;
}

std::vector<int32_t> PackInputs::count_trained(base::Slice examples, int64_t most_tokens) const {
  constexpr int64_t kPieceTokens = int64_t{4} << 20;
  std::vector<int32_t> counts;
  counts.reserve(static_cast<size_t>(examples.size()));
  std::vector<uint8_t> piece;
  for (int64_t example = examples.begin; example < examples.end;) {
    const Place at = place(example);
    const TokenizedFile& file = files_[at.file];
    const int64_t last = std::min(examples.end, first_example_[at.file + 1]) - example + at.example;
    int64_t end = at.example;
    int64_t tokens = 0;
    do {
      tokens += file.length(end++);
    } while (end < last && tokens + file.length(end) <= kPieceTokens);
    piece.resize(static_cast<size_t>(tokens));
    file.read_codes(at.example, piece);
    const uint8_t* codes = piece.data();
    for (int64_t i = at.example; i < end; codes += file.length(i++)) {
      const int64_t kept = std::min(file.length(i), most_tokens);
      int32_t trained = 0;
      for (int64_t t = 1; t < kept; ++t) trained += codes_[at.file][codes[t]] != 0 ? 1 : 0;
      counts.push_back(trained);
    }
    example += end - at.example;
  }
  return counts;
}

void PackInputs::read(int64_t example, std::span<int32_t> tokens,
                      std::span<uint8_t> next_codes) const {
  RONDO_CHECK(tokens.size() == next_codes.size() && !tokens.empty());
  const Place at = place(example);
  files_[at.file].read_tokens(at.example, tokens);
  files_[at.file].read_codes(at.example, next_codes);
  for (size_t i = 0; i + 1 < next_codes.size(); ++i) {
    next_codes[i] = codes_[at.file][next_codes[i + 1]];
  }
  next_codes.back() = 0;
}

}  // namespace rondo::data
