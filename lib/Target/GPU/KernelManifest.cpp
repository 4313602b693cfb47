//===- KernelManifest.cpp --------------------------------------------------===//
//
// Part of the sparseattn project.
//
// The schema is in lib/Runtime/README.md.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/GPU/KernelManifest.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace sparseattn;
namespace json = llvm::json;

json::Object sparseattn::describeFile(const ArtefactFile &file) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : file.contents)
    hash = (hash ^ byte) * 0x100000001b3;
  return json::Object{{"file", file.name},
                      {"bytes", static_cast<int64_t>(file.contents.size())},
                      {"fnv1a64", llvm::utohexstr(hash, /*LowerCase=*/true, /*Width=*/16)}};
}

namespace {

/// One tensor of the kernel: sizes are named by what they mean.
struct Operand {
  StringRef name;
  bool isInput;
  Type element;
  SmallVector<StringRef> sizes;
  /// Queries that share a list, of a selection; 0 for others.
  int64_t queryBlock = 0;
  /// Tensors with a feature axis are read and written 16 bytes at a time.
  bool hasFeatures() const { return llvm::any_of(sizes, [](StringRef s) { return s == "D" || s == "Dv"; }); }
};

class ManifestWriter {
public:
  explicit ManifestWriter(Operation *kernel) : kernel(kernel) {}
  FailureOr<json::Object> write();

private:
  LogicalResult readOperands();
  bool hasSize(StringRef name) const;
  /// A name, or the number where it is fixed. Packed documents are one batch.
  json::Value size(StringRef name) const;
  json::Array operands() const;
  json::Array derived(ScheduleAttr schedule) const;
  FailureOr<json::Array> parameters();
  json::Object tensorMap(const Operand &operand, int64_t rows) const;

  Operation *kernel;
  SmallVector<Operand> tensors;
  /// Operand number to tensor; -1 for a scalar.
  SmallVector<int> tensorOf;
  SmallVector<StringRef> names;
  llvm::StringMap<int64_t> fixed;
  json::Array attributes;
};

} // namespace

static StringRef getAxisName(StringRef size) {
  return llvm::StringSwitch<StringRef>(size)
      .Case("B", "batch")
      .Cases({"Hq", "Hkv", "Hs"}, "head")
      .Cases({"Nq", "Nk"}, "position")
      .Case("Tq", "query_block")
      .Case("K", "entry")
      .Case("bounds", "bound")
      .Case("S1", "document")
      .Default("feature");
}

static std::string getElementName(Type type) {
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

/// A size that is fixed for one operand is fixed for all.
LogicalResult ManifestWriter::readOperands() {
  auto list = kernel->getAttrOfType<ArrayAttr>(nv::kOperandsAttr);
  if (!list)
    return kernel->emitOpError("has no attribute sparseattn_nv.operands, so no manifest can describe it: make it with "
                               "convert-sparseattn-to-nv");
  for (auto entry : list.getAsRange<DictionaryAttr>()) {
    Type type = entry.getAs<TypeAttr>("type").getValue();
    names.push_back(entry.getAs<StringAttr>("name").getValue());
    auto tensor = dyn_cast<RankedTensorType>(type);
    tensorOf.push_back(tensor ? static_cast<int>(tensors.size()) : -1);
    if (!tensor)
      continue;
    Operand operand = {names.back(), entry.getAs<StringAttr>("role").getValue() == "input", tensor.getElementType(), {}};
    if (auto queries = entry.getAs<IntegerAttr>("query_block"))
      operand.queryBlock = queries.getInt();
    for (auto [axis, extent] : llvm::zip(entry.getAs<ArrayAttr>("axes").getAsValueRange<StringAttr>(), tensor.getShape())) {
      operand.sizes.push_back(axis);
      if (ShapedType::isDynamic(extent))
        continue;
      auto [known, inserted] = fixed.try_emplace(axis, extent);
      if (!inserted && known->second != extent)
        return kernel->emitOpError("has operands that disagree about the size ")
               << axis << ": " << known->second << " and " << extent;
    }
    tensors.push_back(std::move(operand));
  }
  return success();
}

bool ManifestWriter::hasSize(StringRef name) const {
  return llvm::any_of(tensors, [&](const Operand &operand) { return llvm::is_contained(operand.sizes, name); });
}

json::Value ManifestWriter::size(StringRef name) const {
  if (name == "B" && !hasSize("B"))
    return 1;
  auto found = fixed.find(name);
  return found == fixed.end() ? json::Value(name) : json::Value(found->second);
}

json::Array ManifestWriter::operands() const {
  json::Array list;
  for (const Operand &operand : tensors) {
    json::Array axes, shape;
    for (StringRef name : operand.sizes) {
      axes.push_back(getAxisName(name));
      shape.push_back(size(name));
    }
    json::Object entry{{"name", operand.name},
                       {"role", operand.isInput ? "input" : "output"},
                       {"dtype", getElementName(operand.element)},
                       {"axes", std::move(axes)},
                       {"shape", std::move(shape)}};
    if (operand.hasFeatures()) {
      entry["contiguous"] = json::Array{"feature"};
      entry["alignment"] = 16;
    }
    list.push_back(std::move(entry));
  }
  return list;
}

/// Heads whose tiles come one after the other at most. More would all begin with the tiles that load the keys of a head
/// for the first time, and wait for memory together; then none would load any.
static constexpr int64_t kGroupedHeads = 32;

/// Bytes of keys and values that blocks at work should share in the L2 cache (50 MB). Where tiles differ in work,
/// a group must have many of them, or the last blocks of it wait; where they do not, a smaller group loses nothing.
static int64_t getSharedBytes(ScheduleAttr schedule) {
  return (schedule.getOrder() == TileOrder::HeaviestFirst ? 36 : 12) << 20;
}

json::Array ManifestWriter::derived(ScheduleAttr schedule) const {
  int64_t featureBytes = 2 * (fixed.lookup("D") + fixed.lookup("Dv"));
  auto value = [](StringRef name, StringRef operation, json::Value first, json::Value second) {
    return json::Object{{"name", name}, {operation, json::Array{std::move(first), std::move(second)}}};
  };
  json::Array list;
  for (const Operand &operand : tensors)
    if (operand.queryBlock != 0) {
      list.push_back(value("query_blocks", "ceil_quotient", size("Nq"), operand.queryBlock));
      list.push_back(value("selection_length", "one_of", size("Tq"), "query_blocks"));
      list.push_back(json::Object{
          {"name", "selection_heads"}, {"one_of", json::Array{size("Hs"), 1, size("Hkv"), size("Hq")}}});
    }
  json::Array common{
      value("group", "exact_quotient", size("Hq"), size("Hkv")),
      value("heads", "product", size("B"), size("Hq")),
      value("key_bytes", "product", size("Nk"), featureBytes),
      value("head_bytes", "sum", "key_bytes", 1),
      value("cached_kv_heads", "largest_power_of_two", getSharedBytes(schedule), "head_bytes"),
      value("cached_heads", "product", "cached_kv_heads", "group"),
      json::Object{{"name", "head_group"}, {"minimum", json::Array{"cached_heads", "heads", kGroupedHeads}}},
  };
  llvm::append_range(list, common);
  if (!hasSize("S1")) {
    list.push_back(value("tiles", "ceil_quotient", size("Nq"), schedule.getQueryTile()));
    return list;
  }
  // Each document has at most one tile that is not full: floor(Nq / tile) + S1 - 1.
  list.push_back(value("next_query", "sum", size("Nq"), 1));
  list.push_back(value("next_tiles", "ceil_quotient", "next_query", schedule.getQueryTile()));
  list.push_back(json::Object{{"name", "tiles"}, {"sum", json::Array{"next_tiles", size("S1"), -2}}});
  return list;
}

/// Blocks of 64 features are a dimension of their own, because a swizzled row
/// of shared memory holds 64. Where the last block would have fewer, each block is
/// loaded alone, and nothing is read behind the features.
json::Object ManifestWriter::tensorMap(const Operand &operand, int64_t rows) const {
  int64_t features = fixed.lookup(operand.sizes.back());
  json::Array dims;
  json::Object block{{"axis", "feature"}, {"box", hopper::kSwizzleColumns}};
  bool isWhole = features % hopper::kSwizzleColumns == 0;
  if (isWhole)
    block["inner"] = hopper::kSwizzleColumns;
  dims.push_back(std::move(block));
  dims.push_back(json::Object{{"axis", "position"}, {"box", rows}});
  if (isWhole)
    dims.push_back(json::Object{
        {"axis", "feature"}, {"outer", hopper::kSwizzleColumns}, {"box", features / hopper::kSwizzleColumns}});
  dims.push_back(json::Object{{"axis", "head"}, {"box", 1}});
  if (llvm::is_contained(operand.sizes, "B"))
    dims.push_back(json::Object{{"axis", "batch"}, {"box", 1}});
  return json::Object{{"kind", "tensor_map"},
                      {"operand", operand.name},
                      {"swizzle", "128B"},
                      {"l2_promotion", "256B"},
                      {"dims", std::move(dims)}};
}

FailureOr<json::Array> ManifestWriter::parameters() {
  auto list = kernel->getAttrOfType<ArrayAttr>(nv::kParametersAttr);
  if (!list)
    return kernel->emitOpError("has no attribute sparseattn_nv.parameters, so no manifest can describe it");
  json::Array result;
  for (auto entry : list.getAsRange<DictionaryAttr>()) {
    StringRef kind = entry.getAs<StringAttr>("kind").getValue();
    if (kind == "head_group") {
      result.push_back(json::Object{{"kind", "size"}, {"type", "i32"}, {"size", "head_group"}});
      continue;
    }
    if (kind == "blocks") {
      result.push_back(json::Object{{"kind", "blocks"}, {"type", "i32"}});
      continue;
    }
    if (kind == "counter") {
      result.push_back(json::Object{{"kind", "counter"}, {"type", "i32"}, {"count", nv::kTileCounters}});
      continue;
    }
    int64_t number = entry.getAs<IntegerAttr>("operand").getInt();
    if (kind == "scalar") {
      StringRef name = names[number];
      attributes.push_back(json::Object{{"name", name}, {"type", "i32"}});
      result.push_back(json::Object{{"kind", "attribute"}, {"attribute", name}});
      continue;
    }
    const Operand &operand = tensors[tensorOf[number]];
    auto axis = entry.getAs<IntegerAttr>("axis");
    StringRef sizeName = axis ? operand.sizes[axis.getInt()] : StringRef();
    if (kind == "tensor_map")
      result.push_back(tensorMap(operand, entry.getAs<IntegerAttr>("rows").getInt()));
    else if (kind == "pointer")
      result.push_back(json::Object{{"kind", "pointer"}, {"operand", operand.name}});
    else if (kind == "stride")
      result.push_back(json::Object{
          {"kind", "stride"}, {"type", "i64"}, {"operand", operand.name}, {"axis", getAxisName(sizeName)}});
    else if (fixed.contains(sizeName))
      result.push_back(json::Object{{"kind", "constant"}, {"type", "i32"}, {"value", fixed.lookup(sizeName)}});
    else
      result.push_back(json::Object{{"kind", "size"}, {"type", "i32"}, {"size", sizeName}});
  }
  return result;
}

FailureOr<json::Object> ManifestWriter::write() {
  auto schedule = kernel->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
  auto sharedBytes = kernel->getAttrOfType<IntegerAttr>(nv::kSharedBytesAttr);
  if (!schedule || !sharedBytes)
    return kernel->emitOpError("has no attribute ")
           << (schedule ? "sparseattn_nv.shared_bytes (run sparseattn-nv-plan-smem)" : "sparseattn.schedule");
  if (failed(readOperands()))
    return failure();
  FailureOr<json::Array> list = parameters();
  if (failed(list))
    return failure();
  StringRef name = SymbolTable::getSymbolName(kernel).getValue();
  json::Object zeros;
  for (StringRef skipped : {"B", "Hq", "Hkv", "Nq"})
    if (hasSize(skipped) && !fixed.contains(skipped))
      zeros[skipped] = "skip";
  for (StringRef handled : {"Nk", "K"})
    if (hasSize(handled) && !fixed.contains(handled))
      zeros[handled] = "launch";
  json::Object entry{
      {"name", name},
      {"symbol", name},
      {"chip", hopper::kChip},
      {"block_threads", (schedule.getConsumers() + 1) * hopper::kWarpgroupThreads},
      {"dynamic_shared_memory", sharedBytes.getInt()},
      {"operands", operands()},
      {"zero_sizes", std::move(zeros)},
      {"attributes", std::move(attributes)},
      {"derived", derived(schedule)},
      {"grid", json::Object{{"blocks", json::Array{"tiles", "heads"}}, {"blocks_per_multiprocessor", 1}}},
      {"parameters", std::move(*list)},
  };
  return entry;
}

FailureOr<json::Object> sparseattn::describeKernel(Operation *kernel) { return ManifestWriter(kernel).write(); }
