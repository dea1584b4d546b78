#include "data/words.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace rondo::data {

namespace {

bool looks_at(Turns turns, char role) {
  return turns == Turns::kAll || role == (turns == Turns::kUser ? 'u' : 'a');
}

// Calls turn(role, begin, end) for each line: the bytes behind the role and its space.
template <class Turn>
void each_turn(std::string_view text, const Turn& turn) {
  for (size_t line = 0; line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    if (end > line) turn(text[line], std::min(line + 2, end), end);
    line = end + 1;
  }
}

// Begins of the words in [begin, end), which single spaces part; then end + 1.
void find_words(std::string_view text, size_t begin, size_t end, std::vector<uint32_t>& words) {
  words.clear();
  if (begin == end) return;
  words.push_back(static_cast<uint32_t>(begin));
  for (size_t i = begin; i < end; ++i) {
    if (text[i] == ' ') words.push_back(static_cast<uint32_t>(i + 1));
  }
  words.push_back(static_cast<uint32_t>(end + 1));
}

}  // namespace

uint64_t hash_text(std::string_view text) { return base::hash64(text); }

int64_t count_words(std::string_view text, Turns turns) {
  int64_t count = 0;
  each_turn(text, [&](char role, size_t begin, size_t end) {
    if (!looks_at(turns, role) || begin == end) return;
    count += 1 + std::count(text.begin() + static_cast<ptrdiff_t>(begin),
                            text.begin() + static_cast<ptrdiff_t>(end), ' ');
  });
  return count;
}

std::vector<WordRun> word_runs(std::string_view text, Turns turns, int length, bool short_turns,
                               HashText hash) {
  RONDO_CHECK(length >= 1 && text.size() < UINT32_MAX);
  std::vector<WordRun> runs;
  std::vector<uint32_t> words;
  uint32_t seen = 0;
  each_turn(text, [&](char role, size_t begin, size_t end) {
    if (!looks_at(turns, role)) return;
    find_words(text, begin, end, words);
    if (words.empty()) return;
    const auto count = words.size() - 1;
    size_t run = static_cast<size_t>(length);
    if (count < run && short_turns) run = count;
    for (size_t i = 0; i + run <= count; ++i) {
      WordRun found{0, words[i], words[i + run] - 1, seen + static_cast<uint32_t>(i)};
      found.hash = hash(found.of(text));
      runs.push_back(found);
    }
    seen += static_cast<uint32_t>(count);
  });
  return runs;
}

std::vector<WordRun> user_turns(std::string_view text, HashText hash) {
  std::vector<WordRun> turns;
  each_turn(text, [&](char role, size_t begin, size_t end) {
    if (role != 'u' || begin == end) return;
    WordRun turn{0, static_cast<uint32_t>(begin), static_cast<uint32_t>(end), 0};
    turn.hash = hash(turn.of(text));
    turns.push_back(turn);
  });
  return turns;
}

bool same_questions(std::string_view a, std::string_view b) {
  const auto questions = [](std::string_view text) {
    std::vector<std::string_view> found;
    each_turn(text, [&](char role, size_t begin, size_t end) {
      if (role == 'u') found.push_back(text.substr(begin, end - begin));
    });
    return found;
  };
  return questions(a) == questions(b);
}

}  // namespace rondo::data
