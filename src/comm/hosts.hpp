// Hosts: which ranks of a run are on which machine.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rondo::comm {

struct Hosts {
  std::vector<std::string> names;       // in the order of their lowest ranks
  std::vector<std::vector<int>> ranks;  // of each host, ascending
  std::vector<size_t> of_rank;          // host of each rank

  size_t size() const { return names.size(); }
  const std::string& name_of(int rank) const { return names[of_rank[static_cast<size_t>(rank)]]; }
  // Place of a rank among those of its host.
  int local_rank(int rank) const;
};

// From the host's name of each rank.
Hosts hosts_of(const std::vector<std::string>& name_of_rank);

}  // namespace rondo::comm
