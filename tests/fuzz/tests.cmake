# SPDX-License-Identifier: Apache-2.0
# Fuzzing: tests/fuzz/harnesses.hpp lists the harnesses, each of which feeds bytes to one of our readers. Preset `fuzz` links
# them with libFuzzer (scripts/fuzz). Every other build feeds them the seeds (corpus/<harness>) and what once was a defect
# (regressions/<harness>): fuzz.<harness>.
if(PENSTOCK_CUDA)
  return()  # readers are the same there
endif()

file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
list(FILTER fuzz_sources EXCLUDE REGEX "_main\\.cpp$")
list(APPEND fuzz_sources ${CMAKE_SOURCE_DIR}/cuda/ops/choice_text.cpp)  # needs no CUDA
if(PENSTOCK_FUZZ)
  set(fuzz_program fuzz)
  list(APPEND fuzz_sources ${CMAKE_CURRENT_LIST_DIR}/libfuzzer_main.cpp)
else()
  set(fuzz_program test.fuzz)
  list(APPEND fuzz_sources ${CMAKE_CURRENT_LIST_DIR}/corpus_main.cpp)
endif()
add_executable(${fuzz_program} ${fuzz_sources})
target_include_directories(${fuzz_program} PRIVATE ${CMAKE_SOURCE_DIR}/cuda)
target_compile_definitions(${fuzz_program} PRIVATE PENSTOCK_FUZZ_WITHOUT_CUDA)
target_link_libraries(${fuzz_program} PRIVATE penstock_train penstock_exchange penstock_test_support penstock_compiler)
if(PENSTOCK_UNITY AND NOT PENSTOCK_FUZZ)
  set_target_properties(${fuzz_program} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
endif()
set_source_files_properties(${CMAKE_SOURCE_DIR}/cuda/ops/choice_text.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
if(PENSTOCK_FUZZ)
  # The layer `ops` is not there: its CPU kernels are written for GCC, and no reader calls one.
  target_link_options(${fuzz_program} PRIVATE -fsanitize=fuzzer -no-pie
                      LINKER:--gc-sections LINKER:--unresolved-symbols=ignore-all)
  set_target_properties(${fuzz_program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  return()
endif()

file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/harnesses.hpp fuzz_harnesses REGEX "^    {\"")
foreach(line IN LISTS fuzz_harnesses)
  string(REGEX REPLACE "^    {\"([a-z_]+)\".*" "\\1" harness "${line}")
  set(folders ${CMAKE_CURRENT_LIST_DIR}/corpus/${harness})
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/regressions/${harness})
    list(APPEND folders ${CMAKE_CURRENT_LIST_DIR}/regressions/${harness})
  endif()
  add_test(NAME fuzz.${harness} COMMAND test.fuzz ${harness} ${folders})
  set_tests_properties(fuzz.${harness} PROPERTIES LABELS unit TIMEOUT 120 PROCESSORS 2
                       ENVIRONMENT "${sanitizer_environment};OMP_NUM_THREADS=1")
endforeach()
