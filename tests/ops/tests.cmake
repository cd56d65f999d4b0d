# SPDX-License-Identifier: Apache-2.0
if(NOT PENSTOCK_CUDA)
  # Where oneDNN multiplies no bfloat16: on every machine, also on one where it does.
  penstock_read_test(${CMAKE_CURRENT_LIST_DIR}/linear_test.cpp)
  penstock_ctest(ops.linear_test.without_avx512 test.ops ENVIRONMENT ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2)
endif()
