//===- ManifestReader.cpp - manifest.json, but for its kernels -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Files.h"
#include "Json.h"
#include "KernelReader.h"

namespace sparseattn::runtime {

static constexpr uint64_t kLongestManifest = 16u << 20;
static constexpr int64_t kVersion = 1;

Manifest readArtefact(const std::string &folder) {
  std::string path = folder + "/manifest.json";
  Manifest manifest;
  manifest.text = readFile(path, kLongestManifest);
  nlohmann::json json = parseJson(manifest.text, path);
  Node root(json, path);
  // Schema and version first: another version may have other members.
  if (root.at("schema").string() != "sparseattn-gpu-manifest")
    root.at("schema").failExpected("\"sparseattn-gpu-manifest\"");
  Node version = root.at("version");
  if (version.integer(0, INT64_MAX) != kVersion)
    version.failExpected(concat("version ", kVersion, ", the one that this runtime reads (compile the kernels again, "
                                                      "or use the runtime of the compiler that wrote them)"));
  root.checkMembers({"schema", "version", "compiler", "kernels", "info"});
  root.at("compiler").string();
  ImageCache images(folder);
  for (const Node &node : root.at("kernels").list(1, 256)) {
    manifest.kernels.push_back(readKernel(node, images));
    for (size_t index = 0; index + 1 < manifest.kernels.size(); ++index)
      if (manifest.kernels[index].name == manifest.kernels.back().name)
        node.at("name").fail("an earlier kernel has this name");
  }
  return manifest;
}

const std::shared_ptr<const std::string> &ImageCache::get(const std::string &file) {
  static constexpr uint64_t kLargestImage = 256u << 20;
  std::shared_ptr<const std::string> &entry = files[file];
  if (!entry)
    entry = std::make_shared<const std::string>(readFile(folder + "/" + file, kLargestImage));
  return entry;
}

const char *getName(int dtype) {
  static const char *const names[] = {nullptr, "f16", "bf16", "f32", "f64", "i1", "i8", "i16", "i32", "i64"};
  return getByteSize(dtype) ? names[dtype] : "an unknown dtype";
}

int64_t getByteSize(int dtype) {
  static const int64_t sizes[] = {0, 2, 2, 4, 8, 1, 1, 2, 4, 8};
  return dtype >= SPARSEATTN_F16 && dtype <= SPARSEATTN_I64 ? sizes[dtype] : 0;
}

} // namespace sparseattn::runtime
