#include "model/weights.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace rondo::model {
namespace {

parallel::Parameter matrix(std::string name, int64_t rows, int64_t columns, double std) {
  parallel::Parameter parameter;
  parameter.name = std::move(name);
  parameter.shape = {rows, columns};
  parameter.init_std = std;
  return parameter;
}

parallel::Parameter vector(std::string name, int64_t size, double value) {
  parallel::Parameter parameter;
  parameter.name = std::move(name);
  parameter.shape = {size};
  parameter.decay = false;
  parameter.init_value = value;
  return parameter;
}

parallel::Parameter joined(parallel::Parameter parameter) {
  parameter.joined = true;
  return parameter;
}

parallel::Parameter by_rows(parallel::Parameter parameter, int64_t pieces = 0) {
  parameter.split = parallel::Split::kRows;
  parameter.pieces = pieces;
  return parameter;
}

parallel::Parameter by_columns(parallel::Parameter parameter, int64_t pieces = 0) {
  parameter.split = parallel::Split::kColumns;
  parameter.pieces = pieces;
  return parameter;
}

UnitPlan block_plan(const Shape& shape, int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  const double std = shape.initializer_std;
  // GPT-2 (Radford et al. 2019): the residual stream adds 2 * layers projections.
  const double residual_std = std / std::sqrt(2.0 * static_cast<double>(shape.layers));
  const int64_t d = shape.hidden;

  UnitPlan plan{fmt::format("block.{}", layer), {}};
  auto& list = plan.parameters;
  list.push_back(vector(prefix + "input_layernorm.weight", d, 1));
  const int64_t h = shape.heads;
  const int64_t k = shape.kv_heads;
  const auto kv_matrix = [&](const char* name) {
    return joined(by_rows(matrix(attention + name, shape.kv_width(), d, std), k));
  };
  const auto kv_bias = [&](const char* name) {
    return joined(by_rows(vector(attention + name, shape.kv_width(), 0), k));
  };
  list.push_back(by_rows(matrix(attention + "q_proj.weight", shape.q_width(), d, std), h));
  list.push_back(kv_matrix("k_proj.weight"));
  list.push_back(kv_matrix("v_proj.weight"));
  if (shape.qkv_bias) {
    list.push_back(by_rows(vector(attention + "q_proj.bias", shape.q_width(), 0), h));
    list.push_back(kv_bias("k_proj.bias"));
    list.push_back(kv_bias("v_proj.bias"));
  }
  if (shape.qk_norm) {
    list.push_back(vector(attention + "q_norm.weight", shape.head_width, 1));
    list.push_back(vector(attention + "k_norm.weight", shape.head_width, 1));
  }
  list.push_back(
      by_columns(matrix(attention + "o_proj.weight", d, shape.q_width(), residual_std), h));
  list.push_back(vector(prefix + "post_attention_layernorm.weight", d, 1));
  list.push_back(by_rows(matrix(mlp + "gate_proj.weight", shape.ffn, d, std)));
  list.push_back(joined(by_rows(matrix(mlp + "up_proj.weight", shape.ffn, d, std))));
  list.push_back(by_columns(matrix(mlp + "down_proj.weight", d, shape.ffn, residual_std)));
  return plan;
}

}  // namespace

std::vector<UnitPlan> unit_plans(const Shape& shape) {
  const double std = shape.initializer_std;
  std::vector<UnitPlan> plans;
  const auto per_id = [&](const char* name) {
    return by_rows(matrix(name, shape.vocab, shape.hidden, std));
  };
  plans.push_back({"embedding", {per_id("model.embed_tokens.weight")}});
  for (int64_t layer = 0; layer < shape.layers; ++layer) plans.push_back(block_plan(shape, layer));
  plans.push_back({"final", {vector("model.norm.weight", shape.hidden, 1)}});
  if (!shape.tied) {
    plans.back().parameters.push_back(per_id("lm_head.weight"));
  }
  return plans;
}

Shape local_shape(const Shape& shape, int tensor) {
  Shape local = shape;
  local.heads = shape.heads / tensor;
  local.kv_heads = std::max<int64_t>(1, shape.kv_heads / tensor);
  local.ffn = base::ceil_div(shape.ffn, tensor);
  return local;
}

bool fits_tensor_size(const Shape& shape, int64_t tensor) {
  return tensor >= 1 && shape.heads % tensor == 0 &&
         (shape.kv_heads % tensor == 0 || tensor % shape.kv_heads == 0);
}

void check_tensor_size(const Shape& shape, int64_t tensor, std::string_view subject) {
  if (fits_tensor_size(shape, tensor)) return;
  std::vector<int64_t> usable;
  for (int64_t size = 1; size <= shape.heads; ++size) {
    if (fits_tensor_size(shape, size)) usable.push_back(size);
  }
  if (tensor >= 1 && shape.heads % tensor == 0) {
    base::fail_user(
        "{} = {}: the {} key/value heads of the model do not divide over it, nor it over them "
        "({} / {}). Use {}.",
        subject, tensor, shape.kv_heads, shape.kv_heads, tensor, fmt::join(usable, ", "));
  }
  base::fail_user("{} = {} does not divide the {} attention heads of the model ({} / {}). Use {}.",
                  subject, tensor, shape.heads, shape.heads, tensor, fmt::join(usable, ", "));
}

size_t index_of(const parallel::Unit& unit, const std::string& name) {
  const auto& parameters = unit.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name == name) return i;
  }
  RONDO_CHECK(false, "unit {} has no parameter {}", unit.name(), name);
}

std::vector<parallel::Parameter> all_parameters(const Shape& shape) {
  std::vector<parallel::Parameter> all;
  for (UnitPlan& plan : unit_plans(shape)) {
    for (auto& parameter : plan.parameters) all.push_back(std::move(parameter));
  }
  return all;
}

}  // namespace rondo::model
