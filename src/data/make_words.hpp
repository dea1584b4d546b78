// The words of a text (docs/formats/tokenized.md, "Words"), for what the program itself has
// written; texts that are read are cut into words by tools/rondo_tools/words.py.
#pragma once

#include <string>
#include <string_view>

namespace rondo::data {

// The words of UTF-8 text, joined by single spaces. Of ASCII the same as words.py makes; beyond it
// without NFKC: case and kinds of characters are those of the C library's C.UTF-8.
std::string words_of(std::string_view text);

}  // namespace rondo::data
