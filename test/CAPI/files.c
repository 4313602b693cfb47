/* Object files, shared libraries, dumps and reproducers. */
#include "test.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *const kModule = "func.func @twice(%x: memref<4xf32>, %i: index) -> f32 {\n"
                                   "  %0 = memref.load %x[%i] : memref<4xf32>\n"
                                   "  %1 = arith.addf %0, %0 : f32\n"
                                   "  return %1 : f32\n"
                                   "}\n";
/* `exp` makes the code depend on libm. */
static const char *const kExponential = "func.func @f(%x: f32) -> f32 {\n"
                                        "  %0 = math.exp %x : f32\n"
                                        "  return %0 : f32\n}\n";

static char path[4][4096];

static const char *join(int slot, const char *folder, const char *name) {
  int length = snprintf(path[slot], sizeof(path[slot]), "%s/%s", folder, name);
  CHECK(length > 0 && (size_t)length < sizeof(path[slot]));
  return path[slot];
}

static int exists(const char *name) {
  struct stat status;
  return stat(name, &status) == 0;
}

static SparseAttnResult *compile(const char *ir, const SparseAttnOptions *options, const char *object,
                                 const char *library) {
  return sparseattnCompileToFiles(ir, strlen(ir), UPSTREAM_PIPELINE, options, object, library);
}

static void linksLibraries(const char *folder) {
  const char *object = join(0, folder, "k.o"), *library = join(1, folder, "k.so");
  SparseAttnResult *result = compile(kModule, NULL, object, library);
  CHECK(sparseattnResultOk(result));
  CHECK(strstr(sparseattnResultText(result, NULL), "\"cpu\":\"") != NULL);
  CHECK(strstr(sparseattnResultText(result, NULL), "\"name\":\"twice\"") != NULL);
  sparseattnResultFree(result);
  CHECK(exists(object));
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  CHECK(handle != NULL);
  if (!handle)
    return;
  void (*twice)(void **) = (void (*)(void **))dlsym(handle, "sparseattn_packed_twice");
  CHECK(twice != NULL);
  CHECK(dlsym(handle, "twice") == NULL);
  float data[4] = {1, 2, 3, 4}, out = 0;
  struct {
    float *base, *data;
    int64_t offset, size, stride;
  } vector = {data, data, 0, 4, 1};
  int64_t index = 2;
  void *values[] = {&vector, &index, &out};
  if (twice)
    twice(values);
  CHECK(out == 6.0f);
  dlclose(handle);

  const char *second = join(1, folder, "exp.so");
  CHECK_OK(sparseattnCompileToFiles(kExponential, strlen(kExponential),
                                    "convert-math-to-libm,convert-to-llvm,reconcile-unrealized-casts", NULL, object,
                                    second));
  handle = dlopen(second, RTLD_NOW | RTLD_LOCAL);
  CHECK(handle != NULL && dlsym(handle, "sparseattn_packed_f") != NULL);
}

static void leavesNothingOnFailure(const char *folder) {
  const char *object = join(0, folder, "bad.o"), *library = join(1, folder, "bad.so");
  CHECK_FAILS(compile("func.func @f(", NULL, object, library), "error");
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.linker = "/nowhere/ld.lld";
  CHECK_FAILS(compile(kModule, &options, object, library), "the linker '/nowhere/ld.lld' is not an executable file");
  CHECK_FAILS(compile("func.func private @missing()\nfunc.func @f() {\n  call @missing() : () -> ()\n  return\n}", NULL,
                      object, library),
              "undefined symbol: missing");
  CHECK(!exists(object) && !exists(library));
  CHECK_FAILS(compile(kModule, NULL, "/nowhere/k.o", NULL), "cannot write '/nowhere/k.o'");
  CHECK_FAILS(compile(kModule, NULL, NULL, library), "expected a path");
}

static void dumpsPasses(const char *folder) {
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.dumpFolder = join(0, folder, "dump/deep");
  CHECK_OK(sparseattnCompileToFiles(kModule, strlen(kModule),
                                    "func.func(canonicalize),cse,finalize-memref-to-llvm,convert-to-llvm,"
                                    "reconcile-unrealized-casts",
                                    &options, join(1, folder, "d.o"), NULL));
  static const char *const names[] = {"00-input.mlir", "01-canonicalize-twice.mlir", "02-cse.mlir",
                                      "05-reconcile-unrealized-casts.mlir", "06-llvm.ll", "07-llvm-optimized.ll"};
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); ++i)
    CHECK(exists(join(2, options.dumpFolder, names[i])));
  /* A folder that cannot be made is a warning, not a failure. */
  options.dumpFolder = join(3, join(1, folder, "d.o"), "dump");
  SparseAttnResult *result = sparseattnRunPipeline(kModule, strlen(kModule), "cse", &options);
  CHECK(sparseattnResultOk(result));
  CHECK(strstr(sparseattnResultMessages(result), "warning: cannot dump to") != NULL);
  sparseattnResultFree(result);
}

static void writesReproducers(const char *folder) {
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.reproducerPath = join(0, folder, "repro.mlir");
  SparseAttnResult *result = sparseattnRunPipeline(kModule, strlen(kModule), "cse", &options);
  CHECK(sparseattnResultOk(result));
  CHECK(!exists(options.reproducerPath) && *sparseattnResultReproducer(result) == '\0');
  sparseattnResultFree(result);

  static const char *const framework = "func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
                                       "  %0 = sparseattn.extern \"aten.relu\"(%x) : (tensor<4xf32>) -> tensor<4xf32>\n"
                                       "  return %0 : tensor<4xf32>\n}\n";
  result = sparseattnRunPipeline(framework, strlen(framework), "sparseattn-to-cpu", &options);
  CHECK(!sparseattnResultOk(result));
  CHECK(strcmp(sparseattnResultReproducer(result), options.reproducerPath) == 0);
  CHECK(strstr(sparseattnResultMessages(result), "pass 'convert-sparseattn-to-scf' failed on") != NULL);
  char text[4096] = {0};
  FILE *file = fopen(options.reproducerPath, "r");
  CHECK(file != NULL);
  if (file) {
    CHECK(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
  }
  CHECK(strstr(text, "mlir_reproducer") != NULL && strstr(text, "aten.relu") != NULL);
  sparseattnResultFree(result);
}

void testFiles(const char *folder) {
  linksLibraries(folder);
  leavesNothingOnFailure(folder);
  dumpsPasses(folder);
  writesReproducers(folder);
}
