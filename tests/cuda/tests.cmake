# SPDX-License-Identifier: Apache-2.0
# What the CUDA program says on a machine without a GPU.
if(NOT PENSTOCK_CUDA)
  return()
endif()

add_test(NAME cuda.no_device COMMAND penstock train ${CMAKE_SOURCE_DIR}/input/tiny.toml
         --set data.train=none --run ${CMAKE_BINARY_DIR}/no-device)
set_tests_properties(cuda.no_device PROPERTIES LABELS unit TIMEOUT 60 ENVIRONMENT "CUDA_VISIBLE_DEVICES="
  PASS_REGULAR_EXPRESSION "sees no GPU here")
add_library(test.cuda.fake_driver MODULE ${CMAKE_CURRENT_LIST_DIR}/fake_driver.cpp)
target_link_libraries(test.cuda.fake_driver PRIVATE CUDA::cudart)
add_test(NAME cuda.old_driver COMMAND penstock train ${CMAKE_SOURCE_DIR}/input/tiny.toml
         --set data.train=none --run ${CMAKE_BINARY_DIR}/no-device)
set_tests_properties(cuda.old_driver PROPERTIES LABELS unit TIMEOUT 60
  ENVIRONMENT "LD_PRELOAD=$<TARGET_FILE:test.cuda.fake_driver>"
  PASS_REGULAR_EXPRESSION "driver is too old: it serves CUDA 11.4, this program was built with CUDA ${CUDAToolkit_VERSION_MAJOR}")
add_test(NAME cuda.explain COMMAND penstock explain device)
set_tests_properties(cuda.explain PROPERTIES LABELS unit TIMEOUT 60 PASS_REGULAR_EXPRESSION "several ranks compute")
