#include "train/shape_of.hpp"

namespace rondo::train {

model::Shape shape_of(const ShapeSection& section) {
  model::Shape shape;
  // The family fixes only how config.json is written: the one whose files can say these options.
  shape.family = section.qk_norm    ? model::Family::kQwen3
                 : section.qkv_bias ? model::Family::kQwen2
                                    : model::Family::kLlama;
  shape.hidden = section.hidden;
  shape.layers = section.layers;
  shape.heads = section.heads;
  shape.kv_heads = section.kv_heads;
  shape.head_width = section.head_width;
  shape.ffn = section.ffn;
  shape.vocab = section.vocab;
  shape.max_seq = section.max_seq;
  shape.rope_theta = section.rope_theta;
  shape.norm_eps = section.norm_eps;
  shape.tied = section.tied;
  shape.qkv_bias = section.qkv_bias;
  shape.qk_norm = section.qk_norm;
  return shape;
}

}  // namespace rondo::train
