# cmake -C cmake/presets/asan.cmake -B build-asan -S .
# AddressSanitizer and UndefinedBehaviorSanitizer over our code; libMLIR.so is not instrumented.
set(CMAKE_GENERATOR Ninja CACHE INTERNAL "")
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
# Enough for a trace of names and lines; more optimisation or debug information takes g++ twice as long.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG" CACHE STRING "")
set(SPARSEATTN_SANITIZE ON CACHE BOOL "")
set(SPARSEATTN_UNITY ON CACHE BOOL "")
