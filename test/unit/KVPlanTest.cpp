//===- KVPlanTest.cpp - published KV-cache sizes ---------------------------===//
//
// Part of the sparseattn project.
//
// Models are written as L0 text with a dynamic number of keys; the plan is made
// for the lengths of the papers (specification 2.3, 3.3, 5.3).
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "sparseattn/Analysis/KVPlan.h"
#include "llvm/Support/FormatVariadic.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace sparseattn;

namespace {

struct Dims {
  int64_t queryHeads, kvHeads, keyDim, valueDim;
};

/// One function with one attention-like operation for each layer.
class Model {
public:
  explicit Model(Dims dims) : dims(dims) {
    query = llvm::formatv("tensor<1x{0}x1x{1}xbf16>", dims.queryHeads, dims.keyDim);
    key = llvm::formatv("tensor<1x{0}x?x{1}xbf16>", dims.kvHeads, dims.keyDim);
    value = llvm::formatv("tensor<1x{0}x?x{1}xbf16>", dims.kvHeads, dims.valueDim);
    out = llvm::formatv("tensor<1x{0}x1x{1}xbf16>", dims.queryHeads, dims.valueDim);
  }

  /// A layer with keys and values of its own.
  void addLayer(const std::string &pattern) {
    project(layers);
    body += llvm::formatv("  %o{0} = sparseattn.attention %q, %k{0}, %v{0} keys({1}) {{layer = {0} : i64} "
                          ": ({2}, {3}, {4}) -> {5}\n",
                          layers, pattern, query, key, value, out);
    ++layers;
  }

  /// HySparse: keys of `producer` by selection, and an own window.
  void addSparseLayer(int64_t producer, int64_t window) {
    project(layers);
    body += llvm::formatv(
        "  %o{0} = sparseattn.branched_attention %q, [%k{1}, %k{0}], [%v{1}, %v{0}] branches(["
        "#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 64>, "
        "#sparseattn.branch<keys = #sparseattn.window<{2}>>]) gates(%g, %g) selections(%i) {{layer = {0} : i64} "
        ": ({3}, {4}, {4}, {5}, {5}, {6}, {6}, {7}) -> {6}\n",
        layers, producer, window, query, key, value, out, selection());
    ++layers;
  }

  /// HySparse2: every key is the producer's.
  void addConsumer(int64_t producer) {
    body += llvm::formatv("  %o{0} = sparseattn.sparse_attention %q, %k{1}, %v{1} selection(%i) block 1 "
                          "keys(#sparseattn.causal) {{layer = {0} : i64} : ({2}, {3}, {4}, {5}) -> {6}\n",
                          layers, producer, query, key, value, selection(), out);
    ++layers;
  }

  std::string getText() const {
    return llvm::formatv("func.func @model(%q: {0}, %k: {1}, %v: {2}, %g: {3}, %i: {4}) {{\n{5}  return\n}\n", query,
                         key, value, out, selection(), body);
  }

private:
  std::string selection() const { return llvm::formatv("tensor<1x{0}x1x16xi32>", dims.kvHeads); }

  void project(int64_t layer) {
    body += llvm::formatv("  %k{0} = sparseattn.extern \"project_key\"(%k) : ({1}) -> {1}\n"
                          "  %v{0} = sparseattn.extern \"project_value\"(%v) : ({2}) -> {2}\n",
                          layer, key, value);
  }

  Dims dims;
  std::string query, key, value, out, body;
  int64_t layers = 0;
};

class KVPlanTest : public ::testing::Test {
protected:
  KVPlanTest() { context.loadDialect<SparseAttnDialect, func::FuncDialect>(); }

  KVPlan plan(const Model &model, int64_t length, Type dtype = {}) {
    module = parseSourceString<ModuleOp>(model.getText(), &context);
    EXPECT_TRUE(module);
    Operation *scope = *module->getOps<func::FuncOp>().begin();
    FailureOr<KVSharing> sharing = KVSharing::compute(scope);
    EXPECT_TRUE(succeeded(sharing));
    FailureOr<KVPlan> result = KVPlan::compute(scope, *sharing, {length, 1, dtype});
    EXPECT_TRUE(succeeded(result));
    return *result;
  }

  Type fp8() { return Float8E4M3FNType::get(&context); }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

constexpr int64_t kMillion = 1 << 20;
const char *kCausal = "#sparseattn.causal";
const char *kWindow = "#sparseattn.window<128>";

/// F at the given layers, S elsewhere, all S reading the F before them.
Model hySparse(Dims dims, int64_t layers, function_ref<bool(int64_t)> isFull) {
  Model model(dims);
  int64_t producer = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (isFull(layer)) {
      model.addLayer(kCausal);
      producer = layer;
    } else {
      model.addSparseLayer(producer, 128);
    }
  }
  return model;
}

//===----------------------------------------------------------------------===//
// Section 3.3: FP8 caches of 2^20 tokens
//===----------------------------------------------------------------------===//

TEST_F(KVPlanTest, HySparse2At1M) {
  // 25 self-decoder layers (one full, 24 windows), then [F, S x 5] x 4.
  Model model({64, 1, 256, 256});
  for (int layer = 0; layer < 25; ++layer)
    model.addLayer(layer == 12 ? kCausal : kWindow);
  for (int layer = 25; layer < 49; ++layer) {
    if ((layer - 25) % 6 == 0)
      model.addLayer(kCausal);
    else
      model.addConsumer(layer - (layer - 25) % 6);
  }
  KVPlan result = plan(model, kMillion, fp8());
  EXPECT_EQ(result.getTotalBytes(), 5 * 1 * 512 * kMillion + 24 * 1 * 512 * 128); // 2.69 GB
  EXPECT_EQ(result.getTotalBytes(), 2'685'927'424);
}

TEST_F(KVPlanTest, HySparseAt1M) {
  Model model = hySparse({64, 4, 192, 128}, 49, [](int64_t layer) { return layer % 12 == 0; });
  KVPlan result = plan(model, kMillion, fp8());
  EXPECT_EQ(result.getTotalBytes(), 5 * 4 * 320 * kMillion + 44 * 4 * 320 * 128); // 6.72 GB
  EXPECT_NEAR(result.getTotalBytes() / 1e9, 6.718, 5e-4);
}

TEST_F(KVPlanTest, HybridWindowsAt1M) {
  Model model({64, 4, 192, 128});
  for (int layer = 0; layer < 49; ++layer)
    model.addLayer(layer % 6 == 0 ? kCausal : kWindow);
  KVPlan result = plan(model, kMillion, fp8());
  EXPECT_EQ(result.getTotalBytes(), 9 * 4 * 320 * kMillion + 40 * 4 * 320 * 128); // 12.09 GB
  EXPECT_NEAR(result.getTotalBytes() / 1e9, 12.086, 5e-4);
}

//===----------------------------------------------------------------------===//
// Section 2.3: bf16 HySparse against dense
//===----------------------------------------------------------------------===//

TEST_F(KVPlanTest, HySparse80BAgainstDense) {
  Model model = hySparse({64, 4, 128, 128}, 49, [](int64_t layer) { return layer % 12 == 0; });
  struct Row {
    int64_t length;
    double dense, planned, ratio;
  };
  for (const Row &row : {Row{32768, 3.288, 0.347, 9.47}, {131072, 13.15, 1.354, 9.72}, {kMillion, 105.2, 10.75, 9.79}}) {
    KVPlan result = plan(model, row.length);
    EXPECT_NEAR(result.getDenseBytes() / 1e9, row.dense, row.dense * 1e-3);
    EXPECT_NEAR(result.getTotalBytes() / 1e9, row.planned, row.planned * 2e-3);
    EXPECT_NEAR(result.getRatio(), row.ratio, 5e-3);
  }
}

TEST_F(KVPlanTest, HySparse7BAgainstDense) {
  Dims dims{32, 8, 128, 128};
  KVPlan nine = plan(hySparse(dims, 36, [](int64_t layer) { return layer % 4 == 0; }), 32768);
  EXPECT_NEAR(nine.getRatio(), 3.95, 5e-3);
  KVPlan ten = plan(hySparse(dims, 36, [](int64_t layer) { return layer % 4 == 0 || layer == 35; }), 32768);
  EXPECT_NEAR(ten.getRatio(), 3.56, 5e-3);
}

//===----------------------------------------------------------------------===//
// Section 5.3: ConSA, ragged caches
//===----------------------------------------------------------------------===//

TEST_F(KVPlanTest, ConSATable) {
  struct Row {
    int windowHeads;
    double at32kW128, at32kW1024, at8kW1024;
  };
  for (const Row &row : {Row{2, 1.33, 1.32, 1.28}, {4, 1.99, 1.94, 1.78}, {6, 3.95, 3.66, 2.91}}) {
    auto getRatio = [&](int64_t length, int64_t window) {
      std::string table = "#sparseattn.head_table<[";
      for (int head = 0; head < 8; ++head) {
        table += head ? ", " : "";
        table += head < row.windowHeads ? llvm::formatv("#sparseattn.window<{0}>", window).str() : kCausal;
      }
      Model model({16, 8, 128, 128});
      for (int layer = 0; layer < 28; ++layer)
        model.addLayer(table + "]>");
      return plan(model, length).getRatio();
    };
    EXPECT_NEAR(getRatio(32768, 128), row.at32kW128, 6e-3);
    EXPECT_NEAR(getRatio(32768, 1024), row.at32kW1024, 6e-3);
    EXPECT_NEAR(getRatio(8192, 1024), row.at8kW1024, 6e-3);
  }
}

//===----------------------------------------------------------------------===//
// Properties
//===----------------------------------------------------------------------===//

TEST_F(KVPlanTest, BytesAreAFunctionOfLengthAndBatch) {
  Model model({4, 2, 64, 32});
  model.addLayer(kWindow);
  model.addLayer(kCausal);
  KVPlan result = plan(model, 1000);
  ASSERT_EQ(result.getCaches().size(), 2u);
  const PlannedCache &ring = result.getCaches()[0], &full = result.getCaches()[1];
  int64_t token = 2 * (64 + 32) * 2;
  for (int64_t length : {0, 1, 127, 128, 129, 1 << 20}) {
    EXPECT_EQ(ring.getBytesAt(length, 1), std::min<int64_t>(length, 128) * token);
    EXPECT_EQ(full.getBytesAt(length, 3), 3 * length * token);
  }
  EXPECT_EQ(full.getBytesAt(int64_t(1) << 60, 1), std::nullopt);
}

TEST_F(KVPlanTest, AnAliasTakesNothing) {
  Model model({4, 2, 64, 64});
  model.addLayer(kCausal);
  model.addConsumer(0);
  KVPlan result = plan(model, 1000);
  ASSERT_EQ(result.getCaches().size(), 2u);
  EXPECT_TRUE(result.getCaches()[1].isAlias());
  EXPECT_EQ(result.getCaches()[1].producer, 0);
  EXPECT_EQ(result.getDenseBytes(), 2 * result.getTotalBytes());
}

} // namespace
