//===- ChannelModel.cpp - abstract execution of channels -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/ChannelModel.h"

#include <algorithm>
#include <numeric>

using namespace sparseattn;

namespace {

/// An mbarrier: a phase completes with its last expected arrival; only the parity of the number of completed
/// phases can be tested.
struct Barrier {
  int64_t expected;
  int64_t pending;
  int64_t completed = 0;

  explicit Barrier(int64_t expected) : expected(expected), pending(expected) {}
  void arrive() {
    if (--pending == 0) {
      ++completed;
      pending = expected;
    }
  }
  /// What `try_wait.parity` answers: the phase with this parity is over.
  bool isPast(int64_t parity) const { return (completed & 1) != parity; }
};

struct Slot {
  enum class Hold { Untouched, Held, Released };
  std::optional<int64_t> item;
  /// For each consumer.
  std::vector<Hold> holds;
};

class Machine {
public:
  Machine(const ChannelTrace &trace, const std::vector<unsigned> &priority);
  std::optional<ChannelProblem> run();

private:
  struct Role {
    size_t next = 0;
    bool isDone(const std::vector<ChannelEvent> &events) const { return next == events.size(); }
  };

  bool canRun(unsigned role) const;
  std::optional<ChannelProblem> step(unsigned role);
  std::optional<ChannelProblem> fill(const ChannelEvent &event);
  std::optional<ChannelProblem> await(unsigned role, const ChannelEvent &event);
  std::optional<ChannelProblem> release(unsigned role, const ChannelEvent &event);
  std::optional<ChannelProblem> takeTurn(unsigned role, const ChannelEvent &event);
  std::optional<ChannelProblem> passTurn(unsigned role, const ChannelEvent &event);
  std::optional<ChannelProblem> findDeadlock() const;
  std::optional<ChannelProblem> findLeftover() const;

  int64_t getStages(const ChannelEvent &event) const { return trace.channels[event.channel].stages; }
  size_t getSlot(const ChannelEvent &event) const { return firstSlot[event.channel] + event.position % getStages(event); }
  int64_t getParity(const ChannelEvent &event) const { return event.position / getStages(event) & 1; }
  std::string name(const ChannelEvent &event) const {
    return "item " + std::to_string(event.position) + " of channel " + trace.channels[event.channel].name;
  }
  static std::string nameRole(unsigned role) {
    return role == 0 ? "the producer" : "consumer " + std::to_string(role - 1);
  }

  const ChannelTrace &trace;
  const std::vector<unsigned> &priority;
  std::vector<size_t> firstSlot;
  std::vector<Barrier> full, empty;
  std::vector<Slot> slots;
  /// Channel of each slot.
  std::vector<unsigned> channelOfSlot;
  std::vector<Role> roles;
  /// Whether each consumer was passed a turn that it did not take yet.
  std::vector<bool> turns;
};

using Kind = ChannelProblem::Kind;
using Event = ChannelEvent::Kind;

Machine::Machine(const ChannelTrace &trace, const std::vector<unsigned> &priority)
    : trace(trace), priority(priority), roles(trace.roles.size()), turns(trace.roles.size() - 1) {
  int64_t consumers = trace.roles.size() - 1;
  for (unsigned channel = 0; channel < trace.channels.size(); ++channel) {
    firstSlot.push_back(slots.size());
    for (int64_t stage = 0; stage < trace.channels[channel].stages; ++stage) {
      full.emplace_back(1);
      empty.emplace_back(consumers);
      slots.push_back({std::nullopt, std::vector<Slot::Hold>(consumers, Slot::Hold::Untouched)});
      channelOfSlot.push_back(channel);
    }
  }
}

bool Machine::canRun(unsigned role) const {
  const ChannelEvent &event = trace.roles[role][roles[role].next];
  switch (event.kind) {
  case ChannelEvent::Kind::Fill:
    return empty[getSlot(event)].isPast(getParity(event) ^ 1);
  case ChannelEvent::Kind::Await:
    return full[getSlot(event)].isPast(getParity(event));
  case ChannelEvent::Kind::TakeTurn:
    // Somebody else's is a problem to report.
    return event.position != role - 1 || turns[event.position];
  case ChannelEvent::Kind::Release:
  case ChannelEvent::Kind::PassTurn:
    return true;
  }
  return true;
}

std::optional<ChannelProblem> Machine::fill(const ChannelEvent &event) {
  Slot &slot = slots[getSlot(event)];
  for (size_t consumer = 0; slot.item && consumer < slot.holds.size(); ++consumer) {
    std::string old = "item " + std::to_string(*slot.item);
    if (slot.holds[consumer] == Slot::Hold::Held)
      return ChannelProblem{Kind::DoublyFilled,
                            name(event) + " is filled while consumer " + std::to_string(consumer) + " holds " + old +
                                " of the same slot",
                            event};
    if (slot.holds[consumer] == Slot::Hold::Untouched)
      return ChannelProblem{Kind::LostItem,
                            name(event) + " overwrites " + old + " before consumer " + std::to_string(consumer) +
                                " awaited it",
                            event};
  }
  slot.item = event.position;
  std::fill(slot.holds.begin(), slot.holds.end(), Slot::Hold::Untouched);
  full[getSlot(event)].arrive();
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::await(unsigned role, const ChannelEvent &event) {
  Slot &slot = slots[getSlot(event)];
  if (slot.item != event.position)
    return ChannelProblem{Kind::PhaseError,
                          nameRole(role) + " awaits " + name(event) + " but finds " +
                              (slot.item ? "item " + std::to_string(*slot.item) : std::string("none")) +
                              " in the slot",
                          event};
  Slot::Hold &hold = slot.holds[role - 1];
  if (hold == Slot::Hold::Released)
    return ChannelProblem{Kind::PhaseError, nameRole(role) + " awaits " + name(event) + " after it released it", event};
  hold = Slot::Hold::Held;
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::release(unsigned role, const ChannelEvent &event) {
  Slot &slot = slots[getSlot(event)];
  Slot::Hold &hold = slot.holds[role - 1];
  if (slot.item != event.position || hold != Slot::Hold::Held)
    return ChannelProblem{Kind::UnmatchedRelease, nameRole(role) + " releases " + name(event) + ", which it does not hold",
                          event};
  hold = Slot::Hold::Released;
  empty[getSlot(event)].arrive();
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::takeTurn(unsigned role, const ChannelEvent &event) {
  if (event.position != role - 1)
    return ChannelProblem{Kind::BadTurn, nameRole(role) + " takes the turn of " + nameRole(event.position + 1), event};
  turns[event.position] = false;
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::passTurn(unsigned role, const ChannelEvent &event) {
  if (turns[event.position])
    return ChannelProblem{Kind::BadTurn,
                          nameRole(role) + " passes " + nameRole(event.position + 1) +
                              " a turn before that took the last one",
                          event};
  turns[event.position] = true;
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::step(unsigned role) {
  const ChannelEvent &event = trace.roles[role][roles[role].next++];
  switch (event.kind) {
  case ChannelEvent::Kind::Fill:
    return fill(event);
  case ChannelEvent::Kind::Await:
    return await(role, event);
  case ChannelEvent::Kind::Release:
    return release(role, event);
  case ChannelEvent::Kind::TakeTurn:
    return takeTurn(role, event);
  case ChannelEvent::Kind::PassTurn:
    return passTurn(role, event);
  }
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::findDeadlock() const {
  ChannelProblem problem{Kind::Deadlock, "", std::nullopt};
  for (unsigned role = 0; role < roles.size(); ++role) {
    if (roles[role].isDone(trace.roles[role]))
      continue;
    const ChannelEvent &event = trace.roles[role][roles[role].next];
    problem.message += (problem.message.empty() ? "no role can go on: " : "; ") + nameRole(role) + " waits for " +
                       (event.kind == ChannelEvent::Kind::TakeTurn
                            ? "its turn"
                            : (event.kind == ChannelEvent::Kind::Fill ? "the slot of " : "") + name(event));
    if (!problem.event)
      problem.event = event;
  }
  return problem.message.empty() ? std::nullopt : std::optional(problem);
}

std::optional<ChannelProblem> Machine::findLeftover() const {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!slots[i].item)
      continue;
    for (size_t consumer = 0; consumer < slots[i].holds.size(); ++consumer) {
      Slot::Hold hold = slots[i].holds[consumer];
      std::string item = "item " + std::to_string(*slots[i].item) + " of channel " +
                         trace.channels[channelOfSlot[i]].name;
      if (hold == Slot::Hold::Held)
        return ChannelProblem{Kind::MissingRelease, "consumer " + std::to_string(consumer) + " never releases " + item,
                              std::nullopt};
      if (hold == Slot::Hold::Untouched)
        return ChannelProblem{Kind::LostItem, "consumer " + std::to_string(consumer) + " never awaits " + item,
                              std::nullopt};
    }
  }
  return std::nullopt;
}

std::optional<ChannelProblem> Machine::run() {
  for (bool progress = true; progress;) {
    progress = false;
    for (unsigned role : priority) {
      if (roles[role].isDone(trace.roles[role]) || !canRun(role))
        continue;
      if (std::optional<ChannelProblem> problem = step(role))
        return problem;
      progress = true;
      break;
    }
  }
  if (std::optional<ChannelProblem> problem = findDeadlock())
    return problem;
  return findLeftover();
}

} // namespace

/// Positions below 0, and consumers that there are not.
static std::optional<ChannelProblem> findBadPosition(const ChannelTrace &trace) {
  int64_t consumers = trace.roles.size() - 1;
  for (const std::vector<ChannelEvent> &events : trace.roles)
    for (const ChannelEvent &event : events)
      if (bool isTurn = event.kind == Event::TakeTurn || event.kind == Event::PassTurn;
          isTurn && (event.position < 0 || event.position >= consumers))
        return ChannelProblem{Kind::BadPosition,
                              "there is no consumer " + std::to_string(event.position) + " to have a turn", event};
      else if (event.position < 0)
        return ChannelProblem{Kind::BadPosition,
                              "position " + std::to_string(event.position) + " of channel " +
                                  trace.channels[event.channel].name + " is negative",
                              event};
  return std::nullopt;
}

bool sparseattn::isConfluent(const ChannelTrace &trace) {
  std::vector<size_t> firstSlot{0};
  for (const ChannelTrace::Channel &channel : trace.channels)
    firstSlot.push_back(firstSlot.back() + channel.stages);
  size_t beginners = 0;
  for (size_t role = 0; role < trace.roles.size(); ++role) {
    // Of each slot, the next round, and whether the consumer holds the one before.
    std::vector<int64_t> rounds(firstSlot.back(), 0);
    std::vector<bool> holds(firstSlot.back(), false);
    std::optional<Event> lastTurn;
    for (const ChannelEvent &event : trace.roles[role]) {
      if (event.kind == Event::TakeTurn || event.kind == Event::PassTurn) {
        bool isTaken = event.kind == Event::TakeTurn;
        if (role == 0 || lastTurn == event.kind || (isTaken && event.position != static_cast<int64_t>(role) - 1))
          return false;
        if (!lastTurn && !isTaken && ++beginners > 1)
          return false;
        lastTurn = event.kind;
        continue;
      }
      if ((event.kind == Event::Fill) != (role == 0) || event.position < 0)
        return false;
      int64_t stages = trace.channels[event.channel].stages;
      size_t slot = firstSlot[event.channel] + event.position % stages;
      int64_t round = event.position / stages;
      bool isHeld = holds[slot];
      if (round != rounds[slot] - (isHeld ? 1 : 0) || (event.kind == Event::Release && !isHeld))
        return false;
      holds[slot] = event.kind == Event::Await;
      rounds[slot] = round + 1;
    }
  }
  return true;
}

/// Of the orders of priority, the first that std::next_permutation knows.
static std::vector<unsigned> getFirstOrder(const ChannelTrace &trace) {
  std::vector<unsigned> priority(trace.roles.size());
  std::iota(priority.begin(), priority.end(), 0);
  return priority;
}

std::optional<ChannelProblem> sparseattn::findChannelProblemInAllOrders(const ChannelTrace &trace) {
  if (std::optional<ChannelProblem> problem = findBadPosition(trace))
    return problem;
  std::vector<unsigned> priority = getFirstOrder(trace);
  do {
    if (std::optional<ChannelProblem> problem = Machine(trace, priority).run())
      return problem;
  } while (std::next_permutation(priority.begin(), priority.end()));
  return std::nullopt;
}

std::optional<ChannelProblem> sparseattn::findChannelProblem(const ChannelTrace &trace) {
  if (!isConfluent(trace))
    return findChannelProblemInAllOrders(trace);
  if (std::optional<ChannelProblem> problem = findBadPosition(trace))
    return problem;
  std::vector<unsigned> priority = getFirstOrder(trace);
  return Machine(trace, priority).run();
}
