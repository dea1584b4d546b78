#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/error.hpp"
#include "base/finite.hpp"
#include "model/grow.hpp"
#include "model/hf_config.hpp"
#include "model/hf_folder.hpp"
#include "model/weights.hpp"
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
void check_tied_head(const std::string& folder, const Model& model,
                     const storage::SafetensorsReader& reader) {
  if (!model.shape().tied || !reader.has("lm_head.weight")) return;
  const int64_t stored = reader.tensors().at("model.embed_tokens.weight").numel;
  const std::span<const float> embedding(model.embedding().const_data_ptr<float>(),
                                         static_cast<size_t>(stored));
  const int64_t count = reader.tensors().at("lm_head.weight").numel;
  bool same = count == std::ssize(embedding);
  std::vector<float> piece(size_t{1} << 20);
  for (int64_t begin = 0; same && begin < count; begin += std::ssize(piece)) {
    const auto size = static_cast<size_t>(std::min<int64_t>(std::ssize(piece), count - begin));
    const std::span<float> head = std::span(piece).first(size);
    reader.read("lm_head.weight", begin, head);
    same = std::ranges::equal(head, embedding.subspan(static_cast<size_t>(begin), size));
  }
  if (!same) {
    base::fail_user(
        "{}: config.json says tie_word_embeddings = true, but lm_head.weight and "
        "model.embed_tokens.weight differ. Set \"tie_word_embeddings\": false to keep both.",
        folder);
  }
}

std::vector<std::string> load(const std::string& folder, Model& model) {
  const auto reader = storage::SafetensorsReader::open_folder(folder);
  Shape stored = model.shape();
  stored.vocab = std::min(stored.vocab, read_hf_config(folder).vocab);
  const std::vector<std::string> tolerated = check_names(folder, stored, reader);
  std::vector<std::string> not_finite;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    const parallel::Unit& unit = model.unit(u);
    for (size_t i = 0; i < unit.parameters().size(); ++i) {
      const parallel::Parameter& parameter = unit.parameters()[i];
      const at::Tensor weight = unit.weight(i);
      const int64_t numel = reader.tensors().at(parameter.name).numel;
      const std::span<float> values(weight.mutable_data_ptr<float>(), static_cast<size_t>(numel));
      reader.read(parameter.name, 0, values);
      if (!base::all_finite(values)) not_finite.push_back(parameter.name);
      if (numel < parameter.numel()) fill_new_rows(weight, stored.vocab);
    }
  }
  if (!not_finite.empty()) {
    base::fail_user(
        "{}: the weights are not all finite numbers:{}\nThe model is damaged or "
        "diverged in training: give another one.",
        folder, list("with NaN or infinity", std::move(not_finite)));
  }
  check_tied_head(folder, model, reader);
  std::vector<std::string> remarks;
  if (!tolerated.empty()) {
    remarks.push_back(fmt::format("{}:{}", folder, list("in the file and not used", tolerated)));
  }
  return remarks;
}

}  // namespace

void check_hf(const std::string& folder, const Shape& shape) {
  check_names(folder, shape, storage::SafetensorsReader::open_folder(folder));
}

std::vector<std::string> load_hf(const std::string& folder, Model& model, comm::Control& control) {
  std::vector<std::string> remarks;
  control.agree([&] { remarks = load(folder, model); });
  return remarks;
}

}  // namespace rondo::model
