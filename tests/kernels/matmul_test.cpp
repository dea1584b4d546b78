#include "kernels/matmul.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "kernels/numbers.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;
using test::unwritten;

enum class Layout { kNt, kNn, kTn };

// One product of the given layout, m x n over k.
struct Case {
  Layout layout;
  int64_t m, n, k;

  at::Tensor a() const { return layout == Layout::kTn ? normal({k, m}, 1) : normal({m, k}, 1); }
  at::Tensor b() const { return layout == Layout::kNt ? normal({n, k}, 2) : normal({k, n}, 2); }
  void run(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
           const MatmulOptions& options) const {
    if (layout == Layout::kNt) matmul_nt(a, b, out, options);
    if (layout == Layout::kNn) matmul_nn(a, b, out, options);
    if (layout == Layout::kTn) matmul_tn(a, b, out, options);
  }
  // In float64.
  at::Tensor expected(const at::Tensor& a, const at::Tensor& b) const {
    const at::Tensor left = a.to(at::kDouble), right = b.to(at::kDouble);
    return at::mm(layout == Layout::kTn ? left.t() : left,
                  layout == Layout::kNt ? right.t() : right);
  }
};

const std::vector<Layout> kLayouts = {Layout::kNt, Layout::kNn, Layout::kTn};

std::string name_of(MatmulWay way) {
  return way == MatmulWay::kOwn ? "Own" : way == MatmulWay::kOwnWide ? "OwnWide" : "Aten";
}

class Matmul : public ::testing::TestWithParam<MatmulWay> {
 protected:
  void SetUp() override {
    if (!has_matmul_way(GetParam())) GTEST_SKIP() << "this processor has no AVX-512";
  }

  // Overwriting and adding, against float64. The bound grows with the number of roundings.
  void expect_right(const Case& c) const {
    SCOPED_TRACE(
        fmt::format("layout {} m {} n {} k {}", static_cast<int>(c.layout), c.m, c.n, c.k));
    const at::Tensor a = c.a(), b = c.b(), before = normal({c.m, c.n}, 3);
    const at::Tensor expected = c.expected(a, b);
    const double bound = 1e-7 * (2 + std::sqrt(static_cast<double>(c.k)));
    at::Tensor out = unwritten({c.m, c.n}), sum = before.clone();
    c.run(a, b, out, {.way = GetParam()});
    c.run(a, b, sum, {.accumulate = true, .way = GetParam()});
    EXPECT_LT(relative_error(out, expected), bound);
    EXPECT_LT(relative_error(sum, expected + before.to(at::kDouble)), bound);
  }
};

TEST_P(Matmul, EqualsFloat64OverSmallSizes) {
  for (const Layout layout : kLayouts) {
    for (int64_t size = 1; size <= 70; ++size) {
      expect_right({layout, size, 1 + size * 37 % 70, 1 + size * 53 % 70});
    }
    for (int64_t m = 1; m <= 15; ++m) {
      for (int64_t n = 1; n <= 33; ++n) expect_right({layout, m, n, 1 + (m * n) % 19});
    }
  }
}

TEST_P(Matmul, EqualsFloat64OverSeveralBlocks) {
  for (const Layout layout : kLayouts) {
    expect_right({layout, 301, 530, 1033});
    expect_right({layout, 37, 3100, 513});
    expect_right({layout, 1500, 19, 2049});
    expect_right({layout, 5, 7, 8192});
  }
}

TEST_P(Matmul, TakesRowsThatAreApart) {
  for (const Layout layout : kLayouts) {
    const Case c{layout, 50, 45, 40};
    const at::Tensor a = c.a(), b = c.b();
    const auto apart = [](const at::Tensor& tensor) {
      at::Tensor wide = unwritten({tensor.size(0) + 2, tensor.size(1) + 5});
      wide.narrow(0, 1, tensor.size(0)).narrow(1, 3, tensor.size(1)).copy_(tensor);
      return wide;
    };
    const auto inside = [](const at::Tensor& wide) {
      return wide.narrow(0, 1, wide.size(0) - 2).narrow(1, 3, wide.size(1) - 5);
    };
    at::Tensor wide = unwritten({52, 50});
    at::Tensor out = inside(wide);
    c.run(inside(apart(a)), inside(apart(b)), out, {.way = GetParam()});
    EXPECT_LT(relative_error(out, c.expected(a, b)), 1e-6);
    EXPECT_EQ(at::isnan(wide).sum().item<int64_t>(), wide.numel() - out.numel());
  }
}

TEST_P(Matmul, EmptySizes) {
  for (const Layout layout : kLayouts) {
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}}) {
      const Case c{layout, m, n, 4};
      at::Tensor out = unwritten({m, n});
      c.run(c.a(), c.b(), out, {.way = GetParam()});
    }
    const Case c{layout, 3, 5, 0};
    at::Tensor out = unwritten({3, 5}), sum = at::ones({3, 5});
    c.run(c.a(), c.b(), out, {.way = GetParam()});
    c.run(c.a(), c.b(), sum, {.accumulate = true, .way = GetParam()});
    EXPECT_TRUE(same_bits(out, at::zeros({3, 5})));
    EXPECT_TRUE(same_bits(sum, at::ones({3, 5})));
  }
}

TEST_P(Matmul, NanAndInfinityReachTheirSumsAlone) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Layout layout : kLayouts) {
    for (const float value : {NAN, kInfinity}) {
      const Case c{layout, 13, 35, 20};
      at::Tensor a = c.a(), b = at::zeros_like(c.b()), out = unwritten({c.m, c.n});
      // The last row of a meets zeros: infinity * 0 is NaN, in its row of out and nowhere else.
      (layout == Layout::kTn ? a[7][12] : a[12][7]) = value;
      c.run(a, b, out, {.way = GetParam()});
      EXPECT_TRUE(at::isnan(out[12]).all().item<bool>());
      EXPECT_TRUE(same_bits(out.narrow(0, 0, 12), at::zeros({12, c.n})));
      // The last column of b alike.
      a = at::zeros_like(a);
      (layout == Layout::kNt ? b[34][7] : b[7][34]) = value;
      c.run(a, b, out, {.way = GetParam()});
      EXPECT_TRUE(at::isnan(out.select(1, 34)).all().item<bool>());
      EXPECT_TRUE((out.narrow(1, 0, 34) == 0).all().item<bool>());
    }
  }
}

TEST_P(Matmul, SizesThatDoNotFitAreBugs) {
  const at::Tensor a = at::ones({2, 3}), b = at::ones({4, 3});
  at::Tensor out = at::ones({2, 4}), wrong = at::ones({4, 2}), apart = at::ones({4, 2}).t();
  const MatmulOptions options{.way = GetParam()};
  EXPECT_THROW(matmul_nt(a, b, wrong, options), base::Bug);
  EXPECT_THROW(matmul_nn(a, b, out, options), base::Bug);
  EXPECT_THROW(matmul_tn(a, b, out, options), base::Bug);
  EXPECT_THROW(matmul_nt(a, b, apart, options), base::Bug);
  EXPECT_THROW(matmul_nt(a.to(at::kDouble), b, out, options), base::Bug);
}

INSTANTIATE_TEST_SUITE_P(Ways, Matmul,
                         ::testing::Values(MatmulWay::kOwn, MatmulWay::kOwnWide, MatmulWay::kAten),
                         [](const auto& way) { return name_of(way.param); });

class MatmulOwn : public Matmul {};

TEST_P(MatmulOwn, DoesNotDependOnThreads) {
  for (const Layout layout : kLayouts) {
    for (const Case& c :
         {Case{layout, 301, 230, 1033}, Case{layout, 7, 1500, 700}, Case{layout, 1500, 17, 700}}) {
      const at::Tensor a = c.a(), b = c.b(), before = normal({c.m, c.n}, 3);
      const auto run = [&] {
        at::Tensor out = unwritten({c.m, c.n}), sum = before.clone();
        c.run(a, b, out, {.way = GetParam()});
        c.run(a, b, sum, {.accumulate = true, .way = GetParam()});
        return at::cat({out, sum});
      };
      const at::Tensor alone = run();
      for (const int threads : {2, 3, 4, 7}) {
        EXPECT_TRUE(same_bits(test::with_threads(threads, run), alone));
      }
    }
  }
}

TEST_P(MatmulOwn, ARowDoesNotDependOnOtherRows) {
  for (const Layout layout : {Layout::kNt, Layout::kNn}) {
    const Case c{layout, 400, 100, 1033};
    const at::Tensor a = c.a(), b = c.b();
    at::Tensor all = unwritten({c.m, c.n});
    c.run(a, b, all, {.way = GetParam()});
    for (const auto& [begin, rows] :
         {std::pair<int64_t, int64_t>{0, 1}, {3, 1}, {0, 37}, {101, 64}, {1, 399}}) {
      at::Tensor some = unwritten({rows, c.n});
      c.run(a.narrow(0, begin, rows), b, some, {.way = GetParam()});
      EXPECT_TRUE(same_bits(some, all.narrow(0, begin, rows))) << begin << " " << rows;
    }
  }
}

// The order of the sums, written out: it depends on k alone. 1033 places are summed in runs of 352.
TEST_P(MatmulOwn, AddsRunsOfFusedSumsInTheirOrder) {
  constexpr int64_t kInner = 1033, kRun = 352;
  const at::Tensor a = normal({1, kInner}, 1), b = normal({1, kInner}, 2);
  float expected = 0;
  for (int64_t begin = 0; begin < kInner; begin += kRun) {
    float run = 0;
    for (int64_t k = begin; k < std::min(kInner, begin + kRun); ++k) {
      run = std::fma(a.const_data_ptr<float>()[k], b.const_data_ptr<float>()[k], run);
    }
    expected = begin == 0 ? run : expected + run;
  }
  at::Tensor out = unwritten({1, 1});
  matmul_nt(a, b, out, {.way = GetParam()});
  EXPECT_EQ(out.item<float>(), expected);
}

TEST_P(MatmulOwn, PollsOnTheCallingThread) {
  const at::Tensor a = at::ones({1024, 1024}), b = at::ones({1024, 1024});
  const std::thread::id caller = std::this_thread::get_id();
  for (const int threads : {1, 3}) {
    int calls = 0, elsewhere = 0;
    test::with_threads(threads, [&] {
      at::Tensor out = unwritten({1024, 1024});
      matmul_nt(a, b, out, {.way = GetParam(), .poll = [&] {
                              ++calls;
                              elsewhere += std::this_thread::get_id() == caller ? 0 : 1;
                            }});
      return out;
    });
    EXPECT_GE(calls, 1);
    EXPECT_LE(calls, 8);
    EXPECT_EQ(elsewhere, 0);
  }
}

TEST_P(MatmulOwn, GivesTheBitsOfEveryOwnWay) {
  for (const Layout layout : kLayouts) {
    for (const Case& c : {Case{layout, 301, 530, 1033}, Case{layout, 15, 33, 9}}) {
      const at::Tensor a = c.a(), b = c.b();
      at::Tensor narrow = normal({c.m, c.n}, 3), out = narrow.clone();
      c.run(a, b, narrow, {.accumulate = true, .way = MatmulWay::kOwn});
      c.run(a, b, out, {.accumulate = true, .way = GetParam()});
      EXPECT_TRUE(same_bits(out, narrow));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, MatmulOwn, ::testing::Values(MatmulWay::kOwn, MatmulWay::kOwnWide),
                         [](const auto& way) { return name_of(way.param); });

}  // namespace
}  // namespace rondo::kernels
