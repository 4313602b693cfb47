# Finds MLIR and provides the functions that every target of the project uses.

if(NOT DEFINED MLIR_DIR AND EXISTS /usr/lib/llvm-22/lib/cmake/mlir)
  # Debian installs several LLVMs side by side; none is found without a hint.
  set(MLIR_DIR /usr/lib/llvm-22/lib/cmake/mlir CACHE PATH "Folder of MLIRConfig.cmake")
endif()
find_package(MLIR 22.1 CONFIG QUIET)
if(NOT MLIR_FOUND)
  message(FATAL_ERROR "MLIR 22.1 not found: apt-get install libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools lld-22, or set MLIR_DIR")
endif()
message(STATUS "MLIR ${LLVM_PACKAGE_VERSION} in ${MLIR_DIR}")

list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
set(MLIR_LINK_MLIR_DYLIB ON)
set(LLVM_RUNTIME_OUTPUT_INTDIR ${PROJECT_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${PROJECT_BINARY_DIR}/lib)
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include(HandleLLVMOptions)

separate_arguments(SPARSEATTN_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_definitions(${SPARSEATTN_LLVM_DEFINITIONS})
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories(${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)

# g++ rejects -fuse-ld=lld-22 and plain lld may be an older release: -B names the folder of the right one.
option(SPARSEATTN_LLD "Link with LLVM's lld when it is installed" ON)
if(SPARSEATTN_LLD AND EXISTS ${LLVM_TOOLS_BINARY_DIR}/ld.lld)
  add_link_options(-B${LLVM_TOOLS_BINARY_DIR} -fuse-ld=lld)
endif()
# TypeID statics must stay private to each of our libraries even under RTLD_LOCAL.
add_compile_options($<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fno-gnu-unique>)
# libMLIR.so lies in LLVM's own folder, which the loader does not search.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib;${LLVM_LIBRARY_DIRS}")

# sparseattn_add_library(<name> <sources...> [DEPENDS <tablegen targets...>] [LINK <our libraries...>])
# An object library: every product links objects once, beside the one libMLIR.so, so that no process
# ever holds a second copy of MLIR.
option(SPARSEATTN_UNITY "Compile several files of a library together: a quick clean build, a slower incremental one" OFF)
function(sparseattn_add_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  add_library(${name} OBJECT ${ARG_UNPARSED_ARGUMENTS})
  llvm_update_compile_flags(${name})
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${SPARSEATTN_UNITY})
  add_dependencies(${name} sparseattn-headers ${ARG_DEPENDS})
  set_property(GLOBAL APPEND PROPERTY SPARSEATTN_OBJECTS $<TARGET_OBJECTS:${name}>)
endfunction()

# sparseattn_add_tool(<name> <sources...>): an executable over all objects of the project and libMLIR.so.
function(sparseattn_add_tool name)
  add_executable(${name} ${ARGN})
  llvm_update_compile_flags(${name})
  add_dependencies(${name} sparseattn-headers)
  target_link_libraries(${name} PRIVATE sparseattn-compiler)
endfunction()

# sparseattn_limit_exports(<shared library> <symbol pattern>): makes nothing else visible, because processes
# that load the library often hold another LLVM.
function(sparseattn_limit_exports name SPARSEATTN_EXPORTS)
  set(map ${CMAKE_CURRENT_BINARY_DIR}/${name}.map)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/exports.map.in ${map} @ONLY)
  target_link_options(${name} PRIVATE -Wl,--version-script=${map})
  set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS ${map})
endfunction()
