//===- SelectSchedule.cpp - sparseattn-select-schedule ---------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "RemarkUtils.h"
#include "sparseattn/Analysis/ScheduleModel.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Target/HopperTarget.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNSELECTSCHEDULE
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

static constexpr StringLiteral kPassName = "sparseattn-select-schedule";

/// The problem of `attention` or `sparse_attention`. `expectedKeys` is for lengths that the type leaves open; 0: not
/// known.
template <typename OpTy>
static ScheduleProblem describe(OpTy op, int64_t expectedKeys) {
  auto query = cast<RankedTensorType>(op.getQuery().getType());
  HeadShape key = getHeadShape(cast<RankedTensorType>(op.getKey().getType()), op.getLayout());
  HeadShape value = getHeadShape(cast<RankedTensorType>(op.getValue().getType()), op.getLayout());
  // A table of heads knows how many there are when the type does not.
  auto table = dyn_cast<HeadTableAttr>(op.getKeys());
  int64_t kvHeads = table ? static_cast<int64_t>(table.getHeads().size()) : key.heads;
  ScheduleProblem problem{key.dim, value.dim, query.getElementTypeBitWidth() / 8,
                          classifyPattern(op.getKeys(), kvHeads)};
  // The keys of a document begin with a tile, so that only a window has a first key of its own in them.
  bool hasWindows = problem.mask == MaskKind::Window || problem.mask == MaskKind::Mixed;
  problem.hasRanges = op.getValidRange() || (op.getCuSeqlensQ() && hasWindows);
  problem.hasSink = op.getSink() != nullptr;
  problem.hasOffset = op.getQOffset() != nullptr;
  problem.isPacked = op.getCuSeqlensQ() != nullptr;
  // A sequence of documents says nothing of their lengths.
  bool hasDocuments = op.getValidRange() || op.getCuSeqlensK();
  if (problem.mask == MaskKind::Window) {
    problem.keys = 0;
    for (int64_t head = 0; head < (table ? kvHeads : 1); ++head)
      problem.keys = std::max(problem.keys, *op.getKeys().getMaxVisibleKeys(head));
  } else if (!hasDocuments && !ShapedType::isDynamic(key.length))
    problem.keys = key.length;
  else if (expectedKeys > 0)
    problem.keys = expectedKeys;
  if constexpr (std::is_same_v<OpTy, SparseAttentionOp>) {
    problem.mask = MaskKind::Blocks;
    problem.block = op.getBlock();
    problem.queryBlock = op.getQueryBlock();
  }
  return problem;
}

static std::string describe(const ScheduleProblem &problem) {
  return llvm::formatv("head dimensions {0} and {1}, {2}", problem.headDim, problem.valueDim,
                       stringifyMaskKind(problem.mask));
}

namespace {
struct SelectSchedule : sparseattn::impl::SparseAttnSelectScheduleBase<SelectSchedule> {
  using Base::Base;

  void runOnOperation() override {
    if (chip != "sm_90a") {
      getOperation()->emitError() << kPassName << ": there is no table for chip '" << chip << "', only for sm_90a";
      return signalPassFailure();
    }
    if (expectedKeys < 0) {
      getOperation()->emitError() << kPassName << ": expected-keys is " << expectedKeys.getValue()
                                  << "; expected a number of keys, or 0 where it is not known";
      return signalPassFailure();
    }
    if (failed(readTable()))
      return signalPassFailure();
    bool failed = false;
    getOperation()->walk([&](Operation *op) {
      if (auto attention = dyn_cast<AttentionOp>(op))
        failed |= mlir::failed(select(attention));
      else if (auto attention = dyn_cast<SparseAttentionOp>(op))
        failed |= mlir::failed(select(attention));
    });
    if (failed)
      signalPassFailure();
  }

private:
  LogicalResult readTable() {
    rows.clear();
    if (!table.empty()) {
      auto file = llvm::MemoryBuffer::getFile(table);
      if (!file)
        return getOperation()->emitError() << kPassName << ": cannot read '" << table
                                           << "': " << file.getError().message();
      auto parsed = parseScheduleTable((*file)->getBuffer(), &getContext(), [&](unsigned line) {
        return getOperation()->emitError() << table << ":" << line << ": ";
      });
      if (mlir::failed(parsed))
        return failure();
      rows = std::move(*parsed);
    }
    userRows = rows.size();
    llvm::append_range(rows, getHopperSchedules(&getContext()));
    return success();
  }

  static ScheduleAttr replace(ScheduleAttr schedule, int64_t keyTile, bool guardMasks) {
    return ScheduleAttr::get(schedule.getContext(), schedule.getQueryTile(), keyTile, schedule.getConsumers(),
                             schedule.getStages(), schedule.getProducerRegisters(), schedule.getConsumerRegisters(),
                             schedule.getOrder(), schedule.getPingPong(), guardMasks);
  }

  /// `schedule` as it leaves registers enough: masks in loops of their own, then smaller tiles.
  static ScheduleAttr fitRegisters(ScheduleAttr schedule, const ScheduleProblem &problem) {
    auto fits = [&] { return getResourceUses(schedule, problem)[1].fits(); };
    if (schedule.getGuardMasks() && !fits())
      schedule = replace(schedule, schedule.getKeyTile(), /*guardMasks=*/false);
    while (schedule.getKeyTile() > hopper::kMmaDepth && !fits())
      schedule = replace(schedule, schedule.getKeyTile() - hopper::kMmaDepth, schedule.getGuardMasks());
    return schedule;
  }

  /// `schedule` with the options in place of what it says.
  ScheduleAttr applyOptions(Operation *op, ScheduleAttr schedule) {
    auto pick = [](int64_t option, int64_t value) { return option > 0 ? option : value; };
    return ScheduleAttr::getChecked([&] { return op->emitOpError("options of sparseattn-select-schedule: "); },
                                    &getContext(), pick(queryTile, schedule.getQueryTile()),
                                    pick(keyTile, schedule.getKeyTile()), pick(consumers, schedule.getConsumers()),
                                    pick(stages, schedule.getStages()),
                                    pick(producerRegisters, schedule.getProducerRegisters()),
                                    pick(consumerRegisters, schedule.getConsumerRegisters()), schedule.getOrder(),
                                    schedule.getPingPong(), schedule.getGuardMasks());
  }

  template <typename OpTy>
  LogicalResult select(OpTy op) {
    ScheduleProblem problem = describe(op, expectedKeys);
    StringRef name = op->getName().stripDialect();
    std::string what = describe(problem), why;
    ScheduleAttr schedule = op.getScheduleAttr();
    if (schedule) {
      why = "the operation has it";
    } else if (problem.elementBytes != 2) {
      emitMissed(op, kPassName, name, "wgmma multiplies elements of 16 bits here, found " +
                                          Twine(problem.elementBytes * 8) + " bits",
                 "use bf16 or f16");
      return success();
    } else {
      const auto *row = llvm::find_if(rows, [&](const ScheduleRow &row) { return row.agrees(problem); });
      if (row == rows.end()) {
        std::string keys = ShapedType::isDynamic(problem.keys) ? "" : ", " + std::to_string(problem.keys) + " keys";
        emitMissed(op, kPassName, name, "no row of the table is for " + what + keys,
                   "add one to a file and name it in option table");
        return success();
      }
      bool isUsers = row - rows.begin() < static_cast<ptrdiff_t>(userRows);
      why = what + (row->leastKeys ? ", at least " + std::to_string(row->leastKeys) + " keys" : std::string()) +
            (isUsers ? "; row " + std::to_string(row - rows.begin() + 1) + " of " + std::string(table)
                     : std::string("; built-in table"));
      schedule = row->schedule;
      if (!isUsers && problem.block % schedule.getKeyTile() != 0) {
        int64_t tile = std::gcd(problem.block, schedule.getKeyTile());
        schedule = replace(schedule, tile, schedule.getGuardMasks());
        why += "; key_tile divides blocks of " + std::to_string(problem.block);
      } else if (!isUsers && !problem.block) {
        ScheduleAttr whole = schedule;
        schedule = fitRegisters(schedule, problem);
        if (schedule.getKeyTile() != whole.getKeyTile())
          why += "; key_tile leaves registers for ranges of keys, sink or offset";
        else if (schedule != whole)
          why += "; masks in loops of their own leave registers for packed sequences";
      }
    }
    schedule = applyOptions(op, schedule);
    if (!schedule)
      return failure();
    if (std::optional<std::string> mismatch = findShapeMismatch(schedule, problem))
      return op.emitOpError() << "has no schedule: " << *mismatch;
    SmallVector<ResourceUse> uses = getResourceUses(schedule, problem);
    if (!llvm::all_of(uses, [](const ResourceUse &use) { return use.fits(); })) {
      InFlightDiagnostic diagnostic = op.emitOpError() << "does not fit with " << schedule << " (" << what << ")";
      for (const ResourceUse &use : uses)
        diagnostic.attachNote() << use.name << ": " << use.needed << " of " << use.available
                                << (use.fits() ? "" : ", too much") << "; " << use.formula;
      diagnostic.attachNote() << "choose a smaller key_tile, or fewer stages";
      return diagnostic;
    }
    std::string text;
    llvm::raw_string_ostream(text) << schedule << ": " << why;
    emitPassed(op, kPassName, name, text);
    op.setScheduleAttr(schedule);
    return success();
  }

  SmallVector<ScheduleRow> rows;
  size_t userRows = 0;
};
} // namespace
