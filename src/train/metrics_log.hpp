// metrics.jsonl: one JSON object per optimizer step, each step once, whatever was restarted.
// Written on rank 0 alone.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.hpp"

namespace rondo::train {

// A number with 17 significant digits, so that it reads back as the same double; non-finite numbers
// become text ("nan", "inf", "-inf"), since JSON has no word for them.
std::string exact_number(double value);

class MetricsLog {
 public:
  // Opens or makes the file and drops every line of a step after `last_step` (they will be done
  // again), and a last line that a kill cut short.
  MetricsLog(const std::string& path, int64_t last_step);

  // Appends one object. Numbers given as `exact` text are written as they are.
  void append(const std::string& json_line);
  // Puts on disk what was appended: before a checkpoint that counts these steps as done.
  void sync() { file_.sync(); }

 private:
  base::File file_;
  int64_t end_ = 0;
};

}  // namespace rondo::train
