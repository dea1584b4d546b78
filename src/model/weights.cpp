#include "model/weights.hpp"

#include <fmt/format.h>

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
  list.push_back(matrix(attention + "q_proj.weight", shape.q_width(), d, std));
  list.push_back(joined(matrix(attention + "k_proj.weight", shape.kv_width(), d, std)));
  list.push_back(joined(matrix(attention + "v_proj.weight", shape.kv_width(), d, std)));
  if (shape.qkv_bias) {
    list.push_back(vector(attention + "q_proj.bias", shape.q_width(), 0));
    list.push_back(joined(vector(attention + "k_proj.bias", shape.kv_width(), 0)));
    list.push_back(joined(vector(attention + "v_proj.bias", shape.kv_width(), 0)));
  }
  if (shape.qk_norm) {
    list.push_back(vector(attention + "q_norm.weight", shape.head_width, 1));
    list.push_back(vector(attention + "k_norm.weight", shape.head_width, 1));
  }
  list.push_back(matrix(attention + "o_proj.weight", d, shape.q_width(), residual_std));
  list.push_back(vector(prefix + "post_attention_layernorm.weight", d, 1));
  list.push_back(matrix(mlp + "gate_proj.weight", shape.ffn, d, std));
  list.push_back(joined(matrix(mlp + "up_proj.weight", shape.ffn, d, std)));
  list.push_back(matrix(mlp + "down_proj.weight", d, shape.ffn, residual_std));
  return plan;
}

}  // namespace

std::vector<UnitPlan> unit_plans(const Shape& shape) {
  const double std = shape.initializer_std;
  std::vector<UnitPlan> plans;
  plans.push_back(
      {"embedding", {matrix("model.embed_tokens.weight", shape.vocab, shape.hidden, std)}});
  for (int64_t layer = 0; layer < shape.layers; ++layer) plans.push_back(block_plan(shape, layer));
  plans.push_back({"final", {vector("model.norm.weight", shape.hidden, 1)}});
  if (!shape.tied) {
    plans.back().parameters.push_back(matrix("lm_head.weight", shape.vocab, shape.hidden, std));
  }
  return plans;
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
