// What every backend of Group must do, as functions that its tests call on all ranks.
// Small integers in floating point, so that every order of summation is exact.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"

namespace rondo::test {

inline constexpr auto kPurpose = comm::Purpose::kOther;

// Values that differ in every rank and element.
inline at::Tensor values(int rank, int64_t n) {
  return at::arange(n, at::kFloat).add_(1).mul_(rank + 1);
}

inline void check_contract(comm::Group& group) {
  const int size = group.size();
  const int rank = group.rank();
  const double ranks_sum = size * (size + 1) / 2.0;
  for (const int64_t n : {1, 5, 1000}) {
    const at::Tensor base = at::arange(n, at::kFloat).add_(1);
    at::Tensor sum = values(rank, n);
    group.all_sum(sum, kPurpose).wait();
    EXPECT_TRUE(at::equal(sum, base * ranks_sum));

    at::Tensor maximum = values(rank, n);
    group.all_max(maximum, kPurpose).wait();
    EXPECT_TRUE(at::equal(maximum, base * size));

    const at::Tensor whole = values(rank, n * size);
    const at::Tensor expected = values(0, n * size).narrow(0, rank * n, n) * ranks_sum;
    at::Tensor part = at::empty({n});
    group.sum_scatter(part, whole.clone(), kPurpose).wait();
    EXPECT_TRUE(at::equal(part, expected));
    const at::Tensor in_place = whole.clone();
    group.sum_scatter(in_place.narrow(0, rank * n, n), in_place, kPurpose).wait();
    EXPECT_TRUE(at::equal(in_place.narrow(0, rank * n, n), expected));

    at::Tensor gathered = at::zeros({n * size});
    group.all_gather(gathered, values(rank, n), kPurpose).wait();
    at::Tensor gathered_in_place = at::zeros({n * size});
    gathered_in_place.narrow(0, rank * n, n).copy_(values(rank, n));
    group.all_gather(gathered_in_place, gathered_in_place.narrow(0, rank * n, n), kPurpose).wait();
    for (int r = 0; r < size; ++r) {
      EXPECT_TRUE(at::equal(gathered.narrow(0, r * n, n), values(r, n)));
    }
    EXPECT_TRUE(at::equal(gathered, gathered_in_place));

    const int root = size - 1;
    at::Tensor sent = values(rank, n);
    group.broadcast(sent, root, kPurpose).wait();
    EXPECT_TRUE(at::equal(sent, values(root, n)));

    at::Tensor received = at::empty({n * size});
    group.all_to_all(received, values(rank, n * size), kPurpose).wait();
    for (int r = 0; r < size; ++r) {
      EXPECT_TRUE(
          at::equal(received.narrow(0, r * n, n), values(r, n * size).narrow(0, rank * n, n)));
    }
  }
  // Several operations under way at once, waited for in another order.
  at::Tensor a = values(rank, 64);
  at::Tensor b = values(rank, 2048);
  auto first = group.all_sum(a, kPurpose);
  auto second = group.all_sum(b, kPurpose);
  group.poll();
  second.wait();
  first.wait();
  EXPECT_EQ(a[0].item<double>(), ranks_sum);
  EXPECT_EQ(b[2047].item<double>(), 2048 * ranks_sum);

  at::Tensor doubles = at::full({3}, 0.5, at::kDouble);
  group.all_sum(doubles, kPurpose).wait();
  EXPECT_EQ(doubles[2].item<double>(), 0.5 * size);
  at::Tensor longs = at::full({2}, int64_t{1} << 40, at::kLong);
  group.all_sum(longs, kPurpose).wait();
  EXPECT_EQ(longs[1].item<int64_t>(), size * (int64_t{1} << 40));
  EXPECT_GT(group.traffic(kPurpose).calls, 20);
  EXPECT_GE(group.traffic(kPurpose).bytes, 2048 * 4);
  group.barrier();
}

// Rows and columns of a grid of two columns, and a group ranked backwards.
inline void check_split(comm::Group& group) {
  const int rank = group.rank();
  const int size = group.size();
  const auto row = group.split("row", rank / 2, rank);
  const auto column = group.split("column", rank % 2, rank);
  const auto backwards = group.split("backwards", 0, -rank);
  EXPECT_EQ(row->name(), "row");
  EXPECT_EQ(row->size(), std::min(2, size - rank / 2 * 2));
  EXPECT_EQ(row->rank(), rank % 2);
  EXPECT_EQ(column->size(), (size + 1 - rank % 2) / 2);
  EXPECT_EQ(column->rank(), rank / 2);
  EXPECT_EQ(backwards->rank(), size - 1 - rank);
  // At once on all of them, and not mixed up.
  at::Tensor in_row = at::full({3}, rank + 1, at::kFloat);
  at::Tensor in_column = at::full({3}, 100 * (rank + 1), at::kFloat);
  auto first = row->all_sum(in_row, kPurpose);
  auto second = column->all_sum(in_column, kPurpose);
  second.wait();
  first.wait();
  double row_sum = 0;
  double column_sum = 0;
  for (int r = 0; r < size; ++r) {
    if (r / 2 == rank / 2) row_sum += r + 1;
    if (r % 2 == rank % 2) column_sum += 100 * (r + 1);
  }
  EXPECT_EQ(in_row[0].item<double>(), row_sum);
  EXPECT_EQ(in_column[0].item<double>(), column_sum);
  // A part of a part.
  const auto alone = row->split("alone", row->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(alone->backend(), "self");
}

inline void check_control(comm::Control& control) {
  const int last = control.size() - 1;
  const int rank = control.rank();
  EXPECT_TRUE(control.all_true(true));
  EXPECT_FALSE(control.all_true(rank != last));
  EXPECT_TRUE(control.any_true(rank == last));
  EXPECT_FALSE(control.any_true(false));
  EXPECT_EQ(control.broadcast_text(rank == 0 ? "hello" : "ignored"), "hello");
  EXPECT_EQ(control.broadcast_text(""), "");
  const auto texts = control.gather_text(std::string(static_cast<size_t>(rank), 'x'));
  for (int r = 0; r <= last; ++r) EXPECT_EQ(texts[static_cast<size_t>(r)].size(), size_t(r));

  control.agree([] {});
  // One rank fails: all throw its kind and text.
  try {
    control.agree([&] {
      if (rank == last) throw base::UserError("wrong file");
    });
    ADD_FAILURE() << "no error";
  } catch (const base::UserError& error) {
    const std::string expected =
        control.size() == 1 ? "wrong file" : fmt::format("rank {}: wrong file", last);
    EXPECT_EQ(std::string(error.what()), expected);
  }
  // All ranks say the same: no rank is named. The worse kind wins.
  try {
    control.agree([&] { throw base::UserError("same"); });
    ADD_FAILURE() << "no error";
  } catch (const base::UserError& error) {
    EXPECT_EQ(std::string(error.what()), "same");
  }
  EXPECT_THROW(control.agree([&] {
    if (rank == 0) throw base::SystemError("disk");
    throw base::UserError("input");
  }),
               base::SystemError);
  EXPECT_THROW(control.on_first([] { throw base::UserError("first"); }), base::UserError);
  control.on_first([] {});
  control.same_on_all_ranks("a", "value");
  if (control.size() > 1) {
    EXPECT_THROW(control.same_on_all_ranks(fmt::format("{}", rank), "value"), base::UserError);
  }
  control.barrier();
}

}  // namespace rondo::test
