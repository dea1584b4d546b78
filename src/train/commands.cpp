#include "train/commands.hpp"

#include <filesystem>

#include "base/file.hpp"

namespace rondo::train {

void write_commands(const std::string& run_folder, const std::vector<OutsideCommand>& commands) {
  const std::string path = run_folder + "/commands.json";
  if (commands.empty()) {
    std::filesystem::remove(path);
    return;
  }
  auto list = nlohmann::json::array();
  for (const OutsideCommand& command : commands) {
    list.push_back({{"name", command.name},
                    {"argv", command.argv},
                    {"input", command.input},
                    {"output", command.output},
                    {"kind", command.kind},
                    {"model", command.folder}});
  }
  base::write_text_durably(path, nlohmann::json{{"commands", list}}.dump(1) + "\n");
}

}  // namespace rondo::train
