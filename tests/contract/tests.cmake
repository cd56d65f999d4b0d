# Contract tests drive the built program from Python, as its users do: what commands, files and exit codes promise.
# The interpreter is the system's own, which has the distribution's h5py (python3-h5py).
find_program(PENSTOCK_CONTRACT_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH
             DOC "Python with h5py and numpy, for the contract tests")
find_program(PENSTOCK_CONTRACT_PYTHON NAMES python3)
set(contract_python_says "no python3 was found")
set(contract_python_result 1)
if(PENSTOCK_CONTRACT_PYTHON)
  execute_process(COMMAND ${PENSTOCK_CONTRACT_PYTHON} -c "import tomllib, h5py, numpy"
                  RESULT_VARIABLE contract_python_result ERROR_VARIABLE contract_python_says OUTPUT_QUIET)
endif()
if(NOT contract_python_result EQUAL 0)
  message(FATAL_ERROR "The contract tests need Python 3.11 or later with h5py and numpy, and "
                      "${PENSTOCK_CONTRACT_PYTHON} cannot import them:\n${contract_python_says}\n"
                      "Install python3-h5py (Debian, Ubuntu), name another interpreter with "
                      "-DPENSTOCK_CONTRACT_PYTHON=..., or build without tests: -DPENSTOCK_TESTS=OFF")
endif()

# penstock_contract_test(<file> [CASE <class>] LABELS ... RANKS <most at once> TIMEOUT <seconds>)
function(penstock_contract_test name)
  cmake_parse_arguments(test "" "CASE;RANKS;TIMEOUT" "LABELS" ${ARGN})
  set(test_name contract.${name})
  if(test_CASE)
    set(test_name ${test_name}.${test_CASE})
  endif()
  add_test(NAME ${test_name}
           COMMAND ${PENSTOCK_CONTRACT_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/contract/${name}.py ${test_CASE})
  set_tests_properties(${test_name} PROPERTIES
                       LABELS "contract;${test_LABELS}" PROCESSORS ${test_RANKS} TIMEOUT ${test_TIMEOUT}
                       ENVIRONMENT "PENSTOCK=$<TARGET_FILE:penstock>;MPIEXEC=${MPIEXEC_EXECUTABLE}")
endfunction()

if(PENSTOCK_CUDA)
  foreach(case GpuMeshTest GpuRestartTest GpuAndCpuTest GpuErrorsTest)
    penstock_contract_test(gpu_test CASE ${case} LABELS gpu RANKS 8 TIMEOUT 1200)
  endforeach()
  return()
endif()

penstock_contract_test(parity_test CASE MeshParityTest LABELS parity RANKS 8 TIMEOUT 1800)
penstock_contract_test(parity_test CASE ChoiceParityTest LABELS parity RANKS 8 TIMEOUT 1200)
penstock_contract_test(exactness_test CASE RestartTest LABELS exactness RANKS 8 TIMEOUT 1200)
penstock_contract_test(exactness_test CASE LifeTest LABELS exactness RANKS 8 TIMEOUT 900)
penstock_contract_test(hdf5_test LABELS parity RANKS 8 TIMEOUT 900)
penstock_contract_test(checkpoint_command_test RANKS 2 TIMEOUT 600)
penstock_contract_test(decks_test RANKS 8 TIMEOUT 600)
penstock_contract_test(errors_test RANKS 8 TIMEOUT 900)
penstock_contract_test(kill_test LABELS exactness RANKS 4 TIMEOUT 900)
