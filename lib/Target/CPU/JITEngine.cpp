//===- JITEngine.cpp - compiled code in this process -----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/CPU/JITEngine.h"
#include "sparseattn/Target/CPU/RuntimeLibraries.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

using namespace llvm;
using namespace sparseattn;

static Error makeError(const Twine &text) { return createStringError(inconvertibleErrorCode(), text); }

JITEngine::JITEngine() = default;
JITEngine::~JITEngine() = default;

Expected<std::unique_ptr<JITEngine>> JITEngine::create(ObjectCode code, std::vector<FunctionSignature> signatures,
                                                       StringRef openMP) {
  Expected<std::vector<void *>> addresses = resolveSymbols(code.undefinedSymbols, openMP);
  if (!addresses)
    return addresses.takeError();

  std::unique_ptr<JITEngine> engine(new JITEngine);
  engine->signatures = std::move(signatures);
  orc::LLJITBuilder builder;
  builder.setLinkProcessSymbolsByDefault(false);
  // The object is complete: no platform support for constructors is wanted.
  builder.setPlatformSetUp(orc::setUpInactivePlatform);
  Expected<std::unique_ptr<orc::LLJIT>> jit = builder.create();
  if (!jit)
    return jit.takeError();
  engine->jit = std::move(*jit);
  // What goes wrong while linking is reported here, not to whoever asks for a symbol.
  std::string linkErrors;
  orc::ExecutionSession &session = engine->jit->getExecutionSession();
  session.setErrorReporter([&](Error error) { linkErrors += toString(std::move(error)) + "; "; });

  orc::SymbolMap symbols;
  for (auto [name, address] : zip_equal(code.undefinedSymbols, *addresses))
    symbols[engine->jit->mangleAndIntern(name)] = {orc::ExecutorAddr::fromPtr(address), JITSymbolFlags::Exported};
  orc::JITDylib &dylib = engine->jit->getMainJITDylib();
  if (!symbols.empty())
    if (Error error = dylib.define(orc::absoluteSymbols(std::move(symbols))))
      return std::move(error);
  if (Error error = engine->jit->addObjectFile(dylib, std::move(code.object)))
    return std::move(error);
  Error result = Error::success();
  for (const FunctionSignature &signature : engine->signatures) {
    Expected<orc::ExecutorAddr> address = engine->jit->lookup((kPackedPrefix + signature.name).str());
    if (!address) {
      result = joinErrors(std::move(result), address.takeError());
      break;
    }
    engine->entries.push_back(address->toPtr<void (*)(void **)>());
  }
  session.setErrorReporter([](Error error) { consumeError(std::move(error)); });
  if (result)
    return makeError("linking into the process failed: " + linkErrors + toString(std::move(result)));
  return std::move(engine);
}

const FunctionSignature *JITEngine::findSignature(StringRef name) const {
  auto found = find_if(signatures, [&](const FunctionSignature &signature) { return signature.name == name; });
  return found == signatures.end() ? nullptr : &*found;
}

namespace {
/// A memref descriptor of any rank, as compiled code lays it out.
struct Descriptor {
  void *base;
  void *data;
  int64_t offset;
  int64_t sizesAndStrides[1];

  const int64_t *sizes() const { return sizesAndStrides; }
  const int64_t *strides(size_t rank) const { return sizesAndStrides + rank; }
};
} // namespace

static Error checkTensor(const Descriptor &tensor, const ValueSignature &value) {
  size_t rank = value.shape.size();
  int64_t elements = 1;
  if (tensor.offset != 0)
    return makeError("its offset is " + Twine(tensor.offset) + ", expected 0");
  for (size_t dim = rank; dim-- > 0;) {
    int64_t size = tensor.sizes()[dim];
    bool isDynamic = mlir::ShapedType::isDynamic(value.shape[dim]);
    if (size < 0 || (!isDynamic && size != value.shape[dim]))
      return makeError("dimension " + Twine(dim) + " has size " + Twine(size));
    // Only a dimension with several elements is ever stepped over.
    if (size > 1 && tensor.strides(rank)[dim] != elements)
      return makeError("dimension " + Twine(dim) + " has stride " + Twine(tensor.strides(rank)[dim]) +
                       ", expected the dense row-major " + Twine(elements));
    if (size > 1 && elements > INT64_MAX / 16 / size)
      return makeError("the number of elements exceeds the address space");
    elements *= size;
  }
  if (elements > 0 && !tensor.data)
    return makeError("the data pointer is null");
  return Error::success();
}

Error JITEngine::invoke(StringRef name, MutableArrayRef<void *> values, unsigned char *owned,
                        SizeCheck checkSizes) const {
  const FunctionSignature *signature = findSignature(name);
  if (!signature) {
    std::string known;
    for (const FunctionSignature &other : signatures)
      known += (known.empty() ? "" : ", ") + other.name;
    return makeError("no function '" + name + "'; the module has: " + (known.empty() ? "none" : known));
  }
  size_t numArguments = signature->arguments.size();
  size_t numResults = signature->results.size();
  if (values.size() != numArguments + numResults)
    return makeError("'" + name + "' takes " + Twine(numArguments + numResults) + " pointers (" +
                     Twine(numArguments) + " arguments, " + Twine(numResults) + " results), found " +
                     Twine(values.size()));
  SmallVector<int64_t> sizes;
  for (auto [index, value] : enumerate(values)) {
    bool isResult = index >= numArguments;
    const ValueSignature &expected = isResult ? signature->results[index - numArguments] : signature->arguments[index];
    auto describe = [&](const Twine &reason) {
      return makeError((isResult ? "result '" : "argument '") + Twine(expected.name) + "' of '" + name +
                       "': expected " + toString(expected) + ", but " + reason);
    };
    if (!value)
      return describe("its pointer is null");
    if (isResult || !expected.hasDescriptor())
      continue;
    const auto &tensor = *static_cast<Descriptor *>(value);
    if (Error error = checkTensor(tensor, expected))
      return describe(llvm::toString(std::move(error)));
    sizes.append(tensor.sizes(), tensor.sizes() + expected.shape.size());
  }
  if (checkSizes)
    if (Error error = checkSizes(*signature, sizes))
      return error;

  entries[signature - signatures.data()](values.data());

  if (!owned)
    return Error::success();
  // What the lowering of memref.global puts where there is nothing to free.
  const auto *constantBase = reinterpret_cast<void *>(uintptr_t(0xdeadbeef));
  SmallVector<void *> taken;
  for (auto [value, argument] : zip(values, signature->arguments))
    if (argument.hasDescriptor())
      taken.push_back(static_cast<Descriptor *>(value)->base);
  for (auto [index, result] : enumerate(signature->results)) {
    owned[index] = 0;
    if (!result.hasDescriptor())
      continue;
    void *base = static_cast<Descriptor *>(values[numArguments + index])->base;
    owned[index] = base && base != constantBase && !is_contained(taken, base);
    taken.push_back(base);
  }
  return Error::success();
}
