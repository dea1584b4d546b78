// How a group waits for its MPI requests: for ever, or up to a deadline.
#pragma once

#include <mpi.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/watch.hpp"

namespace rondo::comm {

class MpiWait {
 public:
  // `world_ranks`: of the ranks of the group, in its order.
  MpiWait(std::string group, std::vector<int> world_ranks, std::shared_ptr<Watch> watch);

  // Returns when `request`, of the operation `call`, is complete. With a deadline above 0 a
  // Overdue after it (overdue_text); the request is still under way then.
  void complete(MPI_Request& request, const Call& call, double deadline_s);

  const std::vector<int>& world_ranks() const { return world_ranks_; }

 private:
  const std::string group_;
  const std::vector<int> world_ranks_;
  const std::shared_ptr<Watch> watch_;
};

}  // namespace rondo::comm
