//===- ObjectCode.cpp - machine code of a lowered module -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/CPU/ObjectCode.h"
#include "PackedEntry.h"
#include "RuntimeRoutines.h"

#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include <mutex>

using namespace mlir;
using namespace sparseattn;

static void initializeNativeTarget() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
}

/// Diagnostics of LLVM become diagnostics on the module.
namespace {
struct ForwardDiagnostics : llvm::DiagnosticHandler {
  ForwardDiagnostics(ModuleOp module, bool &hadError) : module(module), hadError(hadError) {}

  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    std::string text;
    llvm::raw_string_ostream stream(text);
    llvm::DiagnosticPrinterRawOStream printer(stream);
    info.print(printer);
    if (info.getSeverity() == llvm::DS_Error) {
      hadError = true;
      module.emitError() << "code generation: " << text;
    } else if (info.getSeverity() == llvm::DS_Warning) {
      module.emitWarning() << "code generation: " << text;
    }
    return true;
  }

  ModuleOp module;
  bool &hadError;
};
} // namespace

/// `+a,-b` of all features; CPU names and features that LLVM does not know are
/// errors here, because LLVM only prints a warning and goes on.
static FailureOr<std::unique_ptr<llvm::TargetMachine>> createTargetMachine(ModuleOp module,
                                                                           const CodegenOptions &options) {
  initializeNativeTarget();
  std::string error;
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return module.emitError() << "no code generator for " << triple.str() << ": " << error;

  std::string cpu = options.cpu;
  SmallVector<std::string> features;
  if (cpu.empty()) {
    cpu = llvm::sys::getHostCPUName().str();
    for (auto &feature : llvm::sys::getHostCPUFeatures())
      features.push_back((feature.second ? "+" : "-") + feature.first().str());
    llvm::sort(features);
  }
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget(target->createMCSubtargetInfo(triple, "", ""));
  if (!subtarget->isCPUStringValid(cpu))
    return module.emitError() << "expected a CPU name of LLVM for " << triple.str() << ", found '" << cpu
                              << "' (`llc -march=" << triple.getArchName() << " -mcpu=help` lists them)";
  SmallVector<StringRef> asked;
  StringRef(options.features).split(asked, ',', -1, /*KeepEmpty=*/false);
  for (StringRef feature : asked) {
    StringRef name = feature;
    bool hasSign = name.consume_front("+") || name.consume_front("-");
    bool known = llvm::any_of(subtarget->getAllProcessorFeatures(),
                              [&](const llvm::SubtargetFeatureKV &entry) { return name == entry.Key; });
    if (!hasSign || !known)
      return module.emitError() << "expected CPU features as +name or -name, known to LLVM for " << triple.str()
                                << ", found '" << feature << "'";
    features.push_back(feature.str());
  }
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, cpu, llvm::join(features, ","), llvm::TargetOptions(), llvm::Reloc::PIC_, std::nullopt,
      static_cast<llvm::CodeGenOptLevel>(options.optLevel)));
  if (!machine)
    return module.emitError() << "no code generator for " << triple.str();
  return machine;
}

static void dumpIR(const CodegenOptions &options, StringRef name, const llvm::Module &llvmModule) {
  if (!options.dump)
    return;
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvmModule.print(stream, nullptr);
  options.dump(name, text);
}

static LogicalResult verifyLLVM(ModuleOp module, const llvm::Module &llvmModule, StringRef when) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (llvm::verifyModule(llvmModule, &stream))
    return module.emitError() << "the LLVM IR " << when << " is malformed: " << text;
  return success();
}

static LogicalResult listUndefinedSymbols(ModuleOp module, ObjectCode &code) {
  auto object = llvm::object::ObjectFile::createObjectFile(code.object->getMemBufferRef());
  if (!object)
    return module.emitError() << "cannot read the assembled object: " << llvm::toString(object.takeError());
  for (const llvm::object::SymbolRef &symbol : (*object)->symbols()) {
    auto flags = symbol.getFlags();
    auto name = symbol.getName();
    if (!flags || !name)
      return module.emitError() << "cannot read the assembled object: "
                                << llvm::toString(llvm::joinErrors(flags.takeError(), name.takeError()));
    bool undefined = *flags & llvm::object::SymbolRef::SF_Undefined;
    // Filled by every linker, static or dynamic.
    if (undefined && !name->empty() && *name != "_GLOBAL_OFFSET_TABLE_")
      code.undefinedSymbols.push_back(name->str());
  }
  llvm::sort(code.undefinedSymbols);
  return success();
}

FailureOr<ObjectCode> sparseattn::compileToObject(ModuleOp module, ArrayRef<FunctionSignature> signatures,
                                                  const CodegenOptions &options) {
  if (options.optLevel > 3)
    return module.emitError() << "expected an optimisation level from 0 to 3, found " << options.optLevel;
  if (failed(verifyCodegenSupport(module)))
    return failure();
  auto machine = createTargetMachine(module, options);
  if (failed(machine))
    return failure();

  bool hadError = false;
  llvm::LLVMContext context;
  context.setDiagnosticHandler(std::make_unique<ForwardDiagnostics>(module, hadError));
  std::unique_ptr<llvm::Module> llvmModule = translateModuleToLLVMIR(module, context, "sparseattn");
  if (!llvmModule)
    return module.emitError() << "expected a module lowered to the LLVM dialect: translation to LLVM IR failed";
  llvmModule->setTargetTriple((*machine)->getTargetTriple());
  llvmModule->setDataLayout((*machine)->createDataLayout());
  if (failed(addPackedEntries(module, *llvmModule, signatures)))
    return failure();
  // After the entries, which rename all other definitions.
  addRuntimeRoutines(*llvmModule);
  if (failed(verifyLLVM(module, *llvmModule, "after translation")))
    return failure();
  dumpIR(options, "llvm", *llvmModule);

  if (llvm::Error error = makeOptimizingTransformer(options.optLevel, 0, machine->get())(llvmModule.get()))
    return module.emitError() << "optimisation failed: " << llvm::toString(std::move(error));
  dumpIR(options, "llvm-optimized", *llvmModule);

  SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
    return module.emitError() << "the code generator of " << (*machine)->getTargetTriple().str()
                              << " writes no object files";
  passes.run(*llvmModule);
  if (hadError)
    return failure();

  ObjectCode code;
  code.object = std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(bytes), "sparseattn",
                                                                /*RequiresNullTerminator=*/false);
  code.triple = (*machine)->getTargetTriple().str();
  code.cpu = (*machine)->getTargetCPU().str();
  code.features = (*machine)->getTargetFeatureString().str();
  if (failed(listUndefinedSymbols(module, code)))
    return failure();
  return std::move(code);
}
