//===- Json.h - JSON text to values that say where they stand ------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_JSON_H
#define SPARSEATTN_LIB_RUNTIME_JSON_H

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sparseattn::runtime {

/// Parses a JSON text. Refuses repeated members and deep nesting. `place` begins
/// the message. Throws Error.
nlohmann::json parseJson(const std::string &text, const std::string &place);

/// A value and its place, for example "manifest.json: kernels[0].ptx.bytes".
/// Every getter checks the type and throws Error when it is another.
class Node {
public:
  Node(const nlohmann::json &value, std::string file, std::string path = "")
      : value(value), file(std::move(file)), path(std::move(path)) {}

  /// "FILE: PATH: WORDS".
  [[noreturn]] void fail(const std::string &words) const;
  [[noreturn]] void failExpected(const std::string &expected) const;

  /// The value is an object with no other members than these.
  void checkMembers(std::initializer_list<const char *> names) const;
  Node at(const char *name) const;
  std::optional<Node> find(const char *name) const;
  /// Names and values of an object.
  std::vector<std::pair<std::string, Node>> members() const;
  std::vector<Node> list(size_t least, size_t most) const;
  int64_t integer(int64_t least, int64_t most) const;
  bool isInteger() const { return value.is_number_integer(); }
  bool isString() const { return value.is_string(); }
  /// Finite.
  double number() const;
  std::string string(size_t longest = 1024) const;
  /// [A-Za-z_][A-Za-z0-9_]*
  std::string name() const;

  template <typename T>
  T choice(std::initializer_list<std::pair<const char *, T>> choices) const {
    std::string all;
    for (const auto &[name, meaning] : choices) {
      if (value.is_string() && value.get_ref<const std::string &>() == name)
        return meaning;
      all += std::string(all.empty() ? "\"" : ", \"") + name + '"';
    }
    failExpected("one of " + all);
  }

private:
  const nlohmann::json &value;
  std::string file;
  std::string path;
};

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_JSON_H
