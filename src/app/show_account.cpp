#include "app/show_account.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace rondo::app {

namespace {

using nlohmann::json;
using Counts = std::vector<std::pair<std::string, int64_t>>;

Counts counts_of(const json& object) {
  Counts counts;
  if (!object.is_object()) return counts;
  for (const auto& [key, value] : object.items()) {
    if (value.is_number_integer()) counts.emplace_back(key, value.get<int64_t>());
  }
  return counts;
}

int64_t total(const Counts& counts) {
  int64_t sum = 0;
  for (const auto& [name, count] : counts) sum += count;
  return std::max<int64_t>(sum, 1);
}

// "Han 60.00 %, Latin 40.00 %", the most first.
std::string shares(Counts counts) {
  const auto whole = static_cast<double>(total(counts));
  std::ranges::stable_sort(counts,
                           [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [name, count] : counts) {
    text += fmt::format("{}{} {:.2f} %", text.empty() ? "" : ", ", name,
                        100 * static_cast<double>(count) / whole);
  }
  return text;
}

// "least 12, median 40, 90 % below 96, most 1280": of counts by number, to the class.
std::string spread(const Counts& by_number) {
  std::vector<std::pair<int64_t, int64_t>> classes;
  for (const auto& [number, count] : by_number) classes.emplace_back(std::stoll(number), count);
  if (classes.empty()) return "none";
  std::ranges::sort(classes);
  const auto at = [&](double share) {
    const double wanted = share * static_cast<double>(total(by_number));
    double seen = 0;
    for (const auto& [number, count] : classes) {
      seen += static_cast<double>(count);
      if (seen >= wanted) return number;
    }
    return classes.back().first;
  };
  return fmt::format("least {}, median {}, 90 % up to {}, most {}", classes.front().first, at(0.5),
                     at(0.9), classes.back().first);
}

void show_figures(const json& figures, base::Console& console) {
  if (!figures.is_object()) return;
  const auto of = [&](const char* name) { return counts_of(figures.value(name, json::object())); };
  console.line("    tokens: {} (classes of a quarter)", spread(of("lengths")));
  console.line("    turns: {}", spread(of("turns")));
  if (const Counts scripts = of("scripts"); !scripts.empty()) {
    console.line("    letters and signs: {}", shares(scripts));
  }
  if (const Counts tags = of("tags"); !tags.empty()) console.line("    tags: {}", shares(tags));
}

}  // namespace

void show_account(const json& account, base::Console& console) {
  for (const json& source : account.value("sources", json::array())) {
    std::string text;
    for (const auto& [name, count] : counts_of(source)) {
      if (count == 0) continue;
      std::string words = name;
      std::ranges::replace(words, '_', ' ');
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", words, count);
    }
    console.line("  source {}: {}", source.value("name", ""), text);
    show_figures(source.value("figures", json()), console);
  }
}

}  // namespace rondo::app
