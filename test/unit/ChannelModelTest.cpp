//===- ChannelModelTest.cpp - what the model of channels finds -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/ChannelModel.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <random>

using namespace sparseattn;

namespace {

using EventKind = ChannelEvent::Kind;
using Problem = ChannelProblem::Kind;

constexpr unsigned key = 0, value = 1;

/// The attention loop: K runs one item ahead of V in both roles.
ChannelTrace makeAttention(int64_t blocks, int64_t stages, unsigned consumers) {
  ChannelTrace trace;
  trace.channels = {{"key", stages}, {"value", stages}};
  trace.roles.resize(consumers + 1);
  for (int64_t i = 0; i < blocks; ++i) {
    trace.roles[0].push_back({EventKind::Fill, key, i});
    if (i > 0)
      trace.roles[0].push_back({EventKind::Fill, value, i - 1});
  }
  if (blocks > 0)
    trace.roles[0].push_back({EventKind::Fill, value, blocks - 1});
  for (unsigned consumer = 1; consumer <= consumers; ++consumer) {
    std::vector<ChannelEvent> &events = trace.roles[consumer];
    for (int64_t i = 0; i < blocks; ++i) {
      events.push_back({EventKind::Await, key, i});
      if (i > 0)
        events.push_back({EventKind::Await, value, i - 1});
      events.push_back({EventKind::Release, key, i});
      if (i > 0)
        events.push_back({EventKind::Release, value, i - 1});
    }
    if (blocks > 0) {
      events.push_back({EventKind::Await, value, blocks - 1});
      events.push_back({EventKind::Release, value, blocks - 1});
    }
  }
  return trace;
}

/// Position of the n-th event of a kind on a channel in a role.
size_t find(const ChannelTrace &trace, unsigned role, EventKind kind, unsigned channel, int64_t position) {
  const std::vector<ChannelEvent> &events = trace.roles[role];
  for (size_t i = 0; i < events.size(); ++i)
    if (events[i].kind == kind && events[i].channel == channel && events[i].position == position)
      return i;
  ADD_FAILURE() << "no such event";
  return 0;
}

void expectProblem(const ChannelTrace &trace, Problem expected) {
  std::optional<ChannelProblem> problem = findChannelProblem(trace);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->kind, expected) << problem->message;
}

TEST(ChannelModel, AcceptsTheAttentionLoop) {
  for (int64_t stages : {1, 2, 3, 4})
    for (unsigned consumers : {1u, 2u, 3u})
      for (int64_t blocks = 0; blocks <= stages + 2; ++blocks) {
        std::optional<ChannelProblem> problem = findChannelProblem(makeAttention(blocks, stages, consumers));
        EXPECT_FALSE(problem) << "stages " << stages << " blocks " << blocks << ": " << problem->message;
      }
}

TEST(ChannelModel, DroppedReleaseInTheMiddleStopsTheProducer) {
  ChannelTrace trace = makeAttention(5, 2, 2);
  trace.roles[1].erase(trace.roles[1].begin() + find(trace, 1, EventKind::Release, key, 1));
  expectProblem(trace, Problem::Deadlock);
}

TEST(ChannelModel, DroppedReleaseAtTheEndIsFoundToo) {
  ChannelTrace trace = makeAttention(2, 2, 2);
  trace.roles[2].erase(trace.roles[2].begin() + find(trace, 2, EventKind::Release, key, 1));
  expectProblem(trace, Problem::MissingRelease);
}

/// Consumers of the attention loop that start each block in turns; the last one begins by passing the first turn.
ChannelTrace makeTurns(int64_t blocks, unsigned consumers) {
  ChannelTrace trace = makeAttention(blocks, 2, consumers);
  for (unsigned consumer = 0; consumer < consumers; ++consumer) {
    std::vector<ChannelEvent> &events = trace.roles[consumer + 1], old = std::move(events);
    events.clear();
    if (consumer + 1 == consumers)
      events.push_back({EventKind::PassTurn, 0, 0});
    for (const ChannelEvent &event : old) {
      events.push_back(event);
      if (event.kind == EventKind::Await && event.channel == key) {
        events.push_back({EventKind::TakeTurn, 0, consumer});
        events.push_back({EventKind::PassTurn, 0, (consumer + 1) % consumers});
      }
    }
  }
  return trace;
}

TEST(ChannelModel, AcceptsTurns) {
  for (unsigned consumers : {2u, 3u})
    for (int64_t blocks = 0; blocks <= 4; ++blocks) {
      std::optional<ChannelProblem> problem = findChannelProblem(makeTurns(blocks, consumers));
      EXPECT_FALSE(problem) << "blocks " << blocks << ": " << problem->message;
    }
}

TEST(ChannelModel, DroppedPassStopsEveryone) {
  for (unsigned role : {1u, 2u, 3u}) {
    ChannelTrace trace = makeTurns(3, 3);
    trace.roles[role].erase(trace.roles[role].begin() + find(trace, role, EventKind::PassTurn, 0, role % 3));
    expectProblem(trace, Problem::Deadlock);
  }
}

TEST(ChannelModel, TurnsThatNobodyTakes) {
  ChannelTrace trace = makeTurns(3, 2);
  std::vector<ChannelEvent> &events = trace.roles[1];
  events.erase(std::remove_if(events.begin(), events.end(),
                              [](const ChannelEvent &event) { return event.kind == EventKind::TakeTurn; }),
               events.end());
  expectProblem(trace, Problem::BadTurn);
}

TEST(ChannelModel, TurnsOfOthers) {
  ChannelTrace trace = makeTurns(3, 2);
  trace.roles[1][find(trace, 1, EventKind::TakeTurn, 0, 0)].position = 1;
  expectProblem(trace, Problem::BadTurn);
  trace = makeTurns(3, 2);
  trace.roles[1][find(trace, 1, EventKind::PassTurn, 0, 1)].position = 2;
  expectProblem(trace, Problem::BadPosition);
}

TEST(ChannelModel, ItemThatNobodyAwaits) {
  ChannelTrace trace = makeAttention(2, 2, 1);
  trace.roles[0].push_back({EventKind::Fill, key, 2});
  expectProblem(trace, Problem::LostItem);
}

TEST(ChannelModel, ItemThatNobodyFills) {
  ChannelTrace trace = makeAttention(3, 2, 1);
  trace.roles[0].erase(trace.roles[0].begin() + find(trace, 0, EventKind::Fill, value, 1));
  expectProblem(trace, Problem::Deadlock);
}

TEST(ChannelModel, AwaitOfTheWrongRoundSeesAnOldItem) {
  // Item 4 has the slot and the parity of item 0.
  ChannelTrace trace = makeAttention(3, 2, 1);
  trace.roles[1][find(trace, 1, EventKind::Await, key, 0)].position = 4;
  expectProblem(trace, Problem::PhaseError);
}

TEST(ChannelModel, FillThatSkipsARoundOverwritesAnItem) {
  // Item 4 does not wait for items 0 and 2 of its slot: the parity of its empty barrier is that of item 0.
  ChannelTrace trace;
  trace.channels = {{"key", 2}};
  trace.roles = {{{EventKind::Fill, key, 0}, {EventKind::Fill, key, 4}},
                 {{EventKind::Await, key, 0}, {EventKind::Release, key, 0}}};
  expectProblem(trace, Problem::LostItem);
}

TEST(ChannelModel, FillWhileAConsumerHoldsTheItem) {
  ChannelTrace trace;
  trace.channels = {{"key", 1}, {"value", 1}};
  // The consumer holds key 0 until it has value 0; the producer fills key 2 with the parity of key 0.
  trace.roles = {{{EventKind::Fill, key, 0}, {EventKind::Fill, key, 2}, {EventKind::Fill, value, 0}},
                 {{EventKind::Await, key, 0},
                  {EventKind::Await, value, 0},
                  {EventKind::Release, key, 0},
                  {EventKind::Release, value, 0}}};
  std::optional<ChannelProblem> problem = findChannelProblem(trace);
  ASSERT_TRUE(problem);
  EXPECT_TRUE(problem->kind == Problem::DoublyFilled || problem->kind == Problem::LostItem) << problem->message;
}

TEST(ChannelModel, ReleaseWithoutAwait) {
  ChannelTrace trace = makeAttention(2, 2, 1);
  trace.roles[1].erase(trace.roles[1].begin() + find(trace, 1, EventKind::Await, key, 1));
  std::optional<ChannelProblem> problem = findChannelProblem(trace);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->kind, Problem::UnmatchedRelease);
}

TEST(ChannelModel, ReleaseTwice) {
  ChannelTrace trace = makeAttention(2, 2, 1);
  size_t at = find(trace, 1, EventKind::Release, key, 1);
  ChannelEvent again = trace.roles[1][at];
  trace.roles[1].insert(trace.roles[1].begin() + at, again);
  expectProblem(trace, Problem::UnmatchedRelease);
}

TEST(ChannelModel, NegativePosition) {
  ChannelTrace trace = makeAttention(2, 2, 1);
  trace.roles[1][0].position = -1;
  expectProblem(trace, Problem::BadPosition);
}

TEST(ChannelModel, RolesInDifferentOrderMayDeadlock) {
  // The producer fills a second value before the key that the consumer needs in order to release the first.
  ChannelTrace trace;
  trace.channels = {{"key", 1}, {"value", 1}};
  trace.roles = {{{EventKind::Fill, value, 0}, {EventKind::Fill, value, 1}, {EventKind::Fill, key, 0}},
                 {{EventKind::Await, key, 0},
                  {EventKind::Await, value, 0},
                  {EventKind::Release, value, 0},
                  {EventKind::Release, key, 0},
                  {EventKind::Await, value, 1},
                  {EventKind::Release, value, 1}}};
  expectProblem(trace, Problem::Deadlock);
}

TEST(ChannelModel, RightTracesRunInOneOrder) {
  for (unsigned consumers : {1u, 2u, 3u}) {
    EXPECT_TRUE(isConfluent(makeAttention(7, 2, consumers)));
    EXPECT_TRUE(isConfluent(makeTurns(4, consumers)));
  }
}

TEST(ChannelModel, ConditionsOfOneOrder) {
  // An item of keys and values is awaited twice.
  ChannelTrace trace = makeAttention(3, 2, 2);
  trace.roles[1].insert(trace.roles[1].begin(), trace.roles[1][0]);
  EXPECT_TRUE(isConfluent(trace));
  // A role of the trace, and the event that it gets in front.
  for (auto [role, event] : {std::pair(0, ChannelEvent{EventKind::Fill, key, 2}), {0, {EventKind::Await, key, 0}},
                             {0, {EventKind::PassTurn, 0, 0}}, {1, {EventKind::Fill, key, 0}},
                             {1, {EventKind::Await, key, 2}}, {1, {EventKind::Release, key, 0}},
                             {1, {EventKind::PassTurn, 0, 1}}, {1, {EventKind::TakeTurn, 0, 1}}}) {
    trace = makeTurns(3, 2);
    trace.roles[role].insert(trace.roles[role].begin(), event);
    EXPECT_FALSE(isConfluent(trace)) << "role " << role << " event " << static_cast<int>(event.kind);
  }
}

TEST(ChannelModel, FindsWhatTheFirstOrderDoesNotShow) {
  // Consumer 0 takes each turn before consumer 1 passes the next one, unless consumer 1 is the faster one.
  ChannelTrace trace;
  trace.roles = {{},
                 {{EventKind::TakeTurn, 0, 0}, {EventKind::TakeTurn, 0, 0}},
                 {{EventKind::PassTurn, 0, 0}, {EventKind::PassTurn, 0, 0}}};
  expectProblem(trace, Problem::BadTurn);
}

/// One change: an event is dropped, doubled, swapped with the next one, or gets another position, channel or kind.
void mutate(ChannelTrace &trace, std::mt19937 &random) {
  auto pick = [&](size_t count) { return random() % count; };
  std::vector<ChannelEvent> &events = trace.roles[pick(trace.roles.size())];
  if (events.empty())
    return;
  size_t at = pick(events.size());
  switch (pick(6)) {
  case 0:
    events.erase(events.begin() + at);
    break;
  case 1:
    events.insert(events.begin() + at, ChannelEvent(events[at]));
    break;
  case 2:
    std::swap(events[at], events[(at + 1) % events.size()]);
    break;
  case 3:
    events[at].position += static_cast<int64_t>(pick(9)) - 4;
    break;
  case 4:
    events[at].channel = pick(trace.channels.size());
    break;
  case 5:
    events[at].kind = static_cast<EventKind>(pick(5));
    break;
  }
}

TEST(ChannelModel, OneOrderFindsWhatAllFindInMutations) {
  std::mt19937 random(0);
  size_t confluent = 0, problems = 0;
  for (int i = 0; i < 4000; ++i) {
    unsigned consumers = 1 + random() % 3;
    int64_t blocks = 1 + random() % 5;
    ChannelTrace trace = random() % 2 ? makeTurns(blocks, consumers) : makeAttention(blocks, 1 + random() % 3, consumers);
    for (size_t changes = 1 + random() % 3; changes > 0; --changes)
      mutate(trace, random);
    // The model does not know producers that await, or consumers that fill.
    bool hasRoles = true;
    for (size_t role = 0; role < trace.roles.size(); ++role)
      for (const ChannelEvent &event : trace.roles[role])
        hasRoles &= (role == 0) == (event.kind == EventKind::Fill);
    if (!hasRoles)
      continue;
    std::optional<ChannelProblem> all = findChannelProblemInAllOrders(trace), found = findChannelProblem(trace);
    ASSERT_EQ(all.has_value(), found.has_value()) << "mutation " << i << ": " << (all ? all : found)->message;
    if (all) {
      EXPECT_EQ(all->message, found->message);
    }
    confluent += isConfluent(trace);
    problems += all.has_value();
  }
  // Both ways were taken, with and without problems.
  EXPECT_GT(confluent, 200u);
  EXPECT_GT(problems, 1000u);
}

} // namespace
