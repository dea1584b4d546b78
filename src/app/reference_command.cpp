// rondo reference: the table of configuration keys, in Markdown, from the program's own field
// table.
#include <string>

#include "app/command.hpp"
#include "train/config.hpp"

namespace rondo::app {

Command reference_command() {
  return {"reference", "print the configuration reference (Markdown)", [](CLI::App&) {},
          [](Context& context) {
            std::string table = train::configuration_reference();
            table.pop_back();  // line() ends the last row
            context.console.line("{}", table);
            return base::Exit::kDone;
          }};
}

}  // namespace rondo::app
