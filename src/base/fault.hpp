// Faults on demand: RONDO_FAULT=point:rank:step:action makes one rank fail at one named point, for
// tests of what a run does then. Nothing is looked at where the variable is not set.
//
//   point   where, such as half_written (docs/reliability.md lists them)
//   rank    a number, or * for all
//   step    of the run, or * for all: each fault happens once in a process
//   action  kill (SIGKILL), stop (SIGSTOP), throw (a SystemError), delay or delay=SECONDS, corrupt
//
// Several are separated by commas.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace rondo::base {

class Faults {
 public:
  // `text`: of RONDO_FAULT. UserError when it cannot be read.
  Faults(std::string_view text, int rank);

  bool none() const { return faults_.empty(); }
  // Does what is asked for at this point, which may not return. True: the caller is to corrupt
  // what it has made there. May be called by several threads.
  bool reach(std::string_view point, int64_t step);

 private:
  struct Fault {
    std::string point;
    int64_t step = 0;  // below 0: any
    std::string action;
    double seconds = 0;
    bool done = false;
  };
  std::mutex mutex_;
  std::vector<Fault> faults_;  // of this rank
};

}  // namespace rondo::base
