//===- KVPlanPrint.cpp - the plan as table, JSON and attribute -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Builders.h"
#include "sparseattn/Analysis/KVPlan.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace sparseattn;

static std::string printToString(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// Decimal units, as the papers use them: 1 GB = 10^9 bytes.
static std::string formatBytes(int64_t bytes) {
  const char *units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  unsigned unit = 0;
  for (; value >= 1000.0 && unit + 1 < std::size(units); ++unit)
    value /= 1000.0;
  if (unit == 0)
    return llvm::formatv("{0} B", bytes);
  return llvm::formatv("{0:f3} {1}", value, units[unit]);
}

static std::string describeHead(Attribute kind) {
  if (auto ring = dyn_cast<RingAttr>(kind))
    return llvm::formatv("ring({0})", ring.getSlots());
  if (isa<FullCacheAttr>(kind))
    return "full";
  std::string text;
  llvm::raw_string_ostream(text) << kind;
  return text;
}

std::string PlannedCache::describeKind() const {
  if (summary)
    return llvm::formatv("summary({0}/{1})", summary->block, summary->stride);
  auto ragged = dyn_cast<HeadCachesAttr>(kind);
  if (!ragged)
    return describeHead(kind);
  llvm::MapVector<Attribute, int64_t> counts;
  for (Attribute head : ragged.getHeads())
    ++counts[head];
  std::string text = "ragged(";
  llvm::raw_string_ostream os(text);
  llvm::interleaveComma(counts, os, [&](const auto &entry) {
    os << entry.second << " x " << describeHead(entry.first);
  });
  os << ')';
  return text;
}

void KVPlan::print(raw_ostream &os, StringRef title) const {
  SmallVector<SmallVector<std::string>> rows = {
      {"layer", "kind", "cache", "KV heads", "key+value dim", "dtype", "tokens", "batch", "bytes"}};
  for (const PlannedCache &cache : caches) {
    std::string dims = cache.valueDim ? llvm::formatv("{0}+{1}", cache.keyDim, cache.valueDim).str()
                                      : std::to_string(cache.keyDim);
    rows.push_back({std::to_string(cache.layer), cache.describeKind(),
                    cache.isAlias() ? llvm::formatv("alias of {0}", cache.producer).str() : std::string("owner"),
                    std::to_string(cache.heads), dims, printToString(cache.dtype), std::to_string(cache.length),
                    std::to_string(cache.batch),
                    formatBytes(cache.getBytesAt(cache.length, cache.batch).value_or(0))});
  }
  SmallVector<size_t> widths(rows.front().size());
  for (const auto &row : rows)
    for (auto [width, cell] : llvm::zip(widths, row))
      width = std::max(width, cell.size());
  os << "KV caches of " << title << '\n';
  for (const auto &row : rows) {
    for (auto [i, cell] : llvm::enumerate(row)) {
      // Words to the left, numbers to the right.
      bool isText = i == 1 || i == 2 || i == 5;
      os << "  " << (isText ? llvm::left_justify(cell, widths[i]) : llvm::right_justify(cell, widths[i]));
    }
    os << '\n';
  }
  os << "  total " << formatBytes(totalBytes) << " (" << totalBytes << " bytes)\n";
  os << "  dense " << formatBytes(denseBytes) << " (" << denseBytes << " bytes), every layer keeping all tokens\n";
  if (totalBytes)
    os << llvm::formatv("  saving {0:f2}x\n", getRatio());
}

llvm::json::Object KVPlan::toJson(StringRef name) const {
  llvm::json::Array entries;
  for (const PlannedCache &cache : caches) {
    llvm::json::Object entry{
        {"layer", cache.layer},
        {"role", cache.isAlias() ? "alias" : "owner"},
        {"content", cache.summary ? "summaries" : "tokens"},
        {"kind", cache.describeKind()},
        {"heads", cache.heads},
        {"key_dim", cache.keyDim},
        {"value_dim", cache.valueDim},
        {"dtype", printToString(cache.dtype)},
        {"length", cache.length},
        {"batch", cache.batch},
        {"bytes", cache.getBytesAt(cache.length, cache.batch).value_or(0)},
    };
    if (cache.isAlias())
      entry["alias_of"] = cache.producer;
    if (cache.summary) {
      entry["block"] = cache.summary->block;
      entry["stride"] = cache.summary->stride;
    } else {
      // Ring size of each head, null for a head that keeps every token: with
      // it a reader can compute the bytes of any length.
      llvm::json::Array rings;
      bool ragged = isa<HeadCachesAttr>(cache.kind);
      for (int64_t head = 0, e = ragged ? cache.heads : 1; head < e; ++head) {
        std::optional<int64_t> ring = cache.kind.getRing(head);
        rings.push_back(ring ? llvm::json::Value(*ring) : llvm::json::Value(nullptr));
      }
      entry[ragged ? "ring_of_head" : "ring"] = ragged ? llvm::json::Value(std::move(rings)) : rings.front();
    }
    entries.push_back(std::move(entry));
  }
  return llvm::json::Object{
      {"name", name.str()},
      {"caches", std::move(entries)},
      {"total_bytes", totalBytes},
      {"dense_bytes", denseBytes},
      {"ratio", getRatio()},
  };
}

DictionaryAttr KVPlan::toAttribute(MLIRContext *context) const {
  Builder b(context);
  SmallVector<Attribute> entries;
  for (const PlannedCache &cache : caches) {
    SmallVector<NamedAttribute> entry = {
        b.getNamedAttr("layer", b.getI64IntegerAttr(cache.layer)),
        b.getNamedAttr("producer", b.getI64IntegerAttr(cache.producer)),
        b.getNamedAttr("kind", cache.kind),
        b.getNamedAttr("heads", b.getI64IntegerAttr(cache.heads)),
        b.getNamedAttr("key_dim", b.getI64IntegerAttr(cache.keyDim)),
        b.getNamedAttr("value_dim", b.getI64IntegerAttr(cache.valueDim)),
        b.getNamedAttr("dtype", TypeAttr::get(cache.dtype)),
        b.getNamedAttr("length", b.getI64IntegerAttr(cache.length)),
        b.getNamedAttr("batch", b.getI64IntegerAttr(cache.batch)),
        b.getNamedAttr("bytes", b.getI64IntegerAttr(cache.getBytesAt(cache.length, cache.batch).value_or(0)))};
    if (cache.summary) {
      entry.push_back(b.getNamedAttr("summary_block", b.getI64IntegerAttr(cache.summary->block)));
      entry.push_back(b.getNamedAttr("summary_stride", b.getI64IntegerAttr(cache.summary->stride)));
    }
    entries.push_back(b.getDictionaryAttr(entry));
  }
  return b.getDictionaryAttr({b.getNamedAttr("caches", b.getArrayAttr(entries)),
                              b.getNamedAttr("total_bytes", b.getI64IntegerAttr(totalBytes)),
                              b.getNamedAttr("dense_bytes", b.getI64IntegerAttr(denseBytes))});
}
