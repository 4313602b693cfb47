//===- PackedEntry.cpp - the exported functions of compiled code -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "PackedEntry.h"
#include "sparseattn/Target/CPU/ObjectCode.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace sparseattn;

/// Type in registers of a scalar, or of one field of a descriptor.
static llvm::Type *getScalarType(llvm::LLVMContext &context, StringRef name) {
  if (name == "f16")
    return llvm::Type::getHalfTy(context);
  if (name == "bf16")
    return llvm::Type::getBFloatTy(context);
  if (name == "f32")
    return llvm::Type::getFloatTy(context);
  if (name == "f64")
    return llvm::Type::getDoubleTy(context);
  unsigned width = 64;
  if (name != "index")
    name.drop_front().getAsInteger(10, width);
  return llvm::Type::getIntNTy(context, width);
}

/// `{ptr, ptr, i64, [rank x i64], [rank x i64]}`; the arrays are absent for rank 0.
static llvm::Type *getResultType(llvm::LLVMContext &context, const ValueSignature &value) {
  if (!value.hasDescriptor())
    return getScalarType(context, value.element.name);
  llvm::Type *pointer = llvm::PointerType::get(context, 0);
  llvm::Type *i64 = llvm::Type::getInt64Ty(context);
  SmallVector<llvm::Type *> fields = {pointer, pointer, i64};
  if (!value.shape.empty())
    fields.append(2, llvm::ArrayType::get(i64, value.shape.size()));
  return llvm::StructType::get(context, fields);
}

/// The type that the lowering of `func` gives a function of this signature:
/// descriptors are spread over parameters and returned as structures.
static llvm::FunctionType *getFunctionType(llvm::LLVMContext &context, const FunctionSignature &signature) {
  SmallVector<llvm::Type *> parameters;
  for (const ValueSignature &value : signature.arguments) {
    if (!value.hasDescriptor()) {
      parameters.push_back(getScalarType(context, value.element.name));
      continue;
    }
    parameters.append(2, llvm::PointerType::get(context, 0));
    parameters.append(1 + 2 * value.shape.size(), llvm::Type::getInt64Ty(context));
  }
  SmallVector<llvm::Type *> results;
  for (const ValueSignature &value : signature.results)
    results.push_back(getResultType(context, value));
  llvm::Type *result = llvm::Type::getVoidTy(context);
  if (results.size() == 1)
    result = results.front();
  else if (!results.empty())
    result = llvm::StructType::get(context, results);
  return llvm::FunctionType::get(result, parameters, /*isVarArg=*/false);
}

static void addPackedEntry(llvm::Module &module, llvm::Function *callee, const FunctionSignature &signature) {
  llvm::LLVMContext &context = module.getContext();
  llvm::Type *pointer = llvm::PointerType::get(context, 0);
  llvm::Type *i64 = llvm::Type::getInt64Ty(context);
  auto *entry = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer}, false), llvm::Function::ExternalLinkage,
      kPackedPrefix + signature.name, module);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "entry", entry));

  unsigned slot = 0;
  auto nextPointer = [&]() -> llvm::Value * {
    return builder.CreateLoad(pointer, builder.CreateConstInBoundsGEP1_64(pointer, entry->getArg(0), slot++));
  };
  SmallVector<llvm::Value *> arguments;
  for (const ValueSignature &value : signature.arguments) {
    llvm::Value *source = nextPointer();
    if (!value.hasDescriptor()) {
      llvm::Type *type = getScalarType(context, value.element.name);
      if (type->isIntegerTy(1))
        arguments.push_back(builder.CreateIsNotNull(builder.CreateLoad(builder.getInt8Ty(), source)));
      else
        arguments.push_back(builder.CreateLoad(type, source));
      continue;
    }
    // All fields of a descriptor take 8 bytes.
    for (size_t field = 0, end = 3 + 2 * value.shape.size(); field < end; ++field)
      arguments.push_back(
          builder.CreateLoad(field < 2 ? pointer : i64, builder.CreateConstInBoundsGEP1_64(i64, source, field)));
  }
  llvm::Value *returned = builder.CreateCall(callee, arguments);
  for (auto [index, value] : llvm::enumerate(signature.results)) {
    llvm::Value *result = signature.results.size() == 1 ? returned : builder.CreateExtractValue(returned, index);
    if (result->getType()->isIntegerTy(1))
      result = builder.CreateZExt(result, builder.getInt8Ty());
    builder.CreateStore(result, nextPointer());
  }
  builder.CreateRetVoid();
}

LogicalResult sparseattn::addPackedEntries(ModuleOp source, llvm::Module &module,
                                           ArrayRef<FunctionSignature> signatures) {
  SmallVector<llvm::Function *> callees;
  for (const FunctionSignature &signature : signatures) {
    llvm::Function *callee = module.getFunction(signature.name);
    if (!callee || callee->isDeclaration())
      return source.emitError() << "the pipeline removed function '" << signature.name << "'";
    llvm::FunctionType *expected = getFunctionType(module.getContext(), signature);
    if (callee->getFunctionType() != expected) {
      std::string found, wanted;
      llvm::raw_string_ostream(found) << *callee->getFunctionType();
      llvm::raw_string_ostream(wanted) << *expected;
      return source.emitError() << "the pipeline lowered function '" << signature.name << "' to " << found
                                << ", expected " << wanted
                                << " (memref descriptors passed by field, results returned by value)";
    }
    callees.push_back(callee);
  }
  for (llvm::GlobalValue &global : module.global_values()) {
    if (global.isDeclaration())
      continue;
    global.setLinkage(llvm::GlobalValue::InternalLinkage);
    global.setVisibility(llvm::GlobalValue::DefaultVisibility);
    global.setName("sparseattn.internal." + global.getName());
  }
  for (auto [callee, signature] : llvm::zip_equal(callees, signatures))
    addPackedEntry(module, callee, signature);
  return success();
}
