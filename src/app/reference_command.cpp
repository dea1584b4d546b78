// rondo reference: the table of configuration keys, in Markdown, from the program's own field
// table.
#include "app/command.hpp"
#include "train/config.hpp"

namespace rondo::app {

Command reference_command() {
  return {"reference", "print the configuration reference (Markdown)", [](CLI::App&) {},
          [](Context& context) {
            context.console.line("{}", train::configuration_reference());
            return base::Exit::kDone;
          }};
}

}  // namespace rondo::app
