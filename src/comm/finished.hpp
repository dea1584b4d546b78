// A Work that was done before it was returned; shared by the backends.
#pragma once

#include <memory>

#include "comm/group.hpp"

namespace rondo::comm {

class Finished : public Work::Pending {
 public:
  void wait() override {}
  bool test() override { return true; }
  Flight::End end() const override { return Flight::End::kInStart; }
};

inline std::unique_ptr<Work::Pending> finished() { return std::make_unique<Finished>(); }

}  // namespace rondo::comm
