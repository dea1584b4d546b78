#include "app/show_scores.hpp"

#include <algorithm>
#include <cmath>

namespace rondo::app {

void show_scores(const data::ScoreColumns& columns, base::Console& console) {
  size_t width = 6;
  for (const auto& [name, values] : columns.values) width = std::max(width, name.size());
  console.line("{:<{}}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}", "column", width,
               "examples", "mean", "1 %", "10 %", "median", "90 %");
  for (const auto& [name, values] : columns.values) {
    std::vector<float> known;
    double sum = 0;
    for (const float value : values) {
      if (std::isnan(value)) continue;
      known.push_back(value);
      sum += static_cast<double>(value);
    }
    if (known.empty()) {
      console.line("{:<{}}  {:>10}", name, width, 0);
      continue;
    }
    std::ranges::sort(known);
    const auto last = static_cast<double>(known.size() - 1);
    const auto at = [&](double share) {
      return known[static_cast<size_t>(std::llround(share * last))];
    };
    console.line("{:<{}}  {:>10}  {:>10.4f}  {:>10.4f}  {:>10.4f}  {:>10.4f}  {:>10.4f}", name,
                 width, known.size(), sum / static_cast<double>(known.size()), at(0.01), at(0.1),
                 at(0.5), at(0.9));
  }
}

}  // namespace rondo::app
