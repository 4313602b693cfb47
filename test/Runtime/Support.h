//===- Support.h - artefacts and tensors for the runtime's tests ---------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TEST_RUNTIME_SUPPORT_H
#define SPARSEATTN_TEST_RUNTIME_SUPPORT_H

#include "FakeDriver.h"
#include "sparseattn-c/Runtime.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

using Json = nlohmann::json;

/// A temporary folder with an artefact in it.
class Folder {
public:
  Folder();
  ~Folder();
  void write(const std::string &file, const std::string &bytes) const;
  void remove(const std::string &file) const;
  /// Writes a file and returns what the manifest says about it.
  Json addImage(const std::string &file, const std::string &bytes) const;
  void writeManifest(const Json &manifest) const { write("manifest.json", manifest.dump()); }

  std::string path;
};

/// PTX with the entry that the kernel's parameters ask for.
std::string makePtx(const Json &kernel);
/// Something that the fake driver takes for the cubin of a kernel.
std::string makeCubin(const Json &kernel);
/// The manifest of a causal attention kernel, [batch, position, head, feature], 128 features; its PTX is written to
/// the folder.
Json makeAttention(const Folder &folder);
/// After a change of parameters.
void rewritePtx(const Folder &folder, Json &manifest);

/// An open artefact and its first kernel.
class Opened {
public:
  explicit Opened(const Folder &folder) : Opened(folder.path) {}
  explicit Opened(const std::string &path);
  ~Opened() { sparseattnArtefactFree(artefact); }

  SparseAttnArtefact *artefact = nullptr;
  SparseAttnKernel *kernel = nullptr;
};

/// Addresses are made up: nothing reads them.
struct Tensor {
  Tensor(uintptr_t address, SparseAttnDType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides = {})
      : address(address), dtype(dtype), sizes(std::move(sizes)), strides(std::move(strides)) {}
  SparseAttnTensor get() const {
    return {reinterpret_cast<void *>(address), dtype,        static_cast<int32_t>(sizes.size()),
            device,                            sizes.data(), strides.empty() ? nullptr : strides.data()};
  }

  uintptr_t address;
  int32_t dtype;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  int device = 0;
};

/// Operands of the attention kernel: q, k, v, o, lse.
std::vector<Tensor> makeOperands(int64_t batch, int64_t queries, int64_t keys, int64_t heads, int64_t kvHeads);

SparseAttnStatus launch(SparseAttnKernel *kernel, const std::vector<Tensor> &tensors,
                        const std::vector<SparseAttnAttribute> &attributes = {}, void *stream = nullptr);

inline Json getLog() { return Json::parse(fakeDriverLog()); }
inline size_t countLaunches() { return getLog()["launches"].size(); }

/// Little-endian bytes as the log spells them.
template <typename T>
std::string toHex(T value) {
  std::string text;
  for (size_t index = 0; index < sizeof(T); ++index) {
    char digits[3];
    snprintf(digits, sizeof(digits), "%02x", reinterpret_cast<const unsigned char *>(&value)[index]);
    text += digits;
  }
  return text;
}

/// The call failed with this status and a message that contains `words`.
void expectFailure(SparseAttnStatus found, SparseAttnStatus expected, const std::string &words);

/// Starts every test with a driver that remembers nothing.
class RuntimeTest : public testing::Test {
protected:
  void SetUp() override { fakeDriverReset(); }
};

#endif // SPARSEATTN_TEST_RUNTIME_SUPPORT_H
