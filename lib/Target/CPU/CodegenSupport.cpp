//===- CodegenSupport.cpp - what the code generator may be given -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/CPU/ObjectCode.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace sparseattn;

/// Operations of the LLVM dialect without its prefix. Left out on purpose:
/// inline assembly and intrinsics by name (arbitrary strings for the back end),
/// exceptions, coroutines, variadic functions, scalable and matrix operations,
/// and code that would run when an object is loaded.
static const llvm::StringSet<> &supportedLLVMOps() {
  static const llvm::StringSet<> ops = {
      // Structure and constants.
      "func", "return", "mlir.global", "mlir.addressof", "mlir.constant", "mlir.undef", "mlir.poison", "mlir.zero",
      // Integers.
      "add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "and", "or", "xor", "shl", "lshr", "ashr", "icmp",
      // Floats.
      "fadd", "fsub", "fmul", "fdiv", "frem", "fneg", "fcmp",
      // Conversions.
      "trunc", "zext", "sext", "fptrunc", "fpext", "fptosi", "fptoui", "sitofp", "uitofp", "bitcast", "inttoptr",
      "ptrtoint",
      // Memory.
      "alloca", "load", "store", "getelementptr", "atomicrmw", "cmpxchg", "fence",
      // Aggregates and vectors.
      "extractvalue", "insertvalue", "extractelement", "insertelement", "shufflevector",
      // Control flow.
      "br", "cond_br", "switch", "select", "freeze", "call", "unreachable",
      // Intrinsics.
      "intr.abs", "intr.acos", "intr.asin", "intr.assume", "intr.atan", "intr.atan2", "intr.bitreverse", "intr.bswap",
      "intr.ceil", "intr.copysign", "intr.cos", "intr.cosh", "intr.ctlz", "intr.ctpop", "intr.cttz", "intr.exp",
      "intr.exp10", "intr.exp2", "intr.expect", "intr.experimental.noalias.scope.decl", "intr.fabs", "intr.floor",
      "intr.fma", "intr.fmuladd", "intr.fshl", "intr.fshr", "intr.is.fpclass", "intr.lifetime.end",
      "intr.lifetime.start", "intr.log", "intr.log10", "intr.log2", "intr.masked.compressstore",
      "intr.masked.expandload", "intr.masked.gather", "intr.masked.load", "intr.masked.scatter", "intr.masked.store",
      "intr.maximum", "intr.maxnum", "intr.memcpy", "intr.memmove", "intr.memset", "intr.minimum", "intr.minnum",
      "intr.nearbyint", "intr.pow", "intr.powi", "intr.prefetch", "intr.rint", "intr.round", "intr.roundeven",
      "intr.sadd.sat", "intr.sadd.with.overflow", "intr.sin", "intr.sinh", "intr.smax", "intr.smin",
      "intr.smul.with.overflow", "intr.sqrt", "intr.ssub.sat", "intr.ssub.with.overflow", "intr.stackrestore",
      "intr.stacksave", "intr.tan", "intr.tanh", "intr.trunc", "intr.uadd.sat", "intr.uadd.with.overflow",
      "intr.umax", "intr.umin", "intr.umul.with.overflow", "intr.usub.sat", "intr.usub.with.overflow",
      "intr.vector.deinterleave2", "intr.vector.extract", "intr.vector.insert", "intr.vector.interleave2",
      "intr.vector.reduce.add", "intr.vector.reduce.and", "intr.vector.reduce.fadd", "intr.vector.reduce.fmax",
      "intr.vector.reduce.fmaximum", "intr.vector.reduce.fmin", "intr.vector.reduce.fminimum",
      "intr.vector.reduce.fmul", "intr.vector.reduce.mul", "intr.vector.reduce.or", "intr.vector.reduce.smax",
      "intr.vector.reduce.smin", "intr.vector.reduce.umax", "intr.vector.reduce.umin", "intr.vector.reduce.xor"};
  return ops;
}

static const llvm::StringSet<> &supportedOpenMPOps() {
  static const llvm::StringSet<> ops = {"parallel", "wsloop", "loop_nest", "yield",   "terminator",
                                        "barrier",  "single", "master",    "private", "declare_reduction"};
  return ops;
}

/// The part of `type` that the code generator is not known to handle, or null.
static Type findUnsupportedType(Type type) {
  // Wider vectors compile for minutes: every use is split into registers.
  constexpr int64_t kMaxVectorElements = 1 << 12;
  if (isa<LLVM::LLVMVoidType>(type))
    return Type();
  if (auto integer = dyn_cast<IntegerType>(type))
    return llvm::is_contained({1, 8, 16, 32, 64, 128}, integer.getWidth()) ? Type() : type;
  if (isa<FloatType>(type))
    return type.isF16() || type.isBF16() || type.isF32() || type.isF64() ? Type() : type;
  if (auto pointer = dyn_cast<LLVM::LLVMPointerType>(type))
    return pointer.getAddressSpace() == 0 ? Type() : type;
  if (auto vector = dyn_cast<VectorType>(type)) {
    bool fixed = vector.getRank() == 1 && !vector.isScalable() && vector.getNumElements() <= kMaxVectorElements;
    return fixed ? findUnsupportedType(vector.getElementType()) : type;
  }
  if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
    return findUnsupportedType(array.getElementType());
  if (auto structure = dyn_cast<LLVM::LLVMStructType>(type)) {
    if (structure.isOpaque())
      return type;
    for (Type element : structure.getBody())
      if (Type unsupported = findUnsupportedType(element))
        return unsupported;
    return Type();
  }
  if (auto function = dyn_cast<LLVM::LLVMFunctionType>(type)) {
    if (function.isVarArg())
      return type;
    for (Type part : function.getParams())
      if (Type unsupported = findUnsupportedType(part))
        return unsupported;
    return findUnsupportedType(function.getReturnType());
  }
  return type;
}

static LogicalResult verifyFunction(LLVM::LLVMFuncOp function) {
  if (function.getCConv() != LLVM::CConv::C && function.getCConv() != LLVM::CConv::Fast)
    return function.emitError() << "expected the C calling convention";
  using LLVM::Linkage;
  if (!llvm::is_contained({Linkage::External, Linkage::Internal, Linkage::Private}, function.getLinkage()))
    return function.emitError() << "expected external, internal or private linkage";
  // These replace what CodegenOptions decides, or ask for a run-time library that is not there.
  for (StringRef name : {"personality", "garbageCollector", "section", "target_cpu", "target_features", "comdat",
                         "vscale_range", "instrument_function_entry", "instrument_function_exit"})
    if (function->hasAttr(name))
      return function.emitError() << "expected no attribute '" << name << "'";
  ArrayAttr passthrough = function.getPassthroughAttr();
  for (Attribute entry : passthrough ? passthrough.getValue() : ArrayRef<Attribute>()) {
    // String attributes steer the back end; only what is known to be harmless passes.
    auto pair = dyn_cast<ArrayAttr>(entry);
    StringRef name;
    if (auto single = dyn_cast<StringAttr>(entry))
      name = single.getValue();
    else if (pair && pair.size() == 2 && isa<StringAttr>(pair[0]))
      name = cast<StringAttr>(pair[0]).getValue();
    if (!llvm::is_contained({"prefer-vector-width", "nounwind", "noinline", "alwaysinline"}, name))
      return function.emitError() << "expected no passthrough attribute " << entry;
  }
  return success();
}

/// Properties of alignment that LLVM asserts.
static LogicalResult verifyAlignment(Operation *op) {
  constexpr int64_t kMaxAlignment = 1 << 20;
  auto alignment = op->getAttrOfType<IntegerAttr>("alignment");
  if (!alignment || alignment.getInt() == 0)
    return success();
  if (alignment.getInt() < 0 || alignment.getInt() > kMaxAlignment || !llvm::isPowerOf2_64(alignment.getInt()))
    return op->emitError() << "expected an alignment that is a power of two up to " << kMaxAlignment << ", found "
                           << alignment.getInt();
  return success();
}

LogicalResult sparseattn::verifyCodegenSupport(ModuleOp module) {
  WalkResult result = module.walk([&](Operation *op) -> WalkResult {
    if (op == module)
      return WalkResult::advance();
    StringRef dialect = op->getName().getDialectNamespace();
    StringRef name = op->getName().stripDialect();
    bool known = (dialect == "llvm" && supportedLLVMOps().contains(name)) ||
                 (dialect == "omp" && supportedOpenMPOps().contains(name));
    if (!known)
      return op->emitError() << "expected a module lowered to the LLVM dialect, found '" << op->getName()
                             << "', for which no code can be generated; the pipeline must lower it (`sparseattn-to-cpu` does)";
    auto verifyType = [&](Type type) -> LogicalResult {
      if (Type unsupported = findUnsupportedType(type))
        return op->emitError() << "no code can be generated for type " << unsupported;
      return success();
    };
    for (Type type : llvm::concat<const Type>(llvm::to_vector(op->getOperandTypes()), llvm::to_vector(op->getResultTypes())))
      if (failed(verifyType(type)))
        return WalkResult::interrupt();
    for (StringRef attribute : {"elem_type", "global_type", "function_type", "var_callee_type"})
      if (auto type = op->getAttrOfType<TypeAttr>(attribute))
        if (failed(verifyType(type.getValue())))
          return WalkResult::interrupt();
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (Type type : block.getArgumentTypes())
          if (failed(verifyType(type)))
            return WalkResult::interrupt();
    if (failed(verifyAlignment(op)))
      return WalkResult::interrupt();
    if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op))
      return WalkResult(verifyFunction(function));
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}
