//===- VerifyChannels.cpp - run the channels of a kernel in a model --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "../Kernels.h"
#include "ScalarInterpreter.h"
#include "sparseattn/Analysis/ChannelModel.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "llvm/ADT/SetVector.h"
#include <random>

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVVERIFYCHANNELS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// Arguments and block of one run.
struct Launch {
  SmallVector<int64_t> arguments;
  int64_t block;
};

class KernelVerifier {
public:
  KernelVerifier(gpu::GPUFuncOp kernel, SpecializeOp roles) : kernel(kernel), roles(roles) {
    kernel.walk([&](ChannelOp channel) { channels.insert(channel); });
  }
  LogicalResult run();

private:
  std::vector<Launch> chooseLaunches();
  /// The trace of one run; nothing when it depends on what the model does not know.
  std::optional<ChannelTrace> trace(const Launch &launch);
  bool visit(Operation *op, ScalarInterpreter &interpreter, std::vector<ChannelEvent> &events);

  gpu::GPUFuncOp kernel;
  SpecializeOp roles;
  llvm::SetVector<Operation *> channels;
  /// Why the last trace is not known.
  Operation *unknown = nullptr;
};

} // namespace

/// Sizes at which loops over blocks of a channel's rows make 0 to stages + 2 steps, just below, at and above a whole
/// number of blocks; every integer argument takes every one of them, together and in mixtures.
std::vector<Launch> KernelVerifier::chooseLaunches() {
  llvm::SetVector<int64_t> sizes;
  sizes.insert(1);
  int64_t blocks = 1;
  for (Operation *op : channels) {
    ChannelType type = cast<ChannelOp>(op).getChannel().getType();
    blocks = std::max(blocks, type.getStages() + 3);
    for (int64_t block = 1; block <= type.getStages() + 3; ++block)
      for (int64_t delta : {-1, 0, 1})
        sizes.insert(block * type.getRows() + delta);
  }
  std::vector<Launch> launches;
  size_t count = kernel.getNumArguments();
  for (int64_t size : sizes)
    for (int64_t block = 0; block < blocks; ++block)
      launches.push_back({SmallVector<int64_t>(count, size), block});
  // The same mixtures every time.
  std::mt19937 random(0);
  constexpr int mixtures = 100;
  for (int i = 0; i < mixtures; ++i) {
    Launch launch{SmallVector<int64_t>(count), static_cast<int64_t>(random() % blocks)};
    for (int64_t &argument : launch.arguments)
      argument = sizes[random() % sizes.size()];
    launches.push_back(launch);
  }
  return launches;
}

bool KernelVerifier::visit(Operation *op, ScalarInterpreter &interpreter, std::vector<ChannelEvent> &events) {
  auto add = [&](ChannelEvent::Kind kind, Value channel, Value position) {
    std::optional<int64_t> number = interpreter.get(position);
    auto it = llvm::find(channels, channel.getDefiningOp());
    if (!number || it == channels.end()) {
      unknown = op;
      return false;
    }
    events.push_back({kind, static_cast<unsigned>(it - channels.begin()), *number, op});
    return true;
  };
  if (auto fill = dyn_cast<FillOp>(op))
    return add(ChannelEvent::Kind::Fill, fill.getChannel(), fill.getPosition());
  if (auto await = dyn_cast<AwaitOp>(op))
    return add(ChannelEvent::Kind::Await, await.getChannel(), await.getPosition());
  if (auto release = dyn_cast<ReleaseOp>(op))
    return add(ChannelEvent::Kind::Release, release.getChannel(), release.getPosition());
  return true;
}

std::optional<ChannelTrace> KernelVerifier::trace(const Launch &launch) {
  ScalarInterpreter common;
  for (auto [argument, number] : llvm::zip(kernel.getBody().getArguments(), launch.arguments))
    if (argument.getType().isIntOrIndex())
      common.set(argument, number);
  bool known = true;
  auto setUp = [&](Operation *op) {
    if (isa<gpu::BlockIdOp>(op))
      common.set(op->getResult(0), launch.block);
  };
  if (failed(common.run(*roles->getBlock(), setUp))) {
    unknown = common.getFailure();
    return std::nullopt;
  }

  ChannelTrace result;
  for (Operation *op : channels) {
    auto channel = cast<ChannelOp>(op);
    StringRef name = channel.getName().value_or("");
    size_t number = result.channels.size();
    result.channels.push_back(
        {name.empty() ? "#" + std::to_string(number) : name.str(), channel.getChannel().getType().getStages()});
  }
  int64_t consumers = roles.getConsumers();
  for (int64_t role = 0; role <= consumers; ++role) {
    ScalarInterpreter interpreter = common;
    std::vector<ChannelEvent> &events = result.roles.emplace_back();
    if (role > 0)
      interpreter.set(roles.getWarpgroup(), role - 1);
    auto record = [&](Operation *op) { known = known && visit(op, interpreter, events); };
    if (failed(interpreter.run(role == 0 ? *roles.getProducerBlock() : *roles.getConsumerBlock(), record))) {
      unknown = interpreter.getFailure();
      return std::nullopt;
    }
  }
  return known ? std::optional(result) : std::nullopt;
}

LogicalResult KernelVerifier::run() {
  for (const Launch &launch : chooseLaunches()) {
    std::optional<ChannelTrace> events = trace(launch);
    if (!events) {
      unknown->emitRemark("channels not verified: this depends on numbers that are known at run time only");
      return success();
    }
    std::optional<ChannelProblem> problem = findChannelProblem(*events);
    if (!problem)
      continue;
    const void *source = problem->event ? problem->event->source : nullptr;
    Operation *op = source ? static_cast<Operation *>(const_cast<void *>(source)) : roles.getOperation();
    InFlightDiagnostic diag = op->emitOpError() << "breaks the protocol of channels: " << problem->message;
    Diagnostic &note = diag.attachNote(kernel.getLoc()) << "found for block " << launch.block << " with arguments";
    for (auto [argument, number] : llvm::zip(kernel.getBody().getArguments(), launch.arguments))
      if (argument.getType().isIntOrIndex())
        note << " #" << argument.getArgNumber() << " = " << number;
    return diag;
  }
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
