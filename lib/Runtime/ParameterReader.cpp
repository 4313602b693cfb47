//===- ParameterReader.cpp - the parameters of a kernel in manifest.json -===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "KernelReader.h"

#include <algorithm>
#include <cmath>

namespace sparseattn::runtime {

static MapDim readMapDim(const Node &node, const Operand &operand) {
  node.checkMembers({"axis", "inner", "outer", "box"});
  MapDim dim;
  dim.axis = findAxis(node.at("axis"), operand);
  dim.box = static_cast<uint32_t>(node.at("box").integer(1, 256));
  std::optional<Node> inner = node.find("inner"), outer = node.find("outer");
  if (inner && outer)
    node.fail("inner and outer exclude each other");
  if (inner || outer) {
    dim.part = inner ? MapDim::Inner : MapDim::Outer;
    dim.split = (inner ? *inner : *outer).integer(1, int64_t(1) << 32);
    const Term &size = operand.shape[dim.axis];
    if (size.value < 0 && size.constant % dim.split)
      (inner ? *inner : *outer).fail(concat("does not divide the axis of ", size.constant));
  }
  return dim;
}

/// Every axis once whole, or once as inner and once as outer part of the same split.
static void checkCover(const Node &node, const std::vector<MapDim> &dims, const Operand &operand) {
  for (size_t axis = 0; axis < operand.axes.size(); ++axis) {
    int whole = 0, inner = 0, outer = 0;
    int64_t product = 1;
    for (const MapDim &dim : dims) {
      if (dim.axis != static_cast<int>(axis))
        continue;
      (dim.part == MapDim::Whole ? whole : dim.part == MapDim::Inner ? inner : outer) += 1;
      product = product == 1 ? dim.split : product == dim.split ? product : -1;
    }
    bool isWhole = whole == 1 && inner == 0 && outer == 0;
    bool isSplit = whole == 0 && inner == 1 && outer == 1 && product > 0;
    if (!isWhole && !isSplit)
      node.fail("expected the axis '" + operand.axes[axis] +
                "' once whole, or once as inner and once as outer with the same number");
  }
}

static void readTensorMap(const Node &node, const KernelSpec &kernel, Parameter &parameter) {
  const Operand &operand = kernel.operands[parameter.operand];
  parameter.swizzle = node.at("swizzle").choice<Swizzle>(
      {{"none", Swizzle::None}, {"32B", Swizzle::B32}, {"64B", Swizzle::B64}, {"128B", Swizzle::B128}});
  parameter.l2Promotion = node.at("l2_promotion").choice<L2Promotion>({{"none", L2Promotion::None},
                                                                      {"64B", L2Promotion::B64},
                                                                      {"128B", L2Promotion::B128},
                                                                      {"256B", L2Promotion::B256}});
  Node dims = node.at("dims");
  for (const Node &dim : dims.list(1, kMaxMapDims))
    parameter.dims.push_back(readMapDim(dim, operand));
  checkCover(dims, parameter.dims, operand);
  const MapDim &first = parameter.dims.front();
  if (first.part == MapDim::Outer || operand.contiguous.empty() || operand.contiguous.back() != first.axis)
    dims.fail("the first dimension must be the last axis of the operand's 'contiguous', whole or as inner");
  if (operand.alignment < 16)
    dims.fail("operand '" + operand.name + "' needs an alignment of at least 16 bytes for a tensor map");
  int64_t rowBytes = first.box * getByteSize(operand.dtype);
  if (rowBytes % 16)
    dims.fail(concat("a row of the box has ", rowBytes, " bytes; expected a multiple of 16"));
  // 32, 64 and 128 bytes for the swizzles 1, 2 and 3.
  int64_t span = int64_t(16) << static_cast<int>(parameter.swizzle);
  if (parameter.swizzle != Swizzle::None && rowBytes > span)
    dims.fail(concat("a row of the box has ", rowBytes, " bytes; the swizzle allows ", span));
}

static ScalarType readType(const Node &node, bool allowFloat) {
  if (allowFloat)
    return node.choice<ScalarType>({{"i32", ScalarType::I32}, {"i64", ScalarType::I64}, {"f32", ScalarType::F32}});
  return node.choice<ScalarType>({{"i32", ScalarType::I32}, {"i64", ScalarType::I64}});
}

static void readConstant(const Node &node, Parameter &parameter) {
  Node value = node.at("value");
  switch (parameter.type) {
  case ScalarType::I32:
    parameter.term.constant = value.integer(INT32_MIN, INT32_MAX);
    return;
  case ScalarType::I64:
    parameter.term.constant = value.integer(INT64_MIN, INT64_MAX);
    return;
  case ScalarType::F32:
    parameter.number = value.number();
    if (!std::isfinite(static_cast<float>(parameter.number)))
      value.failExpected("a number that an f32 can hold");
    return;
  }
}

static Parameter readParameter(const Node &node, const KernelSpec &kernel) {
  Parameter parameter;
  parameter.kind = node.at("kind").choice<ParameterKind>({{"tensor_map", ParameterKind::TensorMap},
                                                          {"pointer", ParameterKind::Pointer},
                                                          {"size", ParameterKind::Size},
                                                          {"stride", ParameterKind::Stride},
                                                          {"attribute", ParameterKind::Attribute},
                                                          {"constant", ParameterKind::Constant},
                                                          {"blocks", ParameterKind::Blocks},
                                                          {"counter", ParameterKind::Counter}});
  switch (parameter.kind) {
  case ParameterKind::TensorMap:
    node.checkMembers({"kind", "operand", "dims", "swizzle", "l2_promotion"});
    parameter.operand = findOperand(node.at("operand"), kernel);
    readTensorMap(node, kernel, parameter);
    break;
  case ParameterKind::Pointer:
    node.checkMembers({"kind", "operand"});
    parameter.operand = findOperand(node.at("operand"), kernel);
    break;
  case ParameterKind::Size:
    node.checkMembers({"kind", "type", "size"});
    parameter.type = readType(node.at("type"), false);
    parameter.term.value = findValue(node.at("size"), kernel);
    break;
  case ParameterKind::Stride:
    node.checkMembers({"kind", "type", "operand", "axis"});
    parameter.type = readType(node.at("type"), false);
    parameter.operand = findOperand(node.at("operand"), kernel);
    parameter.axis = findAxis(node.at("axis"), kernel.operands[parameter.operand]);
    break;
  case ParameterKind::Attribute: {
    node.checkMembers({"kind", "attribute"});
    std::string name = node.at("attribute").name();
    for (size_t index = 0; index < kernel.attributes.size(); ++index)
      if (kernel.attributes[index].name == name)
        parameter.attribute = static_cast<int>(index);
    if (parameter.attribute < 0)
      node.at("attribute").failExpected("the name of an attribute");
    parameter.type = kernel.attributes[parameter.attribute].type;
    parameter.term.value = kernel.attributes[parameter.attribute].value;
    break;
  }
  case ParameterKind::Constant:
    node.checkMembers({"kind", "type", "value"});
    parameter.type = readType(node.at("type"), true);
    readConstant(node, parameter);
    break;
  case ParameterKind::Blocks:
    node.checkMembers({"kind", "type"});
    parameter.type = readType(node.at("type"), false);
    break;
  case ParameterKind::Counter:
    node.checkMembers({"kind", "type", "count"});
    parameter.type = readType(node.at("type"), false);
    parameter.term.constant = node.at("count").integer(2, INT32_MAX);
    break;
  }
  return parameter;
}

void readParameters(const Node &list, KernelSpec &kernel) {
  size_t end = 0;
  for (const Node &node : list.list(1, kMaxParameters)) {
    Parameter parameter = readParameter(node, kernel);
    bool isMap = parameter.kind == ParameterKind::TensorMap;
    parameter.bytes = isMap ? 128 : parameter.type == ScalarType::I64 ? 8 : 4;
    size_t alignment = isMap ? 64 : parameter.bytes;
    parameter.offset = (end + alignment - 1) / alignment * alignment;
    end = parameter.offset + parameter.bytes;
    if (end > kMaxParameterBytes)
      node.fail(concat("the parameters have more than ", kMaxParameterBytes, " bytes"));
    kernel.parameters.push_back(std::move(parameter));
  }
}

} // namespace sparseattn::runtime
