# SPDX-License-Identifier: Apache-2.0
if(NOT PENSTOCK_CUDA)
  # Where oneDNN multiplies no bfloat16: on every machine, also on one where it does.
  foreach(name linear_test odd_sizes_test)
    penstock_read_test(${CMAKE_CURRENT_LIST_DIR}/${name}.cpp)
    penstock_ctest(ops.${name}.without_avx512 test.ops ENVIRONMENT ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2)
  endforeach()
endif()
