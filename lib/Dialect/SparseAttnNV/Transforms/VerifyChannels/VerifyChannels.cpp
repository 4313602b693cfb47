//===- VerifyChannels.cpp - run the channels of a kernel in a model --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "GlobalMemory.h"
#include "Launches.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "llvm/ADT/SetVector.h"
#include <map>

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVVERIFYCHANNELS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

class KernelVerifier {
public:
  KernelVerifier(gpu::GPUFuncOp kernel, SpecializeOp roles)
      : kernel(kernel), roles(roles),
        program(kernel, [](Operation *op) { return isa<FillOp, PostOp>(op) || isConsumerOp(op); }) {
    kernel.walk([&](ChannelOp channel) {
      StringRef name = channel.getName().value_or("");
      names.push_back(name.empty() ? "#" + std::to_string(names.size()) : name.str());
      channels.insert(channel);
      ChannelType type = channel.getChannel().getType();
      rows.insert(type.getRows());
      blocks = std::max(blocks, type.getStages() + 3);
    });
  }
  LogicalResult run();

private:
  /// The trace of one run; nothing when it depends on what the model does not know.
  std::optional<ChannelTrace> trace(const Launch &launch);
  /// Whether such an operation matters to the trace. Where it depends on what is not known, the trace ends.
  bool visit(Operation *op, const Launch &launch, ScalarInterpreter &interpreter, std::vector<ChannelEvent> &events);

  gpu::GPUFuncOp kernel;
  SpecializeOp roles;
  ScalarProgram program;
  llvm::SetVector<Operation *> channels;
  SmallVector<std::string> names;
  /// Numbers that the producer posted, by channel and position, and how many tiles it asked for.
  std::map<std::pair<Operation *, int64_t>, SmallVector<std::optional<int64_t>>> posted;
  int64_t asked = 0;
  /// Rows of the tiles, and most blocks of them that a launch has.
  llvm::SetVector<int64_t> rows;
  int64_t blocks = 3;
  /// Whether the last trace is known so far, and why not.
  bool isKnown = true;
  Operation *unknown = nullptr;
  /// A number that a consumer cannot take, where the trace ends.
  std::optional<ChannelEvent> fault;
  StringRef faultReason;
};

} // namespace

bool KernelVerifier::visit(Operation *op, const Launch &launch, ScalarInterpreter &interpreter,
                           std::vector<ChannelEvent> &events) {
  if (!isKnown)
    return true;
  auto giveUp = [&] {
    isKnown = false;
    unknown = op;
    return true;
  };
  auto add = [&](ChannelEvent::Kind kind, Value channel, Value position) {
    std::optional<int64_t> number = interpreter.get(position);
    auto it = llvm::find(channels, channel.getDefiningOp());
    if (!number || it == channels.end())
      return giveUp();
    events.push_back({kind, static_cast<unsigned>(it - channels.begin()), *number, op});
    return true;
  };
  if (auto fill = dyn_cast<FillOp>(op))
    return add(ChannelEvent::Kind::Fill, fill.getChannel(), fill.getPosition());
  if (auto await = dyn_cast<AwaitOp>(op))
    return add(ChannelEvent::Kind::Await, await.getChannel(), await.getPosition());
  if (auto release = dyn_cast<ReleaseOp>(op))
    return add(ChannelEvent::Kind::Release, release.getChannel(), release.getPosition());
  auto addTurn = [&](ChannelEvent::Kind kind, Value consumer) {
    std::optional<int64_t> number = interpreter.get(consumer);
    if (!number)
      return giveUp();
    events.push_back({kind, 0, *number, op});
    return true;
  };
  if (auto take = dyn_cast<TakeTurnOp>(op))
    return addTurn(ChannelEvent::Kind::TakeTurn, take.getConsumer());
  if (auto pass = dyn_cast<PassTurnOp>(op))
    return addTurn(ChannelEvent::Kind::PassTurn, pass.getConsumer());
  auto set = [&](std::optional<int64_t> number) {
    interpreter.set(op->getResult(0), number);
    return true;
  };
  if (isa<gpu::BlockIdOp>(op))
    return set(launch.block);
  if (isa<gpu::GridDimOp>(op))
    return set(launch.blocks);
  if (auto next = dyn_cast<NextTileOp>(op)) {
    std::optional<int64_t> tiles = interpreter.get(next.getTiles());
    return set(tiles ? std::optional(launch.getNextTile(asked++, *tiles)) : std::nullopt);
  }
  if (auto post = dyn_cast<PostOp>(op)) {
    std::optional<int64_t> position = interpreter.get(post.getPosition());
    if (!position)
      return giveUp();
    SmallVector<std::optional<int64_t>> &numbers = posted[{post.getChannel().getDefiningOp(), *position}];
    numbers.clear();
    for (Value number : post.getNumbers())
      numbers.push_back(interpreter.get(number));
    return !post.getAlone() || add(ChannelEvent::Kind::Fill, post.getChannel(), post.getPosition());
  }
  if (auto take = dyn_cast<TakeOp>(op)) {
    add(ChannelEvent::Kind::Await, take.getChannel(), take.getPosition());
    if (!isKnown)
      return true;
    auto numbers = posted.find({take.getChannel().getDefiningOp(), events.back().position});
    bool isGone = llvm::any_of(events, [&](const ChannelEvent &event) {
      return event.kind == ChannelEvent::Kind::Release && event.channel == events.back().channel &&
             event.position == events.back().position;
    });
    if (numbers != posted.end() && !isGone) {
      for (auto [taken, number] : llvm::zip(take.getNumbers(), numbers->second))
        interpreter.set(taken, number);
      return true;
    }
    fault = events.back();
    faultReason = isGone ? ", which it released" : ", with which the producer posts none";
    isKnown = false;
    for (Value number : take.getNumbers())
      interpreter.set(number, std::nullopt);
    return true;
  }
  return false;
}

std::optional<ChannelTrace> KernelVerifier::trace(const Launch &launch) {
  ScalarInterpreter common(program);
  setArguments(common, kernel, launch);
  isKnown = true;
  posted.clear();
  asked = 0;
  GlobalMemory memory(rows.empty() ? 1 : rows.front(), blocks);
  std::vector<ChannelEvent> none;
  auto setUp = [&](Operation *op) { return memory.run(op, common) || visit(op, launch, common, none); };
  if (failed(common.run(*roles->getBlock(), setUp))) {
    unknown = common.getFailure();
    return std::nullopt;
  }

  ChannelTrace result;
  for (auto [op, name] : llvm::zip(channels, names))
    result.channels.push_back({name, cast<ChannelOp>(op).getChannel().getType().getStages()});
  int64_t consumers = roles.getConsumers();
  for (int64_t role = 0; role <= consumers; ++role) {
    ScalarInterpreter interpreter = common;
    std::vector<ChannelEvent> &events = result.roles.emplace_back();
    if (role > 0)
      interpreter.set(roles.getWarpgroup(), role - 1);
    auto record = [&](Operation *op) { return memory.run(op, interpreter) || visit(op, launch, interpreter, events); };
    if (failed(interpreter.run(role == 0 ? *roles.getProducerBlock() : *roles.getConsumerBlock(), record))) {
      unknown = interpreter.getFailure();
      return std::nullopt;
    }
  }
  return isKnown ? std::optional(std::move(result)) : std::nullopt;
}

LogicalResult KernelVerifier::run() {
  constexpr int mixtures = 100;
  bool isVerified = false;
  for (const Launch &launch : chooseLaunches(kernel, rows.getArrayRef(), blocks, mixtures)) {
    std::optional<ChannelTrace> events = trace(launch);
    if (fault) {
      auto take = static_cast<Operation *>(const_cast<void *>(fault->source));
      InFlightDiagnostic diag = take->emitOpError()
                                << "breaks the protocol of channels: a consumer takes the number of item "
                                << fault->position << " of channel " << names[fault->channel] << faultReason;
      describeLaunch(diag, kernel, launch);
      return diag;
    }
    // No such launch, where a block is beyond the grid: it divides by 0.
    if (!events)
      continue;
    isVerified = true;
    std::optional<ChannelProblem> problem = findChannelProblem(*events);
    if (!problem)
      continue;
    const void *source = problem->event ? problem->event->source : nullptr;
    Operation *op = source ? static_cast<Operation *>(const_cast<void *>(source)) : roles.getOperation();
    InFlightDiagnostic diag = op->emitOpError() << "breaks the protocol of channels: " << problem->message;
    describeLaunch(diag, kernel, launch);
    return diag;
  }
  if (!isVerified && unknown)
    unknown->emitRemark("channels not verified: this depends on numbers that are known at run time only");
  return success();
}

static LogicalResult verifyKernel(gpu::GPUFuncOp kernel) {
  for (auto roles : kernel.getBody().getOps<SpecializeOp>())
    return KernelVerifier(kernel, roles).run();
  return success();
}

namespace {
struct VerifyChannels : sparseattn::impl::SparseAttnNVVerifyChannelsBase<VerifyChannels> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), verifyKernel)))
      signalPassFailure();
  }
};
} // namespace
