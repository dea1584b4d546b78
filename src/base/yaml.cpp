#include "base/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "base/error.hpp"

namespace rondo::base {

void Problems::throw_if_any() const {
  if (texts_.empty()) return;
  std::string all;
  for (const auto& text : texts_) all += (all.empty() ? "" : "\n") + text;
  throw UserError(all);
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string YamlNode::described() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return fmt::format("'{}'", scalar);
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  throw Bug("unknown kind of YAML node");
}

namespace {

// Builds the tree from yaml-cpp's events.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string name, Problems& problems) : name_(std::move(name)), problems_(problems) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(YamlNode{.place = place(mark)});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    problems_.add(place(mark) + ": aliases (*name) are not accepted; write the value out.");
    add(YamlNode{.place = place(mark)});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    const bool quoted = tag == "!";
    const bool null = !quoted && (value.empty() || value == "~" || value == "null");
    add(YamlNode{.kind = null ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar,
                 .place = place(mark),
                 .scalar = value,
                 .quoted = quoted});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    open(YamlNode{.kind = YamlNode::Kind::kList, .place = place(mark)});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    open(YamlNode{.kind = YamlNode::Kind::kMap, .place = place(mark)});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    bool has_key = false;
    YamlNode key{};
  };

  std::string place(const YAML::Mark& mark) const {
    return name_.empty() ? "command line" : fmt::format("{}:{}", name_, mark.line + 1);
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) {
      problems_.add(place(mark) + ": anchors (&name) are not accepted; write the value out.");
    }
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "!" && tag != "?") {
      problems_.add(fmt::format("{}: tags ({}) are not accepted.", place(mark), tag));
    }
  }
  void open(YamlNode node) {
    if (static_cast<int>(stack_.size()) >= kYamlMaxDepth) {
      fail_user("{}: nested deeper than {} levels.", node.place, kYamlMaxDepth);
    }
    stack_.push_back({.node = std::move(node)});
  }
  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }
  void add(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      if (node.kind != YamlNode::Kind::kScalar) {
        problems_.add(
            fmt::format("{}: a key must be plain text, found {}.", node.place, node.described()));
      }
      parent.key = std::move(node);
      parent.has_key = true;
    } else {
      parent.has_key = false;
      if (const YamlNode* first = parent.node.find(parent.key.scalar)) {
        problems_.add(fmt::format("{}: the key '{}' is given twice (first at {}). Remove one.",
                                  parent.key.place, parent.key.scalar, first->place));
        return;
      }
      // Messages about an empty or nested value should point at its key.
      if (node.kind != YamlNode::Kind::kScalar) node.place = parent.key.place;
      parent.node.entries.emplace_back(parent.key.scalar, std::move(node));
    }
  }

  std::string name_;
  Problems& problems_;
  std::vector<Open> stack_;
  YamlNode root_;
};

}  // namespace

YamlNode parse_yaml(const std::string& text, const std::string& name, Problems& problems) {
  if (text.size() > kYamlMaxBytes) {
    fail_user("{}: has {} bytes, at most {} are accepted.", name, text.size(), kYamlMaxBytes);
  }
  std::istringstream stream(text);
  Builder builder(name, problems);
  try {
    YAML::Parser parser(stream);
    // An empty file has no document, and so no node with a place.
    if (!parser.HandleNextDocument(builder)) return YamlNode{.place = name};
    Builder rest(name, problems);
    if (parser.HandleNextDocument(rest)) {
      fail_user("{}: holds more than one YAML document; only one is accepted.", name);
    }
  } catch (const YAML::Exception& error) {
    if (name.empty()) fail_user("command line: not valid YAML: {}: '{}'.", error.msg, text);
    fail_user("{}:{}:{}: not valid YAML: {}.", name, error.mark.line + 1, error.mark.column + 1,
              error.msg);
  }
  return builder.take();
}

namespace {

struct OverrideKey {
  std::string name;
  bool bracketed = false;  // an item of a list, and nothing else
};

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// rounds[0].steps and rounds.0.steps: rounds, 0, steps.
std::vector<OverrideKey> keys_of(const std::string& path) {
  std::vector<OverrideKey> keys;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    std::string name = path.substr(begin, end - begin);
    std::vector<OverrideKey> items;
    while (name.ends_with(']')) {
      const size_t open = name.rfind('[');
      if (open == std::string::npos) break;
      const std::string item = name.substr(open + 1, name.size() - open - 2);
      if (!is_number(item)) break;
      items.insert(items.begin(), {.name = item, .bracketed = true});
      name.resize(open);
    }
    keys.push_back({.name = name});
    keys.insert(keys.end(), items.begin(), items.end());
    begin = end + 1;
  }
  return keys;
}

// The child of this name, made in a map that lacks it; null if there can be none.
YamlNode* child(YamlNode& parent, const OverrideKey& key) {
  if (parent.kind == YamlNode::Kind::kList) {
    const bool found =
        is_number(key.name) && key.name.size() < 6 && std::stoul(key.name) < parent.items.size();
    return found ? &parent.items[std::stoul(key.name)] : nullptr;
  }
  if (key.bracketed || key.name.empty()) return nullptr;
  if (parent.kind == YamlNode::Kind::kNull) parent.kind = YamlNode::Kind::kMap;
  if (parent.kind != YamlNode::Kind::kMap) return nullptr;
  for (auto& [name, entry] : parent.entries) {
    if (name == key.name) return &entry;
  }
  parent.entries.emplace_back(key.name, YamlNode{.place = "command line"});
  return &parent.entries.back().second;
}

}  // namespace

void apply_override(YamlNode& root, const std::string& assignment, Problems& problems) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    problems.add(
        fmt::format("command line: '{}' is not of the form section.key=value.", assignment));
    return;
  }
  YamlNode value = parse_yaml(assignment.substr(equals + 1), "", problems);
  value.place = "command line";
  const std::vector<OverrideKey> keys = keys_of(assignment.substr(0, equals));
  if (keys.size() > static_cast<size_t>(kYamlMaxDepth)) {
    problems.add(fmt::format("command line: '{}': nested deeper than {} levels.", assignment,
                             kYamlMaxDepth));
    return;
  }
  YamlNode* at = &root;
  for (const OverrideKey& key : keys) {
    at = child(*at, key);
    if (at == nullptr) {
      problems.add(fmt::format("command line: '{}': there is no '{}' to set.", assignment,
                               key.bracketed ? "[" + key.name + "]" : key.name));
      return;
    }
  }
  *at = std::move(value);
}

}  // namespace rondo::base
