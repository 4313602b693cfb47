//===- ChannelModel.h - abstract execution of channels ---------------------===//
//
// Part of the sparseattn project.
//
// A kernel reduced to what its roles do with channels: one producer fills items,
// consumers await and release them, and pass each other turns. The model runs such a trace with the barriers
// that `sparseattn-nv-lower-channels` makes of it (a parity bit per barrier, so a
// role that lags or runs ahead by a whole round sees the wrong phase) and finds
// what would hang or corrupt a kernel.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ANALYSIS_CHANNELMODEL_H
#define SPARSEATTN_ANALYSIS_CHANNELMODEL_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sparseattn {

/// One thing that a role does with a channel or a turn.
struct ChannelEvent {
  enum class Kind { Fill, Await, Release, TakeTurn, PassTurn };
  Kind kind;
  /// Not for turns.
  unsigned channel;
  /// Number of the item, or of the consumer whose turn it is to be.
  int64_t position;
  /// Whatever the caller wants to find again, for example an operation.
  const void *source = nullptr;
};

/// What every role does, in order. Role 0 is the producer, the others are consumers.
struct ChannelTrace {
  struct Channel {
    std::string name;
    int64_t stages;
  };
  std::vector<Channel> channels;
  std::vector<std::vector<ChannelEvent>> roles;
};

struct ChannelProblem {
  enum class Kind {
    /// No role can go on.
    Deadlock,
    /// An item is overwritten, or the kernel ends, before a consumer awaited it.
    LostItem,
    /// A slot is filled while a consumer still holds its item.
    DoublyFilled,
    /// A consumer passes its wait but finds another item in the slot.
    PhaseError,
    /// A consumer never releases an item that it awaited.
    MissingRelease,
    /// A consumer releases what it does not hold.
    UnmatchedRelease,
    /// A negative position, or no such consumer.
    BadPosition,
    /// A consumer takes another one's turn, or is passed a turn before it took the last one.
    BadTurn,
  };
  Kind kind;
  std::string message;
  /// The event at which it shows; absent at the end of a role.
  std::optional<ChannelEvent> event;
};

/// Runs the trace under every order of priority of its roles and returns the first problem, if any. Where all orders
/// come to the same end (`isConfluent`), one is run.
/// Expects at least two roles and at most 6, and channel numbers below the number of channels.
std::optional<ChannelProblem> findChannelProblem(const ChannelTrace &trace);

/// The same, and runs every order always: what tests compare the other one with.
std::optional<ChannelProblem> findChannelProblemInAllOrders(const ChannelTrace &trace);

/// Whether every interleaving of the roles runs the same events and comes to the same end, because of these conditions
/// on each role alone:
///
/// 1. Only the producer fills, and fills the items of each slot in order: rounds 0, 1, 2, ...
/// 2. Each consumer awaits the items of each slot in order, one or more times each, and releases each once, behind its
///    awaits and before it awaits the next one.
/// 3. Each consumer takes its own turn only, and takes and passes turns alternately; only one of all begins by passing.
///
/// Then a parity says as much as the count of completed phases. Let f items of a slot be filled. A consumer released f
/// or f - 1 of them: no more, for (2) it awaited each, and no fewer, for item f - 1 waited until all had released item
/// f - 2. So the "empty" barrier completed f or f - 1 phases, f only when all released item f - 1, and the parity of
/// the fill of item f tells which. A consumer that awaits item r has released r items, so that f is r or r + 1, and
/// again the parity tells which: nobody passes a wait too early or finds another item. There is (3) one turn at most,
/// passed or held, so whoever passes it finds none that is not taken. No event but a deadlock can be a problem then,
/// and an event that may run stays so until it does, whatever the others do, as in a Kahn process network: which
/// events run at last, and what they leave, does not depend on the order.
bool isConfluent(const ChannelTrace &trace);

} // namespace sparseattn

#endif // SPARSEATTN_ANALYSIS_CHANNELMODEL_H
