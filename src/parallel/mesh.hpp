// Mesh: how the ranks of a run divide the work, and the groups that follow from it.
//
// Axes replicate x shard x tensor, tensor fastest, so that it stays inside a node:
//   rank = (replicate_index * shard + shard_index) * tensor + tensor_index
// Ranks of the tensor axis compute on the same tokens, each with a slice of the weights. Ranks of
// the shard axis hold different parts of the state (ZeRO), those of the replicate axis the same.
// Both together are the data-parallel ranks, which train on different tokens.
#pragma once

#include <map>
#include <memory>

#include "comm/group.hpp"
#include "parallel/parameter.hpp"

namespace rondo::parallel {

struct MeshSize {
  int replicate = 1;
  int shard = 1;
  int tensor = 1;

  int data() const { return replicate * shard; }
  int ranks() const { return data() * tensor; }
  bool operator==(const MeshSize&) const = default;
};

class Mesh {
 public:
  // Collective over `world`, which must outlive the mesh and have size.ranks() ranks (else a Bug).
  Mesh(comm::Group& world, MeshSize size);
  // All ranks on the shard axis.
  explicit Mesh(comm::Group& world) : Mesh(world, {.shard = world.size()}) {}

  const MeshSize& size() const { return size_; }
  comm::Group& world() { return world_; }
  comm::Group& tensor() { return *tensor_; }
  comm::Group& shard() { return *shard_; }
  comm::Group& replicate() { return *replicate_; }
  comm::Group& data() { return *data_; }

  // Collective over the tensor group at the first call for a number of parts, which divides its
  // size: the neighbouring tensor ranks that hold the same of `parts` slices.
  comm::Group& copies(int parts);

  // Lets the operations under way in all groups progress.
  void poll();
  // Of this rank in all groups but the world.
  comm::Traffic traffic() const;

 private:
  comm::Group& world_;
  MeshSize size_;
  std::unique_ptr<comm::Group> tensor_, shard_, replicate_, data_;
  std::map<int, std::unique_ptr<comm::Group>> copies_;
};

inline Place place_in(const comm::Group& group) { return {group.rank(), group.size()}; }

}  // namespace rondo::parallel
