// Commands of the user that judge what a run has made. A program of MPI starts no processes, so it
// writes down what is to be run and ends with Exit::kCommands; launch/rounds runs it and starts
// again.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace rondo::train {

struct OutsideCommand {
  std::string name;               // for people
  std::vector<std::string> argv;  // program and arguments
  std::string input;              // file that is its standard input; "": none
  std::string output;             // file that its standard output becomes, when it has exit code 0
  std::string kind;    // of the output: "verdicts" (JSON lines) or "figures" (one object)
  std::string folder;  // of the model that it is about, in RONDO_MODEL; "": none
};

// Called on rank 0. Replaces <run folder>/commands.json by these; none: removes it.
void write_commands(const std::string& run_folder, const std::vector<OutsideCommand>& commands);

}  // namespace rondo::train
