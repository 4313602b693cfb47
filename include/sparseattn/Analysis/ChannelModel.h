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

/// Runs the trace under every order of priority of its roles and returns the first problem, if any.
/// Expects at least two roles and at most 6, and channel numbers below the number of channels.
std::optional<ChannelProblem> findChannelProblem(const ChannelTrace &trace);

} // namespace sparseattn

#endif // SPARSEATTN_ANALYSIS_CHANNELMODEL_H
