//===- Launches.cpp - arguments to try a kernel with -----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Launches.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"
#include <random>

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Most tiles that a block works on.
static constexpr int64_t kTilesOfBlock = 3;
/// Most blocks of a launch whose blocks ask for their tiles.
static constexpr int64_t kMostBlocks = 8;
/// Most entries of a list, and of an array of offsets, plus 1.
static constexpr int64_t kMostEntries = 6;
/// Operands are this many bits of address apart.
static constexpr unsigned kOperandBits = 48;

/// Whether blocks ask for their tiles. Those that go in steps of the grid need a grid in proportion to the tiles.
static bool asksForTiles(gpu::GPUFuncOp kernel) {
  return kernel.walk([](Operation *op) {
    return isa<NextTileOp, LLVM::AtomicRMWOp>(op) ? WalkResult::interrupt() : WalkResult::advance();
  }).wasInterrupted();
}

namespace {

/// What convert-sparseattn-to-nv says about the arguments: sizes that belong
/// together get values that do, so that a launch is one that can happen.
class ArgumentMeaning {
public:
  explicit ArgumentMeaning(gpu::GPUFuncOp kernel)
      : asks(asksForTiles(kernel)), parameters(kernel->getAttrOfType<ArrayAttr>(kParametersAttr)),
        operands(kernel->getAttrOfType<ArrayAttr>(kOperandsAttr)),
        schedule(kernel->getAttrOfType<ScheduleAttr>(kScheduleAttrName)) {}

  void apply(Launch &launch) const {
    if (!parameters || !operands || !schedule || parameters.size() != launch.arguments.size())
      return;
    llvm::StringMap<int64_t> sizes;
    for (auto operand : operands.getAsRange<DictionaryAttr>())
      if (auto type = dyn_cast<RankedTensorType>(operand.getAs<TypeAttr>("type").getValue()))
        for (auto [axis, extent] : llvm::enumerate(type.getShape()))
          if (!ShapedType::isDynamic(extent))
            sizes[getAxis(operand, axis)] = extent;
    for (auto [entry, argument] : llvm::zip(parameters.getAsRange<DictionaryAttr>(), launch.arguments)) {
      if (getKind(entry) != "size")
        continue;
      auto operand = cast<DictionaryAttr>(operands[entry.getAs<IntegerAttr>("operand").getInt()]);
      StringRef name = getAxis(operand, entry.getAs<IntegerAttr>("axis").getInt());
      argument = sizes.try_emplace(name, chooseSize(name, argument)).first->second;
    }
    auto get = [&](StringRef name) { return sizes.contains(name) ? sizes.lookup(name) : 1; };
    int64_t queryTiles = llvm::divideCeil(get("Nq"), schedule.getQueryTile());
    // Each document may end with a tile of its own.
    if (sizes.contains(kDocumentOffsetsAxis))
      queryTiles += get(kDocumentOffsetsAxis);
    int64_t tiles = get("B") * get("Hq") * queryTiles;
    for (auto [entry, argument] : llvm::zip(parameters.getAsRange<DictionaryAttr>(), launch.arguments)) {
      if (getKind(entry) == "blocks")
        argument = tiles;
      if (getKind(entry) == "head_group")
        argument = 1 + argument % (get("B") * get("Hq"));
    }
    launch.blocks = std::max<int64_t>(1, tiles / kTilesOfBlock);
    if (asks)
      launch.blocks = std::min(launch.blocks, kMostBlocks);
    launch.block %= launch.blocks;
  }

private:
  static int64_t chooseSize(StringRef name, int64_t argument) {
    // Entries are walked through one by one; of lengths the kernel takes blocks.
    if (name == kListWidthAxis || name == kDocumentOffsetsAxis)
      return argument % kMostEntries;
    // Batches and heads only repeat what happens.
    return name == "Nq" || name == "Nk" ? argument : 1 + argument % 2;
  }
  static StringRef getKind(DictionaryAttr entry) { return entry.getAs<StringAttr>("kind").getValue(); }
  static StringRef getAxis(DictionaryAttr operand, int64_t axis) {
    return cast<StringAttr>(operand.getAs<ArrayAttr>("axes")[axis]).getValue();
  }

  bool asks;
  ArrayAttr parameters, operands;
  ScheduleAttr schedule;
};

} // namespace

int64_t Launch::getNextTile(int64_t asked, int64_t tiles) const {
  return asked < kTilesOfBlock ? block + (asked + 1) * blocks : tiles + blocks - 1;
}

std::vector<Launch> nv::chooseLaunches(gpu::GPUFuncOp kernel, ArrayRef<int64_t> rows, int64_t blocks, int mixtures) {
  llvm::SetVector<int64_t> sizes;
  sizes.insert(1);
  for (int64_t count : rows)
    for (int64_t block = 1; block <= blocks; ++block)
      for (int64_t delta : {-1, 0, 1})
        sizes.insert(block * count + delta);
  ArgumentMeaning meaning(kernel);
  std::vector<Launch> launches;
  auto add = [&](Launch launch) {
    int64_t most = launch.arguments.empty() ? 1 : *llvm::max_element(launch.arguments);
    launch.blocks = std::max<int64_t>(1, most / kTilesOfBlock);
    meaning.apply(launch);
    if (!llvm::is_contained(launches, launch))
      launches.push_back(launch);
  };
  size_t count = kernel.getNumArguments();
  for (int64_t size : sizes)
    for (int64_t block = 0; block < blocks; ++block)
      add({SmallVector<int64_t>(count, size), block, 1});
  std::mt19937 random(0);
  for (int i = 0; i < mixtures; ++i) {
    Launch launch{SmallVector<int64_t>(count), static_cast<int64_t>(random() % blocks), 1};
    for (int64_t &argument : launch.arguments)
      argument = sizes[random() % sizes.size()];
    add(launch);
  }
  return launches;
}

void nv::setArguments(ScalarInterpreter &interpreter, gpu::GPUFuncOp kernel, const Launch &launch) {
  for (auto [argument, number] : llvm::zip(kernel.getBody().getArguments(), launch.arguments))
    if (argument.getType().isIntOrIndex())
      interpreter.set(argument, number);
    else if (isa<LLVM::LLVMPointerType>(argument.getType()))
      interpreter.set(argument, static_cast<int64_t>(argument.getArgNumber() + 1) << kOperandBits);
}

void nv::describeLaunch(InFlightDiagnostic &diag, gpu::GPUFuncOp kernel, const Launch &launch) {
  Diagnostic &note = diag.attachNote(kernel.getLoc()) << "found for block " << launch.block << " with arguments";
  for (auto [argument, number] : llvm::zip(kernel.getBody().getArguments(), launch.arguments))
    if (argument.getType().isIntOrIndex())
      note << " #" << argument.getArgNumber() << " = " << number;
}
