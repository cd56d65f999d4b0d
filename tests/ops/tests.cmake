# SPDX-License-Identifier: Apache-2.0
if(NOT PENSTOCK_CUDA)
  # Where oneDNN multiplies no bfloat16: on every machine, also on one where it does.
  foreach(name linear_test odd_sizes_test thread_numbers_test)
    penstock_read_test(${CMAKE_CURRENT_LIST_DIR}/${name}.cpp)
    penstock_ctest(ops.${name}.without_avx512 test.ops ENVIRONMENT ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2)
  endforeach()
endif()
if(PENSTOCK_BOTH_WIDTHS_HERE)
  # As on a CPU without AVX-512. The references' own tests have no vectors.
  add_test(NAME ops.8_lanes COMMAND test.ops --gtest_filter=-*Reference.*)
  set_tests_properties(ops.8_lanes PROPERTIES LABELS unit TIMEOUT 600 PROCESSORS 2
                       ENVIRONMENT "PENSTOCK_LANES=8;ONEDNN_MAX_CPU_ISA=AVX2;OMP_NUM_THREADS=2")
  set(portable "")
  if(PENSTOCK_8_LANES STREQUAL PENSTOCK_ARCHITECTURE)
    set(portable $<TARGET_FILE:penstock_ops> $<TARGET_FILE:penstock_device>)
  endif()
  add_test(NAME ops.widths COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/widths.py ${CMAKE_OBJDUMP}
                                   $<TARGET_PROPERTY:penstock_ops_16_lanes,OBJECT> ${portable})
  set_tests_properties(ops.widths PROPERTIES LABELS unit TIMEOUT 120)
endif()
