#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"
#include "kernels/matmul.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {
namespace {

// What a slice of the vocabulary says of a row.
struct SliceRow {
  float largest = -std::numeric_limits<float>::infinity();  // logit of the slice
  double sum = 0;                                           // of e^(logit - largest)
  double of_label = 0;  // the label's logit when the slice has it
  bool beaten = false;  // an id before the label, or instead of it, has the largest logit
};

// Whether the label has the largest logit and no lower id has it too.
bool is_first_largest(const float* row, int64_t label, float most) {
  if (row[label] != most) return false;
  const Float8 wanted = Float8::all(most);
  int64_t i = 0;
  for (; i + 8 <= label; i += 8) {
    if (any_equal(Float8::load(row + i), wanted)) return false;
  }
  for (; i < label; ++i) {
    if (row[i] == most) return false;
  }
  return true;
}

// Sum of e^(logit - most); the row is overwritten by these when `keep`. Eight float sums per 1024
// logits, added up in double.
double sum_of_exponentials(float* row, int64_t v, float most, bool keep) {
  constexpr int64_t kBlock = 1024;
  const Float8 shift = Float8::all(most);
  double total = 0;
  for (int64_t begin = 0; begin < v; begin += kBlock) {
    const int64_t size = std::min(kBlock, v - begin);
    float* block = row + begin;
    Float8 sum = Float8::zero();
    int64_t i = 0;
    for (; i + 8 <= size; i += 8) {
      const Float8 value = exp(Float8::load(block + i) - shift);
      if (keep) value.store(block + i);
      sum = sum + value;
    }
    total += static_cast<double>(sum_of_lanes(sum));
    if (i < size) {
      const FirstLanes rest{size - i};
      float values[8];
      exp(Float8::load(block + i, rest) - shift).store(values);
      for (int64_t j = 0; j < rest.count; ++j) {
        total += static_cast<double>(values[j]);
        if (keep) block[i + j] = values[j];
      }
    }
  }
  return total;
}

// `label`: counted from the slice's first id. With `gradient` the logits become their exponentials.
SliceRow look_at_row(float* row, int64_t v, int64_t label, bool gradient) {
  SliceRow result;
  if (v == 0) return result;
  result.largest = largest(row, v);
  if (label >= 0 && label < v) {
    result.of_label = static_cast<double>(row[label]);
    result.beaten = !is_first_largest(row, label, result.largest);
  } else {
    result.beaten = label >= v;
  }
  result.sum = sum_of_exponentials(row, v, result.largest, gradient);
  return result;
}

// A row over all slices.
struct RowLoss {
  double loss = 0;
  bool correct = false;
  double shrink = 0;  // times the slice's exponentials, over `sum`: the softmax
  double sum = 0;
};

// `size` rows of one chunk, brought together over the slices.
std::vector<RowLoss> over_slices(const std::vector<SliceRow>& slice, int64_t size,
                                 const HeadOptions& options) {
  const at::Tensor largest_n = at::empty({size}, at::kFloat);
  float* most = output(largest_n);
  for (int64_t i = 0; i < size; ++i) most[i] = slice[static_cast<size_t>(i)].largest;
  if (options.all_max) options.all_max(largest_n);
  // Sum of exponentials, logit of the label, slices in which the label is beaten.
  const at::Tensor sums_3n = at::empty({3, size}, at::kDouble);
  double* sums = sums_3n.mutable_data_ptr<double>();
  std::vector<double> shrink(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    const SliceRow& row = slice[static_cast<size_t>(i)];
    // 1 for the slice that holds the largest logit, NaN where that is infinite.
    const double by =
        row.largest == most[i]
            ? 1
            : std::exp(static_cast<double>(row.largest) - static_cast<double>(most[i]));
    shrink[static_cast<size_t>(i)] = by;
    sums[i] = row.sum * by;
    sums[size + i] = row.of_label;
    sums[2 * size + i] = row.beaten && row.largest == most[i] ? 1 : 0;
  }
  if (options.all_sum) options.all_sum(sums_3n);
  std::vector<RowLoss> rows(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    RowLoss& row = rows[static_cast<size_t>(i)];
    const double largest_logit = static_cast<double>(most[i]);
    row.loss = std::log(sums[i]) + largest_logit - sums[size + i];
    row.correct = sums[size + i] == largest_logit && sums[2 * size + i] == 0;
    row.shrink = shrink[static_cast<size_t>(i)];
    row.sum = sums[i];
  }
  return rows;
}

// The slice's exponentials of a row become gradient_scale * (softmax - one at the label).
void gradient_of_row(float* row, int64_t v, int64_t label, const RowLoss& of,
                     double gradient_scale) {
  const Float8 all = Float8::all(static_cast<float>(gradient_scale * of.shrink / of.sum));
  by_eights(v, [&](int64_t i, auto lanes) {
    (Float8::load(row + i, lanes) * all).store(row + i, lanes);
  });
  if (label >= 0 && label < v) row[label] -= static_cast<float>(gradient_scale);
}

// Rows of x, or of its gradient, that carry weight.
template <class T>
void gather(const T* x, const int64_t* rows, int64_t count, int64_t d, T* gathered) {
  for (int64_t i = 0; i < count; ++i) std::copy_n(x + rows[i] * d, d, gathered + i * d);
}
template <class T>
void scatter(const T* gathered, const int64_t* rows, int64_t count, int64_t d, T* x) {
  for (int64_t i = 0; i < count; ++i) std::copy_n(gathered + i * d, d, x + rows[i] * d);
}

// As the public function, on the CPU. In bfloat16 logits and their gradient are rounded to it, as
// on a device; what is between is float32.
template <class T>
HeadLoss loss_on_cpu(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                     const at::Tensor& labels, const at::Tensor& weights, double scale,
                     at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each,
                     const HeadOptions& options) {
  const int64_t n = rows.numel();
  const int64_t d = x_td.size(1);
  const int64_t v = head_vd.size(0);
  const bool gradient = dx_td != nullptr;
  const int64_t* row_of = input<int64_t>(rows);
  const int64_t* label_of = input<int64_t>(labels);
  const float* weight_of = input<float>(weights);
  for (int64_t i = 0; i < n; ++i) {
    RONDO_CHECK(row_of[i] >= 0 && row_of[i] < x_td.size(0), "row {} of {}", row_of[i],
                x_td.size(0));
    RONDO_CHECK(label_of[i] >= 0 && (options.all_sum || label_of[i] < v), "label {} of {}",
                label_of[i], v);
  }
  constexpr bool kRounds = !std::is_same_v<T, float>;
  HeadLoss result;
  const int64_t most_rows = std::min(options.chunk_rows, n);
  const at::Tensor logits_cv = at::empty({most_rows, v}, at::kFloat);
  const at::Tensor rounded_cv = kRounds ? at::empty({most_rows, v}, x_td.options()) : logits_cv;
  const at::Tensor gathered_cd = at::empty({most_rows, d}, x_td.options());
  std::vector<SliceRow> slice(static_cast<size_t>(most_rows));
  for (int64_t begin = 0; begin < n; begin += options.chunk_rows) {
    const int64_t size = std::min(options.chunk_rows, n - begin);
    at::Tensor logits = logits_cv.narrow(0, 0, size);
    at::Tensor rounded = rounded_cv.narrow(0, 0, size);
    at::Tensor gathered = gathered_cd.narrow(0, 0, size);
    gather(input<T>(x_td), row_of + begin, size, d, output<T>(gathered));
    matmul_nt(gathered, head_vd, rounded, {.poll = options.poll});
    if (kRounds) logits.copy_(rounded);
    float* logit = output(logits);
    const auto label_in_slice = [&](int64_t i) { return label_of[begin + i] - options.first_id; };
    at::parallel_for(0, size, grain_of(v), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        slice[static_cast<size_t>(i)] = look_at_row(logit + i * v, v, label_in_slice(i), gradient);
      }
    });
    const std::vector<RowLoss> losses = over_slices(slice, size, options);
    for (int64_t i = 0; i < size; ++i) {
      const RowLoss& row = losses[static_cast<size_t>(i)];
      const double weight = static_cast<double>(weight_of[begin + i]);
      result.weighted_loss += weight * row.loss;
      result.weight += weight;
      result.correct += row.correct ? 1 : 0;
      if (each == nullptr) continue;
      output(each->losses_n)[begin + i] = static_cast<float>(row.loss);
      output(each->correct_n)[begin + i] = row.correct ? 1 : 0;
    }
    if (!gradient) continue;
    at::parallel_for(0, size, grain_of(v), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        gradient_of_row(logit + i * v, v, label_in_slice(i), losses[static_cast<size_t>(i)],
                        scale * static_cast<double>(weight_of[begin + i]));
      }
    });
    if (kRounds) rounded.copy_(logits);
    matmul_tn(rounded, gathered, *dhead_vd, {.accumulate = true, .poll = options.poll});
    // The gathered rows have served: their memory takes the gradient of the same rows.
    matmul_nn(rounded, head_vd, gathered, {.poll = options.poll});
    scatter(input<T>(gathered), row_of + begin, size, d, output<T>(*dx_td));
  }
  return result;
}

}  // namespace

LossSums head_loss(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                   const at::Tensor& labels, const at::Tensor& weights, double scale,
                   at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each,
                   const HeadOptions& options) {
  const int64_t n = rows.numel();
  RONDO_CHECK((dx_td == nullptr) == (dhead_vd == nullptr), "head_loss: both gradients or neither");
  RONDO_CHECK(head_vd.size(1) == x_td.size(1) && labels.numel() == n && weights.numel() == n);
  RONDO_CHECK(options.chunk_rows >= 1);
  RONDO_CHECK(each == nullptr || (each->losses_n.numel() == n && each->correct_n.numel() == n));
  if (dx_td != nullptr) {
    RONDO_CHECK(dx_td->numel() == x_td.numel() && dhead_vd->numel() == head_vd.numel());
    dx_td->zero_();
  }
  if (n == 0) return {};
  if (device::serves(x_td)) {
    return device::head_loss(x_td, head_vd, rows, labels, weights, scale, dx_td, dhead_vd, each,
                             options);
  }
  LossSums result;
  by_type(x_td, [&](auto t) {
    result = LossSums(loss_on_cpu<decltype(t)>(x_td, head_vd, rows, labels, weights, scale, dx_td,
                                               dhead_vd, each, options));
  });
  return result;
}

HeadLoss LossSums::read() const {
  if (!on_device_.defined()) return known_;
  const at::Tensor sums = on_device_.cpu();
  const double* of = sums.const_data_ptr<double>();
  return {of[0], of[1], static_cast<int64_t>(of[2])};
}

}  // namespace rondo::kernels
