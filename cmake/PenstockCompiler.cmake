# SPDX-License-Identifier: Apache-2.0
# How every target of the project is compiled: C++20, one set of warnings, one instruction set.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "GCC ${CMAKE_CXX_COMPILER_VERSION} is too old: Penstock needs C++20 as GCC 12 or newer has it")
endif()

add_library(penstock_compiler INTERFACE)
target_compile_options(penstock_compiler INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -fopenmp-simd>
  $<$<COMPILE_LANGUAGE:CXX>:-march=${PENSTOCK_ARCHITECTURE}>
  # Places in messages begin with src/..., not with the folder of the build. (ccache makes paths relative to
  # build/<preset>.)
  $<$<COMPILE_LANGUAGE:CXX>:-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=>
  $<$<COMPILE_LANGUAGE:CXX>:-fmacro-prefix-map=../../=>)
if(PENSTOCK_CUDA)
  # CMake before 3.26 does not know nvcc's option for C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  # Relaxed constexpr: kernels use the constexpr functions of src/. No fast maths: float32 is held to 1e-5.
  target_compile_options(penstock_compiler INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-march=${PENSTOCK_ARCHITECTURE}>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=>)
endif()
if(PENSTOCK_WERROR)
  target_compile_options(penstock_compiler INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Werror>)
endif()
if(PENSTOCK_FAULTS)
  target_compile_definitions(penstock_compiler INTERFACE PENSTOCK_FAULTS)
endif()
if(PENSTOCK_SANITIZE)
  target_compile_options(penstock_compiler INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(penstock_compiler INTERFACE -fsanitize=address,undefined)
endif()
if(PENSTOCK_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
    message(FATAL_ERROR "PENSTOCK_FUZZ needs Clang 16 or newer (`scripts/prepare fuzz` installs it; preset `fuzz` names it), not "
                        "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
  endif()
  # Casting a real number to an integer that cannot hold it is undefined, too; in Clang it is a separate option.
  target_compile_options(penstock_compiler INTERFACE -fsanitize=fuzzer-no-link,float-cast-overflow
                                                     -fno-sanitize-recover=float-cast-overflow)
endif()
