# SPDX-License-Identifier: Apache-2.0
# The requirements of the CUDA build: the toolkit (runtime, cuBLASLt), NCCL, and cuDNN with its header-only frontend.
# The driver's library is not linked: the program starts on a machine without one, sees no device, and says so.

find_package(CUDAToolkit 12.1 REQUIRED) # arguments of kernels beyond 4 KiB

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

option(PENSTOCK_CUDNN "Attention through cuDNN where it fits; without it Penstock's own kernels do all of it" ON)
option(PENSTOCK_FETCH_CUDNN_FRONTEND "Fetch the headers of cuDNN's frontend with pip where they are not installed" OFF)
if(NOT PENSTOCK_CUDNN)
  return()
endif()

find_path(CUDNN_INCLUDE_DIR cudnn_version.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
# A Python package brings the library without the name that linkers look for.
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR})
if(NOT CUDNN_INCLUDE_DIR OR NOT CUDNN_LIBRARY)
  message(FATAL_ERROR "cuDNN was not found beside the CUDA toolkit (Debian, Ubuntu: libcudnn9-dev-cuda-12 or -13 from "
                      "NVIDIA; Spack: cudnn; else set CUDNN_INCLUDE_DIR and CUDNN_LIBRARY). -DPENSTOCK_CUDNN=OFF "
                      "builds without it: attention is slower then")
endif()
file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h cudnn_version_lines REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
string(REGEX MATCHALL "[0-9]+" cudnn_version "${cudnn_version_lines}")
string(REPLACE ";" "." cudnn_version "${cudnn_version}")
if(NOT cudnn_version VERSION_GREATER_EQUAL 9.0)
  message(FATAL_ERROR "${CUDNN_INCLUDE_DIR} holds cuDNN ${cudnn_version}: Penstock needs 9.0 or newer (or "
                      "-DPENSTOCK_CUDNN=OFF: attention is slower then)")
endif()

# 1.15 is the first frontend whose backward pass is said to be right for every length of a sequence.
set(cudnn_frontend_oldest 1.15)
set(cudnn_frontend_fetched 1.32.0)

# Sets `version` to that of the frontend in a folder; to nothing if there is none.
function(penstock_cudnn_frontend_version folder version)
  set(found "")
  if(EXISTS "${folder}/cudnn_frontend_version.h")
    file(STRINGS "${folder}/cudnn_frontend_version.h" lines
         REGEX "^#define CUDNN_FRONTEND_(MAJOR|MINOR|PATCH)_VERSION [0-9]")
    string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
    string(REPLACE ";" "." found "${numbers}")
  endif()
  set(${version} "${found}" PARENT_SCOPE)
endfunction()

# The frontend consists of headers and comes as a Python package: the headers are next to the packages of a Python, or
# are extracted from the package (a zip archive) into the build folder.
find_program(PENSTOCK_PYTHON NAMES python3 python)
mark_as_advanced(PENSTOCK_PYTHON)
set(fetched_folder ${CMAKE_BINARY_DIR}/cudnn-frontend)
if(NOT CUDNN_FRONTEND_INCLUDE_DIR)
  set(python_folders "")
  if(PENSTOCK_PYTHON)
    execute_process(COMMAND ${PENSTOCK_PYTHON} -c "import site, sysconfig; print(';'.join(p + '/include' for p in \
[sysconfig.get_path('purelib'), sysconfig.get_path('platlib'), site.getusersitepackages()]))"
                    OUTPUT_VARIABLE python_folders OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h
            HINTS ${CUDNN_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS} ${python_folders} ${fetched_folder}/include)
endif()
penstock_cudnn_frontend_version("${CUDNN_FRONTEND_INCLUDE_DIR}" cudnn_frontend_version)

# The problem with the headers, if there is one.
if(cudnn_frontend_version VERSION_GREATER_EQUAL cudnn_frontend_oldest)
  set(what "")
elseif(cudnn_frontend_version)
  set(what "${CUDNN_FRONTEND_INCLUDE_DIR} holds version ${cudnn_frontend_version} of cuDNN's frontend: Penstock "
           "needs ${cudnn_frontend_oldest} or newer.")
elseif(NOT CUDNN_FRONTEND_INCLUDE_DIR)
  set(what "The headers of cuDNN's frontend (cudnn_frontend.h) were not found.")
elseif(NOT EXISTS "${CUDNN_FRONTEND_INCLUDE_DIR}")
  set(what "CUDNN_FRONTEND_INCLUDE_DIR names ${CUDNN_FRONTEND_INCLUDE_DIR}, which is not there (any more): name "
           "another folder, or have it looked for again with cmake -UCUDNN_FRONTEND_INCLUDE_DIR.")
else()
  set(what "CUDNN_FRONTEND_INCLUDE_DIR names ${CUDNN_FRONTEND_INCLUDE_DIR}, which does not hold the headers of "
           "cuDNN's frontend (cudnn_frontend_version.h): name another folder, or have it looked for again with "
           "cmake -UCUDNN_FRONTEND_INCLUDE_DIR.")
endif()
string(CONCAT what ${what})

set(fetch_failure "")
if(PENSTOCK_FETCH_CUDNN_FRONTEND AND what)
  if(NOT PENSTOCK_PYTHON)
    message(FATAL_ERROR "-DPENSTOCK_FETCH_CUDNN_FRONTEND=ON fetches the headers of cuDNN's frontend with pip, and no "
                        "python3 was found: install one with pip, or set CUDNN_FRONTEND_INCLUDE_DIR to the folder of "
                        "cudnn_frontend.h")
  endif()
  message(STATUS "${what} Fetching ${cudnn_frontend_fetched}")
  file(MAKE_DIRECTORY ${fetched_folder})
  # The package of any Python will do: the headers are the same in all of them.
  execute_process(COMMAND ${PENSTOCK_PYTHON} -m pip download --quiet --disable-pip-version-check --no-deps
                          --only-binary=:all: --python-version 3.11 --dest ${fetched_folder}
                          nvidia-cudnn-frontend==${cudnn_frontend_fetched}
                  RESULT_VARIABLE fetch_result OUTPUT_VARIABLE fetch_output ERROR_VARIABLE fetch_output)
  file(GLOB fetched_package ${fetched_folder}/nvidia_cudnn_frontend-${cudnn_frontend_fetched}-*.whl)
  if(fetched_package)
    file(ARCHIVE_EXTRACT INPUT ${fetched_package} DESTINATION ${fetched_folder} PATTERNS "include/*")
    file(REMOVE ${fetched_package})
    set(CUDNN_FRONTEND_INCLUDE_DIR ${fetched_folder}/include CACHE PATH "Folder of cudnn_frontend.h" FORCE)
    penstock_cudnn_frontend_version("${CUDNN_FRONTEND_INCLUDE_DIR}" cudnn_frontend_version)
  else()
    set(fetch_failure "Fetching them failed (${fetch_result}): ${fetch_output}\n")
  endif()
endif()
if(NOT cudnn_frontend_version VERSION_GREATER_EQUAL cudnn_frontend_oldest)
  message(FATAL_ERROR "${what}\n${fetch_failure}One of these helps:\n"
                      "  -DPENSTOCK_FETCH_CUDNN_FRONTEND=ON   fetches them with pip into the build folder (network)\n"
                      "  the Python package nvidia-cudnn-frontend, in the environment that is active here\n"
                      "  -DCUDNN_FRONTEND_INCLUDE_DIR=FOLDER  the folder of cudnn_frontend.h, wherever it came from\n"
                      "  -DPENSTOCK_CUDNN=OFF                 builds without cuDNN: attention is slower then")
endif()
message(STATUS "cuDNN ${cudnn_version}, its frontend ${cudnn_frontend_version}")

add_library(cuDNN::cudnn INTERFACE IMPORTED)
set_target_properties(cuDNN::cudnn PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE_DIR}"
                                              INTERFACE_LINK_LIBRARIES "${CUDNN_LIBRARY}")
# The frontend can compile kernels of its own with the toolkit's runtime compiler; nothing here uses that.
add_library(cuDNN::frontend INTERFACE IMPORTED)
set_target_properties(cuDNN::frontend PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_FRONTEND_INCLUDE_DIR}"
                                                 INTERFACE_COMPILE_DEFINITIONS CUDNN_FRONTEND_SKIP_JSON_LIB
                                                 INTERFACE_LINK_LIBRARIES "cuDNN::cudnn;CUDA::nvrtc")
