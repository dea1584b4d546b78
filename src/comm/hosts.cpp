#include "comm/hosts.hpp"

#include <algorithm>
#include <map>

namespace rondo::comm {

int Hosts::local_rank(int rank) const {
  const std::vector<int>& here = ranks[of_rank[static_cast<size_t>(rank)]];
  return static_cast<int>(std::ranges::lower_bound(here, rank) - here.begin());
}

Hosts hosts_of(const std::vector<std::string>& name_of_rank) {
  Hosts hosts;
  std::map<std::string, size_t> known;
  for (const std::string& name : name_of_rank) {
    const auto [entry, fresh] = known.emplace(name, hosts.names.size());
    if (fresh) {
      hosts.names.push_back(name);
      hosts.ranks.emplace_back();
    }
    hosts.ranks[entry->second].push_back(static_cast<int>(hosts.of_rank.size()));
    hosts.of_rank.push_back(entry->second);
  }
  return hosts;
}

}  // namespace rondo::comm
