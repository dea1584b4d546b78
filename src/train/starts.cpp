#include "train/starts.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/file.hpp"

namespace rondo::train {

int64_t count_starts(const std::string& path, const std::string& position,
                     const std::string& setting) {
  int64_t before = 0;
  if (std::filesystem::exists(path)) {
    try {
      const auto last = nlohmann::json::parse(base::read_text(path));
      if (last.at("position") == position && last.at("setting") == setting) {
        before = last.at("starts").get<int64_t>();
      }
    } catch (const nlohmann::json::exception&) {
      before = 0;  // torn, or changed by hand
    }
  }
  const nlohmann::json now = {{"position", position}, {"setting", setting}, {"starts", before + 1}};
  base::write_text_durably(path, now.dump() + "\n");
  return before;
}

void forget_starts(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

}  // namespace rondo::train
