//===- PlanKVCache.cpp - attach and show the plan of the KV caches ---------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/SymbolTable.h"
#include "sparseattn/Analysis/KVPlan.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/ToolOutputFile.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNPLANKVCACHE
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

static std::string getScopeName(Operation *scope) {
  auto name = scope->getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName());
  return name ? "@" + name.str() : scope->getName().getStringRef().str();
}

/// The plan on the function, each operation's own part on the operation, and
/// numbers for layers that had none.
static void attach(Operation *scope, const KVSharing &sharing, const KVPlan &plan) {
  Builder builder(scope->getContext());
  DictionaryAttr attribute = plan.toAttribute(scope->getContext());
  scope->setDiscardableAttr(kKVPlanAttrName, attribute);
  llvm::MapVector<Operation *, SmallVector<Attribute>> partsOf;
  auto entries = attribute.getAs<ArrayAttr>("caches");
  for (auto [cache, entry] : llvm::zip(plan.getCaches(), entries))
    for (Operation *user : cache.users)
      partsOf[user].push_back(entry);
  for (auto &[op, parts] : partsOf)
    op->setDiscardableAttr(kKVPlanAttrName, builder.getArrayAttr(parts));
  if (!sharing.areLayersInferred())
    return;
  for (const auto &[layer, ops] : sharing.getLayers())
    for (AttentionOpInterface op : ops)
      op->setAttr("layer", builder.getI64IntegerAttr(layer));
}

/// Writes one form of the plan to a file.
static LogicalResult writeFile(Operation *root, StringRef path, StringRef text) {
  std::error_code error;
  llvm::ToolOutputFile file(path, error, llvm::sys::fs::OF_Text);
  if (error)
    return root->emitError() << "cannot write the KV plan to '" << path << "': " << error.message();
  file.os() << text;
  file.os().flush();
  if (file.os().has_error()) {
    std::string message = file.os().error().message();
    file.os().clear_error();
    return root->emitError() << "cannot write the KV plan to '" << path << "': " << message;
  }
  file.keep();
  return success();
}

static std::string toDocument(llvm::json::Array functions) {
  llvm::json::Value document = llvm::json::Object{
      {"schema", "sparseattn.kv_plan"}, {"version", 1}, {"functions", std::move(functions)}};
  return llvm::formatv("{0:2}\n", document).str();
}

namespace {
struct PlanKVCache : sparseattn::impl::SparseAttnPlanKVCacheBase<PlanKVCache> {
  using Base::Base;

  FailureOr<KVPlanOptions> readOptions() {
    KVPlanOptions options;
    Operation *root = getOperation();
    // Absent options are -1.
    if ((length != -1 && length < 1) || (batch != -1 && batch < 1))
      return root->emitError() << "expected length and batch of at least 1, found length=" << length.getValue()
                               << " and batch=" << batch.getValue();
    if (length != -1)
      options.length = length.getValue();
    if (batch != -1)
      options.batch = batch.getValue();
    if (!dtype.empty()) {
      ScopedDiagnosticHandler silence(&getContext(), [](Diagnostic &) { return success(); });
      options.dtype = parseType(dtype, &getContext());
    }
    if (!dtype.empty() && !options.dtype)
      return root->emitError() << "expected dtype to be an element type such as bf16 or f8E4M3FN, found '" << dtype
                               << "'";
    return options;
  }

  void runOnOperation() override {
    Operation *root = getOperation();
    FailureOr<KVPlanOptions> options = readOptions();
    if (failed(options))
      return signalPassFailure();
    llvm::json::Array functions;
    std::string tables;
    llvm::raw_string_ostream tableStream(tables);
    for (Operation *scope : findAttentionScopes(root)) {
      FailureOr<KVSharing> sharing = KVSharing::compute(scope);
      if (failed(sharing))
        return signalPassFailure();
      FailureOr<KVPlan> plan = KVPlan::compute(scope, *sharing, *options);
      if (failed(plan))
        return signalPassFailure();
      attach(scope, *sharing, *plan);
      std::string name = getScopeName(scope);
      plan->print(tableStream, name);
      functions.push_back(plan->toJson(StringRef(name).ltrim('@')));
    }
    if (print)
      llvm::outs() << tables;
    if ((!table.empty() && failed(writeFile(root, table, tables))) ||
        (!json.empty() && failed(writeFile(root, json, toDocument(std::move(functions))))))
      return signalPassFailure();
  }
};
} // namespace
