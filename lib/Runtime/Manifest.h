//===- Manifest.h - an artefact as the other files see it ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

// The members mean what README.md says. Whatever the readers return satisfies
// every rule stated there, so users need not check again.

#ifndef SPARSEATTN_LIB_RUNTIME_MANIFEST_H
#define SPARSEATTN_LIB_RUNTIME_MANIFEST_H

#include "sparseattn-c/Runtime.h"
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparseattn::runtime {

// Limits that let a launch work on the stack.
constexpr size_t kMaxOperands = 32;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxAttributes = 32;
constexpr size_t kMaxDerived = 64;
constexpr size_t kMaxValues = kMaxOperands * kMaxRank + kMaxAttributes + kMaxDerived;
constexpr size_t kMaxParameters = 128;
constexpr size_t kMaxParameterBytes = 4096;
constexpr size_t kMaxMapDims = 5;

const char *getName(int dtype);
/// 0 for what is no dtype.
int64_t getByteSize(int dtype);

/// An integer, or one of the kernel's values when `value` is not negative.
struct Term {
  int64_t constant = 0;
  int value = -1;
};

enum class Role { Input, Output, Workspace };

struct Operand {
  std::string name;
  Role role;
  SparseAttnDType dtype;
  std::vector<std::string> axes;
  std::vector<Term> shape;
  /// Indices of axes, outermost first.
  std::vector<int> contiguous;
  int64_t alignment;

  bool isWritten() const { return role != Role::Input; }
};

/// What a size of 0 means.
enum class Zero { Refuse, Skip, Launch };

enum class ScalarType { I32, I64, F32 };

struct Attribute {
  std::string name;
  ScalarType type;
  bool hasDefault = false;
  /// Default of an f32.
  double number = 0;
  /// Default of an integer.
  Term integer;
  /// Index in the kernel's values; -1 for an f32.
  int value = -1;
};

enum class Operation { Sum, Product, Minimum, OneOf, ExactQuotient, CeilQuotient, LargestPowerOfTwo };

struct Derived {
  Operation operation;
  std::vector<Term> terms;
  int value;
};

/// Numbers are the driver's (CUtensorMapSwizzle, CUtensorMapL2promotion).
enum class Swizzle { None = 0, B32 = 1, B64 = 2, B128 = 3 };
enum class L2Promotion { None = 0, B64 = 1, B128 = 2, B256 = 3 };

struct MapDim {
  int axis;
  uint32_t box;
  enum { Whole, Inner, Outer } part = Whole;
  int64_t split = 1;
};

enum class ParameterKind { TensorMap, Pointer, Size, Stride, Attribute, Constant, Blocks, Counter };

struct Parameter {
  ParameterKind kind;
  ScalarType type = ScalarType::I64;
  int operand = -1;
  int axis = -1;
  int attribute = -1;
  /// Size, an integer constant, or the number of counters.
  Term term;
  /// An f32 constant.
  double number = 0;
  std::vector<MapDim> dims;
  Swizzle swizzle = Swizzle::None;
  L2Promotion l2Promotion = L2Promotion::None;
  size_t offset = 0;
  size_t bytes = 0;
};

/// A file that was read, and is as the manifest says.
struct Image {
  std::string file;
  std::shared_ptr<const std::string> contents;
};

struct KernelSpec {
  std::string name;
  std::string symbol;
  std::string chip;
  /// Compute capability.
  int major = 0;
  int minor = 0;
  Image ptx;
  /// No contents: there is none.
  Image cubin;
  unsigned blockThreads = 0;
  unsigned sharedMemory = 0;
  std::vector<Operand> operands;
  /// Sizes first, then integer attributes, then derived values.
  std::vector<std::string> valueNames;
  /// One for each size.
  std::vector<Zero> zero;
  std::vector<Attribute> attributes;
  std::vector<Derived> derived;
  std::vector<Term> blocks;
  /// 0: not persistent.
  int blocksPerMultiprocessor = 0;
  std::vector<Parameter> parameters;
};

struct Manifest {
  std::string text;
  std::vector<KernelSpec> kernels;
};

/// Reads and checks an artefact. Throws Error.
Manifest readArtefact(const std::string &folder);

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_MANIFEST_H
