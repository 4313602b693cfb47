# cmake -C cmake/presets/release.cmake -B build: what tools/check and tools/quickstart build.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(SPARSEATTN_UNITY ON CACHE BOOL "")
