// The words of an example (docs/formats/tokenized.md, "Words"): its turns, and the runs of words by
// which examples are compared.
//
// A run of words of one turn is a range of bytes of the text, so that two runs are the same words
// exactly when their bytes are: hashes only find candidates.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace rondo::data {

// How runs are hashed. A parameter so that tests can bring collisions about.
using HashText = uint64_t (*)(std::string_view);
uint64_t hash_text(std::string_view text);

// Which turns are looked at.
enum class Turns { kAll, kUser, kAssistant };

// A run of words: bytes [begin, end) of the text, and where it is among the words looked at.
struct WordRun {
  uint64_t hash = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t first_word = 0;
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};

// Number of words in these turns.
int64_t count_words(std::string_view text, Turns turns);

// Every run of `length` words, turn by turn. A turn of fewer words, and at least one, is a run of
// its own where `short_turns`, else it has none.
std::vector<WordRun> word_runs(std::string_view text, Turns turns, int length, bool short_turns,
                               HashText hash);

// Each turn of the user as one run.
std::vector<WordRun> user_turns(std::string_view text, HashText hash);

// Whether the users of two examples say the same words in the same turns.
bool same_questions(std::string_view a, std::string_view b);

}  // namespace rondo::data
