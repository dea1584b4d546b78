// A strict YAML tree: every node knows its file and line; duplicate keys, aliases, anchors, tags
// and deep nesting are errors. yaml-cpp does the parsing.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo::base {

// All problems of a configuration, so that they can be told at once.
class Problems {
 public:
  void add(std::string text) { texts_.push_back(std::move(text)); }
  bool empty() const { return texts_.empty(); }
  // Throws one UserError with every problem, one a line, unless there is none.
  void throw_if_any() const;

  // Every key of the configuration, as its reference writes it ("rounds[].steps"), so that one in
  // the wrong section can be told its place. Empty: none is.
  std::vector<std::string> known_keys{};

 private:
  std::vector<std::string> texts_;
};

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string place{};   // "file.yaml:12" or "command line"
  std::string scalar{};  // as written, without quotes
  bool quoted = false;
  std::vector<YamlNode> items{};                            // of a list
  std::vector<std::pair<std::string, YamlNode>> entries{};  // of a map, in file order

  const YamlNode* find(std::string_view key) const;
  // How a message names this kind of node: "a list", "the text 'abc'", ...
  std::string described() const;
};

// Largest file and depth that are accepted.
inline constexpr size_t kYamlMaxBytes = 1 << 20;
inline constexpr int kYamlMaxDepth = 32;

// `name` stands before the line number in messages. A syntax error is a UserError at once;
// duplicate keys and the like go to `problems`.
YamlNode parse_yaml(const std::string& text, const std::string& name, Problems& problems);

// Sets "section.key=value" (value is YAML) in a tree, making maps on the way. An item of a list is
// named by its number from 0, rounds[0].steps or rounds.0.steps, and must be there.
void apply_override(YamlNode& root, const std::string& assignment, Problems& problems);

}  // namespace rondo::base
