# longleaf_test(<folder>.<unit> SOURCES ... LIBRARIES ... [LABELS ...]): one test program, one CTest entry.
# Exit status 77 means "skipped, with the reason on the output".
function(longleaf_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  string(REPLACE "." "_" target ${name})
  add_executable(${target}_test ${ARG_SOURCES})
  target_link_libraries(${target}_test PRIVATE project_options ${ARG_LIBRARIES})
  target_compile_definitions(${target}_test PRIVATE LONGLEAF_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  set_target_properties(${target}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${target}_test)
  if(NOT ARG_LABELS)
    set(ARG_LABELS cpu)
  endif()
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 LABELS "${ARG_LABELS}"
    ENVIRONMENT "QT_QPA_PLATFORM=offscreen;LONGLEAF_PROGRAMS=${PROJECT_BINARY_DIR}/bin")
endfunction()
