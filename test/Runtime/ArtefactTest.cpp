//===- ArtefactTest.cpp - folders, files, kernels by name ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <sys/stat.h>

namespace {

class ArtefactTest : public RuntimeTest {
protected:
  void expectRefused(const std::string &words) {
    SparseAttnArtefact *artefact = nullptr;
    expectFailure(sparseattnArtefactOpen(folder.path.c_str(), &artefact), SPARSEATTN_INVALID_ARTEFACT, words);
    EXPECT_EQ(artefact, nullptr);
  }

  Folder folder;
};

TEST_F(ArtefactTest, OpensWithoutADriver) {
  makeAttention(folder);
  Opened opened(folder);
  EXPECT_EQ(sparseattnArtefactKernelCount(opened.artefact), 1u);
  EXPECT_STREQ(sparseattnKernelName(opened.kernel), "attention");
  EXPECT_EQ(sparseattnArtefactKernel(opened.artefact, 1), nullptr);
  EXPECT_EQ(fakeDriverCalls("cuInit"), 0);
}

TEST_F(ArtefactTest, FindsKernels) {
  makeAttention(folder);
  Opened opened(folder);
  SparseAttnKernel *kernel = nullptr;
  EXPECT_EQ(sparseattnArtefactFindKernel(opened.artefact, "attention", &kernel), SPARSEATTN_OK);
  EXPECT_EQ(kernel, opened.kernel);
  expectFailure(sparseattnArtefactFindKernel(opened.artefact, "other", &kernel), SPARSEATTN_INVALID_ARGUMENT,
                "no kernel 'other'; the artefact has attention");
  EXPECT_EQ(kernel, nullptr);
}

TEST_F(ArtefactTest, MissingFolder) {
  SparseAttnArtefact *artefact = nullptr;
  expectFailure(sparseattnArtefactOpen("/nonexistent", &artefact), SPARSEATTN_INVALID_ARTEFACT,
                "/nonexistent/manifest.json: cannot be opened: No such file or directory");
}

TEST_F(ArtefactTest, FileIsAFolder) {
  mkdir((folder.path + "/manifest.json").c_str(), 0777);
  expectRefused("manifest.json: expected a regular file");
}

TEST_F(ArtefactTest, TruncatedAndChangedCubin) {
  Json manifest = makeAttention(folder);
  Json &kernel = manifest["kernels"][0];
  std::string cubin = makeCubin(kernel);
  kernel["cubin"] = folder.addImage("attention.cubin", cubin);
  folder.writeManifest(manifest);
  { Opened opened(folder); }

  folder.write("attention.cubin", cubin.substr(0, cubin.size() - 1));
  expectRefused("attention.cubin has " + std::to_string(cubin.size() - 1) + " bytes instead of " +
                std::to_string(cubin.size()));
  std::string changed = cubin;
  changed[cubin.size() / 2] ^= 1;
  folder.write("attention.cubin", changed);
  expectRefused("attention.cubin differs from what was compiled");
  folder.write("attention.cubin", "");
  expectRefused("attention.cubin has 0 bytes instead of");
  folder.remove("attention.cubin");
  expectRefused("attention.cubin: cannot be opened");
}

TEST_F(ArtefactTest, ImagesOfTheWrongKind) {
  Json manifest = makeAttention(folder);
  Json &kernel = manifest["kernels"][0];
  kernel["cubin"] = folder.addImage("attention.cubin", makePtx(kernel));
  folder.writeManifest(manifest);
  expectRefused("attention.cubin is not an ELF file");
  kernel.erase("cubin");
  kernel["ptx"] = folder.addImage("attention.ptx", std::string("a\0b", 3));
  folder.writeManifest(manifest);
  expectRefused("attention.ptx holds a NUL byte");
}

TEST_F(ArtefactTest, KernelsShareAFile) {
  Json manifest = makeAttention(folder);
  manifest["kernels"].push_back(manifest["kernels"][0]);
  manifest["kernels"][1]["name"] = "again";
  folder.writeManifest(manifest);
  Opened opened(folder);
  EXPECT_STREQ(sparseattnKernelName(sparseattnArtefactKernel(opened.artefact, 1)), "again");
}

TEST_F(ArtefactTest, NullArguments) {
  SparseAttnArtefact *artefact = nullptr;
  expectFailure(sparseattnArtefactOpen(nullptr, &artefact), SPARSEATTN_INVALID_ARGUMENT, "folder is NULL");
  expectFailure(sparseattnArtefactOpen("x", nullptr), SPARSEATTN_INVALID_ARGUMENT, "artefact is NULL");
  expectFailure(sparseattnArtefactFindKernel(nullptr, "x", nullptr), SPARSEATTN_INVALID_ARGUMENT, "is NULL");
  expectFailure(sparseattnKernelPrepare(nullptr, 0, nullptr), SPARSEATTN_INVALID_ARGUMENT, "kernel is NULL");
  expectFailure(sparseattnKernelLaunch(nullptr, nullptr, 0, nullptr, 0, nullptr), SPARSEATTN_INVALID_ARGUMENT,
                "kernel is NULL");
  EXPECT_STREQ(sparseattnArtefactManifest(nullptr), "");
  EXPECT_STREQ(sparseattnKernelName(nullptr), "");
  EXPECT_EQ(sparseattnArtefactKernelCount(nullptr), 0u);
  EXPECT_EQ(sparseattnArtefactKernel(nullptr, 0), nullptr);
  sparseattnArtefactFree(nullptr);
}

} // namespace
