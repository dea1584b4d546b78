#include "kernels/matmul.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "kernels/device.hpp"
#include "kernels/matmul_blocks.hpp"
#include "kernels/matmul_tile.hpp"
#include "kernels/matmul_wide_tile.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rondo::kernels {
namespace {

using matmul::Factor;
using matmul::Product;

// AMD's, or Hygon's, since Zen 1.
bool is_zen() {
#if defined(__x86_64__)
  unsigned highest = 0, words[3] = {}, version = 0, ignored = 0;
  char vendor[sizeof(words)];
  if (__get_cpuid(0, &highest, &words[0], &words[2], &words[1]) == 0) return false;
  std::memcpy(vendor, words, sizeof(words));
  const bool amd = std::memcmp(vendor, "AuthenticAMD", sizeof(vendor)) == 0 ||
                   std::memcmp(vendor, "HygonGenuine", sizeof(vendor)) == 0;
  if (!amd || __get_cpuid(1, &version, &ignored, &ignored, &ignored) == 0) return false;
  constexpr unsigned kZen1 = 0x17;
  return ((version >> 8) & 0xF) + ((version >> 20) & 0xFF) >= kZen1;
#else
  return false;
#endif
}

MatmulWay way_of_this_processor() {
  if (!is_zen() || !has_matmul_way(MatmulWay::kOwn)) return MatmulWay::kAten;
  return has_matmul_way(MatmulWay::kOwnWide) ? MatmulWay::kOwnWide : MatmulWay::kOwn;
}

constexpr double kFlopsOfThread = 4e6;  // that make it worth its start

using base::ceil_div;

// How many parts of rows and of columns give every thread one, with the least to pack for each.
struct Grid {
  int64_t rows = 1, columns = 1;
};
Grid grid_of(const Product& p) {
  const double flops = 2.0 * static_cast<double>(p.rows) * static_cast<double>(p.columns) *
                       static_cast<double>(p.inner);
  const int64_t useful = static_cast<int64_t>(std::min(flops / kFlopsOfThread, 1e6));
  const int64_t threads = std::min<int64_t>(useful, at::get_num_threads());
  if (threads <= 1 || at::in_parallel_region()) return {};
  Grid best;
  int64_t least = -1;
  for (int64_t rows = 1; rows <= threads; ++rows) {
    if (threads % rows != 0) continue;
    const Grid grid{rows, threads / rows};
    const int64_t packed = ceil_div(p.rows, grid.rows) + ceil_div(p.columns, grid.columns);
    if (least < 0 || packed < least) {
      best = grid;
      least = packed;
    }
  }
  return best;
}

template <class Tile>
void multiply_in_parallel(const Product& p, const std::function<void()>& poll) {
  const Grid grid = grid_of(p);
  const int64_t rows = ceil_div(ceil_div(p.rows, grid.rows), Tile::kRows) * Tile::kRows;
  const int64_t columns =
      ceil_div(ceil_div(p.columns, grid.columns), Tile::kColumns) * Tile::kColumns;
  const std::thread::id caller = std::this_thread::get_id();
  at::parallel_for(0, grid.rows * grid.columns, 1, [&](int64_t begin, int64_t end) {
    const bool polls = poll && std::this_thread::get_id() == caller;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / grid.columns * rows, column = i % grid.columns * columns;
      if (row >= p.rows || column >= p.columns) continue;
      matmul::multiply<Tile>(
          p.part(row, std::min(rows, p.rows - row), column, std::min(columns, p.columns - column)),
          polls ? &poll : nullptr);
    }
  });
}

Factor factor_of(const at::Tensor& tensor, bool transposed) {
  return {tensor.const_data_ptr<float>(), tensor.stride(0), transposed};
}

void check(const at::Tensor& tensor, const char* name) {
  RONDO_CHECK(tensor.dim() == 2 &&
                  (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16),
              "matmul: {} is no matrix of float32 or bfloat16", name);
  RONDO_CHECK(tensor.numel() == 0 || ((tensor.size(1) == 1 || tensor.stride(1) == 1) &&
                                      (tensor.size(0) == 1 || tensor.stride(0) >= tensor.size(1))),
              "matmul: the rows of {} are not contiguous", name);
}

void multiply_checked(const at::Tensor& a, bool a_transposed, const at::Tensor& b,
                      bool b_transposed, at::Tensor& out, const MatmulOptions& options);

// Of bfloat16 factors: the float32 product, rounded once where out is bfloat16.
void multiply_rounded(const at::Tensor& a, bool a_transposed, const at::Tensor& b,
                      bool b_transposed, at::Tensor& out, const MatmulOptions& options) {
  const bool rounds = out.scalar_type() == at::kBFloat16;
  RONDO_CHECK(!rounds || !options.accumulate, "matmul: a sum in bfloat16");
  at::Tensor exact = rounds ? at::empty(out.sizes(), at::kFloat) : out;
  multiply_checked(a.to(at::kFloat), a_transposed, b.to(at::kFloat), b_transposed, exact, options);
  if (rounds) out.copy_(exact);
}

// out = a^(T) b^(T), a T meant when transposed.
void multiply_checked(const at::Tensor& a, bool a_transposed, const at::Tensor& b,
                      bool b_transposed, at::Tensor& out, const MatmulOptions& options) {
  check(a, "a");
  check(b, "b");
  check(out, "out");
  const int64_t inner = a.size(a_transposed ? 0 : 1);
  RONDO_CHECK(b.size(b_transposed ? 1 : 0) == inner &&
                  out.size(0) == a.size(a_transposed ? 1 : 0) &&
                  out.size(1) == b.size(b_transposed ? 0 : 1),
              "matmul: [{},{}]{} x [{},{}]{} is not [{},{}]", a.size(0), a.size(1),
              a_transposed ? "^T" : "", b.size(0), b.size(1), b_transposed ? "^T" : "", out.size(0),
              out.size(1));
  RONDO_CHECK(a.scalar_type() == b.scalar_type() && a.device() == out.device() &&
                  b.device() == out.device(),
              "matmul: factors of two types, or not on one device");
  if (out.numel() == 0) return;
  if (inner == 0) {
    if (!options.accumulate) out.zero_();
    return;
  }
  if (device::serves(out)) {
    device::matmul(a_transposed ? a.t() : a, b_transposed ? b.t() : b, out, options.accumulate);
    return;
  }
  if (a.scalar_type() == at::kBFloat16) {
    multiply_rounded(a, a_transposed, b, b_transposed, out, options);
    return;
  }
  RONDO_CHECK(out.scalar_type() == at::kFloat, "matmul: a float32 product in {}",
              at::toString(out.scalar_type()));
  RONDO_CHECK(has_matmul_way(options.way), "matmul: this processor has no AVX-512");
  if (options.way == MatmulWay::kAten) {
    const at::Tensor left = a_transposed ? a.t() : a, right = b_transposed ? b.t() : b;
    if (options.accumulate) {
      at::addmm_out(out, out, left, right);
    } else {
      at::mm_out(out, left, right);
    }
    return;
  }
  Product product;
  // A factor counts as transposed when its rows do not go along the inner places.
  product.a = factor_of(a, a_transposed);
  product.b = factor_of(b, !b_transposed);
  product.rows = out.size(0);
  product.columns = out.size(1);
  product.inner = inner;
  product.out = out.mutable_data_ptr<float>();
  product.stride = out.stride(0);
  product.accumulate = options.accumulate;
#if RONDO_HAS_WIDE_TILE
  if (options.way == MatmulWay::kOwnWide) {
    multiply_in_parallel<matmul::WideTile>(product, options.poll);
    return;
  }
#endif
  multiply_in_parallel<matmul::NarrowTile>(product, options.poll);
}

void multiply(const at::Tensor& a, bool a_transposed, const at::Tensor& b, bool b_transposed,
              at::Tensor& out, const MatmulOptions& options) {
  multiply_checked(a, a_transposed, b, b_transposed, out, options);
  if (options.poll) options.poll();
}

}  // namespace

bool has_matmul_way(MatmulWay way) {
  if (way != MatmulWay::kOwnWide) return true;
#if RONDO_HAS_WIDE_TILE
  static const bool has = __builtin_cpu_supports("avx512f") != 0;
  return has;
#else
  return false;
#endif
}

MatmulWay matmul_way() {
  static const MatmulWay way = way_of_this_processor();
  return way;
}

void matmul_nt(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
               const MatmulOptions& options) {
  multiply(a, false, b, true, out, options);
}
void matmul_nn(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
               const MatmulOptions& options) {
  multiply(a, false, b, false, out, options);
}
void matmul_tn(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
               const MatmulOptions& options) {
  multiply(a, true, b, false, out, options);
}

}  // namespace rondo::kernels
