#include "plan/dimensions.hpp"

#include <algorithm>

#include "base/slice.hpp"

namespace rondo::plan {

namespace {

// Lays parameters end to end as parallel::FlatLayout does.
class End {
 public:
  void add(int64_t numel) { end_ = base::round_up(end_, 128) + numel; }
  // Without a gap.
  void join(int64_t numel) { end_ += numel; }
  int64_t padded(const Layout& layout) const { return base::round_up(end_, layout.parts() * 128); }

 private:
  int64_t end_ = 0;
};

UnitSize block_size(const Dimensions& m, const Layout& layout) {
  const int64_t tensor = layout.ranks.tensor;
  const int64_t d = m.hidden;
  const int64_t q = m.heads / tensor * m.head_width;
  const int64_t kv = std::max<int64_t>(1, m.kv_heads / tensor) * m.head_width;
  const int64_t f = base::ceil_div(m.ffn, tensor);
  End end;
  UnitSize size;
  const auto norm = [&](int64_t numel) {
    end.add(numel);
    if (tensor > 1) size.norms += numel;
  };
  norm(d);
  end.add(q * d);
  end.join(2 * kv * d);
  if (m.qkv_bias) {
    end.add(q);
    end.join(2 * kv);
  }
  if (m.qk_norm) {
    norm(m.head_width);
    norm(m.head_width);
  }
  end.add(d * q);
  norm(d);
  end.add(f * d);
  end.join(f * d);
  end.add(d * f);
  size.numel = end.padded(layout);
  if (tensor > m.kv_heads) size.shared_kv = 2 * kv * (d + (m.qkv_bias ? 1 : 0));
  return size;
}

}  // namespace

std::vector<UnitSize> unit_sizes(const Dimensions& m, const Layout& layout) {
  const int64_t table = base::ceil_div(m.vocab, layout.ranks.tensor) * m.hidden;
  std::vector<UnitSize> sizes;
  End embedding;
  embedding.add(table);
  sizes.push_back({.numel = embedding.padded(layout)});
  sizes.insert(sizes.end(), static_cast<size_t>(m.layers), block_size(m, layout));
  End last;
  last.add(m.hidden);
  if (!m.tied) last.add(table);
  sizes.push_back({.numel = last.padded(layout), .norms = layout.ranks.tensor > 1 ? m.hidden : 0});
  return sizes;
}

int64_t parameters(const Dimensions& m) {
  const int64_t q = m.heads * m.head_width;
  const int64_t kv = m.kv_heads * m.head_width;
  int64_t block = m.hidden * (2 * q + 2 * kv + 3 * m.ffn + 2);
  if (m.qkv_bias) block += q + 2 * kv;
  if (m.qk_norm) block += 2 * m.head_width;
  return (m.tied ? 1 : 2) * m.vocab * m.hidden + m.layers * block + m.hidden;
}

}  // namespace rondo::plan
