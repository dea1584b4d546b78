// What `rondo --version` says: the program, its build, and the libraries it runs on.
#pragma once

#include <string>

namespace rondo::app {

std::string version_text();  // several lines
std::string version_line();  // "0.1.0 (commit)": same on all ranks, or they run other programs

}  // namespace rondo::app
