// Ranks as threads of one process: the backend of fast tests, and of the sanitizers.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "comm/control.hpp"
#include "comm/group.hpp"

namespace rondo::comm {

class LocalWorld {
 public:
  // Runs `body` on `size` threads, each with its own Group of all of them, with one compute thread
  // each, and rethrows the first exception after all threads have ended. A rank that throws
  // releases the others from their collectives (they throw SystemError).
  static void run(int size, const std::function<void(Group&)>& body);
  // The same with a second, independent group wrapped as Control.
  static void run(int size, const std::function<void(Group&, Control&)>& body);
};

}  // namespace rondo::comm
