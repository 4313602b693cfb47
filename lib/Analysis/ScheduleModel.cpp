//===- ScheduleModel.cpp - what a schedule costs, and which one to take ----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/ScheduleModel.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparseattn;

namespace {
/// Barriers of all channels.
constexpr int64_t kBarrierBytes = 256;
/// Addresses, loop state, row maxima and sums.
constexpr int64_t kOtherRegisters = 30;
/// First and last key of both rows of a thread, where they come from memory.
constexpr int64_t kRangeRegisters = 8;
/// What joins at the end, and where queries begin, while the loops run.
constexpr int64_t kSinkRegisters = 3, kOffsetRegisters = 4;
/// Where a packed sequence begins, next to masks in the loop over all its keys.
constexpr int64_t kPackedGuardRegisters = 32;
} // namespace

static constexpr std::pair<MaskKind, StringLiteral> kMaskNames[] = {{MaskKind::Full, "full"},
                                                                    {MaskKind::Causal, "causal"},
                                                                    {MaskKind::Window, "window"},
                                                                    {MaskKind::Mixed, "mixed"},
                                                                    {MaskKind::Blocks, "blocks"}};

StringRef sparseattn::stringifyMaskKind(MaskKind kind) {
  for (const auto &[value, name] : kMaskNames)
    if (value == kind)
      return name;
  return "full";
}

std::optional<MaskKind> sparseattn::parseMaskKind(StringRef text) {
  for (const auto &[value, name] : kMaskNames)
    if (name == text)
      return value;
  return std::nullopt;
}

MaskKind sparseattn::classifyPattern(KeyPatternAttrInterface keys, int64_t kvHeads) {
  auto classifyHead = [&](int64_t head) {
    if (keys.getMaxVisibleKeys(head))
      return MaskKind::Window;
    return keys.isCausal(head) ? MaskKind::Causal : MaskKind::Full;
  };
  MaskKind kind = classifyHead(0);
  for (int64_t head = 1; head < kvHeads; ++head)
    if (classifyHead(head) != kind)
      return MaskKind::Mixed;
  return kind;
}

//===----------------------------------------------------------------------===//
// Resources
//===----------------------------------------------------------------------===//

SmallVector<ResourceUse> sparseattn::getResourceUses(ScheduleAttr schedule, const ScheduleProblem &problem) {
  int64_t rows = schedule.getQueryTile(), keys = schedule.getKeyTile(), stages = schedule.getStages();
  int64_t consumers = schedule.getConsumers();
  // Tiles are whole feature blocks.
  int64_t headDim = llvm::alignTo(problem.headDim, hopper::kSwizzleColumns);
  int64_t valueDim = llvm::alignTo(problem.valueDim, hopper::kSwizzleColumns);
  int64_t bytes = (rows * headDim + stages * keys * (headDim + valueDim)) * problem.elementBytes + kBarrierBytes;
  std::string bytesFormula = (Twine("(") + Twine(rows) + "*" + Twine(headDim) + " + " + Twine(stages) + "*" + Twine(keys) +
                              "*(" + Twine(headDim) + "+" + Twine(valueDim) + "))*" + Twine(problem.elementBytes) + " + " +
                              Twine(kBarrierBytes))
                                 .str();

  // Scores, the accumulated output, the weights as 16-bit pairs.
  int64_t others = kOtherRegisters + (problem.hasRanges ? kRangeRegisters : 0) + (problem.hasSink ? kSinkRegisters : 0) +
                   (problem.hasOffset ? kOffsetRegisters : 0) +
                   (problem.isPacked && schedule.getGuardMasks() ? kPackedGuardRegisters : 0);
  int64_t registers = keys / 2 + problem.valueDim / 2 + keys / 4 + others;
  std::string registersFormula = (Twine(keys) + "/2 + " + Twine(problem.valueDim) + "/2 + " + Twine(keys) + "/4 + " +
                                  Twine(others))
                                     .str();

  // Every thread starts with the same number; setmaxnreg moves them between warpgroups.
  int64_t warpgroups = consumers + 1;
  int64_t share = std::min(hopper::kRegisterFile / (warpgroups * hopper::kWarpgroupThreads),
                           hopper::kMaxThreadRegisters);
  int64_t perThread = share / 8 * 8;
  int64_t wanted = schedule.getProducerRegisters() + consumers * schedule.getConsumerRegisters();
  return {{"shared memory (bytes)", bytes, hopper::kSharedMemoryLimit, bytesFormula},
          {"registers of a consumer thread", registers, schedule.getConsumerRegisters(), registersFormula},
          {"registers of all warpgroups", wanted * hopper::kWarpgroupThreads,
           perThread * warpgroups * hopper::kWarpgroupThreads,
           (Twine("(") + Twine(schedule.getProducerRegisters()) + " + " + Twine(consumers) + "*" +
            Twine(schedule.getConsumerRegisters()) + ")*" + Twine(hopper::kWarpgroupThreads))
               .str()}};
}

std::optional<std::string> sparseattn::findShapeMismatch(ScheduleAttr schedule, const ScheduleProblem &problem) {
  int64_t rows = hopper::kMmaRows * schedule.getConsumers();
  if (schedule.getQueryTile() != rows)
    return ("query_tile is " + Twine(schedule.getQueryTile()) + "; " + Twine(schedule.getConsumers()) +
            " consumers compute " + Twine(rows) + " rows")
        .str();
  if (schedule.getKeyTile() % hopper::kMmaDepth != 0 || schedule.getKeyTile() > hopper::kMmaMaxColumns)
    return ("key_tile is " + Twine(schedule.getKeyTile()) + "; wgmma takes multiples of " + Twine(hopper::kMmaDepth) +
            " up to " + Twine(hopper::kMmaMaxColumns))
        .str();
  if (problem.block && problem.block % schedule.getKeyTile() != 0)
    return ("key_tile is " + Twine(schedule.getKeyTile()) + ", which does not divide the block of " +
            Twine(problem.block) + " keys")
        .str();
  if (problem.queryBlock && problem.queryBlock % schedule.getQueryTile() != 0)
    return ("query_tile is " + Twine(schedule.getQueryTile()) + ", which does not divide the " +
            Twine(problem.queryBlock) + " queries that share a list")
        .str();
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

bool ScheduleRow::agrees(const ScheduleProblem &problem) const {
  return (headDim < 0 || headDim == problem.headDim) && (valueDim < 0 || valueDim == problem.valueDim) &&
         (!mask || *mask == problem.mask) && (leastKeys == 0 || problem.keys >= leastKeys);
}

SmallVector<ScheduleRow> sparseattn::getHopperSchedules(MLIRContext *context) {
  // Measured (H100, bf16): 64, 128 and 256, full and causal. The others are the largest key tile, or for
  // causal kinds the largest up to 128, that fits. With blocks, a tile must divide 128 and, at 256, memory.
  struct Entry {
    int64_t headDim, valueDim;
    std::optional<MaskKind> mask;
    int64_t consumers, keyTile;
    bool pingPong = false;
    int64_t leastKeys = 0, stages = 2;
    bool guardMasks = false;
  };
  static const Entry entries[] = {
      // Half the accumulator leaves registers for a third consumer.
      {64, 64, MaskKind::Full, 3, 128, /*pingPong=*/true, 0, /*stages=*/3},
      {64, 64, MaskKind::Causal, 3, 128, /*pingPong=*/true, 0, /*stages=*/3},
      {64, 64, MaskKind::Window, 3, 112},
      {64, 64, MaskKind::Mixed, 3, 112},
      {64, 64, std::nullopt, 3, 128},
      {96, 96, MaskKind::Full, 2, 176},
      {96, 96, std::nullopt, 2, 128},
      // More rows for each key that is loaded, for smaller tiles of keys; three consumers gain from turns, two hardly.
      {128, 128, MaskKind::Full, 3, 80, /*pingPong=*/true, 0, /*stages=*/3},
      {128, 128, MaskKind::Causal, 3, 80, /*pingPong=*/true, 0, /*stages=*/3},
      {128, 128, MaskKind::Mixed, 3, 80, /*pingPong=*/true, 32768},
      // Edges of narrow windows are most of the work: small tiles, of which a warpgroup skips those it does not see.
      {128, 128, MaskKind::Window, 3, 64, /*pingPong=*/false, 0, /*stages=*/4},
      {128, 128, std::nullopt, 2, 128},
      {192, 128, std::nullopt, 2, 128},
      {192, 192, MaskKind::Blocks, 2, 64},
      {192, 192, std::nullopt, 2, 112},
      {256, 256, MaskKind::Full, 2, 64, /*pingPong=*/true},
      // As fast with one loop as with two, and assembled in 0.7 of the time.
      {256, 256, MaskKind::Causal, 2, 64, /*pingPong=*/true, 0, /*stages=*/2, /*guardMasks=*/true},
      {256, 256, std::nullopt, 2, 64},
  };
  SmallVector<ScheduleRow> rows;
  auto add = [&](const Entry &entry, std::optional<MaskKind> mask, int64_t consumers, TileOrder order) {
    bool three = consumers == 3;
    rows.push_back({entry.headDim, entry.valueDim, mask, entry.leastKeys,
                    ScheduleAttr::get(context, 64 * consumers, entry.keyTile, consumers, entry.stages, three ? 32 : 40,
                                      three ? 160 : 232, order, entry.pingPong, entry.guardMasks)});
  };
  for (const Entry &entry : entries)
    for (const auto &named : kMaskNames) {
      MaskKind kind = named.first;
      bool isTaken = llvm::any_of(rows, [&](const ScheduleRow &row) {
        return row.headDim == entry.headDim && row.valueDim == entry.valueDim && row.mask == kind &&
               row.leastKeys == entry.leastKeys;
      });
      if (isTaken || (entry.mask && *entry.mask != kind))
        continue;
      // Tiles of a window, or of everything, have the same work; lists of 128 queries fit two consumers.
      bool isEven = kind == MaskKind::Full || kind == MaskKind::Window;
      int64_t consumers = kind == MaskKind::Blocks ? 2 : entry.consumers;
      add(entry, kind, consumers, isEven ? TileOrder::Natural : TileOrder::HeaviestFirst);
    }
  return rows;
}

FailureOr<SmallVector<ScheduleRow>>
sparseattn::parseScheduleTable(StringRef text, MLIRContext *context,
                               function_ref<InFlightDiagnostic(unsigned)> emitError) {
  SmallVector<ScheduleRow> rows;
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (auto [index, whole] : llvm::enumerate(lines)) {
    unsigned number = index + 1;
    StringRef line = whole.trim();
    if (line.empty() || line.starts_with("//"))
      continue;
    StringRef words[3];
    for (StringRef &word : words) {
      size_t end = line.find_first_of(" \t");
      word = line.take_front(end);
      line = line.drop_front(word.size()).ltrim();
    }
    ScheduleRow row{-1, -1, std::nullopt, 0, {}};
    for (auto [word, size] : {std::pair(words[0], &row.headDim), std::pair(words[1], &row.valueDim)})
      if (word != "*" && (word.getAsInteger(10, *size) || *size < 1)) {
        emitError(number) << "expected a head dimension or *, found '" << word << "'";
        return failure();
      }
    StringRef mask = words[2].take_until([](char c) { return c == '>'; }), least = words[2].drop_front(mask.size());
    if (mask != "*" && !(row.mask = parseMaskKind(mask))) {
      emitError(number) << "expected a mask kind (full, causal, window, mixed, blocks) or *, found '" << mask << "'";
      return failure();
    }
    if (!least.empty() && (!least.consume_front(">=") || least.getAsInteger(10, row.leastKeys) || row.leastKeys < 1)) {
      emitError(number) << "expected a length class such as " << mask << ">=8192, found '" << words[2] << "'";
      return failure();
    }
    row.schedule = dyn_cast_or_null<ScheduleAttr>(line.empty() ? Attribute() : parseAttribute(line, context));
    if (!row.schedule) {
      emitError(number) << "expected #sparseattn.schedule<...>, found '" << line << "'";
      return failure();
    }
    rows.push_back(row);
  }
  return rows;
}
