#include "parallel/parameter.hpp"

#include "base/error.hpp"

namespace rondo::parallel {

namespace {

int64_t product(const std::vector<int64_t>& shape) {
  int64_t numel = 1;
  for (const int64_t dim : shape) numel *= dim;
  return numel;
}

}  // namespace

int64_t Parameter::numel() const { return product(shape); }
int64_t LocalPart::numel() const { return product(shape); }

LocalPart local_part(const Parameter& parameter, Place tensor) {
  RONDO_CHECK(tensor.size >= 1 && tensor.rank >= 0 && tensor.rank < tensor.size);
  LocalPart local;
  local.shape = parameter.shape;
  if (parameter.split == Split::kWhole) {
    local.range = {0, parameter.shape[0]};
    local.copies = tensor.size;
    local.copy = tensor.rank;
    return local;
  }
  const size_t dim = parameter.split == Split::kRows ? 0 : 1;
  RONDO_CHECK(dim < parameter.shape.size(), "{} has no dimension {}", parameter.name, dim);
  const int64_t whole = parameter.shape[dim];
  local.parts = tensor.size;
  if (parameter.pieces > 0 && parameter.pieces < tensor.size) {
    local.parts = static_cast<int>(parameter.pieces);
  }
  RONDO_CHECK(tensor.size % local.parts == 0 && parameter.pieces % local.parts == 0,
              "{}: {} pieces over {} ranks", parameter.name, parameter.pieces, tensor.size);
  local.copies = tensor.size / local.parts;
  local.part = tensor.rank / local.copies;
  local.copy = tensor.rank % local.copies;
  const int64_t size = base::ceil_div(whole, local.parts);
  local.shape[dim] = size;
  local.range = base::intersect({local.part * size, (local.part + 1) * size}, {0, whole});
  return local;
}

}  // namespace rondo::parallel
