# cmake -C cmake/presets/debug.cmake -B build-debug -S .
# Assertions of our own code; MLIR's stay as libMLIR.so was built.
set(CMAKE_GENERATOR Ninja CACHE INTERNAL "")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
