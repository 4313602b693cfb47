//===- Support.cpp - artefacts and tensors for the runtime's tests -------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

Folder::Folder() {
  std::string pattern = testing::TempDir() + "sparseattn-runtime-XXXXXX";
  path = mkdtemp(pattern.data());
}

Folder::~Folder() { std::filesystem::remove_all(path); }

void Folder::write(const std::string &file, const std::string &bytes) const {
  std::ofstream(path + "/" + file, std::ios::binary) << bytes;
}

void Folder::remove(const std::string &file) const { std::filesystem::remove(path + "/" + file); }

Json Folder::addImage(const std::string &file, const std::string &bytes) const {
  write(file, bytes);
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : bytes)
    hash = (hash ^ byte) * 0x100000001b3;
  char digits[17];
  snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(hash));
  return {{"file", file}, {"bytes", bytes.size()}, {"fnv1a64", digits}};
}

std::string makePtx(const Json &kernel) {
  std::string list;
  for (const Json &parameter : kernel["parameters"]) {
    std::string type = parameter.value("type", "i64");
    if (parameter["kind"] == "attribute")
      for (const Json &attribute : kernel["attributes"])
        if (attribute["name"] == parameter["attribute"])
          type = attribute["type"];
    std::string name = "p" + std::to_string(std::count(list.begin(), list.end(), ','));
    list += list.empty() ? "" : ", ";
    if (parameter["kind"] == "tensor_map")
      list += ".param .align 64 .b8 " + name + "[128]";
    else
      list += (type == "i64" ? ".param .u64 " : type == "f32" ? ".param .f32 " : ".param .u32 ") + name;
  }
  std::string symbol = kernel["symbol"];
  return ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry " + symbol + "(" + list +
         ")\n{\n  ret;\n}\n";
}

std::string makeCubin(const Json &kernel) { return "\x7f" "ELF" + makePtx(kernel); }

void rewritePtx(const Folder &folder, Json &manifest) {
  Json &kernel = manifest["kernels"][0];
  kernel["ptx"] = folder.addImage("attention.ptx", makePtx(kernel));
  folder.writeManifest(manifest);
}

static Json makeOperand(const char *name, const char *role, Json shape) {
  return {{"name", name},
          {"role", role},
          {"dtype", "bf16"},
          {"axes", {"batch", "position", "head", "feature"}},
          {"shape", std::move(shape)},
          {"contiguous", {"feature"}},
          {"alignment", 16}};
}

static Json makeMap(const char *operand, int rows) {
  return {{"kind", "tensor_map"},
          {"operand", operand},
          {"swizzle", "128B"},
          {"l2_promotion", "256B"},
          {"dims",
           {{{"axis", "feature"}, {"inner", 64}, {"box", 64}},
            {{"axis", "position"}, {"box", rows}},
            {{"axis", "feature"}, {"outer", 64}, {"box", 2}},
            {{"axis", "head"}, {"box", 1}},
            {{"axis", "batch"}, {"box", 1}}}}};
}

Json makeAttention(const Folder &folder) {
  Json lse = {{"name", "lse"},
              {"role", "output"},
              {"dtype", "f32"},
              {"axes", {"batch", "head", "position"}},
              {"shape", {"B", "Hq", "Nq"}},
              {"contiguous", {"batch", "head", "position"}}};
  Json kernel = {
      {"name", "attention"},
      {"symbol", "attention_entry"},
      {"chip", "sm_90a"},
      {"block_threads", 384},
      {"dynamic_shared_memory", 164096},
      {"operands",
       {makeOperand("q", "input", {"B", "Nq", "Hq", 128}), makeOperand("k", "input", {"B", "Nk", "Hkv", 128}),
        makeOperand("v", "input", {"B", "Nk", "Hkv", 128}), makeOperand("o", "output", {"B", "Nq", "Hq", 128}), lse}},
      {"zero_sizes", {{"B", "skip"}, {"Nq", "skip"}, {"Hq", "skip"}, {"Hkv", "skip"}}},
      {"attributes",
       {{{"name", "scale_log2"}, {"type", "f32"}, {"default", 0.125}},
        {{"name", "head_group"}, {"type", "i32"}, {"default", "l2_heads"}}}},
      {"derived",
       {{{"name", "group"}, {"exact_quotient", {"Hq", "Hkv"}}},
        {{"name", "tiles"}, {"ceil_quotient", {"Nq", 128}}},
        {{"name", "heads"}, {"product", {"B", "Hq"}}},
        {{"name", "head_bytes"}, {"product", {"Nk", 512}}},
        {{"name", "fitting_heads"}, {"largest_power_of_two", {33554432, "head_bytes"}}},
        {{"name", "l2_heads"}, {"minimum", {"fitting_heads", "heads"}}}}},
      {"grid", {{"blocks", {"tiles", "Hq", "B"}}}},
      {"parameters",
       {makeMap("q", 128),
        makeMap("k", 176),
        makeMap("v", 176),
        {{"kind", "pointer"}, {"operand", "o"}},
        {{"kind", "stride"}, {"type", "i64"}, {"operand", "o"}, {"axis", "batch"}},
        {{"kind", "stride"}, {"type", "i32"}, {"operand", "o"}, {"axis", "position"}},
        {{"kind", "pointer"}, {"operand", "lse"}},
        {{"kind", "attribute"}, {"attribute", "scale_log2"}},
        {{"kind", "size"}, {"type", "i32"}, {"size", "Nq"}},
        {{"kind", "size"}, {"type", "i64"}, {"size", "Nk"}},
        {{"kind", "size"}, {"type", "i32"}, {"size", "group"}},
        {{"kind", "attribute"}, {"attribute", "head_group"}},
        {{"kind", "constant"}, {"type", "i32"}, {"value", -7}},
        {{"kind", "constant"}, {"type", "f32"}, {"value", 1.5}},
        {{"kind", "blocks"}, {"type", "i64"}}}}};
  Json manifest = {{"schema", "sparseattn-gpu-manifest"}, {"version", 1}, {"compiler", "test"}, {"kernels", {kernel}}};
  rewritePtx(folder, manifest);
  return manifest;
}

Opened::Opened(const std::string &path) {
  EXPECT_EQ(sparseattnArtefactOpen(path.c_str(), &artefact), SPARSEATTN_OK) << sparseattnRuntimeError();
  kernel = sparseattnArtefactKernel(artefact, 0);
}

std::vector<Tensor> makeOperands(int64_t batch, int64_t queries, int64_t keys, int64_t heads, int64_t kvHeads) {
  return {{0x700000000000, SPARSEATTN_BF16, {batch, queries, heads, 128}},
          {0x710000000000, SPARSEATTN_BF16, {batch, keys, kvHeads, 128}},
          {0x720000000000, SPARSEATTN_BF16, {batch, keys, kvHeads, 128}},
          {0x730000000000, SPARSEATTN_BF16, {batch, queries, heads, 128}},
          {0x740000000000, SPARSEATTN_F32, {batch, heads, queries}}};
}

SparseAttnStatus launch(SparseAttnKernel *kernel, const std::vector<Tensor> &tensors,
                        const std::vector<SparseAttnAttribute> &attributes, void *stream) {
  std::vector<SparseAttnTensor> raw;
  for (const Tensor &tensor : tensors)
    raw.push_back(tensor.get());
  return sparseattnKernelLaunch(kernel, raw.data(), raw.size(), attributes.data(), attributes.size(), stream);
}

void expectFailure(SparseAttnStatus found, SparseAttnStatus expected, const std::string &words) {
  EXPECT_EQ(found, expected) << sparseattnRuntimeError();
  EXPECT_NE(std::string(sparseattnRuntimeError()).find(words), std::string::npos)
      << "expected '" << words << "' in: " << sparseattnRuntimeError();
}
