//===- Values.cpp - attributes, derived values and the grid --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Problem.h"

#include <algorithm>
#include <cmath>

namespace sparseattn::runtime {

static const char *getName(ScalarType type) {
  return type == ScalarType::I32 ? "i32" : type == ScalarType::I64 ? "i64" : "f32";
}

static void bindGiven(const KernelSpec &kernel, const Attribute &attribute, size_t index,
                      const SparseAttnAttribute &given, Problem &problem) {
  if (attribute.type == ScalarType::F32) {
    double number = given.isInteger ? static_cast<double>(given.integer) : given.number;
    if (!std::isfinite(static_cast<float>(number)))
      refuse("kernel '", kernel.name, "': attribute '", attribute.name, "': expected a finite f32, found ", number);
    problem.numbers[index] = number;
    return;
  }
  if (!given.isInteger)
    refuse("kernel '", kernel.name, "': attribute '", attribute.name, "': expected an integer (",
           getName(attribute.type), "), found the number ", given.number);
  if (attribute.type == ScalarType::I32 && given.integer != static_cast<int32_t>(given.integer))
    refuse("kernel '", kernel.name, "': attribute '", attribute.name, "': ", given.integer, " does not fit i32");
  problem.values[attribute.value] = given.integer;
}

/// Given attributes and default numbers. `isGiven` tells which were given.
static void bindAttributes(const KernelSpec &kernel, const SparseAttnAttribute *attributes, size_t count,
                           bool *isGiven, Problem &problem) {
  if (count && !attributes)
    refuse("kernel '", kernel.name, "': attributes is NULL");
  for (size_t given = 0; given < count; ++given) {
    const char *name = attributes[given].name ? attributes[given].name : "";
    size_t index = 0;
    while (index < kernel.attributes.size() && kernel.attributes[index].name != name)
      ++index;
    if (index == kernel.attributes.size()) {
      std::string names;
      for (const Attribute &attribute : kernel.attributes)
        names += (names.empty() ? "; there are " : ", ") + attribute.name;
      refuse("kernel '", kernel.name, "': no attribute '", name, "'", names);
    }
    if (isGiven[index])
      refuse("kernel '", kernel.name, "': attribute '", name, "' is given twice");
    isGiven[index] = true;
    bindGiven(kernel, kernel.attributes[index], index, attributes[given], problem);
  }
  for (size_t index = 0; index < kernel.attributes.size(); ++index) {
    const Attribute &attribute = kernel.attributes[index];
    if (isGiven[index])
      continue;
    if (!attribute.hasDefault)
      refuse("kernel '", kernel.name, "': attribute '", attribute.name, "' is missing and has no default");
    problem.numbers[index] = attribute.number;
    if (attribute.value >= 0)
      problem.values[attribute.value] = attribute.integer.constant;
  }
}

/// False on overflow.
static bool multiply(int64_t &result, int64_t factor) { return !__builtin_mul_overflow(result, factor, &result); }

static int64_t getLargestPowerOfTwo(int64_t limit, int64_t unit) {
  int64_t power = 1;
  // Division avoids an overflow of 2 * power * unit.
  while (power <= limit / std::max<int64_t>(unit, 1) / 2)
    power *= 2;
  return power;
}

static void derive(const KernelSpec &kernel, const Derived &derived, Problem &problem) {
  const std::string &name = kernel.valueNames[derived.value];
  int64_t result = evaluate(derived.terms[0], problem);
  int64_t second = derived.terms.size() > 1 ? evaluate(derived.terms[1], problem) : 0;
  auto describe = [&](size_t index) {
    const Term &term = derived.terms[index];
    return term.value < 0 ? concat(term.constant)
                          : concat(kernel.valueNames[term.value], " = ", problem.values[term.value]);
  };
  bool fits = true;
  switch (derived.operation) {
  case Operation::Sum:
    for (size_t index = 1; index < derived.terms.size(); ++index)
      fits &= !__builtin_add_overflow(result, evaluate(derived.terms[index], problem), &result);
    break;
  case Operation::Product:
    for (size_t index = 1; index < derived.terms.size(); ++index)
      fits &= multiply(result, evaluate(derived.terms[index], problem));
    break;
  case Operation::Minimum:
    for (const Term &term : derived.terms)
      result = std::min(result, evaluate(term, problem));
    break;
  case Operation::OneOf: {
    std::string choices;
    bool isOne = false;
    for (size_t index = 1; index < derived.terms.size(); ++index) {
      isOne |= evaluate(derived.terms[index], problem) == result;
      choices += (index > 1 ? " or " : "") + describe(index);
    }
    if (!isOne)
      refuse("kernel '", kernel.name, "': expected ", describe(0), " to be ", choices, " (for '", name, "')");
    break;
  }
  case Operation::ExactQuotient:
    if (second < 1 || result % second)
      refuse("kernel '", kernel.name, "': ", describe(0), " is not a multiple of ", describe(1), " (for '", name, "')");
    result /= second;
    break;
  case Operation::CeilQuotient:
    if (second < 1)
      refuse("kernel '", kernel.name, "': ", describe(1), " must be at least 1 (for '", name, "')");
    result = result / second + (result % second > 0);
    break;
  case Operation::LargestPowerOfTwo:
    result = getLargestPowerOfTwo(result, second);
    break;
  }
  if (!fits || result < 0)
    refuse("kernel '", kernel.name, "': '", name, "' is ", fits ? "negative" : "too large", " for these sizes");
  problem.values[derived.value] = result;
}

void bindValues(const KernelSpec &kernel, const SparseAttnAttribute *attributes, size_t attributeCount,
                Problem &problem) {
  bool isGiven[kMaxAttributes] = {};
  bindAttributes(kernel, attributes, attributeCount, isGiven, problem);
  for (const Derived &derived : kernel.derived)
    derive(kernel, derived, problem);
  for (size_t index = 0; index < kernel.attributes.size(); ++index)
    if (!isGiven[index] && kernel.attributes[index].integer.value >= 0)
      problem.values[kernel.attributes[index].value] = evaluate(kernel.attributes[index].integer, problem);
  problem.blocks = 1;
  bool fits = true;
  for (const Term &term : kernel.blocks) {
    int64_t factor = evaluate(term, problem);
    if (factor < 0)
      refuse("kernel '", kernel.name, "': '", kernel.valueNames[term.value], "' = ", factor, " cannot count blocks");
    fits &= multiply(problem.blocks, factor);
  }
  if (!fits)
    refuse("kernel '", kernel.name, "': the number of blocks does not fit 64 bits");
}

} // namespace sparseattn::runtime
