# cmake -C cmake/presets/asan.cmake -B build-asan: address and undefined-behaviour sanitizers.
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(LLVM_USE_SANITIZER "Address;Undefined" CACHE STRING "")
# Debian's libraries are not instrumented, so containers that cross the border look mismatched.
set(CMAKE_CXX_FLAGS "-fno-sanitize=vptr" CACHE STRING "")
set(SPARSEATTN_UNITY ON CACHE BOOL "")
