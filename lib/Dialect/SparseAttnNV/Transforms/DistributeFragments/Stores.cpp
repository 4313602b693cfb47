//===- Stores.cpp - global memory and the values of a thread ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Pointer to element `offset` (i64).
static Value buildElementPointer(ImplicitLocOpBuilder &b, Type element, Value pointer, Value offset) {
  return LLVM::GEPOp::create(b, pointer.getType(), element, pointer, ArrayRef<LLVM::GEPArg>{offset});
}

static Value buildRowPointer(ImplicitLocOpBuilder &b, Type element, Value pointer, Value row, Value stride) {
  Value wide = arith::ExtUIOp::create(b, b.getI64Type(), row);
  return buildElementPointer(b, element, pointer, arith::MulIOp::create(b, wide, stride));
}

/// Runs `store` for rows below `valid`.
static void buildIfValid(ImplicitLocOpBuilder &b, Value row, Value valid, Value also, function_ref<void()> store) {
  Value condition = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, row, valid);
  if (also)
    condition = arith::AndIOp::create(b, condition, also);
  auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  store();
}

/// Transposes the 4x4 matrix whose row l are the registers of lane l of a quad: each round swaps the halves that
/// lie off the diagonal with the lane at distance 1, then 2.
static void buildQuadTranspose(ImplicitLocOpBuilder &b, Value lane, MutableArrayRef<Value> registers) {
  for (int64_t bit = 1; bit < fragment::kQuad; bit *= 2) {
    Value isUpper = arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                                          arith::AndIOp::create(b, lane, buildI32(b, bit)), buildI32(b, 0));
    for (int64_t low = 0; low < fragment::kQuad; ++low) {
      if (low & bit)
        continue;
      Value &x = registers[low], &y = registers[low | bit];
      Value received = buildExchange(b, arith::SelectOp::create(b, isUpper, x, y), bit);
      Value newX = arith::SelectOp::create(b, isUpper, received, x);
      y = arith::SelectOp::create(b, isUpper, y, received);
      x = newX;
    }
  }
}

namespace {

using Results = SmallVector<SmallVector<Value>>;

/// After the transpose lane l of a quad holds 8 neighbouring elements, 16 bytes, of column group l.
struct DistributeStoreTile : FragmentPattern<StoreTileOp> {
  using FragmentPattern::FragmentPattern;
  Results build(StoreTileOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Type element = getElementTypeOrSelf(op.getSource());
    ValueRange source = adaptor.getSource();
    Value thread = buildThread(b);
    Value lane = arith::AndIOp::create(b, thread, buildI32(b, fragment::kQuad - 1));
    Value firstRow = buildThreadRow(b, thread);
    auto quadVector = VectorType::get(fragment::kQuad, b.getI32Type());
    int64_t groups = source.size() / (fragment::kQuad * fragment::kRowsPerThread);
    for (int64_t half = 0; half < fragment::kRowsPerThread; ++half) {
      SmallVector<Value> vectors;
      for (int64_t group = 0; group < groups; ++group) {
        SmallVector<Value> registers;
        for (int64_t i = 0; i < fragment::kQuad; ++i)
          registers.push_back(source[(group * fragment::kQuad + i) * fragment::kRowsPerThread + half]);
        buildQuadTranspose(b, lane, registers);
        Value vector = LLVM::PoisonOp::create(b, quadVector);
        for (auto [i, value] : llvm::enumerate(registers))
          vector = LLVM::InsertElementOp::create(b, vector, value, buildI32(b, i));
        vectors.push_back(vector);
      }
      Value row = arith::AddIOp::create(b, firstRow, buildI32(b, half * fragment::kRowDistance));
      buildIfValid(b, row, adaptor.getValidRows().front(), Value(), [&] {
        Value pointer =
            buildRowPointer(b, element, adaptor.getPointer().front(), row, adaptor.getRowStride().front());
        Value column = arith::MulIOp::create(b, lane, buildI32(b, fragment::kQuadColumns));
        pointer = buildElementPointer(b, element, pointer, arith::ExtUIOp::create(b, b.getI64Type(), column));
        for (auto [group, vector] : llvm::enumerate(vectors)) {
          int32_t first = group * fragment::kQuad * fragment::kQuadColumns;
          Value at = LLVM::GEPOp::create(b, pointer.getType(), element, pointer, ArrayRef<LLVM::GEPArg>{first});
          LLVM::StoreOp::create(b, vector, at, /*alignment=*/16);
        }
      });
    }
    return {};
  }
};

struct DistributeGatherRows : FragmentPattern<GatherRowsOp> {
  using FragmentPattern::FragmentPattern;
  Results build(GatherRowsOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Type element = getElementTypeOrSelf(op.getResult());
    SmallVector<Value> values;
    for (Value index : adaptor.getIndex()) {
      Value wide = arith::ExtSIOp::create(b, b.getI64Type(), index);
      Value offset = arith::MulIOp::create(b, wide, adaptor.getStride().front());
      values.push_back(
          LLVM::LoadOp::create(b, element, buildElementPointer(b, element, adaptor.getPointer().front(), offset)));
    }
    return {values};
  }
};

/// The first lane of each quad stores.
struct DistributeStoreRows : FragmentPattern<StoreRowsOp> {
  using FragmentPattern::FragmentPattern;
  Results build(StoreRowsOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Value thread = buildThread(b);
    Value lane = arith::AndIOp::create(b, thread, buildI32(b, fragment::kQuad - 1));
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lane, buildI32(b, 0));
    Value firstRow = buildThreadRow(b, thread);
    for (auto [half, value] : llvm::enumerate(adaptor.getSource())) {
      Value row = arith::AddIOp::create(b, firstRow, buildI32(b, half * fragment::kRowDistance));
      buildIfValid(b, row, adaptor.getValidRows().front(), isFirst, [&, value = value] {
        Value pointer = buildRowPointer(b, value.getType(), adaptor.getPointer().front(), row,
                                        adaptor.getStride().front());
        LLVM::StoreOp::create(b, value, pointer);
      });
    }
    return {};
  }
};

} // namespace

void nv::populateStorePatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<DistributeGatherRows, DistributeStoreRows, DistributeStoreTile>(converter, patterns.getContext());
}
