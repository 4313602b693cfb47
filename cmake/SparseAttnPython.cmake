# The Python that runs lit and the Python tests, and sparseattn_add_pytest.

set(SPARSEATTN_PYTHON_EXECUTABLE "" CACHE FILEPATH
  "Python with the packages of python/requirements-test.txt; empty: the build folder's venv, else python3")
if(SPARSEATTN_PYTHON_EXECUTABLE)
  set(SPARSEATTN_PYTHON ${SPARSEATTN_PYTHON_EXECUTABLE})
elseif(EXISTS ${PROJECT_BINARY_DIR}/venv/bin/python)
  set(SPARSEATTN_PYTHON ${PROJECT_BINARY_DIR}/venv/bin/python)
else()
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(SPARSEATTN_PYTHON ${Python3_EXECUTABLE})
endif()
execute_process(COMMAND ${SPARSEATTN_PYTHON} -c "import hypothesis, ml_dtypes, numpy, pytest"
  RESULT_VARIABLE result ERROR_VARIABLE error)
if(NOT result EQUAL 0)
  string(REGEX REPLACE "^.*\n([^\n]+)\n?$" "\\1" error "${error}")
  message(WARNING "${SPARSEATTN_PYTHON} cannot run the Python tests (${error}), so they will fail: "
    "run tools/check once, which makes ${PROJECT_BINARY_DIR}/venv, or set SPARSEATTN_PYTHON_EXECUTABLE")
endif()

# What the Python package needs in order to find this build.
set(SPARSEATTN_PYTHON_ENVIRONMENT
  "PYTHONPATH=${PROJECT_SOURCE_DIR}/python"
  "PYTHONDONTWRITEBYTECODE=1"
  "SPARSEATTN_BUILD=${PROJECT_BINARY_DIR}"
  "SPARSEATTN_LIBRARY=${PROJECT_BINARY_DIR}/lib/libSparseAttn.so"
  "SPARSEATTN_TOOLS=${PROJECT_BINARY_DIR}/bin")

# What a sanitized program of ours needs, and what a program without sanitizers that loads our libraries does:
# their run-time libraries first, and its own memory is not ours to complain about.
set(SPARSEATTN_SANITIZED_ENVIRONMENT "")
set(SPARSEATTN_SANITIZED_HOST_ENVIRONMENT "")
if(SPARSEATTN_SANITIZE)
  # Settings of the run-time library for the sake of code that is not ours:
  # - LLVM's arenas poison memory where they are compiled with AddressSanitizer, in our objects, and do not lift
  #   it where they are not, in libMLIR.so;
  # - when a thread ends, its alternate signal stack is unmapped, also where LLVM has replaced it by its own;
  # - GCC 12 guesses wrong where glibc keeps the thread-local storage of loaded libraries such as libomp.so, and
  #   the search for leaks reads it.
  set(options allow_user_poisoning=0:use_sigaltstack=0:intercept_tls_get_addr=0)
  set(SPARSEATTN_SANITIZED_ENVIRONMENT "ASAN_OPTIONS=${options}" "UBSAN_OPTIONS=print_stacktrace=1")
  foreach(library asan ubsan stdc++)
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${library}.so
      OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND preload ${path})
  endforeach()
  list(JOIN preload ":" preload)
  set(SPARSEATTN_SANITIZED_HOST_ENVIRONMENT
    "LD_PRELOAD=${preload}" "ASAN_OPTIONS=${options}:detect_leaks=0" "UBSAN_OPTIONS=print_stacktrace=1")
endif()

# sparseattn_add_pytest(<folder below test/>): one ctest entry that runs the folder's own test_*.py.
function(sparseattn_add_pytest folder)
  string(REPLACE "/" "-" name "pytest-${folder}")
  string(REPLACE "pytest-python" "pytest" name ${name})
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/test_*.py)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${name})
  add_test(NAME ${name}
    COMMAND ${SPARSEATTN_PYTHON} -m pytest -q -p no:cacheprovider
      --rootdir=${PROJECT_SOURCE_DIR}/test ${files}
    WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${name})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT
    "${SPARSEATTN_PYTHON_ENVIRONMENT};${SPARSEATTN_SANITIZED_HOST_ENVIRONMENT}")
endfunction()
