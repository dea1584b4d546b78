// Time of every kernel and of its reference at the shape of the benchmark step: hidden 512, 8 heads
// on 4 key/value heads of width 64, feed-forward 1408, vocabulary 8192, 2048 rows in 4 packs, 170
// tokens per document, every second position trainable. Where a kernel has FLOPs they are given as
// a rate, beside that of the matrix product [2048,512] x [512,1408] of the same run.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <vector>

#include "kernels/reference.hpp"

namespace rondo::kernels {
namespace {

constexpr int64_t kRows = 2048;
constexpr int64_t kPack = 512;
constexpr int64_t kHidden = 512;
constexpr int64_t kFfn = 1408;
constexpr int64_t kVocabulary = 8192;
constexpr AttentionShape kShape{.heads = 8, .kv_heads = 4, .head_width = 64};
constexpr int64_t kQkv = (kShape.heads + 2 * kShape.kv_heads) * kShape.head_width;
constexpr double kEps = 1e-5;

PackedLayout layout_of(int64_t document) {
  std::vector<base::Slice> documents;
  const int64_t pack = std::max(kPack, document);
  for (int64_t begin = 0; begin < kRows; begin += pack) {
    for (int64_t at = begin; at + document <= begin + pack; at += document) {
      documents.push_back({at, at + document});
    }
  }
  return PackedLayout::make(kRows, documents);
}

at::Tensor filled(std::vector<int64_t> sizes) { return at::randn(sizes, at::kFloat); }

// Counts `flops` per iteration and reports their rate.
void report_flops(benchmark::State& state, double flops) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
void report_bytes(benchmark::State& state, int64_t floats) {
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(floats) * 4e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

template <class Run>
void time(benchmark::State& state, Run&& run) {
  const c10::InferenceMode inference;
  at::set_num_threads(1);
  run();
  for (auto _ : state) run();
}

void calibration(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor a = filled({kRows, kHidden}), b = filled({kHidden, kFfn});
  at::Tensor c = at::empty({kRows, kFfn});
  time(state, [&] { at::mm_out(c, a, b); });
  report_flops(state, 2.0 * kRows * kHidden * kFfn);
}
BENCHMARK(calibration)->Unit(benchmark::kMillisecond);

template <auto kForward, auto kBackward>
void norm(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor x = filled({kRows, kHidden}), weight = filled({kHidden});
  const at::Tensor residual = filled({kRows, kHidden});
  at::Tensor out = filled({kRows, kHidden});
  at::Tensor rstd = filled({kRows}), dweight = filled({kHidden}), dx = filled({kRows, kHidden});
  const bool backward = state.range(0) != 0;
  time(state, [&] {
    if (backward) {
      kBackward(out, x, weight, rstd, true, dx, dweight);
    } else {
      kForward(x, residual, weight, kEps, dx, out, rstd);
    }
  });
  report_bytes(state, 4 * kRows * kHidden);
}
BENCHMARK(norm<add_rms_norm, rms_norm_backward>)
    ->Name("add_rms_norm")
    ->ArgName("backward")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(norm<reference::add_rms_norm, reference::rms_norm_backward>)
    ->Name("reference/add_rms_norm")
    ->ArgName("backward")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);

template <auto kRope>
void rope_of(benchmark::State& state) {
  const c10::InferenceMode inference;
  at::Tensor qkv = filled({kRows, kQkv});
  const PackedLayout layout = layout_of(170);
  const at::Tensor angle = filled({kPack, kShape.head_width / 2});
  const at::Tensor cos = angle.cos(), sin = angle.sin();
  const int64_t heads = kShape.heads + kShape.kv_heads;
  time(state,
       [&] { kRope(qkv, kQkv, heads, kShape.head_width, layout.positions, cos, sin, false); });
  report_bytes(state, 2 * kRows * heads * kShape.head_width);
}
BENCHMARK(rope_of<rope>)->Name("rope")->Unit(benchmark::kMillisecond);
BENCHMARK(rope_of<reference::rope>)->Name("reference/rope")->Unit(benchmark::kMillisecond);

template <auto kForward, auto kBackward>
void gated(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor gate_up = filled({kRows, 2 * kFfn});
  at::Tensor gradient = gate_up.clone(), out = filled({kRows, kFfn});
  const bool backward = state.range(0) != 0;
  at::set_num_threads(1);
  for (auto _ : state) {
    if (backward) {
      // The gradient overwrote its input; without this the numbers would shrink to subnormal ones.
      state.PauseTiming();
      gradient.copy_(gate_up);
      state.ResumeTiming();
      kBackward(out, gradient);
    } else {
      kForward(gate_up, out);
    }
  }
  report_bytes(state, (backward ? 5 : 3) * kRows * kFfn);
}
BENCHMARK(gated<swiglu, swiglu_backward>)
    ->Name("swiglu")
    ->ArgName("backward")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(gated<reference::swiglu, reference::swiglu_backward>)
    ->Name("reference/swiglu")
    ->ArgName("backward")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);

// ATen's flash attention, one call per document, on views of the same buffer.
at::Tensor heads_of(const at::Tensor& rows, base::Slice document, int64_t first, int64_t heads) {
  const int64_t row = rows.size(1);
  const int64_t width = kShape.head_width;
  return rows.as_strided({1, heads, document.size(), width}, {0, width, row, 1},
                         document.begin * row + first * width);
}
void aten_attention(const at::Tensor& qkv, const AttentionShape& shape, const PackedLayout& layout,
                    at::Tensor& out, at::Tensor& logsumexp) {
  const auto [h, k, c] = shape;
  for (const base::Slice& document : layout.documents) {
    const auto [mixed, total] = at::_scaled_dot_product_flash_attention_for_cpu(
        heads_of(qkv, document, 0, h), heads_of(qkv, document, h, k),
        heads_of(qkv, document, h + k, k), 0.0, true);
    heads_of(out, document, 0, h).copy_(mixed);
    logsumexp.narrow(1, document.begin, document.size()).copy_(total.squeeze(0));
  }
}
void aten_attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                             const at::Tensor& logsumexp, const AttentionShape& shape,
                             const PackedLayout& layout, at::Tensor& dqkv) {
  const auto [h, k, c] = shape;
  for (const base::Slice& document : layout.documents) {
    const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        heads_of(dout, document, 0, h), heads_of(qkv, document, 0, h),
        heads_of(qkv, document, h, k), heads_of(qkv, document, h + k, k),
        heads_of(out, document, 0, h),
        logsumexp.narrow(1, document.begin, document.size()).unsqueeze(0), 0.0, true);
    heads_of(dqkv, document, 0, h).copy_(dq);
    heads_of(dqkv, document, h, k).copy_(dk);
    heads_of(dqkv, document, h + k, k).copy_(dv);
  }
}

// Model FLOPs: forward 4 c, backward 8 c per query-key pair and head.
template <auto kForward, auto kBackward>
void attention_of(benchmark::State& state) {
  const c10::InferenceMode inference;
  const PackedLayout layout = layout_of(state.range(0));
  const bool backward = state.range(1) != 0;
  const at::Tensor qkv = filled({kRows, kQkv});
  const at::Tensor dout = filled({kRows, kHidden});
  at::Tensor out = at::zeros({kRows, kHidden}), dqkv = at::zeros({kRows, kQkv});
  at::Tensor logsumexp = at::zeros({kShape.heads, kRows});
  kForward(qkv, kShape, layout, out, logsumexp);
  time(state, [&] {
    if (backward) {
      kBackward(dout, qkv, out, logsumexp, kShape, layout, dqkv);
    } else {
      kForward(qkv, kShape, layout, out, logsumexp);
    }
  });
  report_flops(state, (backward ? 8.0 : 4.0) * static_cast<double>(kShape.head_width) *
                          static_cast<double>(layout.attention_pairs * kShape.heads));
}
BENCHMARK(attention_of<attention, attention_backward>)
    ->Name("attention")
    ->ArgNames({"document", "backward"})
    ->ArgsProduct({{32, 170, 512, 2048}, {0, 1}})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(attention_of<aten_attention, aten_attention_backward>)
    ->Name("aten/attention")
    ->ArgNames({"document", "backward"})
    ->ArgsProduct({{32, 170, 512, 2048}, {0, 1}})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(attention_of<reference::attention, reference::attention_backward>)
    ->Name("reference/attention")
    ->ArgNames({"document", "backward"})
    ->ArgsProduct({{170}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

void head_loss_of(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor x = filled({kRows, kHidden}), head = filled({kVocabulary, kHidden}) * 0.05;
  const at::Tensor rows = at::arange(0, kRows, 2, at::kLong);
  const int64_t n = rows.numel();
  const at::Tensor labels = at::randint(kVocabulary, {n}, at::kLong);
  const at::Tensor weights = at::ones({n});
  at::Tensor dx = filled({kRows, kHidden}), dhead = at::zeros({kVocabulary, kHidden});
  time(state, [&] {
    benchmark::DoNotOptimize(head_loss(x, head, rows, labels, weights, 1e-3, &dx, &dhead, nullptr,
                                       {.chunk_rows = state.range(0)}));
  });
  report_flops(state, 6.0 * static_cast<double>(n * kVocabulary * kHidden));
}
BENCHMARK(head_loss_of)
    ->Name("head_loss")
    ->ArgName("chunk")
    ->Arg(128)
    ->Arg(256)
    ->Arg(512)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);

template <auto kForward, auto kBackward>
void embed_of(benchmark::State& state) {
  const c10::InferenceMode inference;
  at::Tensor table = filled({kVocabulary, kHidden}), out = filled({kRows, kHidden});
  const at::Tensor tokens = at::randint(kVocabulary, {kRows}, at::kInt);
  const bool backward = state.range(0) != 0;
  time(state, [&] {
    if (backward) {
      kBackward(out, tokens, table, 0);
    } else {
      kForward(table, tokens, out, 0);
    }
  });
  report_bytes(state, (backward ? 3 : 2) * kRows * kHidden);
}
BENCHMARK(embed_of<embed, embed_backward>)
    ->Name("embed")
    ->ArgName("backward")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(embed_of<reference::embed, reference::embed_backward>)
    ->Name("reference/embed")
    ->ArgName("backward")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);

constexpr int64_t kFlat = 1 << 23;

template <auto kUpdate>
void adamw_of(benchmark::State& state) {
  const c10::InferenceMode inference;
  const at::Tensor grads = filled({kFlat});
  at::Tensor weights = filled({kFlat}), m = at::zeros({kFlat}), v = at::zeros({kFlat});
  const AdamStep step{.lr = 1e-3, .weight_decay = 0.1, .step = 10, .grad_scale = 0.5};
  time(state, [&] { kUpdate(step, grads, weights, m, v); });
  report_bytes(state, 7 * kFlat);
}
BENCHMARK(adamw_of<adamw>)->Name("adamw/8Mi")->Unit(benchmark::kMillisecond);
BENCHMARK(adamw_of<reference::adamw>)->Name("reference/adamw/8Mi")->Unit(benchmark::kMillisecond);

template <auto kNorm>
void squared_norm_of(benchmark::State& state) {
  const at::Tensor flat = filled({kFlat});
  time(state, [&] { benchmark::DoNotOptimize(kNorm(flat)); });
  report_bytes(state, kFlat);
}
BENCHMARK(squared_norm_of<squared_norm>)->Name("squared_norm/8Mi")->Unit(benchmark::kMillisecond);
BENCHMARK(squared_norm_of<reference::squared_norm>)
    ->Name("reference/squared_norm/8Mi")
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rondo::kernels

BENCHMARK_MAIN();
