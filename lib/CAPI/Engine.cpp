//===- Engine.cpp - compiled code in this process ---------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Compile.h"
#include "ShapeCheck.h"
#include "sparseattn/Target/CPU/JITEngine.h"

#include <cstdlib>

using namespace mlir;
using namespace sparseattn;

struct SparseAttnEngine {
  std::unique_ptr<JITEngine> jit;
  std::unique_ptr<ShapeCheck> shapes;
  std::string signature;
};

SparseAttnResult *sparseattnEngineCreate(const char *ir, size_t length, const char *pipeline,
                                         const SparseAttnOptions *given, SparseAttnEngine **engine) {
  auto *result = new SparseAttnResult;
  if (!engine) {
    result->addError("expected a place for the engine, found a null pointer");
    return result;
  }
  *engine = nullptr;
  Session session(*result);
  if (failed(session.setOptions(given)))
    return result;
  auto created = std::make_unique<SparseAttnEngine>();
  OwningOpRef<ModuleOp> source;
  session.runWithDiagnostics([&] {
    auto compiled = compile(session, ir, length, pipeline);
    if (failed(compiled))
      return;
    llvm::raw_string_ostream(created->signature) << llvm::json::Value(toJSON(compiled->signatures));
    auto jit = JITEngine::create(std::move(compiled->code), std::move(compiled->signatures),
                                 session.getOptions().openMPLibrary);
    if (!jit) {
      result->addError(toString(jit.takeError()));
      return;
    }
    created->jit = std::move(*jit);
    source = std::move(compiled->source);
  });
  if (!source)
    return result;
  created->shapes = std::make_unique<ShapeCheck>(session.takeContext(), std::move(source));
  result->succeed(created->signature);
  *engine = created.release();
  return result;
}

const char *sparseattnEngineSignature(const SparseAttnEngine *engine) {
  return engine ? engine->signature.c_str() : "";
}

SparseAttnResult *sparseattnEngineInvoke(const SparseAttnEngine *engine, const char *function, void **values,
                                         size_t count, unsigned char *owned) {
  auto *result = new SparseAttnResult;
  if (!engine || !function || (!values && count > 0)) {
    result->addError(Twine("expected an engine, a function name and values, found a null pointer for the ") +
                     (!engine ? "engine" : !function ? "function name" : "values"));
    return result;
  }
  auto checkSizes = [&](const FunctionSignature &signature, ArrayRef<int64_t> sizes) {
    return engine->shapes->check(signature, sizes);
  };
  if (llvm::Error error = engine->jit->invoke(function, MutableArrayRef<void *>(values, count), owned, checkSizes))
    result->addError(toString(std::move(error)));
  else
    result->succeed("");
  return result;
}

void sparseattnBufferFree(void *base) { free(base); }

void sparseattnEngineFree(SparseAttnEngine *engine) { delete engine; }
