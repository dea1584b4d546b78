#include "train/model_source.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "checkpoint/digest.hpp"
#include "model/grow.hpp"
#include "model/hf_config.hpp"
#include "model/hf_folder.hpp"

namespace rondo::train {

namespace {

using checkpoint::Checkpoint;
using checkpoint::Verify;

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

ModelOnHost::ModelOnHost(const model::Model& model, bool optimizer)
    : model_(model), optimizer_(optimizer) {
  for (size_t u = 0; u < model.unit_count(); ++u) units_.emplace_back(model.unit(u), optimizer);
}

void ModelOnHost::read() {
  for (parallel::OwnedOnHost& unit : units_) unit.read();
}

namespace {

// What this rank writes of a unit whose first tensor in logical_tensors() is `first`.
void add_pieces(const parallel::Unit& unit, const parallel::OwnedOnHost& host, size_t first,
                bool optimizer, std::vector<checkpoint::Piece>& pieces) {
  const size_t kinds = optimizer ? 3 : 1;
  parallel::for_each_written_block(unit, [&](size_t i, const parallel::StoredBlock& block,
                                             const parallel::OwnedSegment& segment) {
    const auto add = [&](size_t kind, const float* data) {
      pieces.push_back(
          {first + i * kinds + kind, block.global, data + block.local, block.local_stride});
    };
    add(0, host.weights(segment));
    if (!optimizer) return;
    add(1, host.exp_avg(segment));
    add(2, host.exp_avg_sq(segment));
  });
}

size_t tensors_of(const parallel::Unit& unit, bool optimizer) {
  return unit.parameters().size() * (optimizer ? 3 : 1);
}

}  // namespace

std::vector<checkpoint::Piece> ModelOnHost::pieces() const {
  std::vector<checkpoint::Piece> pieces;
  size_t first = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    add_pieces(model_.unit(u), units_[u], first, optimizer_, pieces);
    first += tensors_of(model_.unit(u), optimizer_);
  }
  return pieces;
}

std::string digest_of(const model::Model& model, bool optimizer) {
  const auto tensors = logical_tensors(model, optimizer);
  uint64_t sum = 0;
  size_t first = 0;
  // Unit by unit, so that of a model on a device no more is copied at a time.
  for (size_t u = 0; u < model.unit_count(); ++u) {
    parallel::OwnedOnHost host(model.unit(u), optimizer);
    host.read();
    std::vector<checkpoint::Piece> pieces;
    add_pieces(model.unit(u), host, first, optimizer, pieces);
    for (const auto& piece : pieces) {
      for (int64_t k = 0; k < piece.elements.count; ++k) {
        const base::Slice run = piece.elements.run(k);
        sum += checkpoint::digest_part(tensors[piece.tensor].name, run.begin,
                                       piece.data + k * piece.data_stride, run.size());
      }
    }
    first += tensors_of(model.unit(u), optimizer);
  }
  const at::Tensor all = at::full({1}, std::bit_cast<int64_t>(sum), at::kLong);
  model.mesh().world().all_sum(all, comm::Purpose::kControl).wait();
  return checkpoint::digest_text(std::bit_cast<uint64_t>(all.item<int64_t>()));
}

namespace {

// Rows of the parameter in the checkpoint. UserError unless its shape is the model's, but for rows
// of new ids where the model may have grown.
int64_t stored_rows(const Checkpoint& source, const parallel::Parameter& parameter, bool may_grow) {
  std::vector<int64_t> shape = source.tensor(parameter.name).shape;
  const int64_t rows = shape[0];
  if (may_grow && model::has_row_per_id(parameter.name) && rows < parameter.shape[0]) {
    shape[0] = parameter.shape[0];
  }
  if (shape != parameter.shape) {
    base::fail_user("{}: {} has another shape than this model's.", source.path(), parameter.name);
  }
  return rows;
}

// A block of a table of which the checkpoint holds the first `rows` rows. `mean` is that of them,
// worked out when it is empty.
void read_grown(const Checkpoint& source, const parallel::Parameter& parameter, int64_t rows,
                const parallel::StoredBlock& block, std::vector<float>& mean, float* out) {
  const int64_t width = parameter.numel() / parameter.shape[0];
  for (int64_t k = 0; k < block.global.count; ++k) {
    const base::Slice global = block.global.run(k);
    float* to = out + k * block.local_stride;
    const base::Slice old = base::intersect(global, {0, rows * width});
    if (!old.empty()) source.read(parameter.name, old, to);
    if (old.size() == global.size()) continue;
    if (mean.empty()) {
      mean = model::mean_row(rows, width, [&](base::Slice elements, float* values) {
        source.read(parameter.name, elements, values);
      });
    }
    model::fill_new_rows(mean, rows, global, to);
  }
}

}  // namespace

void restore(const Checkpoint& source, parallel::Unit& unit, bool optimizer) {
  std::vector<int64_t> rows;
  for (const auto& parameter : unit.parameters()) {
    rows.push_back(stored_rows(source, parameter, !optimizer));
  }
  std::map<size_t, std::vector<float>> means;  // of tables with new rows, by parameter
  unit.end_gather();
  parallel::OwnedOnHost host(unit, optimizer);
  parallel::for_each_owned_block(unit, [&](size_t i, const parallel::StoredBlock& block,
                                           const parallel::OwnedSegment& segment) {
    const parallel::Parameter& parameter = unit.parameters()[i];
    float* weights = host.weights(segment) + block.local;
    if (rows[i] == parameter.shape[0]) {
      source.read(parameter.name, block.global, weights, block.local_stride);
    } else {
      read_grown(source, parameter, rows[i], block, means[i], weights);
    }
    if (!optimizer) return;
    source.read(kExpAvgPrefix + parameter.name, block.global, host.exp_avg(segment) + block.local,
                block.local_stride);
    source.read(kExpAvgSqPrefix + parameter.name, block.global,
                host.exp_avg_sq(segment) + block.local, block.local_stride);
  });
  host.write();
  unit.mark_changed();
}

void restore(const Checkpoint& source, model::Model& model, bool optimizer) {
  for (size_t u = 0; u < model.unit_count(); ++u) restore(source, model.unit(u), optimizer);
}

void restore_all(const Checkpoint& source, model::Model& model, bool optimizer,
                 comm::Control& control) {
  control.agree([&] { restore(source, model, optimizer); });
  const std::string digest = digest_of(model, optimizer);
  if (digest == source.digest()) return;
  throw base::SystemError(fmt::format(
      "{}: what was loaded has the digest {}, what was saved {}. Start again with "
      "checkpoint.verify: full, which names what is damaged and takes the checkpoint before; where "
      "that finds nothing, test the memory of these hosts.",
      source.path(), digest, source.digest()));
}

}  // namespace rondo::train
