/* A minimal harness: every check counts, failures name their line. */
#ifndef SPARSEATTN_TEST_CAPI_TEST_H
#define SPARSEATTN_TEST_CAPI_TEST_H

#include "sparseattn-c/SparseAttn.h"
#include <stdio.h>
#include <string.h>

extern int failures;

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      ++failures;                                                                                                      \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                        \
    }                                                                                                                  \
  } while (0)

/* The result failed with a diagnostic that contains `words`. */
#define CHECK_FAILS(result, words)                                                                                     \
  do {                                                                                                                 \
    SparseAttnResult *checked = (result);                                                                              \
    CHECK(!sparseattnResultOk(checked));                                                                               \
    if (!strstr(sparseattnResultMessages(checked), words)) {                                                           \
      ++failures;                                                                                                      \
      fprintf(stderr, "%s:%d: expected '%s' in: %s\n", __FILE__, __LINE__, words, sparseattnResultMessages(checked));  \
    }                                                                                                                  \
    sparseattnResultFree(checked);                                                                                     \
  } while (0)

#define CHECK_OK(result)                                                                                               \
  do {                                                                                                                 \
    SparseAttnResult *checked = (result);                                                                              \
    if (!sparseattnResultOk(checked)) {                                                                                \
      ++failures;                                                                                                      \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, sparseattnResultMessages(checked));                           \
    }                                                                                                                  \
    sparseattnResultFree(checked);                                                                                     \
  } while (0)

/* Lowers functions on tensors of upstream dialects. */
#define UPSTREAM_PIPELINE                                                                                              \
  "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map},"      \
  "convert-linalg-to-loops,convert-scf-to-cf,finalize-memref-to-llvm,convert-to-llvm,reconcile-unrealized-casts"

void testPipelines(void);
void testEngine(void);
void testFiles(const char *folder);

#endif
