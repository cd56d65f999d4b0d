# SPDX-License-Identifier: Apache-2.0
if(PENSTOCK_CUDA)
  return()
endif()

# A rank that waits too long says who, where and for what, and ends the job: the output is the test.
set_tests_properties(comm.deadline_test.2_ranks PROPERTIES PASS_REGULAR_EXPRESSION
  "penstock: rank 1 on [^\n]*waited 2 s \\(watchdog.seconds = 2\\) for a message that never comes\nat work, waiting for nobody: rank 0 \\(step 3, action 5 of 10: 2F0\\)\nthe last known place of each rank:\n  rank 0 on [^\n]*: step 3, action 5 of 10: 2F0, waited for nobody\n  rank 1 on [^\n]*: step 3, action 5 of 10: 2F0, waited 2 s for a message that never comes")

set_tests_properties(comm.hand_over_test.2_ranks PROPERTIES PASS_REGULAR_EXPRESSION
  "penstock: rank 0 on [^\n]*waited 2 s \\(watchdog.seconds = 2\\) for the device to take more work\n.*\n  rank 0 on [^\n]*: step 3, action 4 of 10: 2F0, waited 2 s for the device to take more work\n  rank 1 on [^\n]*, waited 2 s for a message that never comes")

# What `srun --mpi=none` and the launchers of other MPIs do: tasks that know that they are four, and not of each other.
penstock_read_test(${CMAKE_CURRENT_LIST_DIR}/world_test.cpp)
foreach(size SLURM_STEP_NUM_TASKS OMPI_COMM_WORLD_SIZE PMI_SIZE)
  add_test(NAME comm.world_test.singletons.${size} COMMAND test.comm.mpi --gtest_filter=${test_FILTER})
  set_tests_properties(comm.world_test.singletons.${size} PROPERTIES LABELS unit TIMEOUT 30
    ENVIRONMENT "${size}=4;PMIX_RANK=0;OMP_NUM_THREADS=1"
    PASS_REGULAR_EXPRESSION "4 tasks were started \\(${size}\\).*another MPI.*--mpi=pmi2")
endforeach()

# A killed rank is named by those that wait for it.
set_tests_properties(comm.lost_rank_test.2_ranks PROPERTIES PASS_REGULAR_EXPRESSION
  "rank 0 on [^\n]*rank 1 \\(process [0-9]+\\) has ended while this rank waited for a message of the dead")
