#include "comm/watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

namespace rondo::comm {

struct Watch::Message {
  int32_t rank = 0;
  int32_t is_question = 0;
  int64_t question = 0;  // of the rank that asks
  Call call;
  std::array<char, kNameBytes + 1> group{};

  Message() = default;
  Message(int from, bool asks, int64_t number, const Place& place)
      : rank(from), is_question(asks ? 1 : 0), question(number), call(place.call) {
    std::memcpy(group.data(), place.group.data(), std::min(place.group.size(), kNameBytes));
  }
};

namespace {

// Owner of a group of MPI.
struct MpiRanks {
  explicit MpiRanks(MPI_Comm communicator) { TRY_MPI(MPI_Comm_group(communicator, &handle)); }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;
  ~MpiRanks() { MPI_Group_free(&handle); }
  MPI_Group handle = MPI_GROUP_NULL;
};

}  // namespace

Watch::Watch(MPI_Comm world)
    : communicator_(MpiCommunicator::copy_of(world)), rank_(communicator_.rank()) {}

Watch::~Watch() = default;

std::vector<int> Watch::world_ranks_of(MPI_Comm communicator) const {
  const MpiRanks members(communicator);
  const MpiRanks world(communicator_.get());
  int size = 0;
  TRY_MPI(MPI_Group_size(members.handle, &size));
  std::vector<int> from(static_cast<size_t>(size));
  std::vector<int> to(from.size());
  std::iota(from.begin(), from.end(), 0);
  TRY_MPI(MPI_Group_translate_ranks(members.handle, size, from.data(), world.handle, to.data()));
  return to;
}

void Watch::send(const Message& message, std::span<const int> ranks) {
  const auto& kept = sent_.emplace_back(std::make_unique<Message>(message));
  for (const int rank : ranks) {
    if (rank == rank_) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    TRY_MPI(
        MPI_Isend(kept.get(), sizeof(Message), MPI_BYTE, rank, 0, communicator_.get(), &request));
    // Nobody has to receive it, so nobody waits for it.
    TRY_MPI(MPI_Request_free(&request));
  }
}

bool Watch::receive(Message& message) {
  static_assert(std::is_trivially_copyable_v<Message>);
  int arrived = 0;
  TRY_MPI(MPI_Iprobe(MPI_ANY_SOURCE, 0, communicator_.get(), &arrived, MPI_STATUS_IGNORE));
  if (arrived == 0) return false;
  TRY_MPI(MPI_Recv(&message, sizeof(Message), MPI_BYTE, MPI_ANY_SOURCE, 0, communicator_.get(),
                   MPI_STATUS_IGNORE));
  return true;
}

void Watch::ask(const Place& own, std::span<const int> ranks) {
  send(Message(rank_, true, ++questions_, own), ranks);
}

void Watch::listen(const Place& own) {
  Message message;
  while (receive(message)) {
    if (message.is_question == 0 && message.question != questions_) continue;
    heard_[message.rank] = {.group = message.group.data(), .call = message.call};
    if (message.is_question == 0) continue;
    send(Message(rank_, false, message.question, own), std::array{int{message.rank}});
  }
}

void Watch::discard() {
  Message message;
  while (receive(message)) {
  }
}

std::string overdue_text(const Watch::Place& own, double deadline_s, int own_rank,
                         std::span<const int> ranks, const Watch::Places& heard) {
  std::vector<int> silent;
  std::map<std::string, std::vector<int>> elsewhere;
  for (const int rank : ranks) {
    if (rank == own_rank) continue;
    const auto found = heard.find(rank);
    if (found == heard.end()) {
      silent.push_back(rank);
    } else if (const auto& [group, call] = found->second; !(found->second == own)) {
      elsewhere[fmt::format("{} (group {}, operation {})", to_text(call), group, call.sequence)]
          .push_back(rank);
    }
  }
  std::string text = fmt::format(
      "group {}, operation {}: rank {} has waited for {} longer than the deadline of "
      "{} s",
      own.group, own.call.sequence, own_rank, to_text(own.call), deadline_s);
  if (!silent.empty()) {
    text += fmt::format("; {} {} not come to it (dead, or busy elsewhere)", ranks_text(silent),
                        silent.size() == 1 ? "has" : "have");
  }
  size_t named = silent.size();
  for (const auto& [place, there] : elsewhere) {
    text += fmt::format("; {} {} for {}", ranks_text(there), there.size() == 1 ? "waits" : "wait",
                        place);
    named += there.size();
  }
  if (named == 0) {
    return text + "; all its ranks wait for it. Look at the network between them.";
  }
  if (named == 1) {
    return text + ". Look at that rank's output; raise parallel.deadline_s when it is only slow.";
  }
  return text +
         ". Look at the output of those ranks; raise parallel.deadline_s when they are only slow.";
}

}  // namespace rondo::comm
