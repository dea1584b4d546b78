#include "data/source_figures.hpp"

#include "base/slice.hpp"
#include "data/figures.hpp"

namespace rondo::data {

namespace {

std::vector<Figures> count(const PackInputs& inputs, const Documents& documents,
                           base::Slice examples) {
  // A document is an example, whole or cut, as often as it is repeated.
  std::vector<int32_t> times(static_cast<size_t>(examples.size()), 0);
  std::vector<int32_t> length(times.size(), 0);
  std::vector<Figures> figures(inputs.sources().size());
  for (int64_t d = 0; d < documents.size(); ++d) {
    const int64_t example = documents.example[static_cast<size_t>(d)];
    if (example < examples.begin || example >= examples.end) continue;
    ++times[static_cast<size_t>(example - examples.begin)];
    length[static_cast<size_t>(example - examples.begin)] =
        documents.length[static_cast<size_t>(d)];
  }
  for (size_t s = 0; s < figures.size(); ++s) {
    const base::Slice mine = base::intersect(examples, inputs.sources()[s]);
    for (int64_t example = mine.begin; example < mine.end; ++example) {
      const auto i = static_cast<size_t>(example - examples.begin);
      if (times[i] == 0) continue;
      figures[s].add(length[i], inputs.read_words(example), times[i]);
      for (const std::string& tag : inputs.tags(example)) figures[s].tags[tag] += times[i];
    }
  }
  return figures;
}

}  // namespace

std::vector<nlohmann::json> figures_of_sources(const PackInputs& inputs, const Documents& documents,
                                               comm::Control& control) {
  nlohmann::json mine = nlohmann::json::array();
  control.agree([&] {
    const base::Slice part = base::even_part(inputs.examples(), control.size(), control.rank());
    for (const Figures& figures : count(inputs, documents, part)) mine.push_back(figures.to_json());
  });
  std::vector<nlohmann::json> sums(inputs.sources().size(), nlohmann::json::object());
  // Tags are texts of users, of which some may not be valid UTF-8.
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  for (const std::string& text : control.gather_text(mine.dump(-1, ' ', false, kReplace))) {
    const nlohmann::json parts = nlohmann::json::parse(text);
    for (size_t s = 0; s < sums.size(); ++s) add_counts(sums[s], parts[s]);
  }
  return sums;
}

}  // namespace rondo::data
