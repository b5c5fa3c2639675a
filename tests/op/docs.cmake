# Fails when docs/ops.md is not what op_docs prints.
execute_process(COMMAND ${TOOL} ${SOURCE}/src/tensor/ops.def OUTPUT_FILE ${BINARY}/ops.md RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
  message(FATAL_ERROR "op_docs failed: ${rc}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${BINARY}/ops.md ${SOURCE}/docs/ops.md RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
  message(FATAL_ERROR "docs/ops.md is not current: run ${TOOL} src/tensor/ops.def > docs/ops.md")
endif()
