/* sparseattnRunPipeline: text and bytecode in, text and bytecode out. */
#include "test.h"
#include <stdlib.h>

static const char *const kModule = "func.func @f() -> i32 {\n"
                                   "  %0 = arith.constant 1 : i32\n"
                                   "  %1 = arith.constant 2 : i32\n"
                                   "  %2 = arith.addi %0, %1 : i32\n"
                                   "  return %2 : i32\n"
                                   "}\n";

static SparseAttnResult *run(const char *ir, const char *pipeline, const SparseAttnOptions *options) {
  return sparseattnRunPipeline(ir, strlen(ir), pipeline, options);
}

static void runsPasses(void) {
  static const char *const spellings[] = {"canonicalize", "builtin.module(canonicalize)",
                                          "func.func(canonicalize)", " builtin.module( func.func(canonicalize) ) "};
  for (size_t i = 0; i < sizeof(spellings) / sizeof(*spellings); ++i) {
    SparseAttnResult *result = run(kModule, spellings[i], NULL);
    size_t length = 0;
    const char *text = sparseattnResultText(result, &length);
    CHECK(sparseattnResultOk(result));
    CHECK(strstr(text, "constant 3 : i32") != NULL);
    CHECK(length == strlen(text));
    CHECK(sparseattnResultDiagnosticCount(result) == 0);
    sparseattnResultFree(result);
  }
}

static void roundTripsBytecode(void) {
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.emitBytecode = 1;
  SparseAttnResult *bytecode = run(kModule, NULL, &options);
  CHECK(sparseattnResultOk(bytecode));
  size_t length = 0;
  const char *bytes = sparseattnResultText(bytecode, &length);
  CHECK(length > 4 && memcmp(bytes, "ML\xefR", 4) == 0);

  /* At any alignment. */
  char *copy = malloc(length + 1);
  memcpy(copy + 1, bytes, length);
  SparseAttnResult *text = sparseattnRunPipeline(copy + 1, length, "canonicalize", NULL);
  CHECK(sparseattnResultOk(text));
  CHECK(strstr(sparseattnResultText(text, NULL), "constant 3 : i32") != NULL);
  /* Cut off anywhere it is an error. */
  for (size_t cut = 0; cut < length; cut += 7)
    CHECK_FAILS(sparseattnRunPipeline(copy + 1, cut == 0 ? 4 : cut, "", NULL), "");
  free(copy);
  sparseattnResultFree(text);
  sparseattnResultFree(bytecode);
}

static void reportsDiagnostics(void) {
  SparseAttnOptions options = {sizeof(SparseAttnOptions)};
  options.inputName = "model.mlir";
  SparseAttnResult *result = run("func.func @f() {\n  return %x : i32\n}", "", &options);
  CHECK(!sparseattnResultOk(result));
  CHECK(*sparseattnResultText(result, NULL) == '\0');
  SparseAttnDiagnostic diagnostic;
  CHECK(sparseattnResultDiagnostic(result, 0, &diagnostic) == 1);
  CHECK(diagnostic.severity == SPARSEATTN_ERROR);
  CHECK(strcmp(diagnostic.location, "model.mlir:2:10") == 0);
  CHECK(strstr(diagnostic.message, "use of undeclared SSA value name") != NULL);
  CHECK(sparseattnResultDiagnostic(result, 1000, &diagnostic) == 0);
  CHECK(sparseattnResultDiagnostic(result, 0, NULL) == 0);
  CHECK(strstr(sparseattnResultMessages(result), "model.mlir:2:10: error: use of undeclared SSA value name") != NULL);
  sparseattnResultFree(result);

  /* A redefinition carries a note. */
  result = run("func.func @f() { return }\nfunc.func @f() { return }", "", NULL);
  CHECK(sparseattnResultDiagnosticCount(result) == 2);
  CHECK(sparseattnResultDiagnostic(result, 1, &diagnostic) == 1);
  CHECK(diagnostic.severity == SPARSEATTN_NOTE);
  sparseattnResultFree(result);
}

static void namesTheFailingPass(void) {
  CHECK_FAILS(run("func.func @f(%x: f32) -> f32 {\n  %0 = math.roundeven %x : f32\n  return %0 : f32\n}",
                  "func.func(test-does-not-exist)", NULL),
              "test-does-not-exist");
  CHECK_FAILS(run("func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
                  "  %0 = sparseattn.extern \"aten.relu\"(%x) : (tensor<4xf32>) -> tensor<4xf32>\n"
                  "  return %0 : tensor<4xf32>\n}",
                  "cse,sparseattn-to-cpu", NULL),
              "pass 'convert-sparseattn-to-scf' failed on");
}

static void refusesBadInput(void) {
  CHECK_FAILS(run("", "not-a-pass", NULL), "not-a-pass");
  CHECK_FAILS(run("", "builtin.module(canonicalize", NULL), "expected a pass pipeline");
  CHECK_FAILS(run("", "func.func(canonicalize", NULL), "expected a pass pipeline");
  CHECK_FAILS(run("(", "", NULL), "expected operation name");
  CHECK_FAILS(run("\"stablehlo.add\"() : () -> ()", "", NULL), "unregistered");
  CHECK_FAILS(run("\xff\xfe\x00", "", NULL), "error");
  CHECK_FAILS(sparseattnRunPipeline(NULL, 10, "canonicalize", NULL), "null pointer");
  SparseAttnOptions options = {0};
  CHECK_FAILS(run("", "", &options), "options.size");
  options.size = sizeof(options) + 8;
  CHECK_FAILS(run("", "", &options), "options.size");
  options.size = sizeof(options);
  options.optLevel = 7;
  CHECK_FAILS(run("", "", &options), "optLevel");
  options.optLevel = 0;
  options.allowUnregistered = 1;
  CHECK_OK(run("\"stablehlo.add\"() : () -> ()", "", &options));
  /* An older caller knows fewer members. */
  options.size = sizeof(size_t);
  CHECK_OK(run("", "", &options));
}

/* Text that would exhaust the parser's stack. */
static void refusesExcessiveNesting(void) {
  enum { kDepth = 1000000 };
  static const char *const units[] = {"[", "{", "(", "tuple<", "-"};
  static const char *const heads[] = {"module attributes {a = ", "module ", "func.func @f() { ", "module attributes {a = ",
                                      "#m = affine_map<() -> ("};
  for (size_t i = 0; i < sizeof(units) / sizeof(*units); ++i) {
    size_t unit = strlen(units[i]), head = strlen(heads[i]);
    char *text = malloc(head + unit * kDepth + 1);
    memcpy(text, heads[i], head + 1);
    for (size_t n = 0; n < kDepth; ++n)
      memcpy(text + head + n * unit, units[i], unit);
    CHECK_FAILS(sparseattnRunPipeline(text, head + unit * kDepth, "", NULL), "nesting");
    free(text);
  }
  /* Brackets in strings and comments are not nesting. */
  char quoted[4096] = "module attributes {test.a = \"";
  memset(quoted + strlen(quoted), '[', 2000);
  strcat(quoted, "\"} {} // ");
  memset(quoted + strlen(quoted), '{', 1500);
  CHECK_OK(run(quoted, "", NULL));
}

static void acceptsNull(void) {
  CHECK(sparseattnResultOk(NULL) == 0);
  size_t length = 5;
  CHECK(*sparseattnResultText(NULL, &length) == '\0' && length == 0);
  CHECK(sparseattnResultDiagnosticCount(NULL) == 0);
  CHECK(sparseattnResultDiagnostic(NULL, 0, NULL) == 0);
  CHECK(*sparseattnResultMessages(NULL) == '\0');
  CHECK(*sparseattnResultReproducer(NULL) == '\0');
  sparseattnResultFree(NULL);
}

void testPipelines(void) {
  runsPasses();
  roundTripsBytecode();
  reportsDiagnostics();
  namesTheFailingPass();
  refusesBadInput();
  refusesExcessiveNesting();
  acceptsNull();
}
