// Models by path: a Hugging Face folder or a checkpoint of rondo, told apart by what is in them;
// and the tensors of a model as the checkpoint knows them.
#pragma once

#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/console.hpp"
#include "checkpoint/checkpoint.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "model/model.hpp"
#include "parallel/owned_on_host.hpp"

namespace rondo::train {

inline constexpr const char* kExpAvgPrefix = "optimizer/exp_avg/";
inline constexpr const char* kExpAvgSqPrefix = "optimizer/exp_avg_sq/";

// Keys of a checkpoint's state that every reader may rely on:
//   "model_config": the model's config.json as text     "tokenizer": folder of the tokenizer
//   "end_of_turn": ids that end the trained turns        "round", "round_name", "step", ...
//   "chat_template": Jinja text they were trained by; "": the tokenizer's own
bool is_checkpoint(const std::string& path);

// Collective over all ranks of `control`. Shape of the model in `path`; UserError when it is
// neither a Hugging Face folder nor a checkpoint.
model::Shape read_shape(const std::string& path, comm::Control& control);

// Whether a model may have fewer embedding rows than the one that it is read into.
enum class Rows { kSame, kMayGrow };

// Collective over all ranks of `control`. UserError unless the model in `path` computes what
// `shape` does: everything but its family's name, its number of known positions and its
// initialisation is compared.
void check_same_model(const std::string& path, const model::Shape& shape, Rows rows,
                      comm::Control& control);

// What a model is to the checkpoint: its weights, and with an optimizer both moments.
std::vector<checkpoint::LogicalTensor> logical_tensors(const model::Model& model, bool optimizer);
// What this rank owns of a model as host memory (parallel/owned_on_host.hpp).
class ModelOnHost {
 public:
  // With Adam's moments or without. The model must outlive this.
  ModelOnHost(const model::Model& model, bool optimizer);
  // Where the model lies on a device: what is there now. Waits for it.
  void read();
  // What this rank writes of it; pointers into the model's units, or into this where they lie on a
  // device. Over all ranks every element comes once.
  std::vector<checkpoint::Piece> pieces() const;

 private:
  const model::Model& model_;
  bool optimizer_;
  std::deque<parallel::OwnedOnHost> units_;
};
// Collective over the model's mesh. The digest of a checkpoint that holds its weights and, with
// `optimizer`, their moments, whatever the layout.
std::string digest_of(const model::Model& model, bool optimizer);
// Reads the weights that this rank owns and, with `optimizer`, their moments. Not collective; a
// gather must follow where whole weights are read before a forward.
void restore(const checkpoint::Checkpoint& checkpoint, parallel::Unit& unit, bool optimizer);
void restore(const checkpoint::Checkpoint& checkpoint, model::Model& model, bool optimizer);
// Collective over all ranks of `control`, which are the model's. The same with all that the
// checkpoint holds; SystemError when the model then has another digest.
void restore_all(const checkpoint::Checkpoint& checkpoint, model::Model& model, bool optimizer,
                 comm::Control& control);

}  // namespace rondo::train
