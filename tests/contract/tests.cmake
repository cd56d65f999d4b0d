# SPDX-License-Identifier: Apache-2.0
# Contract tests drive the built program from Python, as its users do: what commands, files and exit codes promise.
# Cluster tests (tests/cluster) do what a cluster does to a job. Root and the packages of `scripts/prepare cluster` make a
# Slurm (cluster/slurm.py), root and iproute2 make hosts (cluster/hosts.py): without them the tests that need them are
# skipped. list_tests.py finds the classes of both folders and what they need.
# The sanitizers' preset runs unit tests only.
if(PENSTOCK_SANITIZE)
  return()
endif()

# The interpreter is the system's own, which has the distribution's h5py (python3-h5py).
find_program(PENSTOCK_CONTRACT_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH
             DOC "Python with h5py and numpy, for the contract tests")
find_program(PENSTOCK_CONTRACT_PYTHON NAMES python3)
set(contract_python_result 1)
if(PENSTOCK_CONTRACT_PYTHON)
  execute_process(COMMAND ${PENSTOCK_CONTRACT_PYTHON} -c "import tomllib, h5py, numpy"
                  RESULT_VARIABLE contract_python_result ERROR_QUIET OUTPUT_QUIET)
endif()
if(NOT contract_python_result EQUAL 0)
  # Who only builds the program need not have it; who runs the tests is told.
  set(contract_python_says "the contract tests need Python 3.11 or later with h5py and numpy: install python3-h5py \
(Debian, Ubuntu), or name another interpreter with -DPENSTOCK_CONTRACT_PYTHON=...")
  message(STATUS "No contract tests: ${contract_python_says}")
  add_test(NAME contract.python COMMAND sh -c "echo '${contract_python_says}'; exit 1")
  set_tests_properties(contract.python PROPERTIES LABELS contract)
  return()
endif()

if(NOT PENSTOCK_CUDA)
  # The program with a device that seems to run behind the host.
  add_executable(test.penstock_ahead ${CMAKE_SOURCE_DIR}/src/app/main.cpp
                                     ${CMAKE_CURRENT_SOURCE_DIR}/support/runs_behind_host.cpp)
  target_link_libraries(test.penstock_ahead PRIVATE penstock_app penstock_compiler)
endif()

# For cannot_open_test.py to preload.
add_library(test.no_locks MODULE ${CMAKE_CURRENT_SOURCE_DIR}/support/no_locks.cpp)
target_link_libraries(test.no_locks PRIVATE penstock_compiler ${CMAKE_DL_LIBS})
set_target_properties(test.no_locks PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# For signals_test.py to preload.
add_library(test.foreign_handlers MODULE ${CMAKE_CURRENT_SOURCE_DIR}/support/foreign_handlers.cpp)
target_link_libraries(test.foreign_handlers PRIVATE penstock_compiler Threads::Threads)
set_target_properties(test.foreign_handlers PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

file(GLOB python_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/contract/*.py ${CMAKE_CURRENT_SOURCE_DIR}/cluster/*.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${python_tests})
execute_process(COMMAND ${PENSTOCK_CONTRACT_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/contract/list_tests.py
                RESULT_VARIABLE python_tests_result OUTPUT_VARIABLE python_tests ERROR_VARIABLE python_tests_error
                OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT python_tests_result EQUAL 0)
  message(FATAL_ERROR "The Python tests cannot be listed: ${python_tests_error}")
endif()

# A slot of CTest is half a core: `ctest -j <twice the cores>` runs tests that wait two at a time on each core.
function(penstock_python_test name file class labels slots seconds program for_gpu)
  if((PENSTOCK_CUDA AND NOT for_gpu) OR (for_gpu AND NOT PENSTOCK_CUDA))
    return()
  endif()
  add_test(NAME ${name} COMMAND ${PENSTOCK_CONTRACT_PYTHON} -B ${file} ${class})
  string(REPLACE "," ";" labels "${labels}")
  # What may take longest starts first, so that the end does not wait for it alone: those that wait have long limits.
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" PROCESSORS ${slots} TIMEOUT ${seconds} COST ${seconds}
    SKIP_REGULAR_EXPRESSION "OK \\(skipped=[1-9]"
    ENVIRONMENT "PENSTOCK=$<TARGET_FILE:${program}>;PENSTOCK_PLAIN=$<TARGET_FILE:penstock>;MPIEXEC=${MPIEXEC_EXECUTABLE}")
endfunction()

string(REPLACE "\n" ";" python_tests "${python_tests}")
foreach(line IN LISTS python_tests)
  string(REPLACE "|" "\" \"" line "${line}")
  cmake_language(EVAL CODE "penstock_python_test(\"${line}\")")
endforeach()
