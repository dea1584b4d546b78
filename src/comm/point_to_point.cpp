#include "comm/point_to_point.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#include "comm/flight_recorder.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/slowness.hpp"

namespace rondo::comm {

namespace {

constexpr int kTag = 1;
constexpr int64_t kLeastBytes = int64_t{64} << 10;
constexpr int64_t kMostBytes = int64_t{8} << 20;
constexpr int kMostMessages = 64;
constexpr int kMostPings = 1000;
constexpr int kWarmUp = 3;

double wall_clock_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double steady_s() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

}  // namespace

struct PointToPoint::Parts {
  // What the lower rank tells the other: to exchange so many bytes, or to end with 0.
  struct Buffers {
    int64_t order = 0;
    double number = 0;
    std::array<double, 2> figures{};
    std::vector<std::byte> out = std::vector<std::byte>(kMostBytes);
    std::vector<std::byte> in = std::vector<std::byte>(kMostBytes);
  };

  const Hosts& hosts;
  const double silence_s;
  MpiCommunicator communicator;
  const int rank;
  std::unique_ptr<Buffers> buffers = std::make_unique<Buffers>();

  void wait(std::span<MPI_Request> requests, int peer) {
    constexpr int kTests = 64;
    const auto start = Clock::now();
    for (;;) {
      for (int i = 0; i < kTests; ++i) {
        int done = 0;
        TRY_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done,
                            MPI_STATUSES_IGNORE));
        if (done != 0) return;
      }
      if (seconds_between(start, Clock::now()) > silence_s) break;
    }
    // MPI may still write there.
    static_cast<void>(buffers.release());
    throw base::SystemError(fmt::format(
        "rank {} ({}) has heard nothing from rank {} ({}) for {:.0f} s. Look whether rank {} still "
        "runs, and whether the network between these hosts lets MPI's connections through.",
        rank, hosts.name_of(rank), peer, hosts.name_of(peer), silence_s, peer));
  }

  template <class T>
  void send(const T& value, int peer) {
    MPI_Request request = MPI_REQUEST_NULL;
    TRY_MPI(MPI_Isend(&value, sizeof value, MPI_BYTE, peer, kTag, communicator.get(), &request));
    wait({&request, 1}, peer);
  }
  template <class T>
  void receive(T& value, int peer) {
    MPI_Request request = MPI_REQUEST_NULL;
    TRY_MPI(MPI_Irecv(&value, sizeof value, MPI_BYTE, peer, kTag, communicator.get(), &request));
    wait({&request, 1}, peer);
  }

  void exchange(int64_t bytes, int peer) {
    std::array<MPI_Request, 2> requests = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    const int count = static_cast<int>(bytes);
    TRY_MPI(MPI_Irecv(buffers->in.data(), count, MPI_BYTE, peer, kTag, communicator.get(),
                      &requests[0]));
    TRY_MPI(MPI_Isend(buffers->out.data(), count, MPI_BYTE, peer, kTag, communicator.get(),
                      &requests[1]));
    wait(requests, peer);
  }

  // Of the lower rank: seconds of one exchange.
  double timed_exchange(int64_t bytes, int peer) {
    buffers->order = bytes;
    send(buffers->order, peer);
    const double start = steady_s();
    exchange(bytes, peer);
    return steady_s() - start;
  }

  double timed_ping(int peer) {
    buffers->order = -1;
    const double start = steady_s();
    send(buffers->order, peer);
    receive(buffers->number, peer);
    return steady_s() - start;
  }

  LinkFigures lead(int peer, double seconds) {
    for (int i = 0; i < kWarmUp; ++i) timed_ping(peer);
    const double start = steady_s();
    double fastest = std::numeric_limits<double>::infinity();
    for (int i = 0; i == 0 || (i < kMostPings && steady_s() - start < seconds / 4); ++i) {
      fastest = std::min(fastest, timed_ping(peer));
    }
    // Messages grow until one takes a tenth of the time.
    int64_t bytes = kLeastBytes;
    timed_exchange(bytes, peer);
    while (bytes < kMostBytes && timed_exchange(bytes, peer) < seconds / 10) {
      bytes = std::min(kMostBytes, bytes * 4);
    }
    std::vector<double> rates = {static_cast<double>(bytes) / timed_exchange(bytes, peer)};
    while (std::ssize(rates) < kMostMessages && steady_s() - start < seconds) {
      rates.push_back(static_cast<double>(bytes) / timed_exchange(bytes, peer));
    }
    buffers->order = 0;
    send(buffers->order, peer);
    buffers->figures = {fastest / 2, median(rates)};
    send(buffers->figures, peer);
    return {.latency_s = buffers->figures[0], .bytes_per_s = buffers->figures[1]};
  }

  LinkFigures follow(int peer) {
    for (;;) {
      receive(buffers->order, peer);
      if (buffers->order < 0) {
        send(buffers->number, peer);
      } else if (buffers->order > 0) {
        exchange(buffers->order, peer);
      } else {
        break;
      }
    }
    receive(buffers->figures, peer);
    return {.latency_s = buffers->figures[0], .bytes_per_s = buffers->figures[1]};
  }
};

PointToPoint::PointToPoint(const Hosts& hosts, double silence_s) {
  MpiCommunicator communicator = MpiCommunicator::copy_of(MPI_COMM_WORLD);
  const int rank = communicator.rank();
  parts_.reset(new Parts{hosts, silence_s, std::move(communicator), rank});
}

PointToPoint::~PointToPoint() = default;

LinkFigures PointToPoint::measure(int peer, double seconds) {
  RONDO_CHECK(peer != parts_->rank, "a rank has no link with itself");
  return parts_->rank < peer ? parts_->lead(peer, seconds) : parts_->follow(peer);
}

ClockOffset PointToPoint::ask_clock(int peer) {
  std::vector<RoundTrip> trips;
  for (int i = 0; i < kTrips; ++i) {
    // The length of a trip by the clock that never jumps.
    RoundTrip trip{.sent = wall_clock_s(), .remote = 0, .received = 0};
    const double start = steady_s();
    parts_->send(parts_->buffers->order, peer);
    parts_->receive(parts_->buffers->number, peer);
    trip.received = trip.sent + (steady_s() - start);
    trip.remote = parts_->buffers->number;
    trips.push_back(trip);
  }
  return clock_offset(trips);
}

void PointToPoint::answer_clock(int peer) {
  for (int i = 0; i < kTrips; ++i) {
    parts_->receive(parts_->buffers->order, peer);
    parts_->buffers->number = wall_clock_s();
    parts_->send(parts_->buffers->number, peer);
  }
}

void PointToPoint::meet(double most_s) {
  MPI_Request request = MPI_REQUEST_NULL;
  TRY_MPI(MPI_Ibarrier(parts_->communicator.get(), &request));
  const auto start = Clock::now();
  for (;;) {
    int done = 0;
    TRY_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done != 0) return;
    if (seconds_between(start, Clock::now()) > most_s) {
      throw base::SystemError(fmt::format(
          "rank {} ({}) has waited {:.0f} s for other ranks to end their part of the test. Look "
          "which rank does not run, or whose connections do not get through.",
          parts_->rank, parts_->hosts.name_of(parts_->rank), most_s));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

}  // namespace rondo::comm
