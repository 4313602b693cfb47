//===- PTXAsm.cpp - every assembly string of the compiler ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/PTXAsm.h"

#include "llvm/ADT/Twine.h"

using namespace sparseattn;
using namespace sparseattn::ptx;
using llvm::Twine;

/// `{$first, $first+1, ...}`.
static std::string getRegisters(int64_t first, int64_t count) {
  std::string text = "{";
  for (int64_t i = 0; i < count; ++i)
    text += (Twine(i ? ", $" : "$") + Twine(first + i)).str();
  return text + "}";
}

static void append(std::string &constraints, llvm::StringRef constraint) {
  if (!constraints.empty())
    constraints += ',';
  constraints += constraint;
}

/// `descriptor = {low word $operand + step, high}`.
static std::string getDescriptor(llvm::StringRef name, int64_t operand, uint32_t step) {
  std::string low = step == 0 ? ("$" + Twine(operand)).str() : (name + "_low").str();
  std::string text;
  if (step != 0)
    text += ("add.u32 " + Twine(low) + ", $" + Twine(operand) + ", " + Twine(step) + ";\n").str();
  return text + ("mov.b64 " + name + ", {" + Twine(low) + ", high};\n").str();
}

InlineAsm ptx::getMatrixProduct(const MatrixProduct &product) {
  InlineAsm result;
  int64_t values = product.n / 2;
  for (int64_t i = 0; i < values; ++i)
    append(result.constraints, "=f");
  int64_t next = values;
  if (product.accumulate) {
    for (int64_t i = 0; i < values; ++i)
      append(result.constraints, std::to_string(i));
    next += values;
  }
  int64_t a = next, aRegisters = product.aIsShared ? 1 : product.k / 4;
  for (int64_t i = 0; i < aRegisters; ++i)
    append(result.constraints, "r");
  int64_t b = a + aRegisters;
  append(result.constraints, "r");

  llvm::StringRef element = product.element == Half::BF16 ? "bf16" : "f16";
  std::string &text = result.text;
  text = "{\n.reg .pred first, next;\n.reg .b32 a_low, b_low, high;\n.reg .b64 a, b;\n";
  text += ("setp.ne.b32 first, " + Twine(product.accumulate ? 1 : 0) + ", 0;\nsetp.ne.b32 next, 1, 0;\n").str();
  text += ("mov.b32 high, " + Twine(getDescriptorHigh()) + ";\nwgmma.fence.sync.aligned;\n").str();
  for (int64_t step = 0; step < product.k / hopper::kMmaDepth; ++step) {
    if (product.aIsShared)
      text += getDescriptor("a", a, getDescriptorStep(product.a, step));
    text += getDescriptor("b", b, getDescriptorStep(product.b, step));
    // Operands: predicate "accumulate", signs of A and B, and for shared operands whether rows run along K.
    text += ("wgmma.mma_async.sync.aligned.m64n" + Twine(product.n) + "k16.f32." + element + "." + element + " " +
             getRegisters(0, values) + ", " + (product.aIsShared ? "a" : getRegisters(a + 4 * step, 4)) + ", b, " +
             (step == 0 ? "first" : "next") + ", 1, 1" +
             (product.aIsShared ? (product.a.rowsAlongK ? ", 1" : ", 0") : "") +
             (product.b.rowsAlongK ? ", 1" : ", 0") + ";\n")
                .str();
  }
  text += "wgmma.commit_group.sync.aligned;\n}";
  return result;
}

InlineAsm ptx::getWaitGroup(int64_t outstanding, int64_t values) {
  InlineAsm result;
  for (int64_t i = 0; i < values; ++i)
    append(result.constraints, "=f");
  for (int64_t i = 0; i < values; ++i)
    append(result.constraints, std::to_string(i));
  result.text = ("wgmma.wait_group.sync.aligned " + Twine(outstanding) + ";").str();
  return result;
}

static InlineAsm getApproximation(llvm::StringRef instruction) {
  return {(instruction + " $0, $1;").str(), "=f,f", /*hasSideEffects=*/false};
}

InlineAsm ptx::getExp2() { return getApproximation("ex2.approx.ftz.f32"); }
InlineAsm ptx::getLog2() { return getApproximation("lg2.approx.ftz.f32"); }
InlineAsm ptx::getTanh() { return getApproximation("tanh.approx.f32"); }
