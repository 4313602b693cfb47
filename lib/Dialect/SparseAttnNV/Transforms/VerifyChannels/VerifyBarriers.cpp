//===- VerifyBarriers.cpp - the barriers of a lowered kernel in a model ----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "GlobalMemory.h"
#include "Launches.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"
#include <map>

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVVERIFYBARRIERS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

static bool touchesBarriers(Operation *op) {
  return isa<NVVM::MBarrierInitOp, NVVM::MBarrierTryWaitParityOp, NVVM::MBarrierArriveOp,
             NVVM::MBarrierArriveExpectTxOp, NVVM::BarrierOp, NVVM::BarrierArriveOp,
             NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp, TileAtOp>(op);
}

namespace {

/// What a thread does with shared memory. Addresses are bytes from its beginning.
struct Access {
  enum class Kind { Wait, Arrive, Expect, Load, Tile, TakeTurn, PassTurn };
  Kind kind;
  int64_t address;
  /// Parity of a wait, bytes of an expectation, barrier of a load; threads of a turn, whose address is the number of
  /// a barrier.
  int64_t detail;
  Operation *op;
};

/// What the loads of the producer say about a place in shared memory.
struct BarrierSlot {
  int64_t full, empty;
  unsigned number;
};

class BarrierVerifier {
public:
  explicit BarrierVerifier(gpu::GPUFuncOp kernel) : kernel(kernel), program(kernel, touchesBarriers) {
    kernel.walk([&](TileAtOp tile) { rows.insert(tile.getTile().getType().getRows()); });
  }
  LogicalResult run();

private:
  LogicalResult runLaunch(const Launch &launch);
  /// The accesses of one thread; nothing when they depend on what is not known here.
  std::optional<std::vector<Access>> trace(const Launch &launch, int64_t thread);
  LogicalResult readProducer(ArrayRef<Access> accesses);
  LogicalResult readConsumer(ArrayRef<Access> accesses);
  LogicalResult readBarriers();
  LogicalResult verifyParity(const Access &wait, int64_t round, bool isEmpty);
  BarrierSlot *findSlot(int64_t BarrierSlot::*barrier, int64_t address);

  /// Most blocks of keys.
  static constexpr int64_t kBlocks = 5;

  gpu::GPUFuncOp kernel;
  ScalarProgram program;
  /// Rows of the tiles.
  llvm::SetVector<int64_t> rows;
  /// What made a launch unknown, and whether another one was not.
  Operation *unknown = nullptr;
  /// A load that found no number.
  Operation *unstored = nullptr;
  bool isVerified = false;
  /// Expected arrivals of each barrier, and whether the kernel publishes them.
  llvm::MapVector<int64_t, int64_t> arrivals;
  bool isFenced = false, isSynchronized = false;
  llvm::MapVector<int64_t, BarrierSlot> slots;
  /// Numbers that the producer stored at an address of shared memory, in order.
  std::map<int64_t, std::vector<int64_t>> stored;
  ChannelTrace events;
};

} // namespace

std::optional<std::vector<Access>> BarrierVerifier::trace(const Launch &launch, int64_t thread) {
  std::vector<Access> accesses;
  bool known = true;
  bool isProducer = thread == 0;
  int64_t asked = 0;
  std::map<int64_t, size_t> read;
  auto sharedPointer = LLVM::LLVMPointerType::get(kernel.getContext(), static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
  if (isProducer)
    stored.clear();
  ScalarInterpreter interpreter(program);
  GlobalMemory memory(rows.empty() ? 1 : rows.front(), kBlocks);
  setArguments(interpreter, kernel, launch);
  auto set = [&](Operation &op, std::optional<int64_t> number) { interpreter.set(op.getResult(0), number); };
  auto add = [&](Operation *op, Access::Kind kind, std::optional<int64_t> address, std::optional<int64_t> detail) {
    if (address && detail) {
      accesses.push_back({kind, *address, *detail, op});
      return;
    }
    known = false;
    unknown = op;
  };
  auto visit = [&](Operation *op) {
    auto get = [&](Value value) { return interpreter.get(value); };
    if (auto load = dyn_cast<LLVM::LoadOp>(op)) {
      std::optional<int64_t> address = get(load.getAddr());
      if (address && load.getAddr().getType() == sharedPointer) {
        const std::vector<int64_t> &values = stored[*address];
        size_t index = read[*address]++;
        if (index >= values.size())
          unstored = op;
        set(*op, index < values.size() ? std::optional(values[index]) : std::nullopt);
        return true;
      }
    }
    if (memory.run(op, interpreter))
      return true;
    bool matters = true;
    TypeSwitch<Operation *>(op)
        .Case([&](NVVM::ThreadIdXOp) { set(*op, thread); })
        .Case([&](gpu::BlockIdOp) { set(*op, launch.block); })
        .Case([&](NVVM::ReduxOp redux) { set(*op, get(redux.getVal())); })
        // One lane of each warp is asked: the elected one.
        .Case([&](NVVM::ElectSyncOp) { set(*op, -1); })
        .Case([&](LLVM::AddressOfOp) { set(*op, 0); })
        .Case([&](LLVM::PtrToIntOp cast) { set(*op, get(cast.getArg())); })
        .Case([&](gpu::GridDimOp) { set(*op, launch.blocks); })
        // It counts the tiles behind the first of each block, up to its operand.
        .Case([&](LLVM::AtomicRMWOp count) {
          std::optional<int64_t> last = get(count.getVal());
          set(*op, last ? std::optional(launch.getNextTile(asked++, *last + 1) - launch.blocks) : std::nullopt);
        })
        .Case([&](LLVM::StoreOp store) {
          std::optional<int64_t> address = get(store.getAddr()), value = get(store.getValue());
          if (isProducer && address && value)
            stored[*address].push_back(*value);
        })
        .Case([&](NVVM::MBarrierInitOp init) {
          std::optional<int64_t> address = get(init.getAddr()), count = get(init.getCount());
          if (address && count)
            arrivals[*address] = *count;
        })
        .Case([&](NVVM::FenceMbarrierInitOp) { isFenced = true; })
        .Case([&](NVVM::Barrier0Op) { isSynchronized = true; })
        .Case([&](NVVM::MBarrierTryWaitParityOp wait) {
          add(op, Access::Kind::Wait, get(wait.getAddr()), get(wait.getPhase()));
        })
        .Case([&](NVVM::MBarrierArriveOp arrive) { add(op, Access::Kind::Arrive, get(arrive.getAddr()), 0); })
        .Case([&](NVVM::BarrierOp barrier) {
          if (barrier.getBarrierId() && barrier.getNumberOfThreads())
            add(op, Access::Kind::TakeTurn, get(barrier.getBarrierId()), get(barrier.getNumberOfThreads()));
        })
        .Case([&](NVVM::BarrierArriveOp barrier) {
          if (barrier.getBarrierId())
            add(op, Access::Kind::PassTurn, get(barrier.getBarrierId()), get(barrier.getNumberOfThreads()));
        })
        .Case([&](NVVM::MBarrierArriveExpectTxOp expect) {
          add(op, Access::Kind::Expect, get(expect.getAddr()), get(expect.getTxcount()));
        })
        .Case([&](NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp load) {
          add(op, Access::Kind::Load, get(load.getDstMem()), get(load.getMbar()));
        })
        .Case([&](TileAtOp tile) {
          std::optional<int64_t> units = get(tile.getAddress());
          add(op, Access::Kind::Tile, units ? std::optional(*units * hopper::kDescriptorUnit) : std::nullopt, 0);
        })
        .Case([&](LLVM::LoadOp) {})
        .Default([&](Operation *) { matters = false; });
    return matters;
  };
  if (failed(interpreter.run(kernel.getBody().front(), visit))) {
    unknown = interpreter.getFailure();
    return std::nullopt;
  }
  return known ? std::optional(accesses) : std::nullopt;
}

BarrierSlot *BarrierVerifier::findSlot(int64_t BarrierSlot::*barrier, int64_t address) {
  for (auto &[place, slot] : slots)
    if (slot.*barrier == address)
      return &slot;
  return nullptr;
}

/// Round n of a slot is full with parity n mod 2, and free for its load with the opposite one.
LogicalResult BarrierVerifier::verifyParity(const Access &wait, int64_t round, bool isEmpty) {
  int64_t expected = (round & 1) ^ (isEmpty ? 1 : 0);
  if (wait.detail == expected)
    return success();
  return wait.op->emitOpError() << "waits with parity " << wait.detail << " for round " << round
                                << " of its slot, expected " << expected;
}

LogicalResult BarrierVerifier::readProducer(ArrayRef<Access> accesses) {
  SmallVector<int64_t> rounds;
  std::vector<ChannelEvent> &role = events.roles.emplace_back();
  for (size_t i = 0; i < accesses.size(); ++i) {
    const Access &load = accesses[i];
    // An arrival completes an item without a tile, whose number is all that it brings.
    bool hasTile = load.kind == Access::Kind::Load;
    if (!hasTile && load.kind != Access::Kind::Arrive)
      continue;
    // The next block of the same tile, behind the one before.
    if (hasTile && i >= 1 && accesses[i - 1].kind == Access::Kind::Load && accesses[i - 1].detail == load.detail &&
        accesses[i - 1].address < load.address)
      continue;
    if (hasTile && (i < 1 || accesses[i - 1].kind != Access::Kind::Expect || accesses[i - 1].address != load.detail))
      return load.op->emitOpError("is not preceded by mbarrier.arrive.expect_tx on its own barrier");
    size_t wait = i - (hasTile ? 2 : 1);
    if (wait >= i || accesses[wait].kind != Access::Kind::Wait)
      return load.op->emitOpError("does not wait until its slot is empty");
    int64_t full = hasTile ? load.detail : load.address;
    BarrierSlot slot{full, accesses[wait].address, static_cast<unsigned>(slots.size())};
    // A slot that no load has filled has no known place; its barrier names it.
    const BarrierSlot *filled = hasTile ? nullptr : findSlot(&BarrierSlot::full, full);
    int64_t place = hasTile ? load.address : -1 - full;
    for (auto &[known, other] : slots)
      if (&other == filled)
        place = known;
    auto [it, isNew] = slots.insert({place, slot});
    BarrierSlot &known = it->second;
    if (known.full != slot.full || known.empty != slot.empty)
      return load.op->emitOpError() << "uses barriers at bytes " << slot.full << " and " << slot.empty
                                    << " for the slot at byte " << place << ", others " << known.full << " and "
                                    << known.empty;
    if (isNew) {
      rounds.push_back(0);
      events.channels.push_back({"in the slot at byte " + std::to_string(place), 1});
    }
    int64_t round = rounds[known.number]++;
    if (failed(verifyParity(accesses[wait], round, /*isEmpty=*/true)))
      return failure();
    role.push_back({ChannelEvent::Kind::Fill, known.number, round, load.op});
  }
  return success();
}

LogicalResult BarrierVerifier::readConsumer(ArrayRef<Access> accesses) {
  SmallVector<int64_t> awaited(slots.size(), 0), released(slots.size(), 0);
  std::vector<ChannelEvent> &role = events.roles.emplace_back();
  for (const Access &access : accesses) {
    switch (access.kind) {
    case Access::Kind::Wait: {
      BarrierSlot *slot = findSlot(&BarrierSlot::full, access.address);
      if (!slot)
        return access.op->emitOpError() << "waits for the barrier at byte " << access.address
                                        << ", which no load completes";
      // Again for an item that is there already.
      if (awaited[slot->number] > released[slot->number] && access.detail == ((awaited[slot->number] - 1) & 1))
        break;
      int64_t round = awaited[slot->number]++;
      if (failed(verifyParity(access, round, /*isEmpty=*/false)))
        return failure();
      role.push_back({ChannelEvent::Kind::Await, slot->number, round, access.op});
      break;
    }
    case Access::Kind::Arrive: {
      BarrierSlot *slot = findSlot(&BarrierSlot::empty, access.address);
      if (!slot)
        return access.op->emitOpError() << "arrives at the barrier at byte " << access.address
                                        << ", which no load waits for";
      role.push_back({ChannelEvent::Kind::Release, slot->number, released[slot->number]++, access.op});
      break;
    }
    case Access::Kind::Tile: {
      auto it = slots.find(access.address);
      if (it == slots.end() || awaited[it->second.number] <= released[it->second.number])
        return access.op->emitOpError() << "names the tile at byte " << access.address
                                        << ", which the warp has not waited for or has released";
      break;
    }
    case Access::Kind::TakeTurn:
    case Access::Kind::PassTurn: {
      int64_t both = 2 * hopper::kWarpgroupThreads;
      if (access.detail != both)
        return access.op->emitOpError() << "is a barrier of " << access.detail
                                        << " threads, expected those of two consumers, " << both;
      auto kind = access.kind == Access::Kind::TakeTurn ? ChannelEvent::Kind::TakeTurn : ChannelEvent::Kind::PassTurn;
      role.push_back({kind, 0, access.address - 1, access.op});
      break;
    }
    case Access::Kind::Expect:
    case Access::Kind::Load:
      return access.op->emitOpError("is run by a consumer");
    }
  }
  return success();
}

LogicalResult BarrierVerifier::readBarriers() {
  if (slots.empty())
    return success();
  if (!isFenced || !isSynchronized)
    return kernel.emitOpError("initialises barriers without fence.mbarrier.init and a barrier of the block behind it");
  int64_t consumers = kernel.getKnownBlockSize()->front() - hopper::kWarpgroupThreads;
  for (auto &[place, slot] : slots)
    for (auto [barrier, expected] : {std::pair(slot.full, int64_t{1}), {slot.empty, consumers}})
      if (arrivals.lookup(barrier) != expected)
        return kernel.emitOpError() << "initialises the barrier at byte " << barrier << " for "
                                    << arrivals.lookup(barrier) << " arrivals, expected " << expected;
  return success();
}

LogicalResult BarrierVerifier::runLaunch(const Launch &launch) {
  slots.clear();
  events = {};
  int64_t threads = kernel.getKnownBlockSize()->front();
  for (int64_t thread = 0; thread < threads; thread += hopper::kWarpgroupThreads) {
    std::optional<std::vector<Access>> accesses = trace(launch, thread);
    if (unstored) {
      InFlightDiagnostic diag = unstored->emitOpError("reads a number that the producer has not stored there");
      describeLaunch(diag, kernel, launch);
      return diag;
    }
    // No such launch, where a block is beyond the grid: it divides by 0.
    if (!accesses)
      return success();
    if (failed(thread == 0 ? readProducer(*accesses) : readConsumer(*accesses)))
      return failure();
  }
  isVerified = true;
  if (failed(readBarriers()))
    return failure();
  // Every lane arrives, as the first does.
  if (std::optional<std::vector<Access>> accesses = trace(launch, hopper::kWarpgroupThreads + 1)) {
    auto isRelease = [](const ChannelEvent &event) { return event.kind == ChannelEvent::Kind::Release; };
    auto isArrive = [](const Access &access) { return access.kind == Access::Kind::Arrive; };
    if (llvm::count_if(*accesses, isArrive) != llvm::count_if(events.roles[1], isRelease))
      return kernel.emitOpError("arrives at barriers with some lanes of a warp only, expected all");
  }
  std::optional<ChannelProblem> problem = findChannelProblem(events);
  if (!problem)
    return success();
  const void *source = problem->event ? problem->event->source : nullptr;
  Operation *op = source ? static_cast<Operation *>(const_cast<void *>(source)) : kernel.getOperation();
  InFlightDiagnostic diag = op->emitOpError() << "breaks the protocol of barriers: " << problem->message;
  describeLaunch(diag, kernel, launch);
  return diag;
}

LogicalResult BarrierVerifier::run() {
  std::optional<ArrayRef<int32_t>> threads = kernel.getKnownBlockSize();
  bool hasRoles = threads && threads->front() > hopper::kWarpgroupThreads &&
                  threads->front() <= (hopper::kMaxConsumers + 1) * hopper::kWarpgroupThreads;
  if (!hasRoles || !kernel.getBody().hasOneBlock())
    return success();
  constexpr int mixtures = 10;
  for (const Launch &launch : chooseLaunches(kernel, rows.getArrayRef(), kBlocks, mixtures)) {
    if (failed(runLaunch(launch)))
      return failure();
  }
  if (!isVerified && unknown)
    unknown->emitRemark("barriers not verified: this depends on numbers that are known at run time only");
  return success();
}

namespace {
struct VerifyBarriers : sparseattn::impl::SparseAttnNVVerifyBarriersBase<VerifyBarriers> {
  void runOnOperation() override {
    auto verify = [](gpu::GPUFuncOp kernel) { return BarrierVerifier(kernel).run(); };
    if (failed(forEachKernel(getOperation(), verify)))
      signalPassFailure();
  }
};
} // namespace
