//===- Result.cpp - what a call of the C ABI gives back ---------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Result.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"

using namespace mlir;

static const char *getSeverityName(SparseAttnSeverity severity) {
  switch (severity) {
  case SPARSEATTN_ERROR:
    return "error";
  case SPARSEATTN_WARNING:
    return "warning";
  case SPARSEATTN_REMARK:
    return "remark";
  case SPARSEATTN_NOTE:
    return "note";
  }
  return "error";
}

static SparseAttnSeverity getSeverity(DiagnosticSeverity severity) {
  switch (severity) {
  case DiagnosticSeverity::Error:
    return SPARSEATTN_ERROR;
  case DiagnosticSeverity::Warning:
    return SPARSEATTN_WARNING;
  case DiagnosticSeverity::Remark:
    return SPARSEATTN_REMARK;
  case DiagnosticSeverity::Note:
    return SPARSEATTN_NOTE;
  }
  return SPARSEATTN_ERROR;
}

/// `file:line:column` for what has one, also inside names and calls.
static std::string getLocationText(Location location) {
  if (isa<UnknownLoc>(location))
    return "";
  if (auto file = location->findInstanceOf<FileLineColLoc>())
    return (file.getFilename().getValue() + ":" + Twine(file.getLine()) + ":" + Twine(file.getColumn())).str();
  std::string text;
  llvm::raw_string_ostream stream(text);
  location->print(stream);
  return text;
}

/// Diagnostics quote the input, which may hold any bytes.
void SparseAttnResult::add(SparseAttnSeverity severity, StringRef location, StringRef message) {
  std::string place = llvm::json::fixUTF8(location);
  std::string words = llvm::json::fixUTF8(message.trim());
  messages += (place.empty() ? "" : place + ": ") + getSeverityName(severity) + ": " + words + "\n";
  diagnostics.push_back({severity, std::move(place), std::move(words)});
}

void SparseAttnResult::add(Diagnostic &diagnostic) {
  add(getSeverity(diagnostic.getSeverity()), getLocationText(diagnostic.getLocation()), diagnostic.str());
  for (Diagnostic &note : diagnostic.getNotes())
    add(note);
}

const char *sparseattnVersion(void) { return SPARSEATTN_VERSION " (MLIR " LLVM_VERSION_STRING ")"; }

int sparseattnResultOk(const SparseAttnResult *result) { return result && result->ok; }

const char *sparseattnResultText(const SparseAttnResult *result, size_t *length) {
  if (length)
    *length = result ? result->text.size() : 0;
  return result ? result->text.c_str() : "";
}

size_t sparseattnResultDiagnosticCount(const SparseAttnResult *result) {
  return result ? result->diagnostics.size() : 0;
}

int sparseattnResultDiagnostic(const SparseAttnResult *result, size_t index, SparseAttnDiagnostic *diagnostic) {
  if (!result || !diagnostic || index >= result->diagnostics.size())
    return 0;
  const SparseAttnResult::Entry &entry = result->diagnostics[index];
  *diagnostic = {entry.severity, entry.location.c_str(), entry.message.c_str()};
  return 1;
}

const char *sparseattnResultMessages(const SparseAttnResult *result) { return result ? result->messages.c_str() : ""; }

const char *sparseattnResultReproducer(const SparseAttnResult *result) {
  return result ? result->reproducer.c_str() : "";
}

void sparseattnResultFree(SparseAttnResult *result) { delete result; }
