# SPDX-License-Identifier: Apache-2.0
if(TARGET test.pipeline.memory_test)
  target_link_options(test.pipeline.memory_test PRIVATE LINKER:--wrap=mmap)  # support/allocations.cpp has the other end
endif()
