// Life cycle of MPI: initialised once by app/, finalised by its destructor.
//
// MPI_THREAD_FUNNELED; MPI_ERRORS_RETURN is set right after initialisation so that TRY_MPI sees
// every failure. All communicators are owned here or by the groups made here.
#pragma once

#include <memory>
#include <string>

#include "comm/control.hpp"
#include "comm/group.hpp"

namespace rondo::comm {

class Watch;

class Runtime {
 public:
  // Calls MPI_Init_thread; without mpirun or srun this is a world of one.
  Runtime(int* argc, char*** argv);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  std::string host() const;

  // Collective over all ranks. A group of all ranks on a communicator of its own.
  std::unique_ptr<Group> make_group(std::string name = "world");
  // Whether groups made from now on, and those split off them, exchange what each rank is about to
  // call before every collective, so that ranks which differ throw a Bug with the names of all
  // instead of hanging. Off at first, since it costs a synchronisation. The same on all ranks.
  void check_collectives(bool on) { check_collectives_ = on; }
  // Of the groups made here, and of those split off them, while they live.
  std::shared_ptr<FlightRecorders> recorders() const { return recorders_; }
  Control make_control() { return Control(make_group("control")); }

  // True when every rank calls this within `timeout_s`: after an error it tells a failure that all
  // ranks met alike (they can end in order) from one that the others know nothing of.
  bool all_arrive(double timeout_s);

  // Collective over all ranks: ends this process without running destructors (after an error,
  // objects may wait for ranks that no longer listen). `in_order`: MPI is finalised; not after a
  // failed call, since what libraries do then (HDF5 closes its files) may fail again, or crash.
  [[noreturn]] void leave(int code, bool in_order);

  // Ends all ranks at once with `code`; never returns, even when MPI_Abort hangs.
  [[noreturn]] static void abort_all(int code);

 private:
  struct Meeting;
  int rank_ = 0;
  int size_ = 1;
  bool check_collectives_ = false;
  std::unique_ptr<Meeting> meeting_;  // the communicator of all_arrive
  std::shared_ptr<Watch> watch_;      // of the groups made here
  std::shared_ptr<FlightRecorders> recorders_ = std::make_shared<FlightRecorders>();
};

// Library version line of the MPI in use.
std::string mpi_version();

}  // namespace rondo::comm
