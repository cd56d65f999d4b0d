# Contract tests drive the built program from Python, as its users do: what commands, files and exit codes promise.
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
  foreach(case GpuMeshTest GpuScheduleTest GpuRunAheadTest GpuRestartTest GpuAndCpuTest GpuErrorsTest)
    penstock_contract_test(gpu_test CASE ${case} LABELS gpu RANKS 8 TIMEOUT 1200)
  endforeach()
  return()
endif()

penstock_contract_test(parity_test CASE MeshParityTest LABELS parity RANKS 8 TIMEOUT 1800)
penstock_contract_test(parity_test CASE ScheduleParityTest LABELS parity RANKS 4 TIMEOUT 1200)
penstock_contract_test(parity_test CASE ChoiceParityTest LABELS parity RANKS 8 TIMEOUT 1200)
penstock_contract_test(exactness_test CASE RestartTest LABELS exactness RANKS 8 TIMEOUT 1200)
penstock_contract_test(exactness_test CASE LifeTest LABELS exactness RANKS 8 TIMEOUT 900)
penstock_contract_test(hdf5_test LABELS parity RANKS 8 TIMEOUT 900)
penstock_contract_test(checkpoint_command_test RANKS 2 TIMEOUT 600)
penstock_contract_test(decks_test RANKS 8 TIMEOUT 600)
penstock_contract_test(errors_test RANKS 8 TIMEOUT 900)
penstock_contract_test(full_disk_test LABELS cluster RANKS 2 TIMEOUT 600)
penstock_contract_test(life_end_test RANKS 1 TIMEOUT 300)
penstock_contract_test(quickstart_test RANKS 4 TIMEOUT 300)
# The program with a device that seems to run behind the host.
add_executable(test.penstock_ahead ${CMAKE_SOURCE_DIR}/src/app/main.cpp ${CMAKE_CURRENT_SOURCE_DIR}/support/runs_behind_host.cpp)
target_link_libraries(test.penstock_ahead PRIVATE penstock_app penstock_compiler)
penstock_contract_test(run_ahead_test LABELS exactness RANKS 4 TIMEOUT 600)
set_tests_properties(contract.run_ahead_test PROPERTIES ENVIRONMENT
  "PENSTOCK=$<TARGET_FILE:test.penstock_ahead>;PENSTOCK_PLAIN=$<TARGET_FILE:penstock>;MPIEXEC=${MPIEXEC_EXECUTABLE}")
penstock_contract_test(kill_test LABELS exactness cluster RANKS 4 TIMEOUT 900)
penstock_contract_test(two_lives_test LABELS exactness cluster RANKS 4 TIMEOUT 600)

# What a cluster does to a job. Root and the packages of `scripts/prepare cluster` make a Slurm (cluster/slurm.py), root and
# iproute2 make hosts (cluster/hosts.py): without them the tests that need them are skipped.
# penstock_cluster_test(<file> CASE <class> RANKS <most at once> TIMEOUT <seconds>)
function(penstock_cluster_test name)
  cmake_parse_arguments(test "" "CASE;RANKS;TIMEOUT" "" ${ARGN})
  set(test_name cluster.${name}.${test_CASE})
  add_test(NAME ${test_name}
           COMMAND ${PENSTOCK_CONTRACT_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/cluster/${name}.py ${test_CASE})
  set_tests_properties(${test_name} PROPERTIES
                       LABELS cluster PROCESSORS ${test_RANKS} TIMEOUT ${test_TIMEOUT}
                       SKIP_REGULAR_EXPRESSION "skipped=[1-9]"
                       ENVIRONMENT "PENSTOCK=$<TARGET_FILE:penstock>;MPIEXEC=${MPIEXEC_EXECUTABLE}")
endfunction()

penstock_cluster_test(slurm_test CASE LivesTest RANKS 4 TIMEOUT 600)
penstock_cluster_test(slurm_test CASE LostNodeTest RANKS 4 TIMEOUT 600)
penstock_cluster_test(watchdog_test CASE StoppedRankTest RANKS 4 TIMEOUT 300)
penstock_cluster_test(watchdog_test CASE CutLinkTest RANKS 4 TIMEOUT 300)
penstock_cluster_test(nonfinite_test CASE NonfiniteTest RANKS 8 TIMEOUT 600)
penstock_cluster_test(slow_test CASE SlowLinkTest RANKS 3 TIMEOUT 300)
penstock_cluster_test(slow_test CASE SlowRankTest RANKS 2 TIMEOUT 300)
