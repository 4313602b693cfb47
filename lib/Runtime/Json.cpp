//===- Json.cpp - JSON text to values that say where they stand ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Json.h"
#include "Error.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace sparseattn::runtime {

// Later stages visit values recursively, and the library's own functions may.
static constexpr size_t kDeepest = 32;

nlohmann::json parseJson(const std::string &text, const std::string &place) {
  using Json = nlohmann::json;
  // One entry for each open list or object; lists leave theirs empty.
  std::vector<std::set<std::string>> open;
  auto watch = [&](int, Json::parse_event_t event, Json &parsed) {
    switch (event) {
    case Json::parse_event_t::object_start:
    case Json::parse_event_t::array_start:
      if (open.size() == kDeepest)
        refuseArtefact(place, ": nested more than ", kDeepest, " deep");
      open.emplace_back();
      break;
    case Json::parse_event_t::object_end:
    case Json::parse_event_t::array_end:
      open.pop_back();
      break;
    case Json::parse_event_t::key:
      if (!open.back().insert(parsed.get<std::string>()).second)
        refuseArtefact(place, ": member \"", parsed.get<std::string>(), "\" stands twice in one object");
      break;
    case Json::parse_event_t::value:
      break;
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception &error) {
    refuseArtefact(place, ": not valid JSON: ", error.what());
  }
}

static std::string describe(const nlohmann::json &value) {
  if (value.is_object())
    return "an object";
  if (value.is_array())
    return concat("a list of ", value.size());
  std::string text = value.dump();
  return text.size() <= 80 ? text : text.substr(0, 80) + "...";
}

void Node::fail(const std::string &words) const {
  refuseArtefact(file, ": ", path, path.empty() ? "" : ": ", words);
}

void Node::failExpected(const std::string &expected) const {
  fail("expected " + expected + ", found " + describe(value));
}

void Node::checkMembers(std::initializer_list<const char *> names) const {
  if (!value.is_object())
    failExpected("an object");
  for (const auto &entry : value.items()) {
    if (std::any_of(names.begin(), names.end(), [&](const char *name) { return entry.key() == name; }))
      continue;
    std::string all;
    for (const char *name : names)
      all += (all.empty() ? "" : ", ") + std::string(name);
    fail("unknown member " + describe(entry.key()) + "; there are " + all);
  }
}

Node Node::at(const char *name) const {
  if (std::optional<Node> member = find(name))
    return *member;
  fail(std::string("member \"") + name + "\" is missing");
}

std::optional<Node> Node::find(const char *name) const {
  if (!value.is_object())
    failExpected("an object");
  auto entry = value.find(name);
  if (entry == value.end())
    return std::nullopt;
  return Node(*entry, file, path + (path.empty() ? "" : ".") + name);
}

std::vector<std::pair<std::string, Node>> Node::members() const {
  if (!value.is_object())
    failExpected("an object");
  std::vector<std::pair<std::string, Node>> entries;
  for (const auto &entry : value.items())
    entries.emplace_back(entry.key(), Node(entry.value(), file, path + "." + entry.key()));
  return entries;
}

std::vector<Node> Node::list(size_t least, size_t most) const {
  if (!value.is_array() || value.size() < least || value.size() > most)
    failExpected(concat("a list of ", least, " to ", most));
  std::vector<Node> nodes;
  for (size_t index = 0; index < value.size(); ++index)
    nodes.emplace_back(value[index], file, concat(path, "[", index, "]"));
  return nodes;
}

int64_t Node::integer(int64_t least, int64_t most) const {
  // Integers beyond 64 bits are floating-point numbers to the parser, and so refused.
  bool fits = value.is_number_integer();
  if (fits && value.is_number_unsigned())
    fits = value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most)
    failExpected(concat("an integer from ", least, " to ", most));
  return value.get<int64_t>();
}

double Node::number() const {
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    failExpected("a number");
  return value.get<double>();
}

std::string Node::string(size_t longest) const {
  if (!value.is_string() || value.get_ref<const std::string &>().size() > longest)
    failExpected(concat("a string of at most ", longest, " bytes"));
  return value.get<std::string>();
}

static bool isNameByte(char byte, bool first) {
  return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '_' ||
         (!first && byte >= '0' && byte <= '9');
}

std::string Node::name() const {
  std::string text = string(128);
  for (size_t index = 0; index < text.size(); ++index)
    if (!isNameByte(text[index], index == 0))
      failExpected("a name of letters, digits and _");
  if (text.empty())
    failExpected("a name of letters, digits and _");
  return text;
}

} // namespace sparseattn::runtime
