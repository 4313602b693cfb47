# Build-wide settings: language standard, ccache, lld, output folders.

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Not -fvisibility=hidden: the TypeIDs of MLIR's template traits are static variables of header templates
# that must be one with libMLIR.so's. Hidden, `hasTrait<IsolatedFromAbove>` and every constant matcher
# answer no for upstream operations when our compiler is not the one that built libMLIR.so.
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

option(SPARSEATTN_CCACHE "Compile through ccache when it is installed" ON)
if(SPARSEATTN_CCACHE)
  find_program(SPARSEATTN_CCACHE_PROGRAM ccache)
  if(SPARSEATTN_CCACHE_PROGRAM)
    set(CMAKE_C_COMPILER_LAUNCHER ${SPARSEATTN_CCACHE_PROGRAM})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${SPARSEATTN_CCACHE_PROGRAM})
  endif()
endif()

option(SPARSEATTN_SANITIZE "Check our code with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
if(SPARSEATTN_SANITIZE)
  # vptr needs the type information of libMLIR.so's classes in one place only, which shared libraries break.
  set(flags -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all)
  add_compile_options(${flags} -fno-omit-frame-pointer)
  add_link_options(${flags})
endif()

option(SPARSEATTN_FUZZ "Build the fuzzer with clang, in a second build, and run it for a while in ctest" OFF)
option(SPARSEATTN_FUZZ_INSTRUMENT "Configure that second build" OFF)
if(SPARSEATTN_FUZZ_INSTRUMENT)
  # GCC 12's std::stable_sort uses what it deprecates, and clang blames the caller.
  add_compile_options(-fsanitize=fuzzer-no-link,address -O1 -Wno-deprecated-declarations)
  add_link_options(-fsanitize=address)
endif()
