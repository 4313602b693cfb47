//===- ManifestTest.cpp - every rule of the manifest, broken once --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <random>

namespace {

class ManifestTest : public RuntimeTest {
protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    manifest = makeAttention(folder);
  }

  void expectRefused(const std::string &text, const std::string &words) {
    folder.write("manifest.json", text);
    SparseAttnArtefact *artefact = nullptr;
    expectFailure(sparseattnArtefactOpen(folder.path.c_str(), &artefact), SPARSEATTN_INVALID_ARTEFACT, words);
    EXPECT_EQ(artefact, nullptr);
    sparseattnArtefactFree(artefact);
  }

  Folder folder;
  Json manifest;
};

/// A member gets another value, or is removed where that is "REMOVE".
struct Change {
  const char *path;
  Json value;
  const char *words;
};

void PrintTo(const Change &change, std::ostream *stream) { *stream << change.path << " = " << change.value; }

TEST_F(ManifestTest, ChangedValues) {
  const Json nested = Json::parse(std::string(20, '[') + std::string(20, ']'));
  const Change changes[] = {
      {"/schema", "sparseattn.artefact", "schema: expected \"sparseattn-gpu-manifest\""},
      {"/schema", "REMOVE", "member \"schema\" is missing"},
      {"/version", 2, "version: expected version 1, the one that this runtime reads"},
      {"/version", "1", "version: expected an integer"},
      {"/version", -1, "version: expected an integer"},
      {"/compiler", "REMOVE", "member \"compiler\" is missing"},
      {"/extra", 1, "unknown member \"extra\"; there are schema, version"},
      {"/kernels", Json::array(), "kernels: expected a list of 1 to 256"},
      {"/kernels", Json::object(), "kernels: expected a list of 1 to 256, found an object"},
      {"/kernels/1", 3, "kernels[1]: expected an object, found 3"},
      {"/kernels/1", Json::object(), "member \"name\" is missing"},
      {"/kernels/0/name", "", "kernels[0].name: expected a name"},
      {"/kernels/0/name", "1a", "kernels[0].name: expected a name"},
      {"/kernels/0/name", "a b", "kernels[0].name: expected a name"},
      {"/kernels/0/name", std::string(129, 'a'), "kernels[0].name: expected a string of at most 128"},
      {"/kernels/0/symbol", "9", "expected a PTX identifier"},
      {"/kernels/0/symbol", "a;b", "expected a PTX identifier"},
      {"/kernels/0/chip", "sm_90", "expected \"sm_<two or three digits>a\", found \"sm_90\""},
      {"/kernels/0/chip", "sm_a", "expected \"sm_<two or three digits>a\""},
      {"/kernels/0/chip", "sm_99999999999a", "expected \"sm_<two or three digits>a\""},
      {"/kernels/0/chip", 90, "found 90"},
      {"/kernels/0/ptx/file", "../attention.ptx", "expected the name of a file in the artefact's folder"},
      {"/kernels/0/ptx/file", "/etc/passwd", "expected the name of a file in the artefact's folder"},
      {"/kernels/0/ptx/file", ".hidden", "expected the name of a file in the artefact's folder"},
      {"/kernels/0/ptx/file", std::string("a\0b", 3), "expected the name of a file in the artefact's folder"},
      {"/kernels/0/ptx/file", "missing.ptx", "missing.ptx: cannot be opened: No such file"},
      {"/kernels/0/ptx/bytes", 7, "bytes instead of 7: it was truncated or replaced"},
      {"/kernels/0/ptx/bytes", -1, "ptx.bytes: expected an integer from 1 to 268435456, found -1"},
      {"/kernels/0/ptx/bytes", 1e300, "expected an integer from 1 to 268435456, found 1e+300"},
      {"/kernels/0/ptx/fnv1a64", "0000000000000000", "differs from what was compiled"},
      {"/kernels/0/ptx/fnv1a64", "12", "expected 16 lower-case hexadecimal digits"},
      {"/kernels/0/ptx/fnv1a64", "ABCDEF0123456789", "expected 16 lower-case hexadecimal digits"},
      {"/kernels/0/ptx", "REMOVE", "member \"ptx\" is missing"},
      {"/kernels/0/cubin", nullptr, "cubin: expected an object, found null"},
      {"/kernels/0/block_threads", 0, "block_threads: expected an integer from 32 to 1024"},
      {"/kernels/0/block_threads", 100, "block_threads: expected a multiple of 32"},
      {"/kernels/0/block_threads", 2048, "block_threads: expected an integer from 32 to 1024"},
      {"/kernels/0/block_threads", 384.5, "block_threads: expected an integer"},
      {"/kernels/0/dynamic_shared_memory", 232449, "expected an integer from 0 to 232448"},
      {"/kernels/0/dynamic_shared_memory", true, "expected an integer from 0 to 232448, found true"},
      {"/kernels/0/dynamic_shared_memory", 18446744073709551615u, "expected an integer from 0 to 232448"},
      {"/kernels/0/operands", Json::array(), "operands: expected a list of 1 to 32"},
      {"/kernels/0/operands/1/name", "q", "an earlier operand has this name"},
      {"/kernels/0/operands/0/role", "inout", "expected one of \"input\", \"output\", \"workspace\""},
      {"/kernels/0/operands/0/dtype", "bfloat16", "expected one of \"f16\", \"bf16\""},
      {"/kernels/0/operands/0/axes/1", "batch", "this axis stands twice"},
      {"/kernels/0/operands/0/axes", Json::array(), "axes: expected a list of 1 to 8"},
      {"/kernels/0/operands/0/shape/4", 1, "shape: expected a list of 4 to 4"},
      {"/kernels/0/operands/0/shape/0", 0, "shape[0]: expected an integer from 1"},
      {"/kernels/0/operands/0/shape/0", nullptr, "shape[0]: expected an integer from 1 to 1099511627776, found null"},
      {"/kernels/0/operands/0/contiguous/0", "row", "expected an axis of operand 'q', found \"row\""},
      {"/kernels/0/operands/0/contiguous/1", "feature", "this axis stands twice"},
      {"/kernels/0/operands/0/contiguous", Json::array(), "must be the last axis of the operand's 'contiguous'"},
      {"/kernels/0/operands/0/alignment", 24, "alignment: expected a power of two"},
      {"/kernels/0/operands/0/alignment", 512, "alignment: expected an integer from 1 to 256"},
      {"/kernels/0/operands/0/alignment", 8, "needs an alignment of at least 16 bytes for a tensor map"},
      {"/kernels/0/zero_sizes/Z", "skip", "zero_sizes.Z: no operand has a size of this name"},
      {"/kernels/0/zero_sizes/B", "ignore", "expected one of \"skip\", \"launch\""},
      {"/kernels/0/zero_sizes/group", "skip", "no operand has a size of this name"},
      {"/kernels/0/attributes/0/name", "Nq", "the name 'Nq' is taken"},
      {"/kernels/0/attributes/1/name", "scale_log2", "the name 'scale_log2' is taken"},
      {"/kernels/0/attributes/0/type", "f64", "expected one of \"i32\", \"i64\", \"f32\""},
      {"/kernels/0/attributes/0/default", 1e39, "expected a number that an f32 can hold"},
      {"/kernels/0/attributes/0/default", "tiles", "default: expected a number"},
      {"/kernels/0/attributes/1/default", 2147483648, "expected an integer from -2147483648 to 2147483647"},
      {"/kernels/0/attributes/1/default", "Nq", "expected a number or the name of a derived value"},
      {"/kernels/0/attributes/1/default", "nothing", "expected the name of a size"},
      {"/kernels/0/derived/0/name", "scale_log2", "the name 'scale_log2' is taken"},
      {"/kernels/0/derived/0/sum", {"Nq", 1}, "expected one operation, found 2"},
      {"/kernels/0/derived/0/exact_quotient", "REMOVE", "expected one operation, found 0"},
      {"/kernels/0/derived/0/exact_quotient/2", 1, "expected a list of 2 to 2"},
      {"/kernels/0/derived/0/exact_quotient/0", "tiles", "expected the name of a size"},
      {"/kernels/0/derived/1/ceil_quotient/1", -128, "expected an integer from 0"},
      {"/kernels/0/derived/1/ceil_quotient/0", "head_group", "has a derived value as default"},
      {"/kernels/0/derived/1/ceil_quotient/0", "scale_log2", "expected the name of a size, of an integer attribute"},
      {"/kernels/0/grid", "REMOVE", "member \"grid\" is missing"},
      {"/kernels/0/grid/blocks", Json::array(), "blocks: expected a list of 1 to 8"},
      {"/kernels/0/grid/blocks/0", "position", "expected the name of a size"},
      {"/kernels/0/grid/blocks_per_multiprocessor", 0, "expected an integer from 1 to 32"},
      {"/kernels/0/grid/y", 1, "unknown member \"y\""},
      {"/kernels/0/parameters", Json::array(), "parameters: expected a list of 1 to 128"},
      {"/kernels/0/parameters/0/kind", "im2col", "kind: expected one of \"tensor_map\", \"pointer\""},
      {"/kernels/0/parameters/0/operand", "x", "expected the name of an operand, found \"x\""},
      {"/kernels/0/parameters/0/swizzle", "96B", "swizzle: expected one of \"none\", \"32B\""},
      {"/kernels/0/parameters/0/swizzle", "64B", "a row of the box has 128 bytes; the swizzle allows 64"},
      {"/kernels/0/parameters/0/l2_promotion", 256, "l2_promotion: expected one of"},
      {"/kernels/0/parameters/0/dims/0/box", 4, "a row of the box has 8 bytes; expected a multiple of 16"},
      {"/kernels/0/parameters/0/dims/1/box", 257, "box: expected an integer from 1 to 256"},
      {"/kernels/0/parameters/0/dims/1/box", 0, "box: expected an integer from 1 to 256"},
      {"/kernels/0/parameters/0/dims/0/inner", 60, "does not divide the axis of 128"},
      {"/kernels/0/parameters/0/dims/0/inner", 32, "expected the axis 'feature' once whole"},
      {"/kernels/0/parameters/0/dims/0/outer", 64, "inner and outer exclude each other"},
      {"/kernels/0/parameters/0/dims/4/axis", "head", "expected the axis 'batch' once whole"},
      {"/kernels/0/parameters/0/dims/2", "REMOVE", "expected the axis 'feature' once whole"},
      {"/kernels/0/parameters/0/dims/5", {{"axis", "batch"}, {"box", 1}}, "dims: expected a list of 1 to 5"},
      {"/kernels/0/parameters/3/type", "i64", "unknown member \"type\"; there are kind, operand"},
      {"/kernels/0/parameters/4/type", "f32", "type: expected one of \"i32\", \"i64\""},
      {"/kernels/0/parameters/4/axis", "rows", "expected an axis of operand 'o'"},
      {"/kernels/0/parameters/7/attribute", "Nq", "expected the name of an attribute, found \"Nq\""},
      {"/kernels/0/parameters/8/size", "scale_log2", "expected the name of a size"},
      {"/kernels/0/parameters/12/value", 2147483648, "expected an integer from -2147483648 to 2147483647"},
      {"/kernels/0/parameters/12/value", 1.5, "expected an integer"},
      {"/kernels/0/parameters/13/value", "1", "value: expected a number"},
      {"/kernels/0/parameters/13/value", nested, "value: expected a number, found a list of 1"},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"type", "i32"}}, "member \"count\" is missing"},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"count", 4}}, "member \"type\" is missing"},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"type", "i32"}, {"count", 1}},
       "count: expected an integer from 2 to 2147483647, found 1"},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"type", "i32"}, {"count", 2147483648}},
       "count: expected an integer from 2 to 2147483647"},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"type", "i32"}, {"count", "many"}}, "count: expected an integer"},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"type", "f32"}, {"count", 4}},
       "type: expected one of \"i32\", \"i64\""},
      {"/kernels/0/parameters/14", {{"kind", "counter"}, {"type", "i32"}, {"count", 4}, {"size", "Nq"}},
       "unknown member \"size\"; there are kind, type, count"},
  };
  for (const Change &change : changes) {
    SCOPED_TRACE(testing::PrintToString(change));
    Json changed = manifest;
    Json::json_pointer path(change.path);
    Json &parent = changed[path.parent_pointer()];
    if (change.value != "REMOVE")
      changed[path] = change.value;
    else if (parent.is_array())
      parent.erase(std::stoul(path.back()));
    else
      parent.erase(path.back());
    expectRefused(changed.dump(), change.words);
  }
}

TEST_F(ManifestTest, MalformedText) {
  expectRefused("", "not valid JSON");
  expectRefused("{\"schema\": ", "not valid JSON");
  expectRefused("{} {}", "not valid JSON");
  expectRefused("{\"a\": \"\xff\"}", "not valid JSON");
  expectRefused(std::string("{\0}", 3), "not valid JSON");
  expectRefused("{\"a\": NaN}", "not valid JSON");
  expectRefused("{\"a\": 1e999}", "not valid JSON");
  expectRefused("[1, 2]", "expected an object, found a list of 2");
  expectRefused("null", "expected an object, found null");
  expectRefused("{\"schema\": 1, \"schema\": 2}", "member \"schema\" stands twice");
}

TEST_F(ManifestTest, DeepNesting) {
  expectRefused(std::string(1000000, '['), "nested more than 32 deep");
  std::string objects;
  for (int depth = 0; depth < 100000; ++depth)
    objects += "{\"a\":";
  expectRefused(objects, "nested more than 32 deep");
}

/// Nothing that a damaged manifest says may crash the process, now or at a launch.
TEST_F(ManifestTest, DamagedBytes) {
  const std::string text = manifest.dump();
  const std::string bytes = "\"\\{}[]:,-+.0123456789eEtfn\x01\x7f\xc3\xff";
  std::mt19937 random(7);
  int opened = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (int change = 0; change <= round % 3; ++change)
      damaged[random() % damaged.size()] = bytes[random() % bytes.size()];
    folder.write("manifest.json", damaged);
    SparseAttnArtefact *artefact = nullptr;
    if (sparseattnArtefactOpen(folder.path.c_str(), &artefact) == SPARSEATTN_OK) {
      ++opened;
      launch(sparseattnArtefactKernel(artefact, 0), makeOperands(2, 300, 777, 6, 2));
    }
    sparseattnArtefactFree(artefact);
  }
  // Some changes are harmless, most are not.
  EXPECT_GT(opened, 0);
  EXPECT_LT(opened, 1500);
}

TEST_F(ManifestTest, TooLong) { expectRefused(std::string((16 << 20) + 1, ' '), "expected at most 16777216 bytes"); }

TEST_F(ManifestTest, TooManyParameterBytes) {
  Json map = manifest["kernels"][0]["parameters"][0];
  for (int count = 0; count < 32; ++count)
    manifest["kernels"][0]["parameters"].push_back(map);
  expectRefused(manifest.dump(), "the parameters have more than 4096 bytes");
}

TEST_F(ManifestTest, KernelNamesAreUnique) {
  manifest["kernels"].push_back(manifest["kernels"][0]);
  expectRefused(manifest.dump(), "kernels[1].name: an earlier kernel has this name");
}

TEST_F(ManifestTest, FreeFormInfo) {
  manifest["info"] = {{"anything", {1, "two", nullptr}}};
  manifest["kernels"][0]["info"] = {{"kind", "full"}};
  folder.writeManifest(manifest);
  Opened opened(folder);
  EXPECT_EQ(Json::parse(sparseattnArtefactManifest(opened.artefact)), manifest);
}

} // namespace
