# The lit suite. Substitutions: the project's tools by name, FileCheck, not, mlir-opt and mlir-translate
# of the MLIR the project was built with (%mlir_opt, %mlir_translate), %plugin, %python, %build (the build folder), %ptxas,
# %check_ptxas <registers> (assembles the PTX on its input and refuses serialised products and spills).
# Features: hopper (a Hopper GPU may be used), ptxas.

import os

import lit.formats
from lit.llvm import llvm_config
from lit.llvm.subst import ToolSubst

config.name = "sparseattn"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
# Input files and tests of other kinds.
config.excludes = ["Inputs", "fixtures", "fuzz", "python", "unit"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.sparseattn_binary_dir, "test")

tools_dir = os.path.join(config.sparseattn_binary_dir, "bin")
llvm_config.with_environment("PATH", [config.llvm_tools_dir, tools_dir], append_path=True)
for setting in filter(None, f"{config.python_environment};{config.sanitized_environment}".split(";")):
    llvm_config.with_environment(*setting.split("=", 1))
llvm_config.with_system_environment(["ASAN_OPTIONS", "UBSAN_OPTIONS"])

# Programs that are not ours but load our libraries.
host = " ".join(["env", *config.sanitized_host_environment.split(";"), ""]) if config.sanitized_host_environment else ""
plugin = os.path.join(config.sparseattn_binary_dir, "lib", "SparseAttnPlugin" + config.module_suffix)
llvm_config.add_tool_substitutions(
    [
        "FileCheck",
        "llvm-nm",
        "not",
        "split-file",
        "sparseattn-opt",
        ToolSubst("sparseattn-compile", unresolved="ignore"),
        "sparseattn-lsp-server",
        ToolSubst("%mlir_opt", host + os.path.join(config.llvm_tools_dir, "mlir-opt")),
        ToolSubst("%mlir_translate", os.path.join(config.llvm_tools_dir, "mlir-translate")),
        ToolSubst("%plugin", plugin),
        ToolSubst("%python", host + config.python),
        ToolSubst("%build", config.sparseattn_binary_dir),
    ],
    [tools_dir, config.llvm_tools_dir],
)

if config.ptxas:
    config.available_features.add("ptxas")
    check = os.path.join(os.path.dirname(__file__), "Inputs", "check_ptxas.py")
    config.substitutions.append(("%check_ptxas", f"{config.python} {check} {config.ptxas}"))
    config.substitutions.append(("%ptxas", config.ptxas))
if os.environ.get("SPARSEATTN_TEST_HOPPER") == "1":
    config.available_features.add("hopper")
