# cmake -C cmake/presets/release.cmake -B build -S .
set(CMAKE_GENERATOR Ninja CACHE INTERNAL "")
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
# Most of the time of a pass is spent in libMLIR.so; more optimisation of ours takes g++ a third longer.
# What may be uninitialised g++ 12 guesses wrongly there.
set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG -Wno-maybe-uninitialized" CACHE STRING "")
set(SPARSEATTN_UNITY ON CACHE BOOL "")
