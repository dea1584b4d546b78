// Connected components of a graph whose nodes are numbers: union-find, the least member as root.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace rondo::data {

class Components {
 public:
  explicit Components(int64_t count) : parent_(static_cast<size_t>(count)) {
    std::iota(parent_.begin(), parent_.end(), int64_t{0});
  }
  // The least member of the component of `node`.
  int64_t root(int64_t node) {
    while (at(node) != node) node = at(node) = at(at(node));
    return node;
  }
  void connect(int64_t a, int64_t b) {
    const int64_t first = root(a);
    const int64_t second = root(b);
    at(std::max(first, second)) = std::min(first, second);
  }

 private:
  int64_t& at(int64_t node) { return parent_[static_cast<size_t>(node)]; }
  std::vector<int64_t> parent_;
};

}  // namespace rondo::data
