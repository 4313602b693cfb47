# cmake -C cmake/presets/release.cmake -B build -S .
set(CMAKE_GENERATOR Ninja CACHE INTERNAL "")
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(SPARSEATTN_UNITY ON CACHE BOOL "")
