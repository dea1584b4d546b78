#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <sstream>

#include "base/error.hpp"
#include "base/finite.hpp"
#include "model/grow.hpp"
#include "model/hf_config.hpp"
#include "model/hf_folder.hpp"
#include "model/weights.hpp"
#include "parallel/owned_on_host.hpp"
#include "storage/safetensors.hpp"

namespace rondo::model {
namespace {

constexpr size_t kListed = 20;

// "n tensors WHAT: a, b, c", or nothing.
std::string list(std::string_view what, std::vector<std::string> names) {
  if (names.empty()) return {};
  const size_t count = names.size();
  if (count > kListed) names.resize(kListed);
  return fmt::format("\n  {} {} {}: {}{}", count, count == 1 ? "tensor" : "tensors", what,
                     fmt::join(names, ", "),
                     count > kListed ? fmt::format(" and {} more", count - kListed) : "");
}

// Tensors of some checkpoints that carry nothing to load: tables of frequencies that older versions
// of transformers stored, and the head of a tied model.
bool is_tolerated(const std::string& name, const Shape& shape) {
  return name.ends_with(".rotary_emb.inv_freq") || (shape.tied && name == "lm_head.weight");
}

// Compares names and shapes; throws with all differences, or returns the tolerated extras.
std::vector<std::string> check_names(const std::string& folder, const Shape& shape,
                                     const storage::SafetensorsReader& reader) {
  std::vector<std::string> missing, unexpected, misshapen, tolerated;
  std::set<std::string> expected;
  for (const parallel::Parameter& parameter : all_parameters(shape)) {
    expected.insert(parameter.name);
    if (!reader.has(parameter.name)) {
      missing.push_back(parameter.name);
      continue;
    }
    const std::vector<int64_t>& found = reader.tensors().at(parameter.name).shape;
    if (found != parameter.shape) {
      misshapen.push_back(
          fmt::format("{} is {}, expected {}", parameter.name, found, parameter.shape));
    }
  }
  for (const auto& [name, info] : reader.tensors()) {
    if (expected.contains(name)) continue;
    (is_tolerated(name, shape) ? tolerated : unexpected).push_back(name);
  }
  if (missing.empty() && unexpected.empty() && misshapen.empty()) return tolerated;
  std::string way_out = "Give weights that belong to this config.json.";
  if (missing == std::vector<std::string>{"lm_head.weight"} && unexpected.empty()) {
    way_out = "If the head is meant to be the embedding, set \"tie_word_embeddings\": true.";
  }
  base::fail_user("{}: the weights do not fit config.json ({}):{}{}{}\n{}", folder,
                  name_of(shape.family), list("missing", std::move(missing)),
                  list("not expected", std::move(unexpected)),
                  list("of another shape", std::move(misshapen)), way_out);
}

// transformers unties a head that is stored beside a different embedding, so a difference means
// that config.json and weights do not belong together.
void check_tied_head(const std::string& folder, const Shape& shape,
                     const storage::SafetensorsReader& reader) {
  if (!shape.tied || !reader.has("lm_head.weight")) return;
  const int64_t count = reader.tensors().at("model.embed_tokens.weight").numel;
  bool same = count == reader.tensors().at("lm_head.weight").numel;
  std::vector<float> head(size_t{1} << 20);
  std::vector<float> embedding(head.size());
  for (int64_t begin = 0; same && begin < count; begin += std::ssize(head)) {
    const auto size = static_cast<size_t>(std::min<int64_t>(std::ssize(head), count - begin));
    reader.read("lm_head.weight", begin, std::span(head).first(size));
    reader.read("model.embed_tokens.weight", begin, std::span(embedding).first(size));
    same = std::ranges::equal(std::span(head).first(size), std::span(embedding).first(size));
  }
  if (!same) {
    base::fail_user(
        "{}: config.json says tie_word_embeddings = true, but lm_head.weight and "
        "model.embed_tokens.weight differ. Set \"tie_word_embeddings\": false to keep both.",
        folder);
  }
}

// What this rank owns of a unit. Returns the parameters in which it met NaN or infinity.
std::set<std::string> load(const storage::SafetensorsReader& reader, parallel::Unit& unit) {
  std::set<std::string> not_finite;
  std::map<size_t, std::vector<float>> means;  // of tables with new rows, by parameter
  unit.end_gather();
  parallel::OwnedOnHost host(unit, false);
  parallel::for_each_owned_run(unit, [&](size_t i, base::Slice global,
                                         const parallel::OwnedSegment& segment, int64_t offset) {
    const parallel::Parameter& parameter = unit.parameters()[i];
    float* out = host.weights(segment) + offset;
    const int64_t stored = reader.tensors().at(parameter.name).numel;
    const base::Slice old = base::intersect(global, {0, stored});
    const std::span<float> values(out, static_cast<size_t>(old.size()));
    if (!old.empty()) reader.read(parameter.name, old.begin, values);
    if (!base::all_finite(values)) not_finite.insert(parameter.name);
    if (global.end <= stored) return;
    const int64_t width = parameter.shape[1];
    auto& mean = means[i];
    if (mean.empty()) {
      mean = mean_row(stored / width, width, [&](base::Slice elements, float* to) {
        reader.read(parameter.name, elements.begin,
                    std::span(to, static_cast<size_t>(elements.size())));
      });
    }
    fill_new_rows(mean, stored / width, global, out);
  });
  host.write();
  unit.mark_changed();
  return not_finite;
}

}  // namespace

void check_hf(const std::string& folder, const Shape& shape) {
  check_names(folder, shape, storage::SafetensorsReader::open_folder(folder));
}

HfWeights::HfWeights(const std::string& folder, const Shape& shape, comm::Control& control)
    : folder_(folder) {
  control.agree([&] {
    reader_ = storage::SafetensorsReader::open_folder(folder);
    Shape stored = shape;
    stored.vocab = std::min(stored.vocab, read_hf_config(folder).vocab);
    const auto unused = check_names(folder, stored, reader_);
    if (control.is_first()) check_tied_head(folder, shape, reader_);
    if (unused.empty()) return;
    remarks_.push_back(fmt::format("{}:{}", folder, list("in the file and not used", unused)));
  });
}

void HfWeights::read(parallel::Unit& unit) { not_finite_.merge(load(reader_, unit)); }

void HfWeights::check_finite(comm::Control& control) const {
  std::string mine;  // a name a line
  for (const std::string& name : not_finite_) mine += name + "\n";
  std::set<std::string> damaged;
  for (const std::string& names : control.gather_text(mine)) {
    std::istringstream lines(names);
    for (std::string name; std::getline(lines, name);) damaged.insert(name);
  }
  if (damaged.empty()) return;
  base::fail_user(
      "{}: the weights are not all finite numbers:{}\nThe model is damaged or "
      "diverged in training: give another one.",
      folder_, list("with NaN or infinity", {damaged.begin(), damaged.end()}));
}

std::vector<std::string> load_hf(const std::string& folder, Model& model, comm::Control& control) {
  HfWeights weights(folder, model.shape(), control);
  control.agree([&] {
    for (size_t u = 0; u < model.unit_count(); ++u) weights.read(model.unit(u));
  });
  weights.check_finite(control);
  model.gather_weights();
  return weights.remarks();
}

}  // namespace rondo::model
