#include "train/model_source.hpp"

#include <ATen/ATen.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "model/grow.hpp"
#include "model/hf_config.hpp"
#include "model/hf_folder.hpp"

namespace rondo::train {

namespace {

using checkpoint::Checkpoint;
using checkpoint::Verify;

void copy_in(const Checkpoint& source, const std::string& name, base::Slice elements,
             at::Tensor target) {
  source.read(name, elements, target.data_ptr<float>());
}

// " hidden_size 64 there, 32 here; ...": in the words of config.json.
std::string differences(const model::Shape& there, const model::Shape& here) {
  const auto json_of = [](const model::Shape& shape) {
    return nlohmann::json::parse(model::write_hf_config(shape, {}, "float32"));
  };
  const auto theirs = json_of(there);
  const auto ours = json_of(here);
  auto keys = ours;
  keys.update(theirs);
  std::string text;
  for (const auto& [key, ignored] : keys.items()) {
    const auto their = theirs.value(key, nlohmann::json());
    const auto our = ours.value(key, nlohmann::json());
    if (their == our) continue;
    text += fmt::format("{} {} {} there, {} here", text.empty() ? "" : ";", key, their.dump(),
                        our.dump());
  }
  return text;
}

}  // namespace

bool is_checkpoint(const std::string& path) {
  return std::filesystem::exists(std::filesystem::path(path) / "MANIFEST.json");
}

model::Shape read_shape(const std::string& path, comm::Control& control) {
  if (is_checkpoint(path)) {
    const auto source = Checkpoint::open(path, control, Verify::kManifest);
    if (!source.state().contains("model_config")) {
      base::fail_user("{}: this checkpoint does not say what model it holds.", path);
    }
    return model::parse_hf_config(source.state().at("model_config").get<std::string>(),
                                  path + "/MANIFEST.json (model_config)");
  }
  model::Shape shape;
  control.agree([&] {
    if (!std::filesystem::is_directory(path)) {
      base::fail_user(
          "{}: there is no such folder; a Hugging Face model folder or a checkpoint "
          "of rondo is expected.",
          path);
    }
    shape = model::read_hf_config(path);
  });
  return shape;
}

void check_same_model(const std::string& path, const model::Shape& shape, Rows rows,
                      comm::Control& control) {
  model::Shape other = read_shape(path, control);
  if (rows == Rows::kMayGrow) other.vocab = std::max(other.vocab, shape.vocab);
  other.family = shape.family;
  other.max_seq = shape.max_seq;
  other.initializer_std = shape.initializer_std;
  if (other == shape) return;
  base::fail_user("{}: holds another model than the one trained here:{}. Name one of the same.",
                  path, differences(other, shape));
}

void load_weights(const std::string& path, model::Model& model, Rows rows, comm::Control& control,
                  base::Console& console) {
  check_same_model(path, model.shape(), rows, control);
  if (is_checkpoint(path)) {
    const auto source = Checkpoint::open(path, control, Verify::kFull);
    control.agree([&] { restore(source, model, false); });
    return;
  }
  for (const auto& remark : model::load_hf(path, model, control)) console.line("{}", remark);
}

std::string weights_digest(const model::Model& model) {
  base::Hasher hasher;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    const parallel::Unit& unit = model.unit(u);
    for (size_t i = 0; i < unit.parameters().size(); ++i) {
      const at::Tensor weight = unit.weight(i);
      hasher.add(std::as_bytes(
          std::span(weight.const_data_ptr<float>(), static_cast<size_t>(weight.numel()))));
    }
  }
  return hasher.hex();
}

std::vector<checkpoint::LogicalTensor> logical_tensors(const model::Model& model, bool optimizer) {
  std::vector<checkpoint::LogicalTensor> tensors;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    for (const auto& parameter : model.unit(u).parameters()) {
      tensors.push_back({parameter.name, parameter.shape});
      if (!optimizer) continue;
      tensors.push_back({kExpAvgPrefix + parameter.name, parameter.shape});
      tensors.push_back({kExpAvgSqPrefix + parameter.name, parameter.shape});
    }
  }
  return tensors;
}

std::vector<checkpoint::Piece> owned_pieces(model::Model& model, bool optimizer) {
  std::vector<checkpoint::Piece> pieces;
  const size_t kinds = optimizer ? 3 : 1;
  size_t first = 0;  // index in logical_tensors() of this unit's first parameter
  for (size_t u = 0; u < model.unit_count(); ++u) {
    parallel::Unit& unit = model.unit(u);
    for (const auto& segment : unit.segments()) {
      const size_t tensor = first + segment.parameter * kinds;
      const base::Slice flat = unit.flat_range(segment.parameter, segment.global);
      pieces.push_back(
          {tensor, segment.global, unit.flat_weights().const_data_ptr<float>() + flat.begin});
      if (!optimizer) continue;
      pieces.push_back({tensor + 1, segment.global,
                        unit.exp_avg().const_data_ptr<float>() + segment.shard_offset});
      pieces.push_back({tensor + 2, segment.global,
                        unit.exp_avg_sq().const_data_ptr<float>() + segment.shard_offset});
    }
    first += unit.parameters().size() * kinds;
  }
  return pieces;
}

void restore(const Checkpoint& source, model::Model& model, bool optimizer) {
  for (size_t u = 0; u < model.unit_count(); ++u) {
    parallel::Unit& unit = model.unit(u);
    for (size_t i = 0; i < unit.parameters().size(); ++i) {
      const auto& parameter = unit.parameters()[i];
      std::vector<int64_t> shape = source.tensor(parameter.name).shape;
      const bool grows = model::has_row_per_id(parameter.name) && shape.size() == 2 &&
                         shape[0] < parameter.shape[0] && !optimizer;
      if (grows) shape[0] = parameter.shape[0];
      if (shape != parameter.shape) {
        base::fail_user("{}: {} has another shape than this model's.", source.path(),
                        parameter.name);
      }
      const int64_t rows = source.tensor(parameter.name).shape[0];
      const at::Tensor weight = unit.weight(i);
      copy_in(source, parameter.name, {0, rows * (parameter.numel() / parameter.shape[0])}, weight);
      if (grows) model::fill_new_rows(weight, rows);
    }
    if (!optimizer) continue;
    for (const auto& segment : unit.segments()) {
      const std::string& name = unit.parameters()[segment.parameter].name;
      const auto part = [&](at::Tensor& moments) {
        return moments.narrow(0, segment.shard_offset, segment.global.size());
      };
      copy_in(source, kExpAvgPrefix + name, segment.global, part(unit.exp_avg()));
      copy_in(source, kExpAvgSqPrefix + name, segment.global, part(unit.exp_avg_sq()));
    }
  }
}

}  // namespace rondo::train
