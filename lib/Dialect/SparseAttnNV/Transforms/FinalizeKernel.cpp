//===- FinalizeKernel.cpp - gpu.func to a kernel of the LLVM dialect -------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVFINALIZEKERNEL
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

//===----------------------------------------------------------------------===//
// The check at the end of the level
//===----------------------------------------------------------------------===//

/// The pass that should have removed `op`.
static StringRef getResponsiblePass(Operation *op) {
  if (isProducerOp(op) || isConsumerOp(op) || isa<ChannelOp, EndOp, SpecializeOp>(op))
    return "sparseattn-nv-lower-channels";
  if (isa<MmaChainOp, MmaWaitOp, SubtileOp, TileAtOp>(op))
    return "convert-sparseattn-nv-to-nvvm";
  return "sparseattn-nv-distribute-fragments";
}

static LogicalResult verifyOp(Operation *op) {
  if (isa_and_nonnull<SparseAttnNVDialect>(op->getDialect()))
    return op->emitOpError("is left at the end of level L2; ") << getResponsiblePass(op) << " should have removed it";
  for (Type type : op->getResultTypes())
    if (isa<ShapedType>(type) && !isa<VectorType>(type))
      return op->emitOpError("has a result of type ") << type << " at the end of level L2; "
                                                      << "sparseattn-nv-distribute-fragments should have removed it";
  if (isa_and_nonnull<math::MathDialect>(op->getDialect()) && !isa<math::AbsFOp, math::FmaOp>(op))
    return op->emitOpError("has no instruction; kernels know exp2, log2, tanh, fma and absf of f32");
  if (isa<arith::RemFOp, arith::DivFOp>(op))
    return op->emitOpError("has no instruction for this type; compute in f32, without remainders");
  if (isa_and_nonnull<arith::ArithDialect, cf::ControlFlowDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, math::MathDialect,
          scf::SCFDialect>(op->getDialect()) ||
      isa<gpu::BlockIdOp, gpu::GridDimOp, gpu::ReturnOp, UnrealizedConversionCastOp>(op))
    return success();
  return op->emitOpError("is not an operation of a finished kernel: arith, scf, llvm and nvvm are");
}

/// LLVM aborts when an instruction is newer than its target.
static LogicalResult verifyTarget(gpu::GPUModuleOp module) {
  ArrayAttr targets = module.getTargetsAttr();
  if (!targets || targets.empty())
    return module.emitOpError("has no target; expected #nvvm.target<chip = \"")
           << hopper::kChip << "\", features = \"+ptx" << hopper::kMinPTXVersion << "\"> or newer PTX";
  for (Attribute attr : targets) {
    auto target = dyn_cast<NVVM::NVVMTargetAttr>(attr);
    if (!target || target.getChip() != hopper::kChip)
      return module.emitOpError("has target ") << attr << ", expected #nvvm.target with chip = \"" << hopper::kChip
                                               << "\": its kernels use warpgroup matrix instructions";
    SmallVector<StringRef> features;
    target.getFeatures().split(features, ',');
    unsigned version = 0;
    for (StringRef feature : features)
      if (feature = feature.trim(); feature.consume_front("+ptx"))
        (void)feature.getAsInteger(10, version);
    if (version < hopper::kMinPTXVersion)
      return module.emitOpError("has target features \"") << target.getFeatures() << "\", expected +ptx"
                                                          << hopper::kMinPTXVersion << " or newer";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

/// The special register behind a read of the grid; null for others.
static Value buildGridRead(OpBuilder &b, Operation *op) {
  auto create = [&](gpu::Dimension dimension, auto x, auto y, auto z) -> Value {
    auto build = [&](auto tag) -> Value {
      return decltype(tag)::create(b, op->getLoc(), b.getI32Type()).getResult();
    };
    return dimension == gpu::Dimension::x ? build(x) : dimension == gpu::Dimension::y ? build(y) : build(z);
  };
  return TypeSwitch<Operation *, Value>(op)
      .Case([&](gpu::BlockIdOp id) {
        return create(id.getDimension(), NVVM::BlockIdXOp(), NVVM::BlockIdYOp(), NVVM::BlockIdZOp());
      })
      .Case([&](gpu::GridDimOp dim) {
        return create(dim.getDimension(), NVVM::GridDimXOp(), NVVM::GridDimYOp(), NVVM::GridDimZOp());
      })
      .Default([](Operation *) { return Value(); });
}

static LogicalResult lowerGridReads(gpu::GPUFuncOp kernel) {
  SmallVector<Operation *> reads;
  kernel.walk([&](Operation *op) {
    if (isa<gpu::BlockIdOp, gpu::GridDimOp>(op))
      reads.push_back(op);
  });
  for (Operation *read : reads) {
    OpBuilder b(read);
    Value value = buildGridRead(b, read);
    for (Operation *user : llvm::to_vector(read->getUsers())) {
      if (!isa<arith::IndexCastOp, arith::IndexCastUIOp>(user) || !user->getResult(0).getType().isInteger(32))
        return user->emitOpError("uses ") << read->getName() << " as index; coordinates of a kernel are i32, expected "
                                          << "an arith.index_cast to i32";
      user->getResult(0).replaceAllUsesWith(value);
      user->erase();
    }
    read->erase();
  }
  return success();
}

/// Replaces tensor maps by pointers to their 128 bytes.
static LogicalResult lowerArguments(gpu::GPUFuncOp kernel, SmallVectorImpl<Type> &types,
                                    SmallVectorImpl<DictionaryAttr> &attrs) {
  Builder b(kernel.getContext());
  auto pointer = LLVM::LLVMPointerType::get(kernel.getContext());
  if (kernel.getNumWorkgroupAttributions() != 0 || kernel.getNumPrivateAttributions() != 0)
    return kernel.emitOpError("has workgroup or private buffers; shared memory is planned from channels");
  for (BlockArgument argument : kernel.getBody().getArguments()) {
    Type type = argument.getType();
    DictionaryAttr known = kernel.getArgAttrDict(argument.getArgNumber());
    NamedAttrList list(known ? known : b.getDictionaryAttr({}));
    if (isa<TensorMapType>(type)) {
      for (Operation *user : llvm::to_vector(argument.getUsers())) {
        if (!isa<UnrealizedConversionCastOp>(user))
          return user->emitOpError("takes a tensor map, which only sparseattn_nv.fill may");
        user->getResult(0).replaceAllUsesWith(argument);
        user->erase();
      }
      argument.setType(pointer);
      list.set("llvm.byval", TypeAttr::get(LLVM::LLVMArrayType::get(b.getI8Type(), hopper::kTensorMapBytes)));
      list.set("llvm.align", b.getI64IntegerAttr(hopper::kTensorMapAlignment));
      list.set("nvvm.grid_constant", b.getUnitAttr());
    } else if (!type.isInteger(32) && !type.isInteger(64) && !type.isF32() && !isa<LLVM::LLVMPointerType>(type)) {
      return kernel.emitOpError("has argument #") << argument.getArgNumber() << " of type " << type
                                                  << "; expected a tensor map, !llvm.ptr, i32, i64 or f32";
    }
    types.push_back(argument.getType());
    attrs.push_back(list.getDictionary(kernel.getContext()));
  }
  return success();
}

static LogicalResult finalizeKernel(gpu::GPUFuncOp kernel) {
  if (kernel.getBody()
          .walk([](Operation *op) { return failed(verifyOp(op)) ? WalkResult::interrupt() : WalkResult::advance(); })
          .wasInterrupted())
    return failure();
  std::optional<ArrayRef<int32_t>> threads = kernel.getKnownBlockSize();
  if (!threads)
    return kernel.emitOpError("has no known_block_size; sparseattn-nv-lower-channels sets it from the roles");
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> argAttrs;
  if (failed(lowerGridReads(kernel)) || failed(lowerArguments(kernel, types, argAttrs)))
    return failure();

  OpBuilder b(kernel);
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), types);
  auto function = LLVM::LLVMFuncOp::create(b, kernel.getLoc(), kernel.getName(), type);
  function.setAllArgAttrs(argAttrs);
  for (NamedAttribute attr : kernel->getDiscardableAttrs())
    if (attr.getName().getValue().starts_with("sparseattn"))
      function->setAttr(attr.getName(), attr.getValue());
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(), b.getDenseI32ArrayAttr({threads->front()}));
  function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), b.getI32IntegerAttr(1));
  function.setPassthroughAttr(
      b.getArrayAttr({b.getStrArrayAttr({"denormal-fp-math-f32", "preserve-sign"}), b.getStringAttr("convergent")}));
  function.getBody().takeBody(kernel.getBody());
  function.walk([](gpu::ReturnOp op) {
    OpBuilder b(op);
    LLVM::ReturnOp::create(b, op.getLoc(), ValueRange());
    op.erase();
  });
  kernel.erase();
  return success();
}

namespace {
struct FinalizeKernel : sparseattn::impl::SparseAttnNVFinalizeKernelBase<FinalizeKernel> {
  void runOnOperation() override {
    SmallVector<gpu::GPUFuncOp> kernels;
    (void)forEachKernel(getOperation(), [&](gpu::GPUFuncOp kernel) {
      kernels.push_back(kernel);
      return success();
    });
    for (gpu::GPUFuncOp kernel : kernels)
      if (failed(verifyTarget(kernel->getParentOfType<gpu::GPUModuleOp>())) || failed(finalizeKernel(kernel)))
        return signalPassFailure();
  }
};
} // namespace
