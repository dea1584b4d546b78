// The arguments of every command that works on a run: CONFIG and section.key=value.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace rondo::app {

struct ConfigOptions {
  std::string config;
  std::vector<std::string> overrides;

  void declare(CLI::App& parser) {
    parser.add_option("config", config, "Configuration file (YAML; see docs/configuration.md)")
        ->required();
    parser.add_option("overrides", overrides, "section.key=value, over the file");
  }
};

}  // namespace rondo::app
