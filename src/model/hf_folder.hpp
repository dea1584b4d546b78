// A Hugging Face model folder: loading weights from it and writing one.
// Page: docs/formats/hf_folder.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "model/hf_config.hpp"
#include "model/model.hpp"
#include "parallel/unit.hpp"
#include "storage/safetensors.hpp"

namespace rondo::model {

// The weights of a folder, read by units of a model whose shape is the folder's (read_hf_config),
// but for more ids: their rows are new (model/grow.hpp).
class HfWeights {
 public:
  // Collective over all ranks. UserError that lists every missing, unexpected and wrongly shaped
  // tensor.
  HfWeights(const std::string& folder, const Shape& shape, comm::Control& control);

  // Not collective. Writes what this rank owns of the unit; a gather must follow.
  void read(parallel::Unit& unit);
  // Collective, after the last unit. UserError that lists every tensor in which a rank met NaN or
  // infinity.
  void check_finite(comm::Control& control) const;
  // For the user: tensors that are in the files and not used.
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  std::string folder_;
  storage::SafetensorsReader reader_;
  std::vector<std::string> remarks_;
  std::set<std::string> not_finite_;
};

// Collective over all ranks. All of it into the model. Returns the remarks.
std::vector<std::string> load_hf(const std::string& folder, Model& model, comm::Control& control);

// Called on one rank. UserError when a safetensors file is malformed, or names or shapes of its
// tensors are not those of `shape`. Reads headers alone.
void check_hf(const std::string& folder, const Shape& shape);

enum class ExportType { kFp32, kBf16, kFp16 };

struct ExportOptions {
  std::string target;              // folder to make; must not exist
  std::string tokenizer_folder{};  // files copied from it; empty: none
  ExportType type = ExportType::kFp32;
  // Ids that end the trained turns; generation stops at them, and at the tokenizer's end of text.
  std::vector<int64_t> end_of_turn{};
  // Jinja text written in place of the tokenizer's own; empty: the tokenizer's own.
  std::string chat_template{};
  int64_t max_file_bytes = 5'000'000'000;
};

// Gives the whole of a parameter as contiguous float32 in its own shape.
using FetchParameter = std::function<at::Tensor(const parallel::Parameter&)>;

// Called on one rank alone. Writes config.json, generation_config.json, safetensors and the
// tokenizer's files under a temporary name, syncs them, and renames the whole to options.target.
// Fetches each parameter once, in the order of all_parameters(shape).
void export_hf(const Shape& shape, const ExportOptions& options, const FetchParameter& fetch);
// Collective over all ranks of `control`, which are those of the model's mesh. The same from the
// weights of a model; rank 0 writes.
void export_hf(Model& model, const ExportOptions& options, comm::Control& control);

// The chat template (Jinja text) that the files of a tokenizer folder hold: the default one where
// there are several; "" when there is none.
std::string chat_template_of(const std::string& tokenizer_folder);

// Special ids as the files of a tokenizer folder (tokenizer_config.json, tokenizer.json,
// generation_config.json, config.json) give them; end_of_turn goes first in eos.
SpecialIds read_special_ids(const std::string& tokenizer_folder,
                            const std::vector<int64_t>& end_of_turn);

}  // namespace rondo::model
