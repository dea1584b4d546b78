#include "kernels/matmul_blocks.hpp"

#include <algorithm>
#include <memory>
#include <new>

#include "base/slice.hpp"
#include "kernels/matmul_tile.hpp"
#include "kernels/matmul_wide_tile.hpp"

namespace rondo::kernels::matmul {
namespace {

// Block sizes for a second-level cache of 512 KiB: a block of a stays in it (224 KiB at most) while
// the panels of b pass (32 KiB each at most), which lie in the third level.
constexpr int64_t kDepth = 512;                     // inner places at most
constexpr int64_t kBlockOfA = int64_t{56} << 10;    // floats at most
constexpr int64_t kBlockOfB = int64_t{1536} << 10;  // floats at most
constexpr int64_t kGroup = 32;                      // columns whose panels of b are packed together
constexpr int64_t kWidest = 32;                     // rows or columns of a tile at most
constexpr int64_t kSlack = 16;                      // floats behind a buffer that packing may touch
constexpr double kPollFlops = 3e8;                  // about 3 ms

using base::ceil_div;

// The size of equal pieces, multiples of `of`, as few as pieces of `most` would be.
constexpr int64_t even_piece(int64_t total, int64_t most, int64_t of) {
  return ceil_div(ceil_div(total, ceil_div(total, most)), of) * of;
}

class Buffers {
 public:
  float* a() { return a_.get(); }
  float* b() { return b_.get(); }

  static Buffers& of_this_thread() {
    thread_local Buffers buffers;
    return buffers;
  }

 private:
  static constexpr std::align_val_t kPage{4096};
  struct Free {
    void operator()(float* data) const { ::operator delete[](data, kPage); }
  };
  using Floats = std::unique_ptr<float[], Free>;
  static Floats floats(int64_t count) {
    return Floats(new (kPage) float[static_cast<size_t>(count)]);
  }

  Floats a_ = floats(kBlockOfA + kDepth * kWidest + kSlack);
  Floats b_ = floats(kBlockOfB + kDepth * kWidest + kSlack);
};

// A piece of the loops below: the places [begin, begin + size) of rows, columns or inner.
struct Range {
  int64_t begin, size;
};

template <class Body>
void by_pieces(int64_t total, int64_t piece, Body&& body) {
  for (int64_t begin = 0; begin < total; begin += piece) {
    body(Range{begin, std::min(piece, total - begin)});
  }
}

// A tile at the right or lower edge of out, of which only rows x columns exist.
template <class Tile>
void tile_at_edge(const float* a, const float* b, int64_t depth, int64_t rows, int64_t columns,
                  bool add, float* out, int64_t stride) {
  alignas(64) float whole[Tile::kRows * Tile::kColumns];
  Tile::template run<false>(a, b, depth, whole, Tile::kColumns, {a, 0}, {b, 0});
  for (int64_t i = 0; i < rows; ++i) {
    const float* from = whole + i * Tile::kColumns;
    float* to = out + i * stride;
    for (int64_t j = 0; j < columns; ++j) to[j] = add ? to[j] + from[j] : from[j];
  }
}

// One column of tiles: all panels of a block of a with one panel of b.
template <class Tile>
void column_of_tiles(const float* a, const float* b, int64_t depth, int64_t rows, int64_t columns,
                     bool add, float* out, int64_t stride, Soon& soon_a, Soon& soon_b) {
  for (int64_t i = 0; i < rows; i += Tile::kRows) {
    const float* panel = a + i * depth;
    float* to = out + i * stride;
    if (rows - i < Tile::kRows || columns < Tile::kColumns) {
      tile_at_edge<Tile>(panel, b, depth, std::min(Tile::kRows, rows - i), columns, add, to,
                         stride);
      continue;
    }
    const Fetch fetch_a = soon_a.next(panel), fetch_b = soon_b.next(panel);
    if (add) {
      Tile::template run<true>(panel, b, depth, to, stride, fetch_a, fetch_b);
    } else {
      Tile::template run<false>(panel, b, depth, to, stride, fetch_a, fetch_b);
    }
  }
}

// What the loops share. Blocks go column block by column block, in it inner place by inner place,
// in it row block by row block; b is packed when the first row block comes to it.
template <class Tile>
class Blocks {
 public:
  Blocks(const Product& product, const std::function<void()>* poll) : p_(product), poll_(poll) {}

  void run() {
    by_pieces(p_.columns, columns_, [&](Range columns) {
      by_pieces(p_.inner, depth_, [&](Range inner) {
        by_pieces(p_.rows, rows_, [&](Range rows) { block(columns, inner, rows); });
      });
    });
  }

 private:
  void block(Range columns, Range inner, Range rows) {
    const int64_t depth = inner.size;
    pack<Tile::kRows>(p_.a.from(rows.begin, inner.begin), rows.size, depth, buffers_.a());
    Soon soon_a = block_after(inner, rows);
    by_pieces(columns.size, kGroup, [&](Range group) {
      // Panels that no later row block will read take one another's place, in the first level.
      float* panels = buffers_.b() + (rows.size == p_.rows ? 0 : group.begin * depth);
      const int64_t column = columns.begin + group.begin;
      if (rows.begin == 0) {
        pack<Tile::kColumns>(p_.b.from(column, inner.begin), group.size, depth, panels);
      }
      Soon soon_b = group_after(columns, inner, rows, group);
      by_pieces(group.size, Tile::kColumns, [&](Range panel) {
        column_of_tiles<Tile>(buffers_.a(), panels + panel.begin * depth, depth, rows.size,
                              panel.size, p_.accumulate || inner.begin > 0,
                              p_.out + rows.begin * p_.stride + column + panel.begin, p_.stride,
                              soon_a, soon_b);
      });
      count(2.0 * static_cast<double>(rows.size * group.size * depth));
    });
  }

  // What block() will pack of a next.
  Soon block_after(Range inner, Range rows) const {
    const int64_t row = rows.begin + rows.size;
    if (row < p_.rows) return {p_.a.from(row, inner.begin), std::min(rows_, p_.rows - row)};
    const int64_t k = inner.begin + inner.size;
    if (k < p_.inner) return {p_.a.from(0, k), std::min(rows_, p_.rows)};
    return {};
  }

  // What it will read of b next: packed already, or not.
  Soon group_after(Range columns, Range inner, Range rows, Range group) {
    const int64_t next = group.begin + group.size;
    const int64_t k = inner.begin + inner.size;
    if (next < columns.size) {
      const int64_t size = std::min(kGroup, columns.size - next);
      if (rows.begin == 0) return {p_.b.from(columns.begin + next, inner.begin), size};
      return {Factor{buffers_.b() + next * inner.size, inner.size, false}, size};
    }
    if (rows.begin + rows.size == p_.rows && k < p_.inner) {
      return {p_.b.from(columns.begin, k), std::min(kGroup, columns.size)};
    }
    return {};
  }

  void count(double flops) {
    flops_ += flops;
    if (poll_ != nullptr && flops_ >= kPollFlops) {
      flops_ = 0;
      (*poll_)();
    }
  }

  const Product& p_;
  const std::function<void()>* poll_;
  Buffers& buffers_ = Buffers::of_this_thread();
  const int64_t depth_ = even_piece(p_.inner, kDepth, 8);
  const int64_t rows_ = even_piece(p_.rows, kBlockOfA / depth_, Tile::kRows);
  const int64_t columns_ = even_piece(p_.columns, kBlockOfB / depth_, Tile::kColumns);
  double flops_ = 0;
};

}  // namespace

Product Product::part(int64_t row, int64_t part_rows, int64_t column, int64_t part_columns) const {
  Product result = *this;
  result.a = a.from(row, 0);
  result.b = b.from(column, 0);
  result.rows = part_rows;
  result.columns = part_columns;
  result.out = out + row * stride + column;
  return result;
}

template <class Tile>
void multiply(const Product& product, const std::function<void()>* poll) {
  if (product.rows > 0 && product.columns > 0 && product.inner > 0) {
    Blocks<Tile>(product, poll).run();
  }
}
template void multiply<NarrowTile>(const Product&, const std::function<void()>*);
#if RONDO_HAS_WIDE_TILE
template void multiply<WideTile>(const Product&, const std::function<void()>*);
#endif

}  // namespace rondo::kernels::matmul
