#include "parallel/mesh.hpp"

#include "base/error.hpp"

namespace rondo::parallel {

Mesh::Mesh(comm::Group& world, MeshSize size) : world_(world), size_(size) {
  RONDO_CHECK(
      size.replicate >= 1 && size.shard >= 1 && size.tensor >= 1 && size.ranks() == world.size(),
      "a mesh of {} x {} x {} for {} ranks", size.replicate, size.shard, size.tensor, world.size());
  const int rank = world.rank();
  const int tensor_index = rank % size.tensor;
  const int data_index = rank / size.tensor;
  const int shard_index = data_index % size.shard;
  const int replicate_index = data_index / size.shard;
  tensor_ = world.split("tensor", data_index, tensor_index);
  data_ = world.split("data", tensor_index, data_index);
  shard_ = data_->split("shard", replicate_index, shard_index);
  replicate_ = data_->split("replicate", shard_index, replicate_index);
}

comm::Group& Mesh::copies(int parts) {
  if (parts == 1) return *tensor_;
  auto& group = copies_[parts];
  if (group == nullptr) {
    RONDO_CHECK(parts >= 1 && size_.tensor % parts == 0);
    const int each = size_.tensor / parts;
    group = tensor_->split("copies", tensor_->rank() / each, tensor_->rank());
  }
  return *group;
}

void Mesh::poll() {
  shard_->poll();
  replicate_->poll();
  tensor_->poll();
  data_->poll();
  for (const auto& [parts, group] : copies_) group->poll();
}

comm::Traffic Mesh::traffic() const {
  comm::Traffic sum;
  for (const auto* group : {&shard_, &replicate_, &tensor_, &data_}) sum += (*group)->traffic();
  for (const auto& [parts, group] : copies_) sum += group->traffic();
  return sum;
}

}  // namespace rondo::parallel
