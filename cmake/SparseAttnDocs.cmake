# The manual of operations and passes, generated from the .td files into docs/ of the build folder.

add_custom_target(sparseattn-docs ALL)

# sparseattn_add_manual(<file name> <.td file> <mlir-tblgen generator and options...>)
function(sparseattn_add_manual name definitions)
  set(output ${PROJECT_BINARY_DIR}/docs/${name})
  # mlir-tblgen lists every file that it includes.
  add_custom_command(OUTPUT ${output}
    COMMAND ${MLIR_TABLEGEN_EXE} ${ARGN} -I ${PROJECT_SOURCE_DIR}/include -I ${MLIR_INCLUDE_DIRS}
      ${CMAKE_CURRENT_SOURCE_DIR}/${definitions} -d ${CMAKE_CURRENT_BINARY_DIR}/${name}.d -o ${output}
    DEPENDS ${definitions} ${MLIR_TABLEGEN_EXE}
    DEPFILE ${CMAKE_CURRENT_BINARY_DIR}/${name}.d
    COMMENT "Writing docs/${name}"
    VERBATIM)
  string(MAKE_C_IDENTIFIER ${name} target)
  add_custom_target(sparseattn-docs-${target} DEPENDS ${output})
  add_dependencies(sparseattn-docs sparseattn-docs-${target})
endfunction()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/docs)
