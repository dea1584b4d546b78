// What each kind of file and folder is like, in lines for a person.
//
// Each function opens what `path` is, which checks it (UserError with file, place, found and
// expected), and prints its main figures. Called on one rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/console.hpp"

namespace rondo::app {

struct InspectRequest {
  std::string path;
  std::optional<int64_t> example;  // of a tokenised or generated file, or pack of a packed set
  std::string tokenizer;           // folder, for the text of an example's tokens; "": none
  bool verify = false;             // read every byte, not headers and tables alone
};

void inspect_tokenized(const InspectRequest& request, base::Console& console);
void inspect_packed(const InspectRequest& request, base::Console& console);
void inspect_generated(const InspectRequest& request, base::Console& console);
void inspect_scores(const InspectRequest& request, base::Console& console);

void inspect_checkpoint(const InspectRequest& request, base::Console& console);
void inspect_hf_folder(const InspectRequest& request, base::Console& console);
void inspect_safetensors(const InspectRequest& request, base::Console& console);
// A run folder (its checkpoints and rounds), or a folder of checkpoints.
void inspect_run(const InspectRequest& request, base::Console& console);

}  // namespace rondo::app
