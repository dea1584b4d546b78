// config.json of a Hugging Face model folder: to a Shape and back.
//
// Read as transformers reads it, in the forms that its old and new versions write (rope_theta with
// rope_scaling, or rope_parameters; torch_dtype or dtype; nulls). Each key is used, or known to be
// without influence on the computation, or an error that names it. Page: docs/formats/hf_folder.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/shape.hpp"

namespace rondo::model {

// UserError naming `folder`/config.json, the key, what was found and what is supported.
Shape read_hf_config(const std::string& folder);
// The same from the text of the file; `path` is for messages.
Shape parse_hf_config(std::string_view text, const std::string& path);

// Ids that config.json and generation_config.json carry.
struct SpecialIds {
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;  // generation stops at any of them
};

// Text of config.json in the form that every version of transformers (and vLLM) reads: rope_theta
// with rope_scaling, torch_dtype ("float32", "bfloat16", "float16").
std::string write_hf_config(const Shape& shape, const SpecialIds& ids, std::string_view dtype);

}  // namespace rondo::model
