// The tokenizer of a run as files: whether a folder holds one, and which one it is.
#pragma once

#include <string>

namespace rondo::train {

// Whether `folder` holds a tokenizer that goes with an exported model.
bool holds_tokenizer(const std::string& folder);

// Identity of the tokenizer in `folder`: what tools/tokenize stores as `tokenizer_hash`
// (docs/formats/tokenized.md). "" when there is none.
std::string tokenizer_hash(const std::string& folder);

}  // namespace rondo::train
