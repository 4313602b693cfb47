//===- KVSharingTest.cpp - who reads whose keys and values ------------------===//
//
// Part of the sparseattn project.
//
// The rules of KVSharing, one test each: what makes an edge, what ends it, how
// layers get their numbers, and what is refused. Every model is the body of one
// function over the values of `kArguments`.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/KVSharing.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace sparseattn;

namespace {

const char *kTypes = R"(
!q = tensor<1x4x8x16xf32>
!kv = tensor<1x2x8x16xf32>
!all = tensor<1x2x?x16xf32>
!idx = tensor<1x2x8x1xi32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
)";
const char *kArguments = "%q: !q, %g: !q, %k: !kv, %v: !kv, %k1: !kv, %v1: !kv, %c: !cache, %d: !cache, %p: index, %n: index";

/// An attention of `keys` and `values` under the key pattern `pattern`.
std::string attend(StringRef result, StringRef keys, StringRef values, StringRef attributes = "",
                   StringRef pattern = "causal") {
  return ("  " + result + " = sparseattn.attention %q, " + keys + ", " + values + " keys(#sparseattn." + pattern + ") " +
          attributes + " : (!q, !kv, !kv) -> !q\n")
      .str();
}

/// An operation without meaning to the compiler, on keys or values.
std::string call(StringRef result, StringRef name, StringRef operand) {
  return ("  " + result + " = sparseattn.extern \"" + name + "\"(" + operand + ") : (!kv) -> !kv\n").str();
}

class KVSharingTest : public ::testing::Test {
protected:
  KVSharingTest() {
    context.loadDialect<SparseAttnDialect, arith::ArithDialect, func::FuncDialect, tensor::TensorDialect>();
  }

  FailureOr<KVSharing> analyse(const std::string &body) {
    std::string text = std::string(kTypes) + "func.func @f(" + kArguments + ") {\n" + body + "  return\n}\n";
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    if (!module)
      return failure();
    return KVSharing::compute(*module->getOps<func::FuncOp>().begin());
  }

  /// The layer that each key source in program order is read from.
  std::vector<int64_t> getProducers(const std::string &body) {
    FailureOr<KVSharing> sharing = analyse(body);
    EXPECT_TRUE(succeeded(sharing));
    std::vector<int64_t> producers;
    if (succeeded(sharing))
      for (const KVUse &use : sharing->getUses())
        producers.push_back(use.producer);
    return producers;
  }

  /// The error that refuses `body`; empty when it is accepted.
  std::string getError(const std::string &body) {
    std::string error;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      error = diagnostic.str();
      return success();
    });
    bool accepted = succeeded(analyse(body));
    EXPECT_EQ(accepted, error.empty());
    return error;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

using Layers = std::vector<int64_t>;

#define EXPECT_REFUSED(words, body) EXPECT_NE(getError(body).find(words), std::string::npos) << getError(body)

//===----------------------------------------------------------------------===//
// What makes an edge
//===----------------------------------------------------------------------===//

TEST_F(KVSharingTest, TheFirstUserOfKeysAndValuesOwnsThem) {
  EXPECT_EQ(getProducers(attend("%a", "%k", "%v") + attend("%b", "%k", "%v") + attend("%e", "%k1", "%v1")),
            (Layers{0, 0, 2}));
}

TEST_F(KVSharingTest, AnOwnerIsNoConsumer) {
  FailureOr<KVSharing> sharing = analyse(attend("%a", "%k", "%v") + attend("%b", "%k", "%v"));
  ASSERT_TRUE(succeeded(sharing));
  EXPECT_FALSE(sharing->getUses()[0].isConsumer());
  EXPECT_TRUE(sharing->getUses()[1].isConsumer());
  EXPECT_EQ(sharing->getOnlySource(sharing->getUses()[0].op), std::nullopt);
  EXPECT_EQ(sharing->getOnlySource(sharing->getUses()[1].op), 0);
}

TEST_F(KVSharingTest, EdgesLeadThroughOperationsThatOnlyMoveData) {
  for (const char *name : {"aten.to.dtype", "aten.contiguous.default", "aten.view", "onnx.Identity", "prims.view_of"})
    EXPECT_EQ(getProducers(attend("%a", "%k", "%v") + call("%k2", name, "%k") + call("%v2", name, "%v") +
                           attend("%b", "%k2", "%v2")),
              (Layers{0, 0}))
        << name;
}

TEST_F(KVSharingTest, EdgesEndAtOperationsThatCompute) {
  for (const char *name : {"aten.mul.Tensor", "aten.relu", "aten.tonic", "to"})
    EXPECT_EQ(getProducers(attend("%a", "%k", "%v") + call("%k2", name, "%k") + call("%v2", name, "%v") +
                           attend("%b", "%k2", "%v2")),
              (Layers{0, 1}))
        << name;
}

TEST_F(KVSharingTest, AllVersionsOfACacheAreOneOrigin) {
  // The owner attends to its own tokens, the reader to what is stored of them.
  EXPECT_EQ(getProducers("  %u = sparseattn.kv_cache.append %c, %k, %v at %p : (!cache, !kv, !kv, index) -> !cache\n" +
                         attend("%a", "%k", "%v") +
                         "  %w = sparseattn.kv_cache.view %u : (!cache) -> !view\n"
                         "  %k2, %v2 = sparseattn.kv_cache.read %w length %n : (!view, index) -> (!kv, !kv)\n" +
                         attend("%b", "%k2", "%v2")),
            (Layers{0, 0}));
}

TEST_F(KVSharingTest, KeysAndValuesOfACacheAreTwoOrigins) {
  ASSERT_TRUE(succeeded(
      analyse("  %k2, %v2 = sparseattn.kv_cache.read %c length %n : (!cache, index) -> (!kv, !kv)\n" +
              attend("%a", "%k2", "%v2"))));
  Operation *read = nullptr;
  module->walk([&](KVCacheReadOp op) { read = op; });
  KVRoot key = findKVRoot(read->getResult(0)), value = findKVRoot(read->getResult(1));
  EXPECT_EQ(key.value, value.value);
  EXPECT_EQ(key.part, KVRoot::Part::Key);
  EXPECT_EQ(value.part, KVRoot::Part::Value);
  EXPECT_NE(key, value);
}

//===----------------------------------------------------------------------===//
// Layer numbers
//===----------------------------------------------------------------------===//

TEST_F(KVSharingTest, ProgramOrderNumbersLayersThatNobodyNumbered) {
  FailureOr<KVSharing> inferred = analyse(attend("%a", "%k", "%v") + attend("%b", "%k1", "%v1"));
  ASSERT_TRUE(succeeded(inferred));
  EXPECT_TRUE(inferred->areLayersInferred());
  FailureOr<KVSharing> given =
      analyse(attend("%a", "%k", "%v", "{layer = 3 : i64}") + attend("%b", "%k1", "%v1", "{layer = 9 : i64}"));
  ASSERT_TRUE(succeeded(given));
  EXPECT_FALSE(given->areLayersInferred());
  EXPECT_EQ(given->getLayers().begin()->first, 3);
  EXPECT_EQ(given->getLayers().rbegin()->first, 9);
}

TEST_F(KVSharingTest, BranchesThatMeetAreOneLayer) {
  FailureOr<KVSharing> sharing =
      analyse(attend("%a", "%k", "%v") + attend("%b", "%k1", "%v1", "", "window<4>") +
              "  %o = sparseattn.gated_combine %a, %b gates(%g, %g) : (!q, !q, !q, !q) -> !q\n" +
              attend("%e", "%k", "%v"));
  ASSERT_TRUE(succeeded(sharing));
  ASSERT_EQ(sharing->getLayers().size(), 2u);
  EXPECT_EQ(sharing->getLayers().at(0).size(), 2u);
  EXPECT_EQ(sharing->getUses()[2].layer, 1);
  EXPECT_EQ(sharing->getUses()[2].producer, 0);
}

TEST_F(KVSharingTest, AllLayersAreNumberedOrNone) {
  EXPECT_REFUSED("expected a layer attribute",
                 attend("%a", "%k", "%v", "{layer = 0 : i64}") + attend("%b", "%k1", "%v1"));
}

//===----------------------------------------------------------------------===//
// What is stated beside the data flow
//===----------------------------------------------------------------------===//

TEST_F(KVSharingTest, AStatedSourceHasToAgreeWithTheDataFlow) {
  std::string layers = attend("%a", "%k", "%v", "{layer = 0 : i64}") + attend("%b", "%k1", "%v1", "{layer = 1 : i64}");
  EXPECT_EQ(getProducers(layers + attend("%e", "%k", "%v", "{layer = 2 : i64, kv_source = 0 : i64}")),
            (Layers{0, 1, 0}));
  EXPECT_REFUSED("kv_source = 1 disagrees with the data flow: layer 2 reads the keys and values of layer 0",
                 layers + attend("%e", "%k", "%v", "{layer = 2 : i64, kv_source = 1 : i64}"));
}

TEST_F(KVSharingTest, AStatedSourceMayBeAnotherFunctionsLayer) {
  EXPECT_EQ(getProducers(attend("%a", "%k", "%v", "{layer = 4 : i64, kv_source = 2 : i64}")), (Layers{2}));
}

//===----------------------------------------------------------------------===//
// What is refused
//===----------------------------------------------------------------------===//

TEST_F(KVSharingTest, KeysAndValuesAreSharedTogether) {
  EXPECT_REFUSED("shares the keys of layer 0 but not its values",
                 attend("%a", "%k", "%v") + attend("%b", "%k", "%v1"));
  EXPECT_REFUSED("shares the values of layer 0 but not its keys",
                 attend("%a", "%k", "%v") + attend("%b", "%k1", "%v"));
}

TEST_F(KVSharingTest, TheProducerHasTheLowerNumber) {
  EXPECT_REFUSED("expected the producer to have the lower layer number",
                 attend("%a", "%k", "%v", "{layer = 5 : i64}") + attend("%b", "%k", "%v", "{layer = 1 : i64}"));
}

TEST_F(KVSharingTest, AConsumerSeesNoMoreThanTheProducerKeeps) {
  auto share = [](StringRef producer, StringRef consumer) {
    return attend("%a", "%k", "%v", "", producer) + attend("%b", "%k", "%v", "", consumer);
  };
  EXPECT_EQ(getProducers(share("causal", "window<4>")), (Layers{0, 0}));
  EXPECT_EQ(getProducers(share("window<4>", "window<4>")), (Layers{0, 0}));
  EXPECT_REFUSED("sees 5 keys, but layer 0 keeps only the last 4", share("window<4>", "window<5>"));
  EXPECT_REFUSED("sees all keys, but layer 0 keeps only the last 4", share("window<4>", "causal"));
  // Head by head: head 1 of the producer keeps less than the consumer's window.
  EXPECT_REFUSED("KV head 1 of layer 1 sees 5 keys",
                 share("head_table<[#sparseattn.causal, #sparseattn.window<4>]>", "window<5>"));
}

TEST_F(KVSharingTest, AConsumerGetsNoCache) {
  EXPECT_REFUSED("layer 1 is a consumer of layer 0 and is never allocated a cache",
                 "  %e = sparseattn.kv_cache.create {layer = 1 : i64} : !cache\n" +
                     attend("%a", "%k", "%v", "{layer = 0 : i64}") + attend("%b", "%k", "%v", "{layer = 1 : i64}"));
}

TEST_F(KVSharingTest, KeysAreStoredOnce) {
  auto append = [](StringRef result, StringRef cache) {
    return ("  " + result + " = sparseattn.kv_cache.append " + cache +
            ", %k, %v at %p : (!cache, !kv, !kv, index) -> !cache\n")
        .str();
  };
  EXPECT_EQ(getError(append("%u", "%c") + attend("%a", "%k", "%v")), "");
  EXPECT_REFUSED("expected a single writer; a consumer layer reads",
                 append("%u", "%c") + append("%w", "%d") + attend("%a", "%k", "%v"));
}

TEST_F(KVSharingTest, QueriesStandWhereTheirTokensWereAppended) {
  auto decode = [](StringRef offset) {
    return ("  %u = sparseattn.kv_cache.append %c, %k, %v at %p : (!cache, !kv, !kv, index) -> !cache\n"
            "  %k2, %v2 = sparseattn.kv_cache.read %u length %n : (!cache, index) -> (!all, !all)\n"
            "  %r = sparseattn.rope %q dims 16 " +
            offset +
            " -> !q\n"
            "  %a = sparseattn.attention %r, %k2, %v2 keys(#sparseattn.causal) : (!q, !all, !all) -> !q\n")
        .str();
  };
  EXPECT_EQ(getError(decode("q_offset(%p) : (!q, index)")), "");
  // The position after the append, and none at all.
  EXPECT_REFUSED("the position before the append", decode("q_offset(%n) : (!q, index)"));
  EXPECT_REFUSED("found none (position 0)", decode(": (!q)"));
}

TEST_F(KVSharingTest, IndicesComeFromTheLayerOfTheKeys) {
  auto model = [](StringRef keys, StringRef values) {
    return attend("%a", "%k", "%v") +
           "  %b, %i = sparseattn.attention %q, %k1, %v1 keys(#sparseattn.causal) "
           "emit(#sparseattn.block_score<block = 8>) select <k = 1, block = 8> : (!q, !kv, !kv) -> (!q, !idx)\n" +
           ("  %e = sparseattn.sparse_attention %q, " + keys + ", " + values +
            " selection(%i) block 8 keys(#sparseattn.causal) : (!q, !kv, !kv, !idx) -> !q\n")
               .str();
  };
  FailureOr<KVSharing> sharing = analyse(model("%k1", "%v1"));
  ASSERT_TRUE(succeeded(sharing));
  ASSERT_EQ(sharing->getIndexUses().size(), 1u);
  EXPECT_EQ(sharing->getIndexUses()[0].producer, 1);
  EXPECT_REFUSED("takes its keys from layer 0 but its selection from layer 1", model("%k", "%v"));
}

//===----------------------------------------------------------------------===//
// Scopes
//===----------------------------------------------------------------------===//

TEST_F(KVSharingTest, FunctionsAreSeparate) {
  std::string f = std::string("(") + kArguments + ") {\n" + attend("%a", "%k", "%v") + "  return\n}\n";
  module = parseSourceString<ModuleOp>(
      std::string(kTypes) + "func.func @prefill" + f + "func.func @empty() {\n  return\n}\nfunc.func @decode" + f, &context);
  ASSERT_TRUE(module);
  SmallVector<Operation *> scopes = findAttentionScopes(*module);
  ASSERT_EQ(scopes.size(), 2u);
  EXPECT_EQ(cast<func::FuncOp>(scopes[0]).getName(), "prefill");
  EXPECT_EQ(cast<func::FuncOp>(scopes[1]).getName(), "decode");
}

} // namespace
