#include "train/tokenizer_files.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "base/hash.hpp"

namespace rondo::train {

bool holds_tokenizer(const std::string& folder) {
  constexpr std::array kAny = {"tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"};
  return !folder.empty() && std::ranges::any_of(kAny, [&](const char* name) {
    return std::filesystem::exists(std::filesystem::path(folder) / name);
  });
}

std::string tokenizer_hash(const std::string& folder) {
  if (!holds_tokenizer(folder)) return {};
  // In the order of the names; the list is that of tools/rondo_tools/tokenizer_folder.py.
  constexpr std::array kFiles = {"added_tokens.json", "merges.txt",      "special_tokens_map.json",
                                 "tokenizer.json",    "tokenizer.model", "tokenizer_config.json",
                                 "vocab.json"};
  constexpr std::string_view kEnd("\0", 1);
  base::Hasher hasher;
  for (const char* name : kFiles) {
    const std::filesystem::path file = std::filesystem::path(folder) / name;
    if (!std::filesystem::is_regular_file(file)) continue;
    hasher.add(name);
    hasher.add(kEnd);
    hasher.add(base::hash_file(file.string()));
    hasher.add(kEnd);
  }
  return hasher.hex();
}

}  // namespace rondo::train
