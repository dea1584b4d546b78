// A subcommand of rondo: its command line and what it does. One file each, listed in main.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/console.hpp"
#include "base/error.hpp"
#include "comm/control.hpp"
#include "comm/runtime.hpp"

namespace rondo::app {

// What every command works with; made in main.cpp.
struct Context {
  comm::Runtime& runtime;
  comm::Control& control;
  base::Console& console;
};

struct Command {
  std::string name;
  std::string summary;
  // Declares the options on the command's own parser; called once before parsing.
  std::function<void(CLI::App&)> declare;
  // Collective over all ranks. Throws, or returns the exit code.
  std::function<base::Exit(Context&)> run;
};

Command pack_command();
Command train_command();
Command eval_command();
Command score_command();
Command generate_command();
Command export_command();
Command import_command();
Command inspect_command();
Command bench_command();
Command plan_command();
Command reference_command();
Command ledger_command();
Command selftest_command();

}  // namespace rondo::app
