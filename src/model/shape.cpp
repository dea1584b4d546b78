#include "model/shape.hpp"

#include <cmath>

#include "base/error.hpp"

namespace rondo::model {
namespace {

// Far above any model, and small enough that products of two never overflow.
constexpr int64_t kLargestDim = int64_t{1} << 30;
constexpr double kMostParameters = 1e15;

void require_dim(std::string_view subject, std::string_view key, int64_t value) {
  if (value < 1 || value > kLargestDim) {
    base::fail_user("{}: {} = {}. It must lie between 1 and {}.", subject, key, value, kLargestDim);
  }
}

void require_positive(std::string_view subject, std::string_view key, double value) {
  if (!std::isfinite(value) || value <= 0) {
    base::fail_user("{}: {} = {}. It must be a positive number.", subject, key, value);
  }
}

void validate_scaling(std::string_view subject, const RopeScaling& scaling) {
  if (scaling.kind == RopeScaling::Kind::kNone) return;
  require_positive(subject, "rope scaling factor", scaling.factor);
  if (scaling.kind == RopeScaling::Kind::kLinear) return;
  require_dim(subject, "rope scaling original_max_position_embeddings",
              scaling.original_max_position);
  if (scaling.kind == RopeScaling::Kind::kLlama3) {
    require_positive(subject, "rope scaling low_freq_factor", scaling.low_freq_factor);
    if (!(scaling.high_freq_factor > scaling.low_freq_factor)) {
      base::fail_user(
          "{}: rope scaling high_freq_factor = {} must be larger than low_freq_factor = {}.",
          subject, scaling.high_freq_factor, scaling.low_freq_factor);
    }
    return;
  }
  require_positive(subject, "rope scaling beta_fast", scaling.beta_fast);
  require_positive(subject, "rope scaling beta_slow", scaling.beta_slow);
}

}  // namespace

std::string_view name_of(Family family) {
  switch (family) {
    case Family::kLlama:
      return "llama";
    case Family::kMistral:
      return "mistral";
    case Family::kQwen2:
      return "qwen2";
    case Family::kQwen3:
      return "qwen3";
  }
  RONDO_CHECK(false, "family {}", static_cast<int>(family));
}

std::string_view architecture_of(Family family) {
  switch (family) {
    case Family::kLlama:
      return "LlamaForCausalLM";
    case Family::kMistral:
      return "MistralForCausalLM";
    case Family::kQwen2:
      return "Qwen2ForCausalLM";
    case Family::kQwen3:
      return "Qwen3ForCausalLM";
  }
  RONDO_CHECK(false, "family {}", static_cast<int>(family));
}

void Shape::validate(std::string_view subject) {
  require_dim(subject, "hidden", hidden);
  require_dim(subject, "layers", layers);
  require_dim(subject, "heads", heads);
  if (kv_heads == 0) kv_heads = heads;
  require_dim(subject, "kv_heads", kv_heads);
  if (heads % kv_heads != 0) {
    base::fail_user(
        "{}: kv_heads = {} does not divide heads = {} ({} / {} = {} remainder {}). Each key/value "
        "head serves the same number of query heads: choose a divisor of {}.",
        subject, kv_heads, heads, heads, kv_heads, heads / kv_heads, heads % kv_heads, heads);
  }
  if (qkv_bias && qk_norm) {
    base::fail_user(
        "{}: qkv_bias and qk_norm are both set. Qwen2 has biases, Qwen3 has norms, no supported "
        "family has both: set one of them to false.",
        subject);
  }
  if (qk_norm) family = Family::kQwen3;
  if (qkv_bias) family = Family::kQwen2;
  // transformers refuses such a Llama even when head_dim is given.
  if ((head_width == 0 || family == Family::kLlama) && hidden % heads != 0) {
    base::fail_user(
        "{}: heads = {} does not divide hidden = {} ({} / {} = {} remainder {}). Choose a hidden "
        "width that is a multiple of the heads.",
        subject, heads, hidden, hidden, heads, hidden / heads, hidden % heads);
  }
  if (head_width == 0) head_width = hidden / heads;
  require_dim(subject, "head_width", head_width);
  if (head_width % 2 != 0) {
    base::fail_user(
        "{}: head_width = {} (hidden {} / heads {} unless given) is odd; rotary embeddings turn "
        "pairs of elements. Choose an even width.",
        subject, head_width, hidden, heads);
  }
  require_dim(subject, "ffn", ffn);
  require_dim(subject, "vocab", vocab);
  require_dim(subject, "max_seq", max_seq);
  require_positive(subject, "rope_theta", rope_theta);
  require_positive(subject, "norm_eps", norm_eps);
  require_positive(subject, "initializer_std", initializer_std);
  validate_scaling(subject, rope_scaling);
  // Counts of parameters, FLOPs and bytes are 64-bit products of these dimensions.
  const auto real = [](int64_t value) { return static_cast<double>(value); };
  const double widths = 3 * real(ffn) + 2 * real(heads) * real(head_width) * 2 + 4;
  const double total = real(hidden) * (real(layers) * widths + 2 * real(vocab));
  if (total > kMostParameters) {
    base::fail_user("{}: about {:.2g} parameters, at most {:.0g} are supported.", subject, total,
                    kMostParameters);
  }
}

void Shape::check_length(int64_t length, std::string_view subject) const {
  if (length > max_seq) {
    base::fail_user(
        "{} = {} is longer than the {} positions that the model knows (max_seq, in config.json "
        "max_position_embeddings). Use at most {}, or a model with more positions.",
        subject, length, max_seq, max_seq);
  }
}

int64_t Shape::block_matmul_parameters() const {
  return hidden * qkv_width() + q_width() * hidden + 3 * hidden * ffn;
}

int64_t Shape::block_parameters() const {
  const int64_t biases = qkv_bias ? qkv_width() : 0;
  const int64_t head_norms = qk_norm ? 2 * head_width : 0;
  return block_matmul_parameters() + 2 * hidden + biases + head_norms;
}

int64_t Shape::parameters() const {
  const int64_t tables = (tied ? 1 : 2) * vocab * hidden;
  return tables + layers * block_parameters() + hidden;
}

double Shape::model_flops(int64_t tokens, int64_t attention_pairs, int64_t head_rows) const {
  const auto real = [](int64_t value) { return static_cast<double>(value); };
  const double matmul = real(layers * block_matmul_parameters()) * real(tokens) +
                        real(head_matmul_parameters()) * real(head_rows);
  const double attention = real(layers * q_width()) * real(attention_pairs);
  return 6 * matmul + 12 * attention;
}

}  // namespace rondo::model
