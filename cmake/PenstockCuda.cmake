# What the CUDA build stands on: the toolkit (runtime, cuBLASLt), and NCCL. The driver's library is not linked: the
# program starts on a machine without one, sees no device, and says so.

find_package(CUDAToolkit 12.0 REQUIRED)

find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
if(NOT NCCL_INCLUDE_DIR OR NOT NCCL_LIBRARY)
  message(FATAL_ERROR "NCCL was not found beside the CUDA toolkit (Debian: libnccl-dev from NVIDIA; Spack: nccl; "
                      "else set NCCL_INCLUDE_DIR and NCCL_LIBRARY)")
endif()
file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h nccl_version_line REGEX "^#define NCCL_VERSION_CODE")
string(REGEX REPLACE "[^0-9]" "" nccl_version "${nccl_version_line}")
if(nccl_version LESS 21800)
  message(FATAL_ERROR "${NCCL_LIBRARY} is version ${nccl_version}: Penstock needs NCCL 2.18 or newer")
endif()
add_library(NCCL::nccl INTERFACE IMPORTED)
set_target_properties(NCCL::nccl PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${NCCL_INCLUDE_DIR}"
                                            INTERFACE_LINK_LIBRARIES "${NCCL_LIBRARY}")
