// The arguments of every command that works on a run: CONFIG and section.key=value.
#pragma once

#include <CLI/CLI.hpp>
#include <limits>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "train/base_model.hpp"
#include "train/config.hpp"
#include "train/layout.hpp"

namespace rondo::app {

struct ConfigOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool folder = false;
  int check_ranks = 0;  // above 0: only check the configuration for so many ranks

  void declare(CLI::App& parser) {
    parser.add_option("config", config, "Configuration file (YAML; see docs/configuration.md)")
        ->required();
    parser.add_option("overrides", overrides, "section.key=value, over the file");
    parser
        .add_option(
            "--check", check_ranks,
            "only check the configuration and its model for this many ranks, and write nothing")
        ->check(CLI::Range(1, std::numeric_limits<int>::max()));
    parser.add_flag("--folder", folder, "only print the path of the run folder");
  }

  // Collective over all ranks. The configuration; with --check, checked for so many ranks.
  train::Config read(comm::Control& control) const {
    train::Config read;
    control.agree([&] {
      read = train::read_config(config, overrides);
      if (check_ranks > 0) train::check_ranks(read, check_ranks);
    });
    train::name_tokenizer(read, control);
    return read;
  }
};

}  // namespace rondo::app
