/*===- SparseAttn.h - the compiler through a plain C ABI ---------------------===*\
|*
|* Part of the sparseattn project.
|*
|* No MLIR or LLVM type crosses this boundary, so one library serves C, Python
|* (ctypes), Rust, ... and stays compatible across LLVM versions.
|*
|* Rules for every function
|* - Nothing is global: calls may run on several threads at once. One engine may
|*   be invoked from several threads.
|* - Functions that can fail return a result, which is never NULL and must be
|*   given to sparseattnResultFree. NULL where an object is expected, unknown
|*   names, malformed IR and failing pipelines are failed results with
|*   diagnostics, never a crash. (Passes of upstream MLIR can be run too; what
|*   they do with hostile input is theirs.)
|* - Strings that a result or an engine hands out live as long as it does.
|*   Strings passed in are copied. All text is UTF-8.
|*
\*===----------------------------------------------------------------------===*/

#ifndef SPARSEATTN_C_SPARSEATTN_H
#define SPARSEATTN_C_SPARSEATTN_H

#include <stddef.h>
#include <stdint.h>

#define SPARSEATTN_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* "<project version> (MLIR <version>)". */
SPARSEATTN_EXPORT const char *sparseattnVersion(void);

/*===----------------------------------------------------------------------===*\
|* Results
\*===----------------------------------------------------------------------===*/

typedef struct SparseAttnResult SparseAttnResult;

typedef enum SparseAttnSeverity {
  SPARSEATTN_ERROR = 0,
  SPARSEATTN_WARNING = 1,
  SPARSEATTN_REMARK = 2,
  /* Belongs to the closest diagnostic before it that is not a note. */
  SPARSEATTN_NOTE = 3
} SparseAttnSeverity;

typedef struct SparseAttnDiagnostic {
  SparseAttnSeverity severity;
  /* "file:line:column", or another location of MLIR, or "" when unknown. */
  const char *location;
  const char *message;
} SparseAttnDiagnostic;

/* 1 on success, 0 on failure or for NULL. */
SPARSEATTN_EXPORT int sparseattnResultOk(const SparseAttnResult *result);
/* What the call produced; NUL-terminated, but bytecode holds NULs too. `length`
 * may be NULL. "" when the call failed. */
SPARSEATTN_EXPORT const char *sparseattnResultText(const SparseAttnResult *result, size_t *length);
SPARSEATTN_EXPORT size_t sparseattnResultDiagnosticCount(const SparseAttnResult *result);
/* Fills `diagnostic` and returns 1; returns 0 when there is none at `index`. */
SPARSEATTN_EXPORT int sparseattnResultDiagnostic(const SparseAttnResult *result, size_t index,
                                                 SparseAttnDiagnostic *diagnostic);
/* All diagnostics as lines "location: severity: message". */
SPARSEATTN_EXPORT const char *sparseattnResultMessages(const SparseAttnResult *result);
/* Path of the reproducer that a failing pipeline left behind, else "". */
SPARSEATTN_EXPORT const char *sparseattnResultReproducer(const SparseAttnResult *result);
SPARSEATTN_EXPORT void sparseattnResultFree(SparseAttnResult *result);

/*===----------------------------------------------------------------------===*\
|* Options
\*===----------------------------------------------------------------------===*/

/* All members 0 or NULL mean the default; initialise with
 *   SparseAttnOptions options = {sizeof(SparseAttnOptions)};
 */
typedef struct SparseAttnOptions {
  /* sizeof(SparseAttnOptions) of the caller: later members may be added. */
  size_t size;
  /* Name of the input in locations; default "input". */
  const char *inputName;
  /* Do not verify the IR after each pass. */
  int noVerify;
  /* Accept operations of dialects that are not registered (StableHLO, ...). */
  int allowUnregistered;
  /* sparseattnRunPipeline: return bytecode instead of text. */
  int emitBytecode;
  /* sparseattnRunPipeline: print locations. */
  int printLocations;
  /* Input and pipeline are written to this file when the pipeline fails; run
   * it again with `sparseattn-opt --run-reproducer`. */
  const char *reproducerPath;
  /* A numbered file is written to this folder after each pass, and LLVM IR when
   * code is generated. The folder is made when missing. */
  const char *dumpFolder;
  /* Code generation. CPU name of LLVM, default this machine with its features;
   * features as "+name,-name" on top; level 1 to 3, 0 for the default 3, -1 for
   * no optimisation. */
  const char *cpu;
  const char *features;
  int optLevel;
  /* libomp.so.5 and ld.lld; default: environment variables SPARSEATTN_OPENMP and
   * SPARSEATTN_LLD, then what was found when the project was configured. */
  const char *openMPLibrary;
  const char *linker;
} SparseAttnOptions;

/*===----------------------------------------------------------------------===*\
|* Pipelines
\*===----------------------------------------------------------------------===*/

/* Runs `pipeline` on the module in `ir` (`length` bytes of MLIR text or
 * bytecode) and returns the module. `pipeline` is in the syntax of mlir-opt;
 * `builtin.module(...)` around it may be left out; NULL or "" only parses and
 * verifies. `options` may be NULL. */
SPARSEATTN_EXPORT SparseAttnResult *sparseattnRunPipeline(const char *ir, size_t length, const char *pipeline,
                                                          const SparseAttnOptions *options);

/*===----------------------------------------------------------------------===*\
|* Compiled code in this process
\*===----------------------------------------------------------------------===*/

typedef struct SparseAttnEngine SparseAttnEngine;

/* Compiles every public function of the module in `ir` after lowering it with
 * `pipeline` (NULL: "sparseattn-to-cpu"). On success `*engine` is the engine and
 * the result's text its signature; otherwise `*engine` is NULL. */
SPARSEATTN_EXPORT SparseAttnResult *sparseattnEngineCreate(const char *ir, size_t length, const char *pipeline,
                                                           const SparseAttnOptions *options,
                                                           SparseAttnEngine **engine);

/* Signature of the functions, as the *input* module declares them:
 *   {"functions": [{"name", "attributes", "arguments": [VALUE], "results": [VALUE]}]}
 *   VALUE = {"name", "kind": "scalar" | "tensor" | "buffer", "dtype", "shape": [size | null], "attributes"}
 * dtype is f16, bf16, f32, f64, index, i1, i8, i16, i32 or i64; null is a size
 * known at the call; scalars have no shape. A tensor argument is never written to,
 * a buffer (a memref) may be. "attributes" are those
 * attributes of the function or value that begin with `sparseattn.`. NULL engine: "". */
SPARSEATTN_EXPORT const char *sparseattnEngineSignature(const SparseAttnEngine *engine);

/* Calls `function`. `values` holds `count` pointers: one for each argument, then
 * one for each result. A scalar's pointer leads to its value (index: 64 bits,
 * i1: a byte), that of a tensor or buffer to its descriptor, laid out as
 *   { void *base; void *data; int64_t offset; int64_t sizes[rank]; int64_t strides[rank]; }
 * with strides in elements. Arguments are dense and row-major, with offset 0.
 * Descriptors of results are written by the call.
 *
 * Numbers, pointers, sizes, offsets and strides are checked before the call, and
 * the sizes of all arguments together against the constraints of the operations.
 *
 * `owned` (may be NULL) has one byte for each result: 1 when the caller has to
 * give the result's base pointer to sparseattnBufferFree, 0 when there is
 * nothing to free (a scalar, a constant) or when another value owns it (an
 * argument, an earlier result). */
SPARSEATTN_EXPORT SparseAttnResult *sparseattnEngineInvoke(const SparseAttnEngine *engine, const char *function,
                                                           void **values, size_t count, unsigned char *owned);

/* Frees the base pointer of a result. NULL is allowed. */
SPARSEATTN_EXPORT void sparseattnBufferFree(void *base);

/* No function of the engine may be running. NULL is allowed. */
SPARSEATTN_EXPORT void sparseattnEngineFree(SparseAttnEngine *engine);

/*===----------------------------------------------------------------------===*\
|* Compiled code as files
\*===----------------------------------------------------------------------===*/

/* As sparseattnEngineCreate, but writes the code to the object file `objectPath`
 * and, unless `libraryPath` is NULL, links it to a shared library. For each
 * function `f` both export `void sparseattn_packed_f(void **values)`, called as
 * described above but without checks. The result's text is
 *   {"triple", "cpu", "features", "functions": [...]}
 * On failure neither file is left behind. */
SPARSEATTN_EXPORT SparseAttnResult *sparseattnCompileToFiles(const char *ir, size_t length, const char *pipeline,
                                                             const SparseAttnOptions *options,
                                                             const char *objectPath, const char *libraryPath);

/*===----------------------------------------------------------------------===*\
|* Kernels for a GPU
\*===----------------------------------------------------------------------===*/

/* Compiles the attention functions of the module in `ir` to kernels for Hopper
 * GPUs and writes to the folder `folder`, which must exist, manifest.json, PTX for
 * each kernel and, when `ptxas` is the path of CUDA's assembler and not NULL, a
 * cubin. The runtime (sparseattn-c/Runtime.h) launches them. `pipeline` lowers to
 * level L3; NULL: "sparseattn-to-nvvm". "sparseattn-to-nvvm{expected-keys=N}"
 * chooses schedules for N keys where the types leave their number open; the
 * kernels are right for any. Its option schedule-table="FILE" names a file with
 * schedules that come before the built-in ones. The result's text is the manifest.
 * On failure no file is left behind. */
SPARSEATTN_EXPORT SparseAttnResult *sparseattnCompileForGpu(const char *ir, size_t length, const char *pipeline,
                                                            const SparseAttnOptions *options, const char *ptxas,
                                                            const char *folder);

#ifdef __cplusplus
}
#endif

#endif /* SPARSEATTN_C_SPARSEATTN_H */
