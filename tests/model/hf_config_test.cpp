#include "model/hf_config.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace rondo::model {
namespace {

using Json = nlohmann::json;

// What every family needs.
Json config_of(const std::string& type, const std::string& architecture) {
  return {{"model_type", type},
          {"architectures", Json::array({architecture})},
          {"hidden_size", 64},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"intermediate_size", 96},
          {"vocab_size", 128},
          {"rms_norm_eps", 1e-5},
          {"max_position_embeddings", 4096},
          {"hidden_act", "silu"},
          {"torch_dtype", "bfloat16"},
          {"transformers_version", "4.40.0"}};
}

Json llama() { return config_of("llama", "LlamaForCausalLM"); }

Shape parse(const Json& json) { return parse_hf_config(json.dump(), "m/config.json"); }

std::string refusal(const Json& json) {
  try {
    parse(json);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "accepted";
}

void expect_refused(const Json& changes, const std::string& said, Json json = llama()) {
  json.update(changes);
  EXPECT_NE(refusal(json).find(said), std::string::npos) << refusal(json);
  EXPECT_NE(refusal(json).find("m/config.json"), std::string::npos) << refusal(json);
}

TEST(HfConfig, PlainLlama) {
  const Shape shape = parse(llama());
  EXPECT_EQ(shape.family, Family::kLlama);
  EXPECT_EQ(shape.head_width, 16);
  EXPECT_EQ(shape.rope_theta, 10000);
  EXPECT_EQ(shape.rope_scaling, RopeScaling());
  EXPECT_FALSE(shape.tied || shape.qkv_bias || shape.qk_norm);
}

TEST(HfConfig, OldAndNewRopeFormsMeanTheSame) {
  Json old_form = llama();
  old_form["rope_theta"] = 500000.0;
  old_form["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", 8.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 1024}};
  Json new_form = llama();
  new_form["rope_parameters"] = old_form["rope_scaling"];
  new_form["rope_parameters"]["rope_theta"] = 500000.0;
  new_form["rope_scaling"] = nullptr;
  EXPECT_EQ(parse(old_form), parse(new_form));
  EXPECT_EQ(parse(old_form).rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_EQ(parse(old_form).rope_theta, 500000);

  Json with_type = llama();
  with_type["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  EXPECT_EQ(parse(with_type).rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(parse(with_type).rope_scaling.factor, 4);
}

TEST(HfConfig, YarnKeepsWhatIsGiven) {
  Json json = config_of("qwen2", "Qwen2ForCausalLM");
  json["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}};
  EXPECT_EQ(parse(json).rope_scaling.original_max_position, 4096);
  json["rope_scaling"].update({{"original_max_position_embeddings", 512},
                               {"attention_factor", 1.25},
                               {"beta_fast", 24},
                               {"truncate", false}});
  const RopeScaling scaling = parse(json).rope_scaling;
  EXPECT_EQ(scaling.original_max_position, 512);
  EXPECT_EQ(scaling.attention_factor, 1.25);
  EXPECT_EQ(scaling.beta_fast, 24);
  EXPECT_EQ(scaling.beta_slow, 1);
  EXPECT_FALSE(scaling.truncate);
}

TEST(HfConfig, FamiliesDifferInTheirDefaults) {
  Json json = config_of("mistral", "MistralForCausalLM");
  json["sliding_window"] = nullptr;
  json["num_attention_heads"] = 32;
  json.erase("num_key_value_heads");
  EXPECT_EQ(parse(json).kv_heads, 8);
  json = llama();
  json.erase("num_key_value_heads");
  EXPECT_EQ(parse(json).kv_heads, 4);
  json["num_key_value_heads"] = nullptr;
  json["head_dim"] = nullptr;
  EXPECT_EQ(parse(json).kv_heads, 4);
  json = config_of("qwen3", "Qwen3ForCausalLM");
  EXPECT_EQ(parse(json).head_width, 128);
  EXPECT_TRUE(parse(json).qk_norm);
  json = config_of("qwen2", "Qwen2ForCausalLM");
  json["tie_word_embeddings"] = true;
  json["sliding_window"] = 1024;
  json["use_sliding_window"] = false;
  json["max_window_layers"] = 28;
  json["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_TRUE(parse(json).tied && parse(json).qkv_bias);
}

TEST(HfConfig, WhatChangesTheComputationIsNeverIgnored) {
  expect_refused({{"attn_logit_softcapping", 50.0}, {"residual_multiplier", 0.2}},
                 "keys attn_logit_softcapping = 50.0, residual_multiplier = 0.2");
  expect_refused({{"hidden_act", "gelu"}}, "hidden_act");
  expect_refused({{"attention_bias", true}}, "attention_bias");
  expect_refused({{"mlp_bias", true}}, "mlp_bias");
  expect_refused({{"pretraining_tp", 2}}, "pretraining_tp");
  expect_refused({{"partial_rotary_factor", 0.5}}, "partial_rotary_factor");
  expect_refused({{"attention_dropout", 0.1}}, "attention_dropout");
  expect_refused({{"quantization_config", {{"bits", 4}}}}, "quantization_config");
  expect_refused({{"auto_map", {{"AutoModel", "x.Y"}}}}, "auto_map");
  expect_refused({{"model_type", "gemma2"}}, "model_type = \"gemma2\"");
  expect_refused({{"architectures", {"LlamaForSequenceClassification"}}}, "architectures");
  expect_refused({{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}}, "dynamic");
  expect_refused({{"rope_scaling", {{"rope_type", "longrope"}}}}, "longrope");
  expect_refused({{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"extra", 1}}}}, "extra");
  expect_refused({{"rope_scaling", {{"type", "linear"}}}}, "factor is missing");
  expect_refused({{"rope_theta", 1e4}, {"rope_parameters", {{"rope_theta", 1e6}}}}, "rope_theta");
  expect_refused({{"num_key_value_heads", 3}}, "does not divide");
  expect_refused({{"hidden_size", "64"}}, "expected a whole number");
  expect_refused({{"layer_types", {"full_attention", "sliding_attention"}}}, "layer_types",
                 config_of("qwen3", "Qwen3ForCausalLM"));
  expect_refused({{"use_sliding_window", true}, {"sliding_window", 1024}}, "sliding_window = 1024",
                 config_of("qwen2", "Qwen2ForCausalLM"));
  expect_refused(Json::object(), "sliding_window = 4096 (the default of mistral)", [] {
    Json json = config_of("mistral", "MistralForCausalLM");
    json["max_position_embeddings"] = 32768;
    return json;
  }());
  Json missing = llama();
  missing.erase("vocab_size");
  expect_refused(Json::object(), "vocab_size is missing", missing);
  EXPECT_THROW(parse_hf_config("{", "m/config.json"), base::UserError);
  EXPECT_THROW(parse_hf_config("[]", "m/config.json"), base::UserError);
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  EXPECT_THROW(parse_hf_config("{\"rope\":" + deep + "}", "m/config.json"), base::UserError);
}

TEST(HfConfig, HarmlessKeysAreAccepted) {
  Json json = llama();
  json.update({{"use_cache", true},
               {"pretraining_tp", 1},
               {"rope_interleaved", false},
               {"is_llama_config", true},
               {"transformers.js_config", {{"dtype", "q4"}}},
               {"bos_token_id", 1},
               {"eos_token_id", {2, 3}},
               {"attention_dropout", 0.0},
               {"some_future_key", nullptr}});
  EXPECT_EQ(parse(json), parse(llama()));
}

TEST(HfConfig, WritingAndReadingIsTheIdentity) {
  std::vector<Shape> shapes = {parse(llama())};
  Json json = config_of("qwen2", "Qwen2ForCausalLM");
  json["rope_scaling"] = {{"type", "yarn"},   {"factor", 4.0},         {"mscale", 0.5},
                          {"beta_slow", 2.0}, {"mscale_all_dim", 0.7}, {"truncate", false}};
  shapes.push_back(parse(json));
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 3.0}};
  shapes.push_back(parse(json));
  json = config_of("mistral", "MistralForCausalLM");
  json.update({{"sliding_window", nullptr}, {"head_dim", 24}, {"rms_norm_eps", 3e-6}});
  shapes.push_back(parse(json));
  json = config_of("qwen3", "Qwen3ForCausalLM");
  json.update({{"tie_word_embeddings", true}, {"rope_theta", 1e6}});
  shapes.push_back(parse(json));
  for (const Shape& shape : shapes) {
    const std::string text =
        write_hf_config(shape, {.bos = 1, .pad = {}, .eos = {2, 5}}, "float32");
    EXPECT_EQ(parse_hf_config(text, "m/config.json"), shape) << text;
    EXPECT_EQ(Json::parse(text)["eos_token_id"], Json::array({2, 5}));
    EXPECT_EQ(Json::parse(text)["torch_dtype"], "float32");
  }
}

}  // namespace
}  // namespace rondo::model
