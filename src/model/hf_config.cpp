#include "model/hf_config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/json.hpp"

namespace rondo::model {
namespace {

using Json = nlohmann::json;

// Keys that change nothing in the forward or backward of a causal language model: bookkeeping of
// transformers, classification heads that are not there, and defaults of text generation.
const std::set<std::string_view> kHarmless = {"_attn_implementation",
                                              "_attn_implementation_autoset",
                                              "_attn_implementation_internal",
                                              "_commit_hash",
                                              "_flash_attn_2_enabled",
                                              "_from_model_config",
                                              "_name_or_path",
                                              "attn_implementation",
                                              "bad_words_ids",
                                              "begin_suppress_tokens",
                                              "bos_token_id",
                                              "chunk_size_feed_forward",
                                              "decoder_start_token_id",
                                              "diversity_penalty",
                                              "do_sample",
                                              "dtype",
                                              "early_stopping",
                                              "encoder_no_repeat_ngram_size",
                                              "eos_token_id",
                                              "exponential_decay_length_penalty",
                                              "finetuning_task",
                                              "forced_bos_token_id",
                                              "forced_eos_token_id",
                                              "id2label",
                                              "is_decoder",
                                              "is_llama_config",
                                              "label2id",
                                              "length_penalty",
                                              "max_length",
                                              "max_new_tokens",
                                              "max_window_layers",
                                              "min_length",
                                              "name_or_path",
                                              "no_repeat_ngram_size",
                                              "num_beam_groups",
                                              "num_beams",
                                              "num_labels",
                                              "num_return_sequences",
                                              "output_attentions",
                                              "output_hidden_states",
                                              "output_scores",
                                              "pad_token_id",
                                              "prefix",
                                              "problem_type",
                                              "remove_invalid_values",
                                              "repetition_penalty",
                                              "return_dict",
                                              "return_dict_in_generate",
                                              "sep_token_id",
                                              "suppress_tokens",
                                              "task_specific_params",
                                              "temperature",
                                              "tf_legacy_loss",
                                              "tokenizer_class",
                                              "top_k",
                                              "top_p",
                                              "torch_dtype",
                                              "torchscript",
                                              "transformers.js_config",
                                              "transformers_version",
                                              "typical_p",
                                              "unsloth_fixed",
                                              "unsloth_version",
                                              "use_bfloat16",
                                              "use_cache"};

// The object of config.json (or its rope part), read key by key. Null counts as absent, as in
// transformers.
class Reader {
 public:
  Reader(const Json& json, std::string subject) : json_(json), subject_(std::move(subject)) {}

  const std::string& subject() const { return subject_; }
  bool has(const std::string& key) const { return json_.contains(key) && !json_[key].is_null(); }
  bool present(const std::string& key) const { return json_.contains(key); }
  const Json& get(const std::string& key) {
    used_.insert(key);
    return json_.at(key);
  }

  int64_t integer(const std::string& key, std::optional<int64_t> fallback = {}) {
    const Json* value = find(key, fallback.has_value());
    if (value == nullptr) return *fallback;
    if (!value->is_number_integer()) fail(key, "a whole number");
    return value->get<int64_t>();
  }
  double number(const std::string& key, std::optional<double> fallback = {}) {
    const Json* value = find(key, fallback.has_value());
    if (value == nullptr) return *fallback;
    if (!value->is_number()) fail(key, "a number");
    return value->get<double>();
  }
  bool flag(const std::string& key, bool fallback) {
    const Json* value = find(key, true);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) fail(key, "true or false");
    return value->get<bool>();
  }
  std::string text(const std::string& key, std::optional<std::string> fallback = {}) {
    const Json* value = find(key, fallback.has_value());
    if (value == nullptr) return *fallback;
    if (!value->is_string()) fail(key, "a text");
    return value->get<std::string>();
  }

  // UserError unless `key` is absent or one of `values`: anything else changes the computation in a
  // way that is not implemented.
  void only(const std::string& key, const std::vector<Json>& values, std::string_view why) {
    const Json* value = find(key, true);
    if (value == nullptr || std::ranges::find(values, *value) != values.end()) return;
    std::string supported;
    for (const Json& one : values) supported += (supported.empty() ? "" : " or ") + one.dump();
    base::fail_user("{}: {} = {}, supported is {} alone: {}.", subject_, key, value->dump(),
                    supported, why);
  }

  // UserError listing every key that was neither used nor is null or harmless.
  void finish(const std::set<std::string_view>& harmless) const {
    std::vector<std::string> unknown;
    for (const auto& [key, value] : json_.items()) {
      if (used_.contains(key) || value.is_null() || harmless.contains(key)) continue;
      unknown.push_back(fmt::format("{} = {}", key, value.dump()));
    }
    if (unknown.empty()) return;
    base::fail_user(
        "{}: unknown {} {}. It may change the computation, so it is not ignored. Remove it if it "
        "is known to be without effect; otherwise this model is not supported (supported: Llama "
        "2/3, Mistral, Qwen2, Qwen2.5, Qwen3, dense).",
        subject_, unknown.size() == 1 ? "key" : "keys", fmt::join(unknown, ", "));
  }

  [[noreturn]] void fail(const std::string& key, std::string_view expected) const {
    base::fail_user("{}: {} = {}, expected {}.", subject_, key, json_.at(key).dump(), expected);
  }

 private:
  const Json* find(const std::string& key, bool optional) {
    used_.insert(key);
    if (has(key)) return &json_.at(key);
    if (!optional) base::fail_user("{}: {} is missing.", subject_, key);
    return nullptr;
  }

  const Json& json_;
  std::string subject_;
  std::set<std::string> used_;
};

Family read_family(Reader& reader) {
  const std::string type = reader.text("model_type");
  for (const Family family : {Family::kLlama, Family::kMistral, Family::kQwen2, Family::kQwen3}) {
    if (name_of(family) != type) continue;
    reader.only("architectures", {Json::array(), Json::array({architecture_of(family)})},
                "other heads than the causal language model's are not implemented");
    return family;
  }
  base::fail_user(
      "{}: model_type = \"{}\" is not supported. Supported: llama (Llama 2/3, SmolLM2), mistral, "
      "qwen2 (Qwen2, Qwen2.5), qwen3, dense.",
      reader.subject(), type);
}

// The families differ in what a missing key means; a null is not the same as a missing one.
void read_heads(Reader& reader, Shape& shape) {
  shape.heads = reader.integer("num_attention_heads");
  int64_t missing_kv = shape.heads;
  if (!reader.present("num_key_value_heads")) {
    if (shape.family == Family::kMistral) missing_kv = 8;
    if (shape.family == Family::kQwen2 || shape.family == Family::kQwen3) missing_kv = 32;
  }
  shape.kv_heads = reader.integer("num_key_value_heads", missing_kv);
  const bool qwen3_default = shape.family == Family::kQwen3 && !reader.present("head_dim");
  shape.head_width = reader.integer("head_dim", qwen3_default ? 128 : 0);
}

// Sliding windows that can never cut a document change nothing.
void read_window(Reader& reader, const Shape& shape) {
  const bool used = reader.flag("use_sliding_window", shape.family == Family::kMistral);
  const bool missing = shape.family == Family::kMistral && !reader.present("sliding_window");
  const int64_t window = reader.integer("sliding_window", missing ? 4096 : shape.max_seq);
  if (used && window < shape.max_seq) {
    base::fail_user(
        "{}: sliding_window = {}{} is shorter than max_position_embeddings = {}, and "
        "sliding-window "
        "attention is not implemented. For documents of at most {} tokens the window has no "
        "effect: set \"sliding_window\": null and \"max_position_embeddings\": {} in a copy of the "
        "folder.",
        reader.subject(), window, missing ? " (the default of mistral)" : "", shape.max_seq, window,
        window);
  }
  if (reader.has("layer_types")) {
    const Json& types = reader.get("layer_types");
    const bool full =
        types.is_array() && std::ssize(types) == shape.layers &&
        std::ranges::all_of(types, [](const Json& type) { return type == "full_attention"; });
    if (!full) reader.fail("layer_types", fmt::format("{} times \"full_attention\"", shape.layers));
  }
}

void read_scaling(Reader& rope, const Shape& shape, int64_t outer_original, RopeScaling& scaling) {
  using Kind = RopeScaling::Kind;
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (rope.has("type") && rope.text("type") != type) {
    base::fail_user("{}: type and rope_type differ. Keep one of them.", rope.subject());
  }
  rope.only("partial_rotary_factor", {1, 1.0}, "partial rotary embeddings are not implemented");
  if (type == "default") return;
  if (type == "linear") {
    scaling.kind = Kind::kLinear;
    scaling.factor = rope.number("factor");
    return;
  }
  if (type != "llama3" && type != "yarn") {
    base::fail_user(
        "{}: rope_type = \"{}\" is not supported. Supported: default, linear, llama3, yarn.",
        rope.subject(), type);
  }
  scaling.original_max_position = rope.integer("original_max_position_embeddings", shape.max_seq);
  if (outer_original != 0) scaling.original_max_position = outer_original;
  if (type == "llama3") {
    scaling.kind = Kind::kLlama3;
    scaling.factor = rope.number("factor");
    scaling.low_freq_factor = rope.number("low_freq_factor");
    scaling.high_freq_factor = rope.number("high_freq_factor");
    return;
  }
  scaling.kind = Kind::kYarn;
  const double ratio =
      static_cast<double>(shape.max_seq) / static_cast<double>(scaling.original_max_position);
  scaling.factor = rope.number("factor", ratio);
  scaling.attention_factor = rope.number("attention_factor", 0);
  scaling.mscale = rope.number("mscale", 0);
  scaling.mscale_all_dim = rope.number("mscale_all_dim", 0);
  scaling.beta_fast = rope.number("beta_fast", 32);
  scaling.beta_slow = rope.number("beta_slow", 1);
  scaling.truncate = rope.flag("truncate", true);
}

void read_rope(Reader& reader, Shape& shape) {
  const bool old_form = reader.has("rope_scaling");
  const bool new_form = reader.has("rope_parameters");
  if (old_form && new_form && reader.get("rope_scaling") != reader.get("rope_parameters")) {
    base::fail_user("{}: rope_scaling and rope_parameters are both given and differ. Keep one.",
                    reader.subject());
  }
  reader.only("partial_rotary_factor", {1, 1.0}, "partial rotary embeddings are not implemented");
  const int64_t original = reader.integer("original_max_position_embeddings", 0);
  std::optional<double> theta;
  if (reader.has("rope_theta")) theta = reader.number("rope_theta");
  if (old_form || new_form) {
    const std::string key = old_form ? "rope_scaling" : "rope_parameters";
    const Json& json = reader.get(key);
    if (new_form) reader.get("rope_parameters");
    if (!json.is_object()) reader.fail(key, "an object");
    Reader rope(json, fmt::format("{}: {}", reader.subject(), key));
    if (rope.has("rope_theta")) {
      const double inner = rope.number("rope_theta");
      if (theta && *theta != inner) {
        base::fail_user("{}: rope_theta = {}, but {} beside it. Keep one of them.", rope.subject(),
                        inner, *theta);
      }
      theta = inner;
    }
    read_scaling(rope, shape, original, shape.rope_scaling);
    rope.finish({});
  }
  shape.rope_theta = theta.value_or(10000);
}

}  // namespace

Shape parse_hf_config(std::string_view text, const std::string& path) {
  const Json json = base::parse_json(text, path, "Download the file again.");
  if (!json.is_object()) base::fail_user("{}: expected a JSON object.", path);
  Reader reader(json, path);

  Shape shape;
  shape.family = read_family(reader);
  shape.hidden = reader.integer("hidden_size");
  shape.layers = reader.integer("num_hidden_layers");
  read_heads(reader, shape);
  shape.ffn = reader.integer("intermediate_size");
  shape.vocab = reader.integer("vocab_size");
  shape.max_seq = reader.integer("max_position_embeddings");
  shape.norm_eps = reader.number("rms_norm_eps", 1e-6);
  shape.initializer_std = reader.number("initializer_range", 0.02);
  shape.tied = reader.flag("tie_word_embeddings", false);
  shape.qkv_bias = shape.family == Family::kQwen2;
  shape.qk_norm = shape.family == Family::kQwen3;
  read_rope(reader, shape);
  read_window(reader, shape);

  reader.only("hidden_act", {"silu"}, "other activations are not implemented");
  if (shape.family != Family::kQwen2) {
    reader.only("attention_bias", {false}, "it adds a bias to o_proj, which is not implemented");
  }
  reader.only("mlp_bias", {false}, "biases in the MLP are not implemented");
  reader.only("pretraining_tp", {1}, "sliced projections are not implemented");
  for (const char* key : {"attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop"}) {
    reader.only(key, {0, 0.0}, "dropout is not implemented");
  }
  for (const char* key : {"rope_interleaved", "use_mrope", "is_encoder_decoder",
                          "add_cross_attention", "tie_encoder_decoder"}) {
    reader.only(key, {false}, "it changes the architecture");
  }
  reader.only("pruned_heads", {Json::object()}, "pruned heads are not implemented");
  if (reader.has("quantization_config")) {
    base::fail_user(
        "{}: quantization_config is set: the weights are quantised, which cannot be trained in "
        "full. Give the unquantised model.",
        path);
  }
  if (reader.has("auto_map")) {
    base::fail_user("{}: auto_map is set: the model runs code of its own, which is not supported.",
                    path);
  }
  reader.finish(kHarmless);
  shape.validate(path);
  return shape;
}

Shape read_hf_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  return parse_hf_config(base::read_text(path), path);
}

}  // namespace rondo::model
