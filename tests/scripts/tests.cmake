# SPDX-License-Identifier: Apache-2.0
# The program that is shipped has no planted fault, and the one of preset `faults` refuses an unknown one.
if(NOT PENSTOCK_SANITIZE)
  add_test(NAME scripts.planted_faults
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/check_faults_test.py Program)
  set_tests_properties(scripts.planted_faults PROPERTIES LABELS contract TIMEOUT 60
                       ENVIRONMENT "PENSTOCK=$<TARGET_FILE:penstock>;PENSTOCK_FAULTS=${PENSTOCK_FAULTS}")
endif()

# The others test scripts and not the program: one preset is enough.
if(PENSTOCK_SANITIZE OR PENSTOCK_CUDA)
  return()
endif()

add_test(NAME scripts.check_layers COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/check_layers)
set_tests_properties(scripts.check_layers PROPERTIES LABELS unit TIMEOUT 300)
file(GLOB script_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/scripts/*_test.py)
foreach(path IN LISTS script_tests)
  get_filename_component(name ${path} NAME_WE)
  add_test(NAME scripts.${name} COMMAND ${Python3_EXECUTABLE} -B ${path})
  set_tests_properties(scripts.${name} PROPERTIES LABELS unit TIMEOUT 300)
endforeach()
# It compiles all headers, on all cores.
cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
math(EXPR half_cores "2 * ${cores}")
set_tests_properties(scripts.headers_test PROPERTIES PROCESSORS ${half_cores} TIMEOUT 900)
set_tests_properties(scripts.sources_test PROPERTIES SKIP_REGULAR_EXPRESSION "OK \\(skipped=[1-9]")
