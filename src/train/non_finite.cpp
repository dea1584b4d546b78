#include "train/non_finite.hpp"

#include "base/error.hpp"

namespace rondo::train {

void skip_or_stop(const NonFiniteSection& section, const std::string& text, int64_t skipped,
                  base::Console& console) {
  if (section.action != "skip") {
    throw base::SystemError(text +
                            " Look at the data of this step, or set non_finite.action: skip; "
                            "another optimizer.lr needs "
                            "another run.name.");
  }
  if (skipped > section.limit) {
    throw base::SystemError(fmt::format(
        "{} That is more than non_finite.limit = {}. Look at the data of these steps, or raise the "
        "limit; another optimizer.lr needs another run.name.",
        text, section.limit));
  }
  console.warn("{} Skipped ({} of at most {}).", text, skipped, section.limit);
}

}  // namespace rondo::train
