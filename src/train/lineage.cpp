#include "train/lineage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "train/run_folder.hpp"

namespace rondo::train {

namespace {

using nlohmann::json;

std::string text(const json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string key_of(const json& line) {
  return fmt::format("{}.{}", text(line, "round"), line.value("attempt", int64_t{0}));
}

json parents_of(const json& line) {
  const auto found = line.find("parents");
  return found != line.end() && found->is_array() ? *found : json::array();
}

}  // namespace

std::vector<json> models_of(const std::vector<LedgerLine>& lines) {
  std::vector<json> models;
  for (const LedgerLine& line : lines) {
    if (text(line.json, "round").empty()) continue;
    std::erase_if(models, [&](const json& known) { return key_of(known) == key_of(line.json); });
    models.push_back(line.json);
  }
  return models;
}

std::optional<json> find_model(const std::vector<json>& models, const std::string& name) {
  std::optional<json> found;
  for (const json& model : models) {
    const bool same = text(model, "round") == name ||
                      (name.size() >= 6 && (text(model, "weights_digest").starts_with(name) ||
                                            text(model, "result_digest").starts_with(name)));
    const bool stands = text(model, "outcome") == "kept" || text(model, "outcome") == "ended";
    if (same && (!found || stands)) found = model;
  }
  return found;
}

std::vector<json> ancestors(const std::vector<json>& models, const json& model) {
  std::vector<json> found;
  std::set<std::string> known;
  const auto visit = [&](const auto& self, const json& one) -> void {
    if (!known.insert(key_of(one)).second) return;
    for (const json& parent : parents_of(one)) {
      if (text(parent, "what") != "round") continue;
      if (const auto line = find_model(models, text(parent, "name"))) self(self, *line);
    }
    found.push_back(one);
  };
  visit(visit, model);
  return found;
}

std::string origin_in_words(const json& model) {
  std::string words;
  const json parents = parents_of(model);
  for (const json& parent : parents) {
    const double weight = parent.value("weight", 1.0);
    words += fmt::format("{}{}{}", words.empty() ? "" : " + ", text(parent, "name"),
                         weight == 1 ? "" : fmt::format(" * {:g}", weight));
  }
  return parents.size() > 1 ? "(" + words + ")" : words;
}

LedgerCheck check_ledger(const std::string& run_folder, const std::vector<LedgerLine>& lines) {
  LedgerCheck check;
  check.wrong = ledger_faults(lines);
  const auto say = [](std::vector<std::string>& to, const json& line, const std::string& what) {
    to.push_back(fmt::format("round {}: {}", text(line, "round"), what));
  };
  for (const json& line : models_of(lines)) {
    const std::string outcome = text(line, "outcome");
    const bool aside = outcome == "retried" || outcome == "set_aside";
    // A path of an earlier version is a whole one.
    const auto place = [&](const std::string& path) {
      return path.starts_with('/') || path.starts_with(run_folder + "/") ? path
                                                                         : run_folder + "/" + path;
    };
    const std::string checkpoint =
        aside ? fmt::format("{}/aside/{}/checkpoint", run_folder, key_of(line))
              : place(text(line, "checkpoint"));
    if (!std::filesystem::exists(checkpoint + "/MANIFEST.json")) {
      say(check.gone, line, checkpoint + " is not there");
    } else {
      const auto manifest = base::try_parse_json(base::read_text(checkpoint + "/MANIFEST.json"));
      const std::string digest = manifest ? manifest->value("digest", "") : "";
      // Once its optimizer state is dropped a checkpoint holds the weights alone.
      if (digest != text(line, "result_digest") && digest != text(line, "weights_digest")) {
        say(check.wrong, line,
            fmt::format("{} has the digest {}, the ledger says {}", checkpoint, digest,
                        text(line, "result_digest")));
      }
    }
    const std::string exported = text(line, "exported");
    if (!exported.empty() && !std::filesystem::exists(place(exported))) {
      say(check.gone, line, place(exported) + " is not there");
    }
    const auto inputs = line.find("inputs");
    for (const json& input : inputs != line.end() && inputs->is_array() ? *inputs : json::array()) {
      const std::string path = text(input, "path");
      if (path.empty()) continue;
      if (!std::filesystem::exists(path)) {
        say(check.gone, line, fmt::format("its data {} are not there", path));
      } else if (base::hash_file(path) != text(input, "xxh3")) {
        say(check.wrong, line, fmt::format("its data {} have changed since", path));
      }
    }
  }
  return check;
}

std::string first_difference(const std::vector<LedgerLine>& a, const std::vector<LedgerLine>& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const json& one = a[i].json;
    const json& other = b[i].json;
    if (content_of(one) == content_of(other)) continue;
    std::string words = fmt::format("line {} (round {}) and line {} (round {}):", a[i].number,
                                    text(one, "round"), b[i].number, text(other, "round"));
    json keys = one;
    keys.update(other);
    for (const auto& [key, ignored] : keys.items()) {
      const json left = one.value(key, json());
      const json right = other.value(key, json());
      // Whether it counts: alone in a line it makes another content.
      if (left == right || content_of({{key, left}}) == content_of({{key, right}})) continue;
      words += fmt::format("\n  {}: {} there, {} here", key, left.dump(), right.dump());
    }
    return words;
  }
  if (a.size() == b.size()) return {};
  return fmt::format("the first {} lines are the same; one ledger has {} lines, the other {}",
                     std::min(a.size(), b.size()), a.size(), b.size());
}

}  // namespace rondo::train
