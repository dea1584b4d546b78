// A Hugging Face model folder: loading weights from it and writing one.
// Page: docs/formats/hf_folder.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "model/hf_config.hpp"
#include "model/model.hpp"
#include "parallel/unit.hpp"

namespace rondo::model {

// Collective over all ranks. Reads the folder's safetensors into the model, whose shape is the
// folder's (read_hf_config), but for more ids: their rows are new (model/grow.hpp). UserError that
// lists every missing, unexpected and wrongly shaped tensor, before anything is read, or every
// tensor that holds NaN or infinity. Returns remarks for the user (tensors that are in the file and
// not used).
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
