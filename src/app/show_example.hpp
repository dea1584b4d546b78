// An example as a person reads it: tokens with their weights, and the text with what is trained
// marked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/console.hpp"
#include "data/token_text.hpp"

namespace rondo::app {

// `weights`: with what weight each token is predicted. Without `text` the ids stand alone. On a
// terminal, trained tokens are green (weight 1) or yellow (any other), control tokens dim;
// elsewhere trained spans stand between >> and <<, with their weight where it is not 1.
void show_example(std::span<const int32_t> tokens, std::span<const float> weights,
                  const std::optional<data::TokenText>& text, base::Console& console);

}  // namespace rondo::app
