#include "app/show_example.hpp"

#include <string>
#include <vector>

namespace rondo::app {

namespace {

// A run of tokens of equal weight, and alike in being control tokens.
struct Span {
  float weight = 0;
  bool special = false;
  std::string bytes{};
};

std::vector<Span> spans_of(std::span<const int32_t> tokens, std::span<const float> weights,
                           const data::TokenText& text, bool part_specials) {
  std::vector<Span> spans;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool special = part_specials && text.is_special(tokens[i]);
    if (spans.empty() || spans.back().weight != weights[i] || spans.back().special != special) {
      spans.push_back({weights[i], special});
    }
    spans.back().bytes += text.bytes(tokens[i]);
  }
  return spans;
}

std::string coloured(const Span& span) {
  const char* colour = span.weight == 0 ? "" : span.weight == 1 ? "\x1b[32m" : "\x1b[33m";
  return fmt::format("{}{}{}\x1b[0m", span.special ? "\x1b[2m" : "", colour,
                     data::printable(span.bytes));
}

std::string marked(const Span& span) {
  if (span.weight == 0) return data::printable(span.bytes);
  const std::string weight = span.weight == 1 ? "" : fmt::format("[{}] ", span.weight);
  return fmt::format(">>{}{}<<", weight, data::printable(span.bytes));
}

}  // namespace

void show_example(std::span<const int32_t> tokens, std::span<const float> weights,
                  const std::optional<data::TokenText>& text, base::Console& console) {
  console.line("  place      token    weight{}", text ? "  text" : "");
  for (size_t i = 0; i < tokens.size(); ++i) {
    console.line("  {:>5} {:>10} {:>9}{}", i, tokens[i], weights[i],
                 text ? fmt::format("  {}", data::printable(text->bytes(tokens[i]))) : "");
  }
  if (!text) {
    console.line("  (with --tokenizer FOLDER the text of each token is shown)");
    return;
  }
  std::string whole;
  for (const Span& span : spans_of(tokens, weights, *text, console.interactive())) {
    whole += console.interactive() ? coloured(span) : marked(span);
  }
  console.line("{}", whole);
}

}  // namespace rondo::app
