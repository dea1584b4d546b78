#include "data/token_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/utf8.hpp"

namespace rondo::data {

namespace {

using nlohmann::json;

// The byte-level alphabet of GPT-2 (openai/gpt-2, src/encoder.py, bytes_to_unicode): bytes that
// print stand for themselves, the others in their order for 256, 257, ...
std::unordered_map<uint32_t, char> byte_alphabet() {
  std::unordered_map<uint32_t, char> bytes;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    bytes.emplace(prints ? byte : next++, static_cast<char>(byte));
  }
  return bytes;
}

std::string from_byte_level(std::string_view piece) {
  static const std::unordered_map<uint32_t, char> alphabet = byte_alphabet();
  std::string bytes;
  while (!piece.empty()) {
    const base::Character character = base::first_character(piece);
    const auto found = character.code ? alphabet.find(*character.code) : alphabet.end();
    if (found == alphabet.end()) {
      bytes += piece.substr(0, character.bytes);
    } else {
      bytes += found->second;
    }
    piece.remove_prefix(character.bytes);
  }
  return bytes;
}

std::string from_marked_words(std::string_view piece) {
  constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581
  std::string text;
  while (!piece.empty()) {
    const bool mark = piece.starts_with(kMark);
    text += mark ? ' ' : piece.front();
    piece.remove_prefix(mark ? kMark.size() : 1);
  }
  return text;
}

// "<0x0A>" as its byte; empty for any other piece.
std::string from_byte_fallback(const std::string& piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return {};
  size_t used = 0;
  const int byte = std::stoi(piece.substr(3, 2), &used, 16);
  return used == 2 ? std::string(1, static_cast<char>(byte)) : std::string();
}

// Whether the decoder, or a part of it, is of a type.
bool decodes_by(const json& decoder, std::string_view type) {
  if (!decoder.is_object()) return false;
  if (decoder.value("type", "") == type) return true;
  const json parts = decoder.value("decoders", json::array());
  return std::any_of(parts.begin(), parts.end(),
                     [&](const json& part) { return decodes_by(part, type); });
}

std::string bytes_of(const std::string& piece, const json& decoder) {
  if (decodes_by(decoder, "ByteLevel")) return from_byte_level(piece);
  if (decodes_by(decoder, "ByteFallback")) {
    if (auto byte = from_byte_fallback(piece); !byte.empty()) return byte;
  }
  if (decodes_by(decoder, "WordPiece")) {
    return piece.starts_with("##") ? piece.substr(2) : fmt::format(" {}", piece);
  }
  return from_marked_words(piece);
}

}  // namespace

TokenText TokenText::of_folder(const std::string& folder) {
  const std::string path = folder + "/tokenizer.json";
  TokenText text;
  try {
    const json file = json::parse(base::read_text(path));
    const json decoder = file.value("decoder", json());
    const json& vocabulary = file.at("model").at("vocab");
    int32_t next = 0;
    for (const auto& [key, value] : vocabulary.items()) {
      const bool listed = vocabulary.is_array();  // Unigram: [piece, score], the id is its place
      const int32_t id = listed ? next++ : value.get<int32_t>();
      const std::string piece = listed ? value.at(0).get<std::string>() : key;
      text.tokens_[id] = {bytes_of(piece, decoder), false};
    }
    for (const json& added : file.value("added_tokens", json::array())) {
      text.tokens_[added.at("id").get<int32_t>()] = {added.at("content").get<std::string>(),
                                                     added.value("special", false)};
    }
  } catch (const json::exception& error) {
    base::fail_user("{}: is not a tokenizer as Hugging Face's tokenizers write it ({}).", path,
                    error.what());
  }
  return text;
}

const std::string& TokenText::bytes(int32_t id) const {
  static const std::string none;
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? none : found->second.bytes;
}

bool TokenText::is_special(int32_t id) const {
  const auto found = tokens_.find(id);
  return found != tokens_.end() && found->second.special;
}

std::string printable(const std::string& bytes) {
  std::string text;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const base::Character character = base::first_character(rest);
    const std::string_view own = rest.substr(0, character.bytes);
    if (own == "\n") {
      text += "\\n";
    } else if (own == "\t") {
      text += "\\t";
    } else if (!character.code || *character.code < 0x20 || *character.code == 0x7F) {
      for (const char byte : own) text += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
    } else {
      text += own;
    }
    rest.remove_prefix(own.size());
  }
  return text;
}

}  // namespace rondo::data
