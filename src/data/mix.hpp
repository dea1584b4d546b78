// Mixing: how often which example of which source is trained on. Pure functions of the examples'
// sizes and a seed, the same on every rank.
//
// Either every source is passed over a given number of times, or sources have shares of a budget of
// tokens. Then each is drawn by whole passes and a seeded part of one more, so that no example is
// drawn twice before all have been drawn once.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace rondo::data {

// What a share is a share of.
enum class MixBy { kTrainable, kTokens, kExamples };
const char* name_of(MixBy by);

// One share: a source, or several that are drawn from as one pool.
struct MixPart {
  std::string name;
  double share = 0;  // of the whole; 0: by its size (see Mix::temperature)
};

struct Mix {
  std::vector<MixPart> parts;
  MixBy by = MixBy::kTrainable;
  // Parts without a share of their own divide what the others leave in proportion to
  // size^(1/temperature): 1 is by size, large values make them equal (C. Raffel et al., "Exploring
  // the limits of transfer learning", JMLR 2020, section 3.5.2).
  double temperature = 1;
  int64_t tokens = 0;  // of all documents together; 0: those of all parts once
};

// Shares of numbers have to leave at least this to those by size.
inline constexpr double kLeastLeft = 1e-9;

struct Drawable {
  int64_t example = 0;
  int64_t tokens = 0;
  int64_t trainable = 0;
};

struct Drawn {
  std::vector<std::vector<int64_t>> examples;  // by part, with repeats
  nlohmann::json report;                       // docs/formats/packed.md, "mix"
  std::vector<std::string> remarks;            // for the user: why shares are not those asked for
};

// `pools`: by part its examples. Shares that are all given are divided by their sum. UserError when
// the shares given leave nothing to a part without one, or a part that has a share has no example.
Drawn draw(const Mix& mix, const std::vector<std::vector<Drawable>>& pools, uint64_t seed);

}  // namespace rondo::data
