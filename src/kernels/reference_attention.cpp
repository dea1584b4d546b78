#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/buffers.hpp"
#include "kernels/reference.hpp"

namespace rondo::kernels::reference {
namespace {

// Where a head's vectors lie in the rows of qkv (or of its gradient).
struct Heads {
  AttentionShape shape;
  int64_t row() const { return (shape.heads + 2 * shape.kv_heads) * shape.head_width; }
  int64_t query(int64_t t, int64_t head) const { return t * row() + head * shape.head_width; }
  int64_t key(int64_t t, int64_t head) const { return query(t, shape.heads + kv_of(head)); }
  int64_t value(int64_t t, int64_t head) const {
    return query(t, shape.heads + shape.kv_heads + kv_of(head));
  }
  int64_t kv_of(int64_t head) const { return head / (shape.heads / shape.kv_heads); }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(shape.head_width)); }
};

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

void attention(const at::Tensor& qkv, const AttentionShape& shape, const PackedLayout& layout,
               at::Tensor& out, at::Tensor& logsumexp) {
  const Heads heads{shape};
  const int64_t c = shape.head_width;
  const float* x = input<float>(qkv);
  out.zero_();
  logsumexp.zero_();
  for (const base::Slice& document : layout.documents) {
    for (int64_t head = 0; head < shape.heads; ++head) {
      for (int64_t query = document.begin; query < document.end; ++query) {
        std::vector<double> scores;
        double most = -std::numeric_limits<double>::infinity();
        for (int64_t key = document.begin; key <= query; ++key) {
          scores.push_back(heads.scale() *
                           dot(x + heads.query(query, head), x + heads.key(key, head), c));
          most = std::max(most, scores.back());
        }
        double sum = 0;
        for (const double score : scores) sum += std::exp(score - most);
        const double total = most + std::log(sum);
        output(logsumexp)[head * layout.rows + query] = static_cast<float>(total);
        for (int64_t i = 0; i < c; ++i) {
          double mixed = 0;
          for (int64_t key = document.begin; key <= query; ++key) {
            mixed += std::exp(scores[static_cast<size_t>(key - document.begin)] - total) *
                     static_cast<double>(x[heads.value(key, head) + i]);
          }
          output(out)[(query * shape.heads + head) * c + i] = static_cast<float>(mixed);
        }
      }
    }
  }
}

void attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                        const at::Tensor& logsumexp, const AttentionShape& shape,
                        const PackedLayout& layout, at::Tensor& dqkv) {
  const Heads heads{shape};
  const int64_t c = shape.head_width;
  const float* x = input<float>(qkv);
  std::vector<double> dx(static_cast<size_t>(qkv.numel()), 0.0);
  const auto add = [&](int64_t to, double factor, const float* from) {
    for (int64_t i = 0; i < c; ++i) {
      dx[static_cast<size_t>(to + i)] += factor * static_cast<double>(from[i]);
    }
  };
  for (const base::Slice& document : layout.documents) {
    for (int64_t head = 0; head < shape.heads; ++head) {
      for (int64_t query = document.begin; query < document.end; ++query) {
        const int64_t of_out = (query * shape.heads + head) * c;
        const float* dmixed = input<float>(dout) + of_out;
        const double total =
            static_cast<double>(input<float>(logsumexp)[head * layout.rows + query]);
        const double pull = dot(dmixed, input<float>(out) + of_out, c);
        for (int64_t key = document.begin; key <= query; ++key) {
          const int64_t of_query = heads.query(query, head);
          const int64_t of_key = heads.key(key, head);
          const int64_t of_value = heads.value(key, head);
          const double probability =
              std::exp(heads.scale() * dot(x + of_query, x + of_key, c) - total);
          const double dscore = probability * (dot(dmixed, x + of_value, c) - pull) * heads.scale();
          add(of_query, dscore, x + of_key);
          add(of_key, dscore, x + of_query);
          add(of_value, probability, dmixed);
        }
      }
    }
  }
  for (int64_t i = 0; i < dqkv.numel(); ++i) {
    output(dqkv)[i] = static_cast<float>(dx[static_cast<size_t>(i)]);
  }
}

}  // namespace rondo::kernels::reference
