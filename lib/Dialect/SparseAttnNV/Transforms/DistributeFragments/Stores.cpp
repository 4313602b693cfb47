//===- Stores.cpp - global memory and the values of a thread ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "../Kernels.h"
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
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

/// Through shared memory: each warp puts some columns of its 16 rows there, and lanes that follow each other read
/// and store 16 bytes that follow each other.
static void buildStagedStore(StoreTileOp op, StoreTileOp::GenericAdaptor<ArrayRef<ValueRange>> adaptor,
                             ImplicitLocOpBuilder &b) {
  Type element = getElementTypeOrSelf(op.getSource());
  ValueRange source = adaptor.getSource();
  Value stride = adaptor.getRowStride().front();
  int64_t columns = cast<ShapedType>(op.getSource().getType()).getDimSize(1);
  int64_t staged = *op.getStagingColumns(), pitch = fragment::getStagingPitch(staged);
  auto shared = LLVM::LLVMPointerType::get(b.getContext(), 3);
  auto buildOffset = [&](Value base, Value bytes) -> Value {
    return LLVM::GEPOp::create(b, shared, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
  };
  auto buildFixedOffset = [&](Value base, int32_t bytes) -> Value {
    return LLVM::GEPOp::create(b, shared, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
  };

  Value thread = NVVM::ThreadIdXOp::create(b, b.getI32Type());
  Value lane = arith::AndIOp::create(b, thread, buildI32(b, hopper::kWarpThreads - 1));
  Value warp = arith::ShRUIOp::create(b, thread, buildI32(b, llvm::Log2_64(hopper::kWarpThreads)));
  // The first warpgroup is the producer's.
  Value place = arith::SubIOp::create(b, warp, buildI32(b, hopper::kWarpgroupWarps));
  place = arith::MulIOp::create(b, place, buildI32(b, fragment::getStagingBytes(staged)));
  place = arith::AddIOp::create(b, place, buildI32(b, *op.getStaging()));
  place = buildOffset(buildSharedMemory(b, op->getParentOfType<gpu::GPUModuleOp>()), place);

  // Four matrices of 8 x 8 are written at once: lane l gives the address of row l % 16, 8 columns from 8 (l / 16) on.
  Value rowOfLane = arith::AndIOp::create(b, lane, buildI32(b, fragment::kWarpRows - 1));
  Value unitOfLane = arith::ShRUIOp::create(b, lane, buildI32(b, llvm::Log2_64(fragment::kWarpRows)));
  Value written = buildOffset(place, arith::MulIOp::create(b, rowOfLane, buildI32(b, pitch)));
  written = buildOffset(written, arith::MulIOp::create(b, unitOfLane, buildI32(b, fragment::kStagingUnit)));

  // Lanes of a row read its units, `rowsAtOnce` rows at a time.
  int64_t units = staged / fragment::kStagingUnitColumns, rowsAtOnce = hopper::kWarpThreads / units;
  Value unit = arith::AndIOp::create(b, lane, buildI32(b, units - 1));
  Value rowInWarp = arith::ShRUIOp::create(b, lane, buildI32(b, llvm::Log2_64(units)));
  Value read = buildOffset(place, arith::MulIOp::create(b, rowInWarp, buildI32(b, pitch)));
  read = buildOffset(read, arith::MulIOp::create(b, unit, buildI32(b, fragment::kStagingUnit)));
  Value firstRow = arith::MulIOp::create(b, arith::AndIOp::create(b, warp, buildI32(b, hopper::kWarpgroupWarps - 1)),
                                         buildI32(b, fragment::kWarpRows));
  firstRow = arith::AddIOp::create(b, firstRow, rowInWarp);
  Value target = buildRowPointer(b, element, adaptor.getPointer().front(), firstRow, stride);
  Value column = arith::MulIOp::create(b, unit, buildI32(b, fragment::kStagingUnitColumns));
  target = buildElementPointer(b, element, target, arith::ExtUIOp::create(b, b.getI64Type(), column));
  Value step = arith::MulIOp::create(b, stride, arith::ConstantIntOp::create(b, b.getI64Type(), rowsAtOnce));

  auto vector = VectorType::get(fragment::kStagingUnit / 4, b.getI32Type());
  constexpr int64_t matrices = 4, columnsAtOnce = 2 * fragment::kStagingUnitColumns;
  for (int64_t first = 0; first < columns; first += staged) {
    NVVM::SyncWarpOp::create(b, buildI32(b, -1));
    for (int64_t column = 0; column < staged; column += columnsAtOnce)
      NVVM::StMatrixOp::create(b, buildFixedOffset(written, 2 * column),
                               source.slice((first + column) / columnsAtOnce * matrices, matrices),
                               NVVM::MMALayout::row, NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8),
                               NVVM::LdStMatrixEltType::B16);
    NVVM::SyncWarpOp::create(b, buildI32(b, -1));
    Value pointer = LLVM::GEPOp::create(b, target.getType(), element, target,
                                        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(first)});
    for (int64_t i = 0; i < fragment::kWarpRows; i += rowsAtOnce) {
      Value values = LLVM::LoadOp::create(b, vector, buildFixedOffset(read, i * pitch), /*alignment=*/16);
      Value row = arith::AddIOp::create(b, firstRow, buildI32(b, i));
      buildIfValid(b, row, adaptor.getValidRows().front(), Value(),
                   [&] { LLVM::StoreOp::create(b, values, pointer, /*alignment=*/16); });
      pointer = buildElementPointer(b, element, pointer, step);
    }
  }
}

namespace {

using Results = SmallVector<SmallVector<Value>>;

/// After the transpose lane l of a quad holds 8 neighbouring elements, 16 bytes, of column group l.
struct DistributeStoreTile : FragmentPattern<StoreTileOp> {
  using FragmentPattern::FragmentPattern;
  Results build(StoreTileOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    if (op.getStaging()) {
      buildStagedStore(op, adaptor, b);
      return {};
    }
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
