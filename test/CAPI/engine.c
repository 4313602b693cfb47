/* Compiled code in this process: signatures, calls, ownership, refusals. */
#include "test.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* Descriptor of rank 2. */
typedef struct Matrix {
  float *base;
  float *data;
  int64_t offset;
  int64_t sizes[2];
  int64_t strides[2];
} Matrix;

static Matrix makeMatrix(float *data, int64_t rows, int64_t columns) {
  Matrix matrix = {data, data, 0, {rows, columns}, {columns, 1}};
  return matrix;
}

static const char *const kModule =
    "func.func @matmul(%a: tensor<?x3xf32> {sparseattn.name = \"a\"}, %b: tensor<3x2xf32>) -> tensor<?x2xf32>\n"
    "    attributes {sparseattn.layer = 7 : i64} {\n"
    "  %c0 = arith.constant 0 : index\n"
    "  %zero = arith.constant 0.0 : f32\n"
    "  %n = tensor.dim %a, %c0 : tensor<?x3xf32>\n"
    "  %e = tensor.empty(%n) : tensor<?x2xf32>\n"
    "  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x2xf32>) -> tensor<?x2xf32>\n"
    "  %r = linalg.matmul ins(%a, %b : tensor<?x3xf32>, tensor<3x2xf32>) outs(%f : tensor<?x2xf32>) -> tensor<?x2xf32>\n"
    "  return %r : tensor<?x2xf32>\n"
    "}\n"
    "func.func @mixed(%i: index, %flag: i1, %x: f32, %t: tensor<2x2xf32>) -> (index, i1, f32, tensor<2x2xf32>, "
    "tensor<2x2xf32>, tensor<f32>) {\n"
    "  %one = arith.constant 1 : index\n"
    "  %true = arith.constant true\n"
    "  %i2 = arith.addi %i, %one : index\n"
    "  %not = arith.xori %flag, %true : i1\n"
    "  %y = arith.addf %x, %x : f32\n"
    "  %constant = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>\n"
    "  %scalar = tensor.from_elements %y : tensor<f32>\n"
    "  return %i2, %not, %y, %t, %constant, %scalar : index, i1, f32, tensor<2x2xf32>, tensor<2x2xf32>, tensor<f32>\n"
    "}\n"
    "func.func @nothing() { return }\n"
    "func.func private @hidden() { return }\n";

static SparseAttnEngine *compile(const char *ir, const SparseAttnOptions *options) {
  SparseAttnEngine *engine = NULL;
  CHECK_OK(sparseattnEngineCreate(ir, strlen(ir), UPSTREAM_PIPELINE, options, &engine));
  return engine;
}

static void describesFunctions(const SparseAttnEngine *engine) {
  const char *signature = sparseattnEngineSignature(engine);
  CHECK(strstr(signature, "{\"attributes\":{},\"dtype\":\"f32\",\"kind\":\"tensor\",\"name\":\"a\",\"shape\":[null,3]}") != NULL);
  CHECK(strstr(signature, "{\"attributes\":{},\"dtype\":\"index\",\"kind\":\"scalar\",\"name\":\"arg0\"}") != NULL);
  CHECK(strstr(signature, "\"attributes\":{\"layer\":7}") != NULL);
  CHECK(strstr(signature, "hidden") == NULL);
}

static void multiplies(const SparseAttnEngine *engine, int64_t rows) {
  float b[6] = {1, 2, 3, 4, 5, 6};
  float *a = malloc((rows * 3 + 1) * sizeof(float));
  for (int64_t i = 0; i < rows * 3; ++i)
    a[i] = (float)i;
  Matrix left = makeMatrix(a, rows, 3), right = makeMatrix(b, 3, 2), out;
  void *values[] = {&left, &right, &out};
  unsigned char owned = 9;
  CHECK_OK(sparseattnEngineInvoke(engine, "matmul", values, 3, &owned));
  CHECK(owned == 1);
  CHECK(out.sizes[0] == rows && out.sizes[1] == 2 && out.strides[0] == 2 && out.strides[1] == 1);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < 2; ++column) {
      float expected = 0;
      for (int64_t k = 0; k < 3; ++k)
        expected += a[row * 3 + k] * b[k * 2 + column];
      CHECK(out.data[out.offset + row * 2 + column] == expected);
    }
  sparseattnBufferFree(out.base);
  free(a);
}

static void passesAllKinds(const SparseAttnEngine *engine) {
  int64_t index = 41, indexOut = 0;
  unsigned char flag = 1, flagOut = 9;
  float x = 1.5f, xOut = 0, storage[4] = {9, 8, 7, 6};
  Matrix in = makeMatrix(storage, 2, 2), alias, constant;
  struct {
    float *base;
    float *data;
    int64_t offset;
  } scalar;
  void *values[] = {&index, &flag, &x, &in, &indexOut, &flagOut, &xOut, &alias, &constant, &scalar};
  unsigned char owned[6];
  memset(owned, 9, sizeof(owned));
  CHECK_OK(sparseattnEngineInvoke(engine, "mixed", values, 10, owned));
  CHECK(indexOut == 42 && flagOut == 0 && xOut == 3.0f);
  /* The argument comes back as it is; the constant lives in the code. */
  CHECK(alias.base == storage && owned[3] == 0);
  CHECK(constant.data[constant.offset + 3] == 4.0f && owned[4] == 0);
  CHECK(scalar.data[scalar.offset] == 3.0f && owned[5] == 1);
  CHECK(owned[0] == 0 && owned[1] == 0 && owned[2] == 0);
  sparseattnBufferFree(scalar.base);
  CHECK_OK(sparseattnEngineInvoke(engine, "nothing", NULL, 0, NULL));
}

static void refusesBadCalls(const SparseAttnEngine *engine) {
  float a[6] = {0}, b[6] = {0};
  Matrix left = makeMatrix(a, 2, 3), right = makeMatrix(b, 3, 2), out;
  void *values[] = {&left, &right, &out};
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 2, NULL), "takes 3 pointers (2 arguments, 1 results), found 2");
  CHECK_FAILS(sparseattnEngineInvoke(engine, "nowhere", values, 3, NULL), "matmul, mixed, nothing");
  CHECK_FAILS(sparseattnEngineInvoke(engine, "hidden", values, 0, NULL), "no function 'hidden'");
  CHECK_FAILS(sparseattnEngineInvoke(NULL, "matmul", values, 3, NULL), "engine");
  CHECK_FAILS(sparseattnEngineInvoke(engine, NULL, values, 3, NULL), "function name");
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", NULL, 3, NULL), "values");
  values[1] = NULL;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "argument 'arg1' of 'matmul'");
  values[1] = &right;
  values[2] = NULL;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "result 'result0' of 'matmul'");
  values[2] = &out;
  left.sizes[1] = 4;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL),
              "argument 'a' of 'matmul': expected tensor<?x3xf32>, but dimension 1 has size 4");
  left.sizes[1] = 3;
  left.sizes[0] = -1;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "size -1");
  left.sizes[0] = INT64_MAX / 2;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "address space");
  left.sizes[0] = 2;
  left.strides[0] = 1;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "stride 1, expected the dense row-major 3");
  left.strides[0] = 3;
  left.offset = 1;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "offset is 1");
  left.offset = 0;
  left.data = NULL;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "matmul", values, 3, NULL), "data pointer is null");
}

static SparseAttnResult *tryCompile(const char *ir, const char *pipeline, const SparseAttnOptions *options) {
  SparseAttnEngine *engine = (SparseAttnEngine *)8;
  SparseAttnResult *result = sparseattnEngineCreate(ir, strlen(ir), pipeline, options, &engine);
  CHECK(sparseattnResultOk(result) || engine == NULL);
  if (sparseattnResultOk(result))
    sparseattnEngineFree(engine);
  return result;
}

static void refusesWhatCannotBeCompiled(void) {
  CHECK_FAILS(sparseattnEngineCreate("", 0, NULL, NULL, NULL), "null pointer");
  CHECK_FAILS(tryCompile("func.func @f( {", "", NULL), "error");
  CHECK_FAILS(tryCompile("", UPSTREAM_PIPELINE, NULL), "at least one public func.func");
  CHECK_FAILS(tryCompile("func.func @\"a\\00b\"() { return }", UPSTREAM_PIPELINE, NULL), "expected a name");
  CHECK_FAILS(tryCompile("func.func @f(%x: tensor<*xf32>) { return }", UPSTREAM_PIPELINE, NULL), "expected a rank");
  CHECK_FAILS(tryCompile("func.func @f(%x: vector<4xf32>) { return }", UPSTREAM_PIPELINE, NULL), "cannot cross a call");
  CHECK_FAILS(tryCompile("func.func @f(%x: tensor<4xi7>) { return }", UPSTREAM_PIPELINE, NULL), "cannot cross a call");
  CHECK_FAILS(tryCompile("func.func @f() { return }", "func.func(canonicalize)", NULL), "found 'func.return'");
  CHECK_FAILS(tryCompile("func.func @f() { return }", "symbol-dce,not-a-pass", NULL), "not-a-pass");
  CHECK_FAILS(tryCompile("func.func @f(%x: memref<2xf32>) { return }",
                         "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1}", NULL),
              "the pipeline lowered function 'f' to void (ptr)");
  CHECK_FAILS(tryCompile("func.func private @nowhere() -> i32\nfunc.func @f() -> i32 {\n"
                         "  %0 = call @nowhere() : () -> i32\n  return %0 : i32\n}",
                         UPSTREAM_PIPELINE, NULL),
              "nowhere");
  /* What the code generator would end the process on. */
  static const char *const refused[][2] = {
      {"llvm.inline_asm has_side_effects \"garbage %$\", \"\" : () -> ()", "llvm.inline_asm"},
      {"%0 = llvm.call_intrinsic \"llvm.x86.avx512.nonsense\"() : () -> i32", "llvm.call_intrinsic"},
      {"%0 = llvm.mlir.zero : vector<[4]xf32>\n  llvm.store %0, %q : vector<[4]xf32>, !llvm.ptr", "type 'vector<[4]xf32>'"},
      {"%0 = llvm.mlir.zero : f80\n  llvm.store %0, %q : f80, !llvm.ptr", "type 'f80'"},
      {"%0 = llvm.mlir.zero : i77\n  llvm.store %0, %q : i77, !llvm.ptr", "type 'i77'"},
      {"%0 = llvm.mlir.zero : vector<100000xi8>\n  llvm.store %0, %q : vector<100000xi8>, !llvm.ptr", "type 'vector<100000xi8>'"},
      {"%0 = llvm.mlir.zero : !llvm.ptr<271>\n  llvm.store %0, %q : !llvm.ptr<271>, !llvm.ptr", "type '!llvm.ptr<271>'"},
      {"%0 = llvm.mlir.zero : i8\n  llvm.store %0, %q {alignment = 3 : i64} : i8, !llvm.ptr", "power of two"},
  };
  for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); ++i) {
    char ir[1024];
    snprintf(ir, sizeof(ir), "func.func @f(%%p: memref<8xi8>) {\n  %%i = memref.extract_aligned_pointer_as_index %%p : memref<8xi8> -> index\n"
             "  %%j = arith.index_cast %%i : index to i64\n  %%q = llvm.inttoptr %%j : i64 to !llvm.ptr\n  %s\n  return\n}", refused[i][0]);
    CHECK_FAILS(tryCompile(ir, UPSTREAM_PIPELINE, NULL), refused[i][1]);
  }
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.cpu = "pentium-900";
  CHECK_FAILS(tryCompile("func.func @f() { return }", UPSTREAM_PIPELINE, &options), "pentium-900");
  options.cpu = "x86-64-v3";
  options.features = "avx2";
  CHECK_FAILS(tryCompile("func.func @f() { return }", UPSTREAM_PIPELINE, &options), "found 'avx2'");
  options.features = "-avx2";
  CHECK_OK(tryCompile("func.func @f() { return }", UPSTREAM_PIPELINE, &options));
}

static const char *const kParallel =
    "func.func @squares(%t: memref<64xf32>) {\n"
    "  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index\n  %c64 = arith.constant 64 : index\n"
    "  scf.parallel (%i) = (%c0) to (%c64) step (%c1) {\n"
    "    %x = memref.load %t[%i] : memref<64xf32>\n    %y = arith.mulf %x, %x : f32\n"
    "    memref.store %y, %t[%i] : memref<64xf32>\n    scf.reduce\n  }\n  return\n}\n";

static void runsOpenMP(void) {
  static const char *const pipeline = "convert-scf-to-openmp,convert-scf-to-cf,finalize-memref-to-llvm,"
                                      "convert-openmp-to-llvm,convert-to-llvm,reconcile-unrealized-casts";
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.openMPLibrary = "/nowhere/libomp.so.5";
  /* Before the first success: a loaded runtime is used whatever its path. */
  CHECK_FAILS(tryCompile(kParallel, pipeline, &options), "SPARSEATTN_OPENMP");
  SparseAttnEngine *engine = NULL;
  CHECK_OK(sparseattnEngineCreate(kParallel, strlen(kParallel), pipeline, NULL, &engine));
  float data[64];
  for (int i = 0; i < 64; ++i)
    data[i] = (float)i;
  struct {
    float *base, *data;
    int64_t offset, size, stride;
  } vector = {data, data, 0, 64, 1};
  void *values[] = {&vector};
  CHECK_OK(sparseattnEngineInvoke(engine, "squares", values, 1, NULL));
  for (int i = 0; i < 64; ++i)
    CHECK(data[i] == (float)(i * i));
  sparseattnEngineFree(engine);
}

static void *callFromThread(void *engine) {
  for (int64_t rows = 0; rows < 20; ++rows)
    multiplies(engine, rows);
  CHECK_OK(sparseattnRunPipeline(kModule, strlen(kModule), "canonicalize", NULL));
  return NULL;
}

static void isThreadSafe(SparseAttnEngine *engine) {
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i)
    CHECK(pthread_create(&threads[i], NULL, callFromThread, engine) == 0);
  for (int i = 0; i < 4; ++i)
    pthread_join(threads[i], NULL);
}

static const char *const kAttention =
    "func.func @layer_0(%q: tensor<1x2x?x8xf32>, %k: tensor<1x1x?x8xf32>, %v: tensor<1x1x?x8xf32>) -> tensor<1x2x?x8xf32> {\n"
    "  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)\n"
    "    : (tensor<1x2x?x8xf32>, tensor<1x1x?x8xf32>, tensor<1x1x?x8xf32>) -> tensor<1x2x?x8xf32>\n"
    "  return %o : tensor<1x2x?x8xf32>\n}\n";

typedef struct Tensor4 {
  float *base;
  float *data;
  int64_t offset;
  int64_t sizes[4];
  int64_t strides[4];
} Tensor4;

static Tensor4 makeTensor(float *data, int64_t heads, int64_t length) {
  Tensor4 tensor = {data, data, 0, {1, heads, length, 8}, {heads * length * 8, length * 8, 8, 1}};
  return tensor;
}

/* The default pipeline, and sizes that only the operation can judge. */
static void runsAttention(void) {
  SparseAttnEngine *engine = NULL;
  CHECK_OK(sparseattnEngineCreate(kAttention, strlen(kAttention), NULL, NULL, &engine));
  enum { kQueries = 3, kKeys = 5 };
  float q[2 * kQueries * 8], k[kKeys * 8], v[kKeys * 8];
  for (int i = 0; i < 2 * kQueries * 8; ++i)
    q[i] = sinf((float)i);
  for (int i = 0; i < kKeys * 8; ++i) {
    k[i] = cosf((float)i);
    v[i] = (float)(i % 11);
  }
  Tensor4 query = makeTensor(q, 2, kQueries), key = makeTensor(k, 1, kKeys), value = makeTensor(v, 1, kKeys), out;
  void *values[] = {&query, &key, &value, &out};
  unsigned char owned = 0;
  CHECK_OK(sparseattnEngineInvoke(engine, "layer_0", values, 4, &owned));
  CHECK(owned == 1 && out.sizes[1] == 2 && out.sizes[2] == kQueries);
  for (int head = 0; head < 2; ++head)
    for (int i = 0; i < kQueries; ++i) {
      double weights[kKeys], sum = 0;
      int visible = i + kKeys - kQueries + 1;
      for (int j = 0; j < visible; ++j) {
        double score = 0;
        for (int c = 0; c < 8; ++c)
          score += (double)q[(head * kQueries + i) * 8 + c] * k[j * 8 + c];
        weights[j] = exp(score / sqrt(8.0));
        sum += weights[j];
      }
      for (int c = 0; c < 8; ++c) {
        double expected = 0;
        for (int j = 0; j < visible; ++j)
          expected += weights[j] / sum * v[j * 8 + c];
        CHECK(fabs(out.data[(head * kQueries + i) * 8 + c] - expected) < 1e-5);
      }
    }
  sparseattnBufferFree(out.base);
  value.sizes[2] = kKeys - 1;
  value.strides[1] = (kKeys - 1) * 8;
  CHECK_FAILS(sparseattnEngineInvoke(engine, "layer_0", values, 4, &owned), "do not fit together");
  CHECK_FAILS(sparseattnEngineInvoke(engine, "layer_0", values, 4, &owned), "C4");
  sparseattnEngineFree(engine);
}

void testEngine(void) {
  runsOpenMP();
  SparseAttnEngine *engine = compile(kModule, NULL);
  if (!engine)
    return;
  describesFunctions(engine);
  for (int64_t rows = 0; rows < 5; ++rows)
    multiplies(engine, rows);
  passesAllKinds(engine);
  refusesBadCalls(engine);
  isThreadSafe(engine);
  sparseattnEngineFree(engine);
  sparseattnEngineFree(NULL);
  sparseattnBufferFree(NULL);
  CHECK(*sparseattnEngineSignature(NULL) == '\0');
  refusesWhatCannotBeCompiled();
  runsAttention();
}
