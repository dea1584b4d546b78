// Watch: where the ranks of a run wait, found out when one of them has waited too long.
//
// A rank asks others by small messages on a communicator kept for that; a rank that waits under a
// deadline, for any operation of any group, listens and answers with its place. A rank that does
// not answer is dead, or busy elsewhere. One object for all groups of a Runtime. Nothing here
// blocks.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/call.hpp"
#include "comm/mpi_communicator.hpp"

namespace rondo::comm {

class Watch {
 public:
  // Where a rank waits. Names of groups travel up to a length.
  static constexpr size_t kNameBytes = 63;
  struct Place {
    std::string group;
    Call call;

    bool operator==(const Place&) const = default;
  };
  using Places = std::map<int, Place>;  // by rank

  // Collective over `world`, whose ranks are the ranks meant below.
  explicit Watch(MPI_Comm world);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // The ranks that the members of `communicator` have in the world.
  std::vector<int> world_ranks_of(MPI_Comm communicator) const;
  int rank() const { return rank_; }

  // Forgets what was heard before.
  void forget() { heard_.clear(); }
  // Asks `ranks`, without this one, where they wait.
  void ask(const Place& own, std::span<const int> ranks);
  // Receives what has arrived, and answers those who ask.
  void listen(const Place& own);
  // What others said of themselves since the last forget().
  const Places& heard() const { return heard_; }
  // Drops what has arrived.
  void discard();

 private:
  struct Message;
  void send(const Message& message, std::span<const int> ranks);
  // False when nothing has arrived.
  bool receive(Message& message);

  const MpiCommunicator communicator_;
  const int rank_;
  int64_t questions_ = 0;  // of this rank so far; an answer carries the number of its question
  Places heard_;
  // MPI may read them until MPI_Finalize; the Runtime keeps this object until then.
  std::vector<std::unique_ptr<Message>> sent_;
};

// The error of rank `own_rank` after it has waited at `own` for `deadline_s`; `ranks` are those of
// the group. Names those that are not at the same place, and where they are.
std::string overdue_text(const Watch::Place& own, double deadline_s, int own_rank,
                         std::span<const int> ranks, const Watch::Places& heard);

}  // namespace rondo::comm
