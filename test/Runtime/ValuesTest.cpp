//===- ValuesTest.cpp - attributes and derived values --------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cmath>

namespace {

/// A kernel over one f32 operand of sizes [A, B] that receives the values under test as i64.
class ValuesTest : public RuntimeTest {
protected:
  Json makeManifest(Json attributes, Json derived, const std::vector<const char *> &values) {
    Json kernel = {{"name", "k"},
                   {"symbol", "k"},
                   {"chip", "sm_90a"},
                   {"block_threads", 32},
                   {"dynamic_shared_memory", 0},
                   {"attributes", std::move(attributes)},
                   {"derived", std::move(derived)},
                   {"grid", {{"blocks", Json::array({1})}}},
                   {"parameters", Json::array()}};
    kernel["operands"] = Json::array({{{"name", "x"},
                                       {"role", "input"},
                                       {"dtype", "f32"},
                                       {"axes", {"a", "b"}},
                                       {"shape", {"A", "B"}}}});
    kernel["zero_sizes"] = {{"A", "launch"}, {"B", "launch"}};
    for (const char *value : values)
      kernel["parameters"].push_back({{"kind", "size"}, {"type", "i64"}, {"size", value}});
    Json manifest = {{"schema", "sparseattn-gpu-manifest"},
                     {"version", 1},
                     {"compiler", "test"},
                     {"kernels", Json::array({kernel})}};
    rewritePtx(folder, manifest);
    return manifest;
  }

  SparseAttnStatus run(int64_t a, int64_t b, const std::vector<SparseAttnAttribute> &attributes = {}) {
    Opened opened(folder);
    return launch(opened.kernel, {{0x1000, SPARSEATTN_F32, {a, b}}}, attributes);
  }

  /// The value "V" that the kernel receives for sizes a and b.
  void expectValue(const Json &operation, int64_t a, int64_t b, int64_t expected) {
    Json derived = operation;
    derived["name"] = "V";
    makeManifest(Json::array(), Json::array({derived}), {"V"});
    ASSERT_EQ(run(a, b), SPARSEATTN_OK) << sparseattnRuntimeError();
    EXPECT_EQ(getLog()["launches"].back()["parameters"][0], toHex(expected)) << operation << " of " << a << ", " << b;
  }

  void expectRefused(const Json &operation, int64_t a, int64_t b, const std::string &words) {
    Json derived = operation;
    derived["name"] = "V";
    makeManifest(Json::array(), Json::array({derived}), {"V"});
    expectFailure(run(a, b), SPARSEATTN_INVALID_ARGUMENT, words);
  }

  Folder folder;
};

TEST_F(ValuesTest, Operations) {
  expectValue({{"sum", {"A", "B", -2}}}, 5, 7, 10);
  expectValue({{"product", {"A", "B", 3}}}, 5, 7, 105);
  expectValue({{"product", {"A", "B"}}}, 0, 7, 0);
  expectValue({{"minimum", {"A", "B", 6}}}, 5, 7, 5);
  expectValue({{"one_of", {"A", 1, "B"}}}, 4, 4, 4);
  expectValue({{"one_of", {"A", 1, "B"}}}, 1, 4, 1);
  expectValue({{"exact_quotient", {"A", "B"}}}, 12, 4, 3);
  expectValue({{"ceil_quotient", {"A", "B"}}}, 12, 5, 3);
  expectValue({{"ceil_quotient", {"A", "B"}}}, 10, 5, 2);
  expectValue({{"ceil_quotient", {"A", 128}}}, 0, 1, 0);
  expectValue({{"largest_power_of_two", {"A", "B"}}}, 100, 3, 32);
  expectValue({{"largest_power_of_two", {"A", "B"}}}, 96, 3, 32);
  expectValue({{"largest_power_of_two", {"A", "B"}}}, 95, 3, 16);
  expectValue({{"largest_power_of_two", {"A", "B"}}}, 2, 3, 1);
  expectValue({{"largest_power_of_two", {"A", "B"}}}, 9, 0, 8);
  expectValue({{"largest_power_of_two", {9223372036854775807, "B"}}}, 1, 1, int64_t(1) << 62);
}

TEST_F(ValuesTest, Refusals) {
  expectRefused({{"sum", {"A", -10}}}, 5, 1, "'V' is negative for these sizes");
  expectRefused({{"sum", {"A", 9223372036854775807}}}, 1, 1, "'V' is too large for these sizes");
  expectRefused({{"product", {9223372036854775807, "A"}}}, 2, 1, "'V' is too large for these sizes");
  expectRefused({{"one_of", {"A", 1, "B"}}}, 7, 2, "expected A = 7 to be 1 or B = 2 (for 'V')");
  expectRefused({{"exact_quotient", {"A", "B"}}}, 7, 2, "A = 7 is not a multiple of B = 2 (for 'V')");
  expectRefused({{"exact_quotient", {"A", "B"}}}, 7, 0, "A = 7 is not a multiple of B = 0");
  expectRefused({{"ceil_quotient", {"A", "B"}}}, 7, 0, "B = 0 must be at least 1");
}

TEST_F(ValuesTest, Attributes) {
  Json attributes = {{{"name", "n"}, {"type", "i32"}},
                     {{"name", "m"}, {"type", "i64"}, {"default", -5}},
                     {{"name", "f"}, {"type", "f32"}, {"default", 0.5}},
                     {{"name", "d"}, {"type", "i32"}, {"default", "twice"}}};
  Json derived = Json::array({{{"name", "twice"}, {"product", {"n", 2}}}});
  Json manifest = makeManifest(attributes, derived, {"n", "m", "d", "twice"});
  manifest["kernels"][0]["parameters"].push_back({{"kind", "attribute"}, {"attribute", "f"}});
  rewritePtx(folder, manifest);

  ASSERT_EQ(run(1, 1, {{"n", 1, 21, 0}}), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_EQ(getLog()["launches"].back()["parameters"],
            Json({toHex(int64_t(21)), toHex(int64_t(-5)), toHex(int64_t(42)), toHex(int64_t(42)), toHex(0.5f)}));
  ASSERT_EQ(run(1, 1, {{"f", 1, 3, 0}, {"d", 1, 9, 0}, {"n", 1, 0, 0}, {"m", 1, INT64_MIN, 0}}), SPARSEATTN_OK);
  EXPECT_EQ(getLog()["launches"].back()["parameters"],
            Json({toHex(int64_t(0)), toHex(INT64_MIN), toHex(int64_t(9)), toHex(int64_t(0)), toHex(3.0f)}));

  expectFailure(run(1, 1), SPARSEATTN_INVALID_ARGUMENT, "attribute 'n' is missing and has no default");
  expectFailure(run(1, 1, {{"n", 0, 0, 1.0}}), SPARSEATTN_INVALID_ARGUMENT, "expected an integer (i32), found the");
  expectFailure(run(1, 1, {{"n", 1, 2147483648, 0}}), SPARSEATTN_INVALID_ARGUMENT, "2147483648 does not fit i32");
  expectFailure(run(1, 1, {{"n", 1, -3, 0}}), SPARSEATTN_INVALID_ARGUMENT, "'twice' is negative");
  expectFailure(run(1, 1, {{"n", 1, 1, 0}, {"n", 1, 1, 0}}), SPARSEATTN_INVALID_ARGUMENT, "'n' is given twice");
  expectFailure(run(1, 1, {{"x", 1, 1, 0}}), SPARSEATTN_INVALID_ARGUMENT, "no attribute 'x'; there are n, m, f, d");
  expectFailure(run(1, 1, {{nullptr, 1, 1, 0}}), SPARSEATTN_INVALID_ARGUMENT, "no attribute ''");
  expectFailure(run(1, 1, {{"n", 1, 1, 0}, {"f", 0, 0, NAN}}), SPARSEATTN_INVALID_ARGUMENT, "expected a finite f32");
  expectFailure(run(1, 1, {{"n", 1, 1, 0}, {"f", 0, 0, 1e39}}), SPARSEATTN_INVALID_ARGUMENT, "expected a finite f32");
}

TEST_F(ValuesTest, BlocksOverflow) {
  Json manifest = makeManifest(Json::array(), Json::array(), {"A"});
  manifest["kernels"][0]["grid"]["blocks"] = {9223372036854775807, "A"};
  folder.writeManifest(manifest);
  expectFailure(run(2, 1), SPARSEATTN_INVALID_ARGUMENT, "the number of blocks does not fit 64 bits");
  size_t before = countLaunches();
  EXPECT_EQ(run(0, 1), SPARSEATTN_OK);
  EXPECT_EQ(countLaunches(), before);
}

} // namespace
