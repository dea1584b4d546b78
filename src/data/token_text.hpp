// The bytes that each token of a Hugging Face tokenizer stands for, to show tokens to a person.
//
// Read from tokenizer.json alone: vocabulary (BPE, WordPiece, WordLevel or Unigram), added tokens,
// and the decoder, of which byte-level alphabets, word marks in place of spaces and byte fallback
// are known. Not for exact decoding of whole texts (tools/decode does that).
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace rondo::data {

class TokenText {
 public:
  // UserError when the folder has no tokenizer.json that can be read so.
  static TokenText of_folder(const std::string& folder);

  // Bytes of a token, which may be a part of a character; "" when there is no such id.
  const std::string& bytes(int32_t id) const;
  // Whether it is a control token, such as the end of a turn.
  bool is_special(int32_t id) const;

 private:
  struct Token {
    std::string bytes;
    bool special = false;
  };
  std::unordered_map<int32_t, Token> tokens_;
};

// The bytes as text that can be printed: what is not valid UTF-8 or a control character as \xNN,
// line ends and tabs as \n and \t.
std::string printable(const std::string& bytes);

}  // namespace rondo::data
