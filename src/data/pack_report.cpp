#include "data/pack_report.hpp"

#include <algorithm>

namespace rondo::data {

namespace {
template <class T>
T sum(const std::vector<SourceAccount>& sources, T SourceAccount::*field) {
  T total{};
  for (const SourceAccount& source : sources) total += source.*field;
  return total;
}
}  // namespace

int64_t PackReport::documents() const { return sum(sources, &SourceAccount::documents); }
int64_t PackReport::tokens() const { return sum(sources, &SourceAccount::tokens); }
int64_t PackReport::trained_tokens() const { return sum(sources, &SourceAccount::trained_tokens); }
double PackReport::weight() const { return sum(sources, &SourceAccount::weight); }

double PackReport::fill() const {
  return static_cast<double>(tokens()) / static_cast<double>(std::max<int64_t>(packs * seq_len, 1));
}

nlohmann::json PackReport::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const SourceAccount& source : sources) {
    list.push_back({{"name", source.name},
                    {"examples", source.examples},
                    {"over_long", source.over_long},
                    {"fully_masked", source.fully_masked},
                    {"cut", source.cut},
                    {"exact_duplicates", source.exact_duplicates},
                    {"near_duplicates", source.near_duplicates},
                    {"in_earlier_rounds", source.in_earlier_rounds},
                    {"contaminated", source.contaminated},
                    {"not_kept", source.not_kept},
                    {"documents", source.documents},
                    {"repeats", source.repeats},
                    {"tokens", source.tokens},
                    {"trained_tokens", source.trained_tokens},
                    {"weight", source.weight},
                    {"figures", source.figures}});
  }
  return {{"sources", list},          {"packs", packs},       {"seq_len", seq_len},
          {"documents", documents()}, {"tokens", tokens()},   {"trained_tokens", trained_tokens()},
          {"weight", weight()},       {"padding", padding()}, {"fill", fill()},
          {"clean_hash", clean_hash}, {"mix", mix},           {"order", order},
          {"remarks", remarks}};
}

void PackReport::print(base::Console& console) const {
  size_t width = 6;
  for (const SourceAccount& source : sources) width = std::max(width, source.name.size());
  console.line("{:<{}}  {:>10} {:>10} {:>9} {:>9} {:>12} {:>9} {:>14} {:>14}", "source", width,
               "examples", "documents", "repeats", "too long", "fully masked", "cut", "tokens",
               "trained");
  for (const SourceAccount& source : sources) {
    console.line("{:<{}}  {:>10} {:>10} {:>9} {:>9} {:>12} {:>9} {:>14} {:>14}", source.name, width,
                 source.examples, source.documents, source.repeats, source.over_long,
                 source.fully_masked, source.cut, source.tokens, source.trained_tokens);
  }
  for (const SourceAccount& source : sources) {
    if (source.exact_duplicates + source.near_duplicates + source.in_earlier_rounds +
            source.contaminated ==
        0) {
      continue;
    }
    console.line(
        "cleaning {}: {} exact duplicates, {} near-duplicates, {} in earlier rounds, {} "
        "contaminated",
        source.name, source.exact_duplicates, source.near_duplicates, source.in_earlier_rounds,
        source.contaminated);
  }
  for (const SourceAccount& source : sources) {
    if (source.not_kept == 0) continue;
    console.line("{} examples of {} are left out by their scores", source.not_kept, source.name);
  }
  if (mix.is_object()) {
    console.line("shares by {}, {} of {} tokens asked for", mix["by"].get<std::string>(),
                 mix["tokens"].get<int64_t>(), mix["tokens_asked"].get<int64_t>());
    for (const nlohmann::json& part : mix["parts"]) {
      const nlohmann::json& is = part["realised"];
      console.line(
          "  {:<{}}  asked {:6.2f} %, is {:6.2f} % of the trainable, {:6.2f} % of all tokens, "
          "{:6.2f} "
          "% of the examples; {:.3f} passes, {} left out",
          part["name"].get<std::string>(), width, 100 * part["asked"].get<double>(),
          100 * is["trainable"].get<double>(), 100 * is["tokens"].get<double>(),
          100 * is["examples"].get<double>(), part["passes"].get<double>(),
          part["left_out"].get<int64_t>());
    }
  }
  for (const std::string& remark : remarks) console.warn("{}", remark);
  console.line("{} packs of {} tokens, {:.3f} % filled ({} tokens of padding), plan {}", packs,
               seq_len, 100 * fill(), padding(), plan_hash.substr(0, 12));
  if (!order.is_object() || order["imbalance"].empty()) return;
  std::string text;
  for (const nlohmann::json& entry : order["imbalance"]) {
    text += fmt::format("{}{} ranks {:.3f} ({:.3f})", text.empty() ? "" : ", ",
                        entry["ranks"].get<int64_t>(), entry["after"]["mean"].get<double>(),
                        entry["before"]["mean"].get<double>());
  }
  console.line("the dearest rank's attention over the mean rank's, and before balancing: {}", text);
}

}  // namespace rondo::data
