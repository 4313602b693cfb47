//===- RuntimeRoutines.cpp - routines that the code generator calls --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "RuntimeRoutines.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Module.h"
#include "llvm/Transforms/Utils/ModuleUtils.h"

using namespace llvm;

static bool usesBf16(const Module &module) {
  auto isBf16 = [](const Value *value) { return value->getType()->getScalarType()->isBFloatTy(); };
  for (const Function &function : module)
    for (const Instruction &instruction : instructions(function))
      if (isBf16(&instruction) || any_of(instruction.operand_values(), isBf16))
        return true;
  return false;
}

void sparseattn::addRuntimeRoutines(Module &module) {
  constexpr StringLiteral kName = "__truncsfbf2";
  if (module.getNamedValue(kName) || !usesBf16(module))
    return;
  LLVMContext &context = module.getContext();
  auto *type = FunctionType::get(Type::getBFloatTy(context), {Type::getFloatTy(context)}, /*isVarArg=*/false);
  auto *function = Function::Create(type, GlobalValue::InternalLinkage, kName, module);
  IRBuilder<> b(BasicBlock::Create(context, "", function));

  Value *value = function->getArg(0);
  Value *bits = b.CreateBitCast(value, b.getInt32Ty());
  Value *high = b.CreateLShr(bits, 16);
  // Halfway cases go to the even neighbour. A NaN keeps its upper bits and
  // becomes quiet: rounding could carry it to infinity.
  Value *bias = b.CreateAdd(b.CreateAnd(high, 1), b.getInt32(0x7fff));
  Value *rounded = b.CreateLShr(b.CreateAdd(bits, bias), 16);
  Value *isNaN = b.CreateFCmpUNO(value, value);
  Value *result = b.CreateSelect(isNaN, b.CreateOr(high, 0x40), rounded);
  b.CreateRet(b.CreateBitCast(b.CreateTrunc(result, b.getInt16Ty()), b.getBFloatTy()));

  // Calls appear only during code generation, so nothing refers to it yet.
  appendToCompilerUsed(module, {function});
}
