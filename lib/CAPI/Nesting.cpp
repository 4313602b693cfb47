//===- Nesting.cpp - a bound on recursion of the parser ---------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Nesting.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBufferRef.h"
#include <algorithm>

using namespace llvm;

std::string sparseattn::findExcessiveNesting(StringRef text) {
  constexpr int64_t kMaxDepth = 1000;
  if (mlir::isBytecode(MemoryBufferRef(text, "")))
    return "";
  // Brackets of each kind need not match in malformed text, so angle brackets,
  // which are also comparison signs, are counted on their own.
  int64_t depth = 0, angles = 0, signs = 0, line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"' && text[i] != '\n'; ++i)
        i += text[i] == '\\';
    } else if (c == '/' && next == '/') {
      i = std::min(text.find('\n', i), text.size() - 1);
    } else if (c == '(' || c == '[' || c == '{') {
      ++depth;
    } else if (c == ')' || c == ']' || c == '}') {
      depth = std::max<int64_t>(depth - 1, 0);
    } else if (c == '<' && next != '=') {
      ++angles;
    } else if (c == '>' && next != '=' && (i == 0 || text[i - 1] != '-')) {
      angles = std::max<int64_t>(angles - 1, 0);
    }
    // Spaces and brackets do not end a chain of signs.
    if (c == '-')
      ++signs;
    else if (isAlnum(c))
      signs = 0;
    line += text[std::min(i, text.size() - 1)] == '\n';
    if (depth > kMaxDepth || angles > kMaxDepth || signs > kMaxDepth)
      return "expected at most " + std::to_string(kMaxDepth) + " levels of nesting, found more in line " +
             std::to_string(line);
  }
  return "";
}
