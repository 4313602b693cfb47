//===- KernelReader.cpp - one kernel of manifest.json --------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelReader.h"
#include "Error.h"
#include "Files.h"

#include <algorithm>
#include <cmath>

namespace sparseattn::runtime {

// sm_90: 227 KB a block (CUDA programming guide, table of technical specifications). The device's own limit is
// checked when the kernel is loaded.
static constexpr int64_t kMostSharedMemory = 232448;

static std::string readSymbol(const Node &node) {
  std::string symbol = node.string();
  bool valid = !symbol.empty() && !(symbol[0] >= '0' && symbol[0] <= '9');
  for (char byte : symbol)
    valid &= isalnum(static_cast<unsigned char>(byte)) || byte == '_' || byte == '$' || byte == '%';
  if (!valid)
    node.failExpected("a PTX identifier");
  return symbol;
}

static void readChip(const Node &node, KernelSpec &kernel) {
  kernel.chip = node.string();
  std::string digits = kernel.chip.size() > 4 ? kernel.chip.substr(3, kernel.chip.size() - 4) : "";
  bool valid = kernel.chip.compare(0, 3, "sm_") == 0 && kernel.chip.back() == 'a' &&
               (digits.size() == 2 || digits.size() == 3) &&
               digits.find_first_not_of("0123456789") == std::string::npos;
  if (!valid)
    node.failExpected("\"sm_<two or three digits>a\"");
  kernel.major = std::stoi(digits.substr(0, digits.size() - 1));
  kernel.minor = digits.back() - '0';
}

static Image readImage(const Node &node, ImageCache &images) {
  node.checkMembers({"file", "bytes", "fnv1a64"});
  Node file = node.at("file");
  Image image{file.string(255), nullptr};
  const std::string separators("/\\\0", 3);
  if (image.file.empty() || image.file[0] == '.' || image.file.find_first_of(separators) != std::string::npos)
    file.failExpected("the name of a file in the artefact's folder");
  int64_t bytes = node.at("bytes").integer(1, 268435456);
  std::string hash = node.at("fnv1a64").string();
  if (hash.size() != 16 || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
    node.at("fnv1a64").failExpected("16 lower-case hexadecimal digits");
  image.contents = images.get(image.file);
  if (image.contents->size() != static_cast<uint64_t>(bytes))
    node.fail(concat(image.file, " has ", image.contents->size(), " bytes instead of ", bytes,
                     ": it was truncated or replaced; copy or compile the artefact again"));
  if (hashFnv1a64(*image.contents) != std::stoull(hash, nullptr, 16))
    node.fail(image.file + " differs from what was compiled (its checksum is another): copy or compile the artefact "
                           "again");
  return image;
}

/// Adds a name to the kernel's values, or refuses one that is taken.
static int addValue(const Node &node, const std::string &name, KernelSpec &kernel) {
  bool taken = std::find(kernel.valueNames.begin(), kernel.valueNames.end(), name) != kernel.valueNames.end();
  for (const Attribute &attribute : kernel.attributes)
    taken |= attribute.name == name;
  if (taken)
    node.fail("the name '" + name + "' is taken by an earlier size, attribute or derived value");
  kernel.valueNames.push_back(name);
  return static_cast<int>(kernel.valueNames.size()) - 1;
}

int findValue(const Node &node, const KernelSpec &kernel) {
  auto found = std::find(kernel.valueNames.begin(), kernel.valueNames.end(), node.name());
  if (found == kernel.valueNames.end())
    node.failExpected("the name of a size, of an integer attribute, or of a derived value that stands earlier");
  return static_cast<int>(found - kernel.valueNames.begin());
}

int findOperand(const Node &node, const KernelSpec &kernel) {
  std::string name = node.name();
  for (size_t index = 0; index < kernel.operands.size(); ++index)
    if (kernel.operands[index].name == name)
      return static_cast<int>(index);
  node.failExpected("the name of an operand");
}

int findAxis(const Node &node, const Operand &operand) {
  auto found = std::find(operand.axes.begin(), operand.axes.end(), node.name());
  if (found == operand.axes.end())
    node.failExpected("an axis of operand '" + operand.name + "'");
  return static_cast<int>(found - operand.axes.begin());
}

static Operand readOperand(const Node &node, KernelSpec &kernel) {
  node.checkMembers({"name", "role", "dtype", "axes", "shape", "contiguous", "alignment"});
  Operand operand;
  operand.name = node.at("name").name();
  for (const Operand &other : kernel.operands)
    if (other.name == operand.name)
      node.at("name").fail("an earlier operand has this name");
  operand.role =
      node.at("role").choice<Role>({{"input", Role::Input}, {"output", Role::Output}, {"workspace", Role::Workspace}});
  operand.dtype = node.at("dtype").choice<SparseAttnDType>({{"f16", SPARSEATTN_F16},
                                                            {"bf16", SPARSEATTN_BF16},
                                                            {"f32", SPARSEATTN_F32},
                                                            {"f64", SPARSEATTN_F64},
                                                            {"i1", SPARSEATTN_I1},
                                                            {"i8", SPARSEATTN_I8},
                                                            {"i16", SPARSEATTN_I16},
                                                            {"i32", SPARSEATTN_I32},
                                                            {"i64", SPARSEATTN_I64}});
  for (const Node &axis : node.at("axes").list(1, kMaxRank)) {
    if (std::find(operand.axes.begin(), operand.axes.end(), axis.name()) != operand.axes.end())
      axis.fail("this axis stands twice");
    operand.axes.push_back(axis.name());
  }
  for (const Node &size : node.at("shape").list(operand.axes.size(), operand.axes.size())) {
    if (!size.isString()) {
      operand.shape.push_back({size.integer(1, int64_t(1) << 40), -1});
      continue;
    }
    auto found = std::find(kernel.valueNames.begin(), kernel.valueNames.end(), size.name());
    int value = found != kernel.valueNames.end() ? static_cast<int>(found - kernel.valueNames.begin())
                                                 : addValue(size, size.name(), kernel);
    operand.shape.push_back({0, value});
  }
  if (std::optional<Node> list = node.find("contiguous"))
    for (const Node &entry : list->list(0, kMaxRank)) {
      int axis = findAxis(entry, operand);
      if (std::find(operand.contiguous.begin(), operand.contiguous.end(), axis) != operand.contiguous.end())
        entry.fail("this axis stands twice");
      operand.contiguous.push_back(axis);
    }
  operand.alignment = getByteSize(operand.dtype);
  if (std::optional<Node> alignment = node.find("alignment")) {
    operand.alignment = alignment->integer(1, 256);
    if (operand.alignment & (operand.alignment - 1))
      alignment->failExpected("a power of two");
    // Code for a type always needs this much.
    operand.alignment = std::max(operand.alignment, getByteSize(operand.dtype));
  }
  return operand;
}

static void readZeroSizes(const Node &node, KernelSpec &kernel) {
  for (const auto &[name, meaning] : node.members()) {
    auto found = std::find(kernel.valueNames.begin(), kernel.valueNames.end(), name);
    if (found == kernel.valueNames.end())
      meaning.fail("no operand has a size of this name");
    kernel.zero[found - kernel.valueNames.begin()] =
        meaning.choice<Zero>({{"skip", Zero::Skip}, {"launch", Zero::Launch}});
  }
}

/// Without defaults that name derived values: those come later.
static void readAttribute(const Node &node, KernelSpec &kernel) {
  node.checkMembers({"name", "type", "default"});
  Attribute attribute;
  attribute.name = node.at("name").name();
  attribute.type = node.at("type").choice<ScalarType>(
      {{"i32", ScalarType::I32}, {"i64", ScalarType::I64}, {"f32", ScalarType::F32}});
  attribute.value = addValue(node.at("name"), attribute.name, kernel);
  if (attribute.type == ScalarType::F32) {
    // An f32 is no integer value: it only keeps its name from being used twice.
    kernel.valueNames.pop_back();
    attribute.value = -1;
  }
  if (std::optional<Node> value = node.find("default")) {
    attribute.hasDefault = true;
    if (attribute.type == ScalarType::F32) {
      attribute.number = value->number();
      if (!std::isfinite(static_cast<float>(attribute.number)))
        value->failExpected("a number that an f32 can hold");
    } else if (!value->isString()) {
      bool isShort = attribute.type == ScalarType::I32;
      attribute.integer.constant = value->integer(isShort ? INT32_MIN : INT64_MIN, isShort ? INT32_MAX : INT64_MAX);
    }
  }
  kernel.attributes.push_back(std::move(attribute));
}

static std::vector<Term> readTerms(const Node &list, size_t least, size_t most, int64_t smallest,
                                   const KernelSpec &kernel) {
  std::vector<Term> terms;
  for (const Node &node : list.list(least, most))
    terms.push_back(node.isString() ? Term{0, findValue(node, kernel)} : Term{node.integer(smallest, INT64_MAX), -1});
  return terms;
}

static void readDerived(const Node &node, const std::vector<Node> &attributes, KernelSpec &kernel) {
  node.checkMembers({"name", "sum", "product", "minimum", "one_of", "exact_quotient", "ceil_quotient", "largest_power_of_two"});
  static constexpr std::pair<const char *, Operation> operations[] = {
      {"sum", Operation::Sum},
      {"product", Operation::Product},
      {"minimum", Operation::Minimum},
      {"one_of", Operation::OneOf},
      {"exact_quotient", Operation::ExactQuotient},
      {"ceil_quotient", Operation::CeilQuotient},
      {"largest_power_of_two", Operation::LargestPowerOfTwo}};
  Derived derived;
  int count = 0;
  for (const auto &[name, operation] : operations) {
    std::optional<Node> list = node.find(name);
    if (!list)
      continue;
    bool isQuotient = operation >= Operation::ExactQuotient;
    derived.operation = operation;
    derived.terms = readTerms(*list, isQuotient || operation == Operation::OneOf ? 2 : 1, isQuotient ? 2 : 16,
                              operation == Operation::Sum ? -(int64_t(1) << 40) : 0, kernel);
    ++count;
  }
  if (count != 1)
    node.fail(concat("expected one operation, found ", count));
  for (const Term &term : derived.terms)
    for (size_t index = 0; index < attributes.size(); ++index)
      if (term.value >= 0 && kernel.attributes[index].value == term.value && attributes[index].find("default") &&
          attributes[index].at("default").isString())
        node.fail("attribute '" + kernel.attributes[index].name +
                  "' has a derived value as default and cannot be part of one");
  derived.value = addValue(node.at("name"), node.at("name").name(), kernel);
  kernel.derived.push_back(std::move(derived));
}

static void readValues(const Node &node, KernelSpec &kernel) {
  std::vector<Node> attributes;
  if (std::optional<Node> list = node.find("attributes"))
    attributes = list->list(0, kMaxAttributes);
  for (const Node &attribute : attributes)
    readAttribute(attribute, kernel);
  size_t derivedBegin = kernel.valueNames.size();
  if (std::optional<Node> list = node.find("derived"))
    for (const Node &derived : list->list(0, kMaxDerived))
      readDerived(derived, attributes, kernel);
  for (size_t index = 0; index < attributes.size(); ++index) {
    std::optional<Node> value = attributes[index].find("default");
    if (!value || !value->isString())
      continue;
    int term = findValue(*value, kernel);
    if (term < static_cast<int>(derivedBegin))
      value->failExpected("a number or the name of a derived value");
    kernel.attributes[index].integer.value = term;
  }
}

KernelSpec readKernel(const Node &node, ImageCache &images) {
  node.checkMembers({"name", "symbol", "chip", "ptx", "cubin", "block_threads", "dynamic_shared_memory", "operands",
                     "zero_sizes", "attributes", "derived", "grid", "parameters", "info"});
  KernelSpec kernel;
  kernel.name = node.at("name").name();
  kernel.symbol = readSymbol(node.at("symbol"));
  readChip(node.at("chip"), kernel);
  kernel.ptx = readImage(node.at("ptx"), images);
  // The driver reads PTX as a C string.
  if (kernel.ptx.contents->find('\0') != std::string::npos)
    node.at("ptx").fail(kernel.ptx.file + " holds a NUL byte: it is not PTX");
  if (std::optional<Node> cubin = node.find("cubin")) {
    kernel.cubin = readImage(*cubin, images);
    if (kernel.cubin.contents->compare(0, 4, "\x7f" "ELF") != 0)
      cubin->fail(kernel.cubin.file + " is not an ELF file: it is not a cubin");
  }
  kernel.blockThreads = node.at("block_threads").integer(32, 1024);
  if (kernel.blockThreads % 32)
    node.at("block_threads").failExpected("a multiple of 32");
  kernel.sharedMemory = node.at("dynamic_shared_memory").integer(0, kMostSharedMemory);
  for (const Node &operand : node.at("operands").list(1, kMaxOperands))
    kernel.operands.push_back(readOperand(operand, kernel));
  kernel.zero.assign(kernel.valueNames.size(), Zero::Refuse);
  if (std::optional<Node> zero = node.find("zero_sizes"))
    readZeroSizes(*zero, kernel);
  readValues(node, kernel);
  Node grid = node.at("grid");
  grid.checkMembers({"blocks", "blocks_per_multiprocessor"});
  kernel.blocks = readTerms(grid.at("blocks"), 1, 8, 0, kernel);
  if (std::optional<Node> most = grid.find("blocks_per_multiprocessor"))
    kernel.blocksPerMultiprocessor = most->integer(1, 32);
  readParameters(node.at("parameters"), kernel);
  return kernel;
}

} // namespace sparseattn::runtime
