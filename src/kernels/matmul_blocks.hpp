// A matrix product in blocks that fit the caches (after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication", 2008), on one thread.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/matmul_pack.hpp"

namespace rondo::kernels::matmul {

// out [rows, columns] with `stride` floats per row (+)= a [rows, inner] * b [columns, inner]^T.
//
// Every element is the same sequence of operations whatever rows and columns are: sums over runs of
// inner places, each beginning with zero and fma by fma in their order, added up in their order.
// The runs depend on `inner` alone.
struct Product {
  Factor a, b;
  int64_t rows = 0, columns = 0, inner = 0;
  float* out = nullptr;
  int64_t stride = 0;
  bool accumulate = false;

  // The part of it that computes the given rectangle of out.
  Product part(int64_t row, int64_t part_rows, int64_t column, int64_t part_columns) const;
};

// By tiles of NarrowTile or WideTile, with the same bits. Calls poll, when it is not null, about
// every 3 ms. Does nothing when a size is zero. Uses buffers of its thread that stay (6 MiB): poll
// must not multiply matrices.
template <class Tile>
void multiply(const Product& product, const std::function<void()>* poll);

}  // namespace rondo::kernels::matmul
