# SPDX-License-Identifier: Apache-2.0
# The libraries of Penstock. scripts/packages.txt names their packages.

set(MPI_CXX_SKIP_MPICXX TRUE)
find_package(MPI REQUIRED COMPONENTS CXX)

set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 COMPONENTS C)
if(NOT HDF5_FOUND)
  set(cure "install it (Debian: libhdf5-mpich-dev; Spack: hdf5+mpi) or set HDF5_ROOT")
  if(CMAKE_BINARY_DIR MATCHES " ")
    set(cure "set HDF5_ROOT, or build in a folder whose path has no space: CMake's search for HDF5 fails in \"${CMAKE_BINARY_DIR}\"")
  endif()
  message(FATAL_ERROR "HDF5 was not found; ${cure}")
endif()
if(NOT HDF5_IS_PARALLEL)
  message(STATUS "HDF5 ${HDF5_VERSION} has no MPI support: one rank writes all checkpoints (checkpoint.writers = 1). "
                 "Several need parallel HDF5 (Debian: libhdf5-mpich-dev; Spack: hdf5+mpi; else set HDF5_ROOT)")
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)

if(PENSTOCK_CUDA)
  include(PenstockCuda)
else()
# Does not use oneDNN's own package file: Debian's requires the OpenCL headers, which nothing here uses.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(DNNL::dnnl INTERFACE IMPORTED)
set_target_properties(DNNL::dnnl PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}"
                                            INTERFACE_LINK_LIBRARIES "${DNNL_LIBRARY}")
endif()

find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_path(RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)

# What tokenizers and their texts stand on. None of them has a package file for CMake in Debian 12, or one that says more.
function(penstock_find_library target header library package)
  string(MAKE_C_IDENTIFIER "${library}" name)
  string(TOUPPER "${name}" name)
  find_path(${name}_INCLUDE_DIR ${header})
  find_library(${name}_LIBRARY ${library})
  if(NOT ${name}_INCLUDE_DIR OR NOT ${name}_LIBRARY)
    message(FATAL_ERROR "${header} or lib${library} was not found; install it (Debian: ${package}) or set ${name}_INCLUDE_DIR "
                        "and ${name}_LIBRARY")
  endif()
  add_library(${target} INTERFACE IMPORTED)
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}"
                                             INTERFACE_LINK_LIBRARIES "${${name}_LIBRARY}")
endfunction()
penstock_find_library(PCRE2::pcre2-8 pcre2.h pcre2-8 libpcre2-dev)
penstock_find_library(utf8proc::utf8proc utf8proc.h utf8proc libutf8proc-dev)
penstock_find_library(sentencepiece::sentencepiece sentencepiece_processor.h sentencepiece libsentencepiece-dev)
penstock_find_library(zlib::z zlib.h z zlib1g-dev)
penstock_find_library(zstd::zstd zstd.h zstd libzstd-dev)
