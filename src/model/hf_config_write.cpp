#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "model/hf_config.hpp"

namespace rondo::model {
namespace {

using Json = nlohmann::ordered_json;

Json scaling_json(const RopeScaling& scaling) {
  using Kind = RopeScaling::Kind;
  switch (scaling.kind) {
    case Kind::kNone:
      return nullptr;
    case Kind::kLinear:
      return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", scaling.factor}};
    case Kind::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings", scaling.original_max_position}};
    case Kind::kYarn:
      break;
  }
  Json json = {{"rope_type", "yarn"},
               {"type", "yarn"},
               {"factor", scaling.factor},
               {"original_max_position_embeddings", scaling.original_max_position},
               {"beta_fast", scaling.beta_fast},
               {"beta_slow", scaling.beta_slow}};
  if (scaling.attention_factor != 0) json["attention_factor"] = scaling.attention_factor;
  if (scaling.mscale != 0) json["mscale"] = scaling.mscale;
  if (scaling.mscale_all_dim != 0) json["mscale_all_dim"] = scaling.mscale_all_dim;
  if (!scaling.truncate) json["truncate"] = false;
  return json;
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace

std::string write_hf_config(const Shape& shape, const SpecialIds& ids, std::string_view dtype) {
  Json json = {{"architectures", Json::array({architecture_of(shape.family)})},
               {"model_type", name_of(shape.family)},
               {"hidden_size", shape.hidden},
               {"num_hidden_layers", shape.layers},
               {"num_attention_heads", shape.heads},
               {"num_key_value_heads", shape.kv_heads},
               {"head_dim", shape.head_width},
               {"intermediate_size", shape.ffn},
               {"vocab_size", shape.vocab},
               {"max_position_embeddings", shape.max_seq},
               {"rms_norm_eps", shape.norm_eps},
               {"initializer_range", shape.initializer_std},
               {"tie_word_embeddings", shape.tied},
               {"rope_theta", shape.rope_theta},
               {"rope_scaling", scaling_json(shape.rope_scaling)},
               {"hidden_act", "silu"},
               {"attention_dropout", 0.0}};
  switch (shape.family) {
    case Family::kLlama:
      json["attention_bias"] = false;
      json["mlp_bias"] = false;
      break;
    case Family::kMistral:
      json["sliding_window"] = nullptr;
      break;
    case Family::kQwen3:
      json["attention_bias"] = false;
      [[fallthrough]];
    case Family::kQwen2:
      json["use_sliding_window"] = false;
      json["sliding_window"] = nullptr;
      break;
  }
  json["bos_token_id"] = or_null(ids.bos);
  json["pad_token_id"] = or_null(ids.pad);
  // One id as a number, as most folders have it; several as a list.
  if (ids.eos.empty()) {
    json["eos_token_id"] = nullptr;
  } else {
    json["eos_token_id"] = ids.eos.size() == 1 ? Json(ids.eos.front()) : Json(ids.eos);
  }
  json["torch_dtype"] = dtype;
  json["use_cache"] = true;
  return json.dump(2) + "\n";
}

}  // namespace rondo::model
