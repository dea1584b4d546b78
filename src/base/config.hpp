// Typed configuration from a field table.
//
// A config struct declares its fields once:
//
//   template <class Visitor> void describe(Visitor& v, BatchConfig& c) {
//     v("seq_len", c.seq_len, {.meaning = "Tokens of a pack.", .minimum = 2});
//   }
//
// and three visitors do the rest: ConfigReader fills it from YAML (every problem with its line),
// ConfigWriter writes the resolved values, ConfigReference writes the documentation. A field's
// default is the value the struct has before reading. A struct with a member `place` gets the file
// and line it was read from, for messages of later checks.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/yaml.hpp"

namespace rondo::base {

struct Field {
  std::string meaning;                 // one or two sentences: what it is, unit, when to change it
  std::vector<std::string> choices{};  // of a text
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool above_minimum = false;  // the minimum itself is not allowed
  bool required = false;
  std::string shown_default{};  // in the reference, where the plain default would mislead
};

// A type with its own YAML form gives these two (found by argument-dependent lookup):
//   void read_yaml(const YamlNode&, T&, const std::string& path, Problems&);
//   std::string to_yaml(const T&);   one line
//   std::string yaml_form(const T&); for the reference: "steps | 30min | epoch"
// A type that gives read_yaml alone and is Described is read by it and written by its fields.
template <class T>
concept HasOwnReader = requires(const YamlNode& node, T& value, Problems& problems) {
  read_yaml(node, value, std::string(), problems);
};
template <class T>
concept HasOwnForm = HasOwnReader<T> && requires(T& value) {
  { to_yaml(value) } -> std::convertible_to<std::string>;
};

struct NoVisitor {
  template <class T>
  void operator()(const char*, T&, const Field&) {}
};
template <class T>
concept Described = requires(NoVisitor& v, T& value) {
  describe(v, value);
};

// Scalars. Each adds a problem and leaves the value alone when the node does not hold one.
void read_scalar(const YamlNode& node, bool& value, const std::string& path, Problems& problems);
void read_scalar(const YamlNode& node, int64_t& value, const std::string& path, Problems& problems);
void read_scalar(const YamlNode& node, double& value, const std::string& path, Problems& problems);
void read_scalar(const YamlNode& node, std::string& value, const std::string& path,
                 Problems& problems);
std::string scalar_to_yaml(bool value);
std::string scalar_to_yaml(int64_t value);
std::string scalar_to_yaml(double value);
std::string scalar_to_yaml(const std::string& value);
void check_range(const YamlNode& node, double value, const Field& field, const std::string& path,
                 Problems& problems);
void check_choice(const YamlNode& node, const std::string& value, const Field& field,
                  const std::string& path, Problems& problems);

// The nearest of `names` to `key` within a small edit distance, or nothing.
std::string nearest_name(const std::string& key, const std::vector<std::string>& names);

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
// Named entries in file order: a YAML map whose keys the user chooses.
template <class T>
using Named = std::vector<std::pair<std::string, T>>;
template <class T>
struct IsNamed : std::false_type {};
template <class T>
struct IsNamed<Named<T>> : std::true_type {};

class ConfigReader {
 public:
  ConfigReader(const YamlNode& node, std::string path, Problems& problems)
      : node_(node), path_(std::move(path)), problems_(problems) {}

  template <class T>
  void operator()(const char* name, T& value, const Field& field) {
    known_.emplace_back(name);
    const YamlNode* node = node_.find(name);
    const std::string path = path_.empty() ? name : path_ + "." + name;
    if (node == nullptr || (node->kind == YamlNode::Kind::kNull && !IsOptional<T>::value)) {
      if (field.required) problems_.add(fmt::format("{}: {} is missing.", node_.place, path));
      return;
    }
    read(*node, value, path, field, problems_);
  }

  // After describe(): keys that no field has taken are problems, each with the key that was meant.
  void finish();

  template <class T>
  static void read(const YamlNode& node, T& value, const std::string& path, const Field& field,
                   Problems& problems) {
    if constexpr (requires { value.place; }) value.place = node.place;
    if constexpr (HasOwnReader<T>) {
      read_yaml(node, value, path, problems);
    } else if constexpr (Described<T>) {
      if (node.kind != YamlNode::Kind::kMap) {
        problems.add(fmt::format("{}: {} must be a map of keys, found {}.", node.place,
                                 path.empty() ? "the whole" : path, node.described()));
        return;
      }
      ConfigReader reader(node, path, problems);
      describe(reader, value);
      reader.finish();
    } else if constexpr (IsOptional<T>::value) {
      if (node.kind == YamlNode::Kind::kNull) {
        value.reset();
        return;
      }
      typename T::value_type inner = value.value_or(typename T::value_type{});
      read(node, inner, path, field, problems);
      value = std::move(inner);
    } else if constexpr (IsNamed<T>::value) {
      if (node.kind != YamlNode::Kind::kMap) {
        problems.add(fmt::format("{}: {} must be a map of names, found {}.", node.place, path,
                                 node.described()));
        return;
      }
      value.clear();
      for (const auto& [key, entry] : node.entries) {
        value.emplace_back(key, typename T::value_type::second_type{});
        read(entry, value.back().second, path + "." + key, field, problems);
      }
    } else if constexpr (IsVector<T>::value) {
      if (node.kind != YamlNode::Kind::kList) {
        problems.add(
            fmt::format("{}: {} must be a list, found {}.", node.place, path, node.described()));
        return;
      }
      value.clear();
      for (size_t i = 0; i < node.items.size(); ++i) {
        value.emplace_back();
        read(node.items[i], value.back(), fmt::format("{}[{}]", path, i), field, problems);
      }
    } else {
      read_scalar(node, value, path, problems);
      if constexpr (std::is_same_v<T, std::string>) {
        check_choice(node, value, field, path, problems);
      } else if constexpr (!std::is_same_v<T, bool>) {
        check_range(node, static_cast<double>(value), field, path, problems);
      }
    }
  }

 private:
  const YamlNode& node_;
  std::string path_;
  Problems& problems_;
  std::vector<std::string> known_;
};

// Resolved configuration as YAML text.
class ConfigWriter {
 public:
  explicit ConfigWriter(int indent = 0) : indent_(indent) {}

  template <class T>
  void operator()(const char* name, T& value, const Field& /*field*/) {
    write(name, value);
  }
  const std::string& text() const { return text_; }

  template <class T>
  void write(const std::string& name, T& value) {
    if constexpr (HasOwnForm<T>) {
      line(name + ": " + to_yaml(value));
    } else if constexpr (Described<T>) {
      ConfigWriter inner(indent_ + 2);
      describe(inner, value);
      line(name + ":" + (inner.text().empty() ? " {}" : ""));
      text_ += inner.text();
    } else if constexpr (IsOptional<T>::value) {
      if (value) write(name, *value);
    } else if constexpr (IsNamed<T>::value) {
      line(name + ":" + (value.empty() ? " {}" : ""));
      for (auto& [key, entry] : value) {
        ConfigWriter inner(indent_ + 2);
        inner.write(key, entry);
        text_ += inner.text();
      }
    } else if constexpr (IsVector<T>::value) {
      write_list(name, value);
    } else {
      line(name + ": " + scalar_to_yaml(value));
    }
  }

 private:
  template <class T>
  void write_list(const std::string& name, std::vector<T>& values) {
    if constexpr (Described<T>) {
      if (values.empty()) return;
      line(name + ":");
      for (T& value : values) {
        ConfigWriter inner(indent_ + 4);
        describe(inner, value);
        std::string text = inner.text();
        // The first key stands on the line of the dash.
        if (!text.empty()) text[static_cast<size_t>(indent_) + 2] = '-';
        text_ += text;
      }
    } else {
      std::string items;
      for (const T& value : values) {
        items += (items.empty() ? "" : ", ") + scalar_to_yaml(value);
      }
      line(name + ": [" + items + "]");
    }
  }
  void line(const std::string& text) {
    text_ += std::string(static_cast<size_t>(indent_), ' ') + text + "\n";
  }
  int indent_;
  std::string text_;
};

// Markdown table rows of every field, depth first: key, default, meaning.
class ConfigReference {
 public:
  explicit ConfigReference(std::string path = "") : path_(std::move(path)) {}

  template <class T>
  void operator()(const char* name, T& value, const Field& field) {
    const std::string path = path_.empty() ? name : path_ + "." + name;
    add(path, value, field);
  }
  const std::string& text() const { return text_; }
  // The keys of the rows.
  const std::vector<std::string>& keys() const { return keys_; }

 private:
  template <class T>
  void add(const std::string& path, T& value, const Field& field) {
    if constexpr (HasOwnForm<T>) {
      row(path, to_yaml(value), field, yaml_form(value));
    } else if constexpr (Described<T>) {
      row(path, "", field, "map");
      ConfigReference inner(path);
      describe(inner, value);
      text_ += inner.text();
      keys_.insert(keys_.end(), inner.keys().begin(), inner.keys().end());
    } else if constexpr (IsOptional<T>::value) {
      typename T::value_type inner{};
      if constexpr (Described<typename T::value_type>) {
        add(path, inner, field);
      } else {
        row(path, value ? scalar_to_yaml(*value) : "", field, form_of<typename T::value_type>());
      }
    } else if constexpr (IsNamed<T>::value) {
      const auto inner = std::make_unique<typename T::value_type::second_type>();
      add(path + ".NAME", *inner, field);
    } else if constexpr (IsVector<T>::value) {
      if constexpr (Described<typename T::value_type>) {
        const auto inner = std::make_unique<typename T::value_type>();
        add(path + "[]", *inner, field);
      } else {
        std::string items;
        for (const auto& item : value) {
          items += (items.empty() ? "" : ", ") + scalar_to_yaml(item);
        }
        row(path, "[" + items + "]", field, "list");
      }
    } else {
      row(path, scalar_to_yaml(value), field, form_of<T>());
    }
  }
  template <class T>
  static std::string form_of() {
    if constexpr (std::is_same_v<T, bool>) return "true or false";
    if constexpr (std::is_same_v<T, int64_t>) return "whole number";
    if constexpr (std::is_same_v<T, double>) return "number";
    return "text";
  }
  void row(const std::string& path, const std::string& value, const Field& field,
           const std::string& form);

  std::string path_;
  std::string text_;
  std::vector<std::string> keys_;
};

}  // namespace rondo::base
