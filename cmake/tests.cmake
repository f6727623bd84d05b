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

# longleaf_test_on_gpus(<folder>.<unit> <unit>): runs the program of a test again, as simt.<unit> on the emulator of GPUs
# and as gpu.<unit> on an NVIDIA card. Skipped where there is none, unless LONGLEAF_REQUIRE_GPU is set.
function(longleaf_test_on_gpus name unit)
  string(REPLACE "." "_" target ${name})
  if(TARGET simt_driver)
    add_dependencies(${target}_test simt_driver)
    add_test(NAME simt.${unit} COMMAND ${target}_test)
    set_tests_properties(simt.${unit} PROPERTIES LABELS simt
      ENVIRONMENT "LONGLEAF_TEST_DEVICE=$<TARGET_FILE:simt_driver>")
  endif()
  add_test(NAME gpu.${unit} COMMAND ${target}_test)
  set_tests_properties(gpu.${unit} PROPERTIES SKIP_RETURN_CODE 77 LABELS gpu ENVIRONMENT "LONGLEAF_TEST_DEVICE=gpu")
endfunction()
